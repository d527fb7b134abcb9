"""Escrow the Organization Key of a PGP Encryption Server, and prove that every copy still restores."""

__version__ = "1.0.0rc1"
