"""How one message is handled as a transaction (DESIGN R1): state, gathering, outbox, execution.

Owns what happens between a message taken and a commit offered; the same code runs on an actor's
thread and inside a child process. Never delivers a message, never decides what a failure means.
"""
