"""Reading, re-wrapping and proving OpenPGP keys.

The public names are looked up when they are first used: importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.openpgp.format.protection import ESCROW_COUNT_OCTET, MAX_COUNT_OCTET
    from pipeline.openpgp.key.compare import compare_public
    from pipeline.openpgp.key.inspection import Inspection, inspect
    from pipeline.openpgp.key.rewrap import UnlockedKey, load, prove_rewrap, unlock

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
    "Inspection": "key.inspection",
    "inspect": "key.inspection",
    "compare_public": "key.compare",
    "ESCROW_COUNT_OCTET": "format.protection",
    "MAX_COUNT_OCTET": "format.protection",
    "UnlockedKey": "key.rewrap",
    "load": "key.rewrap",
    "prove_rewrap": "key.rewrap",
    "unlock": "key.rewrap",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
