"""Who can open the escrow passphrase."""
