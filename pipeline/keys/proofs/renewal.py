"""A copy of an expired key that is valid now: the recovered key signs its own parts again, in memory.

Sequoia and PGPy take the time from the system. A copy with fresh self-signatures has the same key
material and fingerprint, which is what the proofs are about; it is never stored and never shown.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pipeline.keys import reading, validity
from pipeline.keys import signatures as sig
from pipeline.keys.material import read_secret
from pipeline.keys.model import Component
from pipeline.keys.packets import Packet
from pipeline.keys.proofs.views import Views
from pipeline.keys.rewrap import UnlockedKey
from pipeline.keys.signature_writer import sign, subpacket
from pipeline.keys.validity import Standing

_AES256, _SHA256 = 9, 8
_HASHES = 21


def resigned(opened: UnlockedKey, views: Views) -> bytes:
    """Make the copy.

    Args:
        opened: The stored key, open.
        views: The same in the frame of the public part.

    Returns:
        The public part with one more self-signature on every user id and bound subkey, binary.

    Raises:
        Unsupported: This program cannot sign with this key.
    """
    now = datetime.now(UTC)
    key = reading.sole(views.public, "the public part")
    judged = validity.judge(key, None)
    secrets = {
        component.public.fingerprint: read_secret(component.public, clear.reveal())
        for component, clear in zip(opened.key.components, opened.secrets, strict=True)
    }
    primary = key.primary.public
    head = sig.hashed_key(primary)
    own = secrets[primary.fingerprint]

    def flags(standing: Standing) -> bytes:
        return subpacket(sig.FLAGS, bytes([standing.flags]))

    def certified(tag: int, body: bytes) -> Packet:
        preferences = (subpacket(sig.CIPHERS, bytes([_AES256])), subpacket(_HASHES, bytes([_SHA256])))
        data = head + sig.hashed_identity(tag, body)
        return sign(primary, own, 0x13, data, now, (flags(judged.primary), *preferences))

    def bound(subkey: Component, standing: Standing) -> Component:
        if not standing.bound or subkey.public.fingerprint not in secrets:
            return subkey
        data = head + sig.hashed_key(subkey.public)
        more = [flags(standing)]
        if standing.flags & sig.SIGN:
            back = sign(subkey.public, secrets[subkey.public.fingerprint], sig.PRIMARY_BINDING, data, now)
            more.append(subpacket(sig.EMBEDDED, back.body))
        made = sign(primary, own, sig.SUBKEY_BINDING, data, now, more)
        return replace(subkey, signatures=(*subkey.signatures, made))

    return replace(
        key,
        identities=tuple(
            replace(one, signatures=(*one.signatures, certified(one.packet.tag, one.packet.body)))
            for one in key.identities
        ),
        subkeys=tuple(
            bound(subkey, standing) for subkey, standing in zip(key.subkeys, judged.subkeys, strict=True)
        ),
    ).public()
