"""What is measured of a job, and how it is told. Pure."""
