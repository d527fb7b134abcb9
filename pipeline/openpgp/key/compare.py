"""Compare the live public key with the escrowed one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
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
        ours = parsing.read_one(escrowed, "the escrowed public part")
        theirs = parsing.read_one(live, "the live key")
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
    return tuple(
        one.public.key_id
        for one in validity.judge(live, now).subkeys
        if one.public.fingerprint not in known and one.usable(signatures.ENCRYPT) and not one.expired(now)
    )


def _newest(key: TransferableKey, known: Collection[str]) -> datetime:
    """When the key last signed itself; what others added, and subkeys that are not known, do not count."""
    from pipeline.openpgp.format.signatures import read_signature
    from pipeline.openpgp.key.validity import own_part

    own = own_part(key)
    own = replace(own, subkeys=tuple(one for one in own.subkeys if one.public.fingerprint in known))
    made = [one for packet in own.signatures if (one := read_signature(packet.body))]
    # A revocation by somebody whom the key names is not verified.
    dates = [one.created for one in made if one.issuer in ("", key.primary.public.key_id)]
    return max(dates, default=datetime.min.replace(tzinfo=UTC))
