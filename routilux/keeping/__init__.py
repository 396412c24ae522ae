"""Checkpoints and histories of jobs in a store: how they are saved, found, looked over and let go."""
