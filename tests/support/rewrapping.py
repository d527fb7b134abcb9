"""Keys that are opened to be wrapped anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pipeline.core.secret import Secret
from pipeline.openpgp.key.rewrap import UnlockedKey, load
from tests.support import openpgp_writer as writer

Export = Callable[[str], bytes]


NEW = Secret("8c" * 32)
NAMES = [
    "rsa4096",
    "rsa2048",
    "ed25519",
    "nistp256",
    "nistp384",
    "nistp521",
    "brainpoolp256",
    "brainpoolp384",
    "brainpoolp512",
    "secp256k1",
    "dsa2048",
]


def loaded(export: Export, name: str, now: datetime) -> UnlockedKey:
    return load(export(f"{name}-two-block"), Secret(writer.PASSPHRASE), pin=None, now=now)
