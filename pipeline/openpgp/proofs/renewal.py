"""A copy of an expired key that is valid now: the recovered key signs its own parts again, in memory.

Sequoia and PGPy take the time from the system. A copy with fresh self-signatures has the same key
material and fingerprint, which is what the proofs are about; it is never stored and never shown.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pipeline.core.secret import Secret
from pipeline.openpgp.format import signatures as sig
from pipeline.openpgp.format.material import read_secret
from pipeline.openpgp.format.packets import Packet
from pipeline.openpgp.key import parsing, validity
from pipeline.openpgp.key.model import Component
from pipeline.openpgp.key.rewrap import UnlockedKey, unlock
from pipeline.openpgp.key.validity import ComponentValidity
from pipeline.openpgp.proofs.views import Views, splice, view

_AES256, _SHA256 = 9, 8
_HASHES, _FEATURES = 21, 30
_MDC = b"\x01"
"""Without it, some encrypt in a form of RFC 9580 that others do not read."""


def signed_anew(tsk: bytes, passphrase: Secret) -> bytes:
    """Give a keypair fresh self-signatures, for an implementation that takes none of those that it has.

    Args:
        tsk: The transferable secret key.
        passphrase: What opens it.

    Returns:
        The same with one self-signature, a new one, on each user id and bound subkey; binary, in memory only.

    Raises:
        OrgkeyError: It does not open, or this program cannot sign with it.
    """
    opened = unlock(tsk, passphrase)
    copy = parsing.read_one(resigned(opened, view(tsk, opened.public, datetime.now(UTC))), "the copy")
    frame = replace(
        copy,
        primary=replace(copy.primary, signatures=()),
        identities=tuple(replace(one, signatures=one.signatures[-1:]) for one in copy.identities),
        subkeys=tuple(replace(one, signatures=one.signatures[-1:]) for one in copy.subkeys),
    )
    return splice(frame, parsing.read_one(tsk, "the keypair"))


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
    key = parsing.read_one(views.public, "the public part")
    judged = validity.judge(key, None)
    secrets = {
        component.public.fingerprint: read_secret(component.public, clear.reveal())
        for component, clear in zip(opened.key.components, opened.secrets, strict=True)
    }
    primary = key.primary.public
    head = sig.hashed_key(primary)
    own = secrets[primary.fingerprint]

    def flags(standing: ComponentValidity) -> bytes:
        return sig.subpacket(sig.FLAGS, bytes([standing.flags]))

    def certified(tag: int, body: bytes) -> Packet:
        preferences = ((sig.CIPHERS, bytes([_AES256])), (_HASHES, bytes([_SHA256])), (_FEATURES, _MDC))
        more = (sig.subpacket(kind, value) for kind, value in preferences)
        data = head + sig.hashed_identity(tag, body)
        return sig.sign(primary, own, 0x13, data, now, (flags(judged.primary), *more))

    def bound(standing: ComponentValidity) -> Component:
        subkey = standing.component
        if not standing.bound or subkey.public.fingerprint not in secrets:
            return subkey
        data = head + sig.hashed_key(subkey.public)
        more = [flags(standing)]
        if standing.flags & sig.SIGN:
            back = sig.sign(subkey.public, secrets[subkey.public.fingerprint], sig.PRIMARY_BINDING, data, now)
            more.append(sig.subpacket(sig.EMBEDDED, back.body))
        made = sig.sign(primary, own, sig.SUBKEY_BINDING, data, now, more)
        return replace(subkey, signatures=(*subkey.signatures, made))

    return replace(
        key,
        identities=tuple(
            replace(one, signatures=(*one.signatures, certified(one.packet.tag, one.packet.body)))
            for one in key.identities
        ),
        subkeys=tuple(map(bound, judged.subkeys)),
    ).public()
