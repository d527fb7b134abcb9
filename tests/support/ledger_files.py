"""Entries of a ledger in a folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger.store import Ledger

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)
KEY = "A" * 40


def add(ledger: Ledger, event: str, **details: Any) -> None:
    ledger.append(event, details, now=NOW, run="0123456789abcdef")


def place(ledger: Ledger) -> Path:
    return ledger.own().folder


def entry(**more: Any) -> dict[str, Any]:
    return {
        "schema": chain.SCHEMA, "sequence": 1, "previous": chain.START.digest.hex,
        "at": "2026-01-31T08:00:00Z", "fingerprint": KEY, "event": "kit", "run": "r", "program": "p",
        "details": {}, **more,
    }  # fmt: skip
