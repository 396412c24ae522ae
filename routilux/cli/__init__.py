"""The command line, for people on stderr and for programs on stdout."""
