"""Compare the live public key with the escrowed one."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.core.errors import OrgkeyError

if TYPE_CHECKING:
    from pipeline.openpgp.key.model import TransferableKey


def compare_public(escrowed: bytes, live: bytes) -> str:
    """Say how the live key stands to the escrowed public part.

    Args:
        escrowed: The record's public part.
        live: What the live server gives out; foreign bytes.

    Returns:
        ``same``; ``renewed`` when the live key has signed itself since, new subkeys aside, which no
        refresh can take; ``replaced`` when it is another key; ``unknown`` when it cannot be read.
    """
    from pipeline.openpgp.key import parsing

    try:
        ours, theirs = (
            parsing.read_one(escrowed, "the escrowed public part"),
            parsing.read_one(live, "the live key"),
        )
    except OrgkeyError:
        return "unknown"
    if theirs.fingerprint != ours.fingerprint:
        return "replaced"
    known = {component.public.fingerprint for component in ours.components}
    return "renewed" if _newest(theirs, known) > _newest(ours, known) else "same"


def unescrowed(escrowed: TransferableKey, live: TransferableKey, now: datetime) -> tuple[str, ...]:
    """Name the subkeys to which the live key has messages encrypted, and whose secret part is not escrowed.

    Args:
        escrowed: The record's public part.
        live: What the live server gives out, the same key.
        now: The present time; a subkey that is revoked or has expired counts no more.

    Returns:
        Their key ids.
    """
    from pipeline.openpgp.format import signatures
    from pipeline.openpgp.key import validity

    known = {component.public.fingerprint for component in escrowed.components}
    judged = validity.judge(live, now).subkeys
    return tuple(
        subkey.public.key_id
        for subkey, standing in zip(live.subkeys, judged, strict=True)
        if subkey.public.fingerprint not in known
        and standing.usable(signatures.ENCRYPT)
        and (standing.expires is None or standing.expires > now)
    )


def _newest(key: TransferableKey, known: Collection[str]) -> datetime:
    """When the key last signed itself; what others added, and subkeys that are not known, do not count."""
    from pipeline.openpgp.format.signatures import read_signature
    from pipeline.openpgp.key.validity import own_signatures

    own = own_signatures(key)
    subkeys = [
        made
        for subkey, made in zip(key.subkeys, own.subkeys, strict=True)
        if subkey.public.fingerprint in known
    ]
    made = (
        read_signature(packet.body) for group in (own.direct, *own.identities, *subkeys) for packet in group
    )
    return max((item.created for item in made if item), default=datetime.min.replace(tzinfo=UTC))
