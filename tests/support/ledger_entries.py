"""Entries of a ledger that nothing has written."""

from __future__ import annotations

from datetime import datetime

from pipeline.evidence.ledger.store import LedgerEntry


def an_entry(number: int, at: datetime, event: str = "drill") -> LedgerEntry:
    """An entry of this host; what it says is left to who reads it."""
    return LedgerEntry("0" * 16, True, number, at, event, "r", {}, f"{number:064x}", {})
