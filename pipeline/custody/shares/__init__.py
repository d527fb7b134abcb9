"""Splitting, sealing, recovering the escrow passphrase."""
