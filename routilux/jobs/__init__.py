"""What a job is and was: its state, its history, and the actor that owns both."""
