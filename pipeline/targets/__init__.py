"""Places that hold records."""
