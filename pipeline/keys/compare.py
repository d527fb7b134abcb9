"""Compare the live public key with the escrowed one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.errors import OrgkeyError

if TYPE_CHECKING:
    from pipeline.keys.model import Key


def compare_public(escrowed: bytes, live: bytes) -> str:
    """Say how the live key stands to the escrowed public part.

    Args:
        escrowed: The record's public part.
        live: What the live server gives out; foreign bytes.

    Returns:
        ``same``; ``renewed`` when the live key has signed itself since; ``replaced`` when it is
        another key; ``unknown`` when it cannot be read.
    """
    from pipeline.keys import reading

    try:
        ours, theirs = reading.sole(escrowed, "the escrowed public part"), reading.sole(live, "the live key")
    except OrgkeyError:
        return "unknown"
    if theirs.fingerprint != ours.fingerprint:
        return "replaced"
    return "renewed" if _newest(theirs) > _newest(ours) else "same"


def _newest(key: Key) -> datetime:
    """When the key last signed itself; what others added does not count."""
    from pipeline.keys.signatures import read_signature
    from pipeline.keys.validity import own_signatures

    own = own_signatures(key)
    made = (
        read_signature(packet.body)
        for group in (own.direct, *own.identities, *own.subkeys)
        for packet in group
    )
    return max((item.created for item in made if item), default=datetime.min.replace(tzinfo=UTC))
