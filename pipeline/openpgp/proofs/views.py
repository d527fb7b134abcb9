"""What the implementations are given: one view of the key, the same for all of them.

The secret parts come from the stored keypair, everything else from the public part that the proofs are
judged by: a stored key whose self-signatures have expired works again with the live key's newer ones.
The views are in memory only, for as long as the proofs last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pipeline.openpgp.format import signatures as sig
from pipeline.openpgp.format.material import PublicPart
from pipeline.openpgp.format.packets import join
from pipeline.openpgp.key import parsing, validity
from pipeline.openpgp.key.model import Component, TransferableKey
from pipeline.openpgp.key.validity import ComponentValidity, KeyValidity

_REVOCATIONS = frozenset({sig.KEY_REVOCATION, sig.SUBKEY_REVOCATION})


@dataclass(frozen=True)
class Views:
    """A key as the implementations are given it.

    Attributes:
        fingerprint: Of the public part's primary key, 40 upper-case hexadecimal digits.
        stored_fingerprint: The same of the stored keypair.
        stored: The stored keypair, binary, without user ids that it has not signed.
        secret: The stored secret packets in the frame of the public part, binary.
        public: The public part without revocations of keys, binary.
        moment: A time at which what is needed is inside its validity; ``None`` when that is now.
        expired: Whether what is needed has expired.
        revoked: Whether revocations were left out.
        parts: The public parts of the primary key and the subkeys.
        text_like: Whether GnuPG's agent may lose a byte of the stored keypair's protection.
        signing: Public parts of what may sign, the one that lasts longest first.
        encrypting: Public parts of what may be encrypted to, in the same order.
    """

    fingerprint: str
    stored_fingerprint: str
    stored: bytes
    secret: bytes
    public: bytes
    moment: datetime | None
    expired: bool
    revoked: bool
    text_like: bool
    parts: tuple[PublicPart, ...]
    signing: tuple[PublicPart, ...]
    encrypting: tuple[PublicPart, ...]

    @property
    def primary(self) -> PublicPart:
        """The primary key's public part."""
        return self.parts[0]


def view(tsk: bytes, public: bytes, now: datetime) -> Views:
    """Lay the stored secret parts into the frame of the public part.

    Args:
        tsk: The stored transferable secret key.
        public: The public part to prove with.
        now: The present time.

    Raises:
        NotAKey: One of them is damaged, or holds another number of keys than one.
        Unsupported: One of them has a form that cannot be handled.
    """
    stored = without_foreign(parsing.read_one(tsk, "the stored keypair"))
    whole = without_foreign(parsing.read_one(public, "the public part"))
    frame = without_revocations(_of_same_parts(whole, stored))
    judged = validity.judge(frame, None)
    signing, encrypting = _able(judged, sig.SIGN), _able(judged, sig.ENCRYPT)
    # Needed are the primary key and, of those that may sign and of those that may encrypt, the one that
    # lasts longest: a subkey that was replaced has every right to have expired.
    needed = [judged.primary, *signing[:1], *encrypting[:1]]
    ends = min((one.expires for one in needed if one.expires is not None), default=None)
    starts = max(one.public.created for one in needed)
    moment = None
    if ends is not None and ends <= now:
        moment = max(ends - timedelta(seconds=1), starts)
    elif starts > now:
        moment = starts
    return Views(
        fingerprint=whole.fingerprint,
        stored_fingerprint=stored.fingerprint,
        stored=join(stored.packets(one.packet for one in stored.components)),
        secret=splice(frame, stored),
        public=frame.public(),
        moment=moment,
        expired=ends is not None and ends <= now,
        revoked=frame != _of_same_parts(whole, stored),
        text_like=any(one.protection is not None and one.protection.text_like for one in stored.components),
        parts=tuple(one.public for one in frame.components),
        signing=tuple(one.public for one in signing),
        encrypting=tuple(one.public for one in encrypting),
    )


def _able(judged: KeyValidity, use: int) -> list[ComponentValidity]:
    """The parts for a use, the one that lasts longest first; of two equal ones the newer, as gpg chooses."""
    able = [one for one in judged.standings if one.usable(use)]
    return sorted(able, key=lambda one: (_lasting(one), one.public.created), reverse=True)


def _of_same_parts(frame: TransferableKey, stored: TransferableKey) -> TransferableKey:
    """Leave out subkeys that the stored keypair has never had: nothing can be proven of those."""
    known = {one.public.fingerprint for one in stored.components}
    return replace(frame, subkeys=tuple(one for one in frame.subkeys if one.public.fingerprint in known))


def splice(frame: TransferableKey, stored: TransferableKey) -> bytes:
    """Write ``frame`` down with the key packets of ``stored`` where both have the same key."""
    packets = {one.public.fingerprint: one.packet for one in stored.components}
    return join(frame.packets(packets.get(one.public.fingerprint, one.packet) for one in frame.components))


def without_foreign(key: TransferableKey) -> TransferableKey:
    """Leave out what the key has not signed, and user ids that it has not signed where it has signed others.

    An Organization Certificate is attached to such a user id, in a packet that only looks like a signature:
    PGPy cannot read a key that has one. No proof needs it. A secret subkey stays: the proofs are about it.
    """
    own = validity.own_part(key)
    signed = {one.public.fingerprint: one for one in own.subkeys}
    return replace(
        own,
        identities=own.identities or key.identities,
        subkeys=tuple(
            signed.get(one.public.fingerprint, replace(one, signatures=()))
            for one in key.subkeys
            if one.public.fingerprint in signed or one.protection is not None
        ),
    )


def without_revocations(key: TransferableKey) -> TransferableKey:
    """Leave out revocations of the primary key and of subkeys.

    A revocation says not to use a key any more. Whether its secret was kept is another question, and
    the one that is asked here: old backups are encrypted to it whatever has happened since.
    """
    return replace(key, primary=unrevoked(key.primary), subkeys=tuple(map(unrevoked, key.subkeys)))


def unrevoked(component: Component) -> Component:
    """A primary key or subkey without the signatures that revoke it."""
    read = [(packet, sig.read_signature(packet.body)) for packet in component.signatures]
    kept = tuple(packet for packet, made in read if made is None or made.kind not in _REVOCATIONS)
    return replace(component, signatures=kept)


def _lasting(standing: ComponentValidity) -> tuple[bool, float]:
    return standing.expires is None, standing.expires.timestamp() if standing.expires else 0.0
