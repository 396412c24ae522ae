"""Measurements that anyone can repeat. Never imported by the packages."""
