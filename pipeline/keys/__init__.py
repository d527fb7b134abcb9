"""Reading, re-wrapping and proving OpenPGP keys.

The public names are looked up when they are first used: importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.keys.compare import compare_public
    from pipeline.keys.inspection import Inspection, inspect
    from pipeline.keys.protection import ESCROW_COUNT_OCTET, MAX_COUNT_OCTET
    from pipeline.keys.rewrap import UnlockedKey, load, prove_rewrap, unlock

__all__ = [
    "ESCROW_COUNT_OCTET",
    "Inspection",
    "MAX_COUNT_OCTET",
    "UnlockedKey",
    "compare_public",
    "inspect",
    "load",
    "prove_rewrap",
    "unlock",
]

_HOMES = {
    "Inspection": "inspection",
    "inspect": "inspection",
    "compare_public": "compare",
    "ESCROW_COUNT_OCTET": "protection",
    "MAX_COUNT_OCTET": "protection",
    "UnlockedKey": "rewrap",
    "load": "rewrap",
    "prove_rewrap": "rewrap",
    "unlock": "rewrap",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
