"""Extending retention."""
