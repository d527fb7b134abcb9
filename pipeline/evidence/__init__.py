"""What happened, kept so that others can check it."""
