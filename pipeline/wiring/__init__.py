"""The only package that chooses implementations."""
