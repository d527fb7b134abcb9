"""What a reader who was not there can check: one model, several renderings."""
