"""Places off this host that the ledger is mirrored to."""
