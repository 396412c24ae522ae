"""What an owner of a job need not say. Pure."""

from __future__ import annotations

KEEP_CHECKPOINTS = 3
"""Newest checkpoints that a job keeps, unless it is told otherwise (arbitrary: two for when the newest is damaged)."""
PAUSE_SECONDS = 30.0
"""What turns in hand get before a pause is given up, unless its caller says otherwise (arbitrary)."""
