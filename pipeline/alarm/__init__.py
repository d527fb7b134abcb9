"""Telling others how a job ended. Nothing here ever changes how it ends."""
