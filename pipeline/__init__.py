"""Escrow the Organization Key of a PGP Encryption Server, and prove that every copy still restores."""

__version__ = "0.1.0"
