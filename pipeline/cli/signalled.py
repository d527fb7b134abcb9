"""What a signal becomes."""

from __future__ import annotations


class Signalled(BaseException):
    """A signal arrived. Not an error: code that takes errors for results must not catch it."""
