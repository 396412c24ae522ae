"""Commands to a job from other programs of the same user on the same machine, over a socket that is a file."""
