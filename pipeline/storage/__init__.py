"""Backends for records and for the ledger's mirror."""
