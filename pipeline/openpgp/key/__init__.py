"""Transferable keys: parse, judge, unlock, re-wrap."""
