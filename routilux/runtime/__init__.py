"""A job at run time: its actors, and the handle by which its owner holds it."""
