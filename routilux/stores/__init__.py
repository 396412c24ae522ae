"""Where jobs are kept: named objects and append-only logs, over bytes."""
