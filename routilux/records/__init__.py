"""What is kept of a job, and how it becomes bytes and back."""
