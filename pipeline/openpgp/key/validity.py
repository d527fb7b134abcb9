"""What genuine self-signatures say: which parts are bound, what they may do, until when, and revocations.

Only signatures that verify count. A third party's are carried along and never looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipeline.openpgp.format import signatures as sig
from pipeline.openpgp.format.material import PublicPart
from pipeline.openpgp.format.packets import Packet, Tag
from pipeline.openpgp.format.signatures import Signature
from pipeline.openpgp.key.model import Component, KeyIdentity, TransferableKey

_NOT_UNDERSTOOD = "which this and most programs do not understand"
_ON_PRIMARY = frozenset({sig.DIRECT, sig.KEY_REVOCATION})
_ON_IDENTITIES = sig.CERTIFICATIONS | {sig.CERTIFICATION_REVOCATION}
_ON_SUBKEYS = frozenset({sig.SUBKEY_BINDING, sig.SUBKEY_REVOCATION})
_REVOCATIONS = frozenset({sig.KEY_REVOCATION, sig.SUBKEY_REVOCATION, sig.CERTIFICATION_REVOCATION})


@dataclass(frozen=True)
class ComponentValidity:
    """What self-signatures say of one key or subkey.

    Attributes:
        component: The key or subkey.
        bound: Whether any genuine self-signature counts now.
        later: Whether there are genuine ones, all made later than now.
        flags: What it may do (RFC 4880 section 5.2.3.21).
        expires: When it expires, if ever.
        revoked: Whether it has been revoked, at whatever time.
        weak: Whether the self-signature that counts uses SHA-1.
        ciphers: The ciphers that it prefers, by their ids.
    """

    component: Component = field(repr=False)
    bound: bool = False
    later: bool = False
    flags: int = 0
    expires: datetime | None = None
    revoked: bool = False
    weak: bool = False
    ciphers: tuple[int, ...] = ()

    @property
    def public(self) -> PublicPart:
        """The public part of that key or subkey."""
        return self.component.public

    def expired(self, now: datetime) -> bool:
        """Whether it has expired."""
        return self.expires is not None and self.expires <= now

    def usable(self, need: int) -> bool:
        """Whether it is bound, unrevoked and flagged for a use; time aside."""
        return self.bound and not self.revoked and bool(self.flags & need)


@dataclass(frozen=True)
class KeyValidity:
    """What self-signatures say of a whole key at a time.

    Attributes:
        primary: Of the primary key.
        subkeys: Of each subkey, in their order.
        identities: For each user id and attribute, whether a genuine unrevoked certification counts.
        notes: For people.
        discounted: Why genuine self-signatures do not count, each in words that follow "they".
    """

    primary: ComponentValidity
    subkeys: tuple[ComponentValidity, ...]
    identities: tuple[bool, ...]
    notes: tuple[str, ...] = ()
    discounted: tuple[str, ...] = ()

    @property
    def standings(self) -> tuple[ComponentValidity, ...]:
        """The primary key's and the subkeys'."""
        return (self.primary, *self.subkeys)


def judge(key: TransferableKey, now: datetime | None) -> KeyValidity:
    """Evaluate all self-signatures of a key.

    Args:
        key: The merged key.
        now: The time that decides which signatures count; none: all do, the newest decides.
    """
    found = _Judge(key, now)
    certifications = [_made(found.on_identity(identity)) for identity in key.identities]
    identities = tuple(found.certified(made) for made in certifications)
    primary = found.primary(certifications, identities)
    subkeys = tuple(map(found.subkey, key.subkeys))
    notes = found.notes
    unsigned = identities.count(False)
    if unsigned and primary.bound:
        # An Organization Certificate's user id is one: its signature is the certificate.
        notes.append(f"user ids or attributes without a self-signature that counts: {unsigned}")
    if found.refused:
        notes.append(f"{found.refused} self-signatures do not verify and were not counted")
    if primary.weak or any(one.weak for one in subkeys):
        notes.append("self-signatures use SHA-1, which some programs (Sequoia) refuse by policy")
    discounted = tuple(dict.fromkeys(found.discounted))
    notes += [f"some self-signatures do not count: they {reason}" for reason in discounted]
    return KeyValidity(primary, subkeys, identities, tuple(notes), discounted)


def own_part(key: TransferableKey) -> TransferableKey:
    """Reduce a key to what it has signed itself: its own signatures, and the parts that have one.

    Anybody can add the rest to a key that a server gives out. A revocation by a designated revoker stays.
    """
    judged = _Judge(key)

    def packets(found: Iterable[_Genuine]) -> tuple[Packet, ...]:
        return tuple(packet for packet, _ in found)

    direct = judged.on_primary()
    certifications = [judged.on_identity(one) for one in key.identities]
    named = _revokers(_made(one for found in (direct, *certifications) for one in found))
    own = packets(direct)
    kept = tuple(one for one in key.primary.signatures if one in own or _revokes(one, named))
    identities = (
        replace(one, signatures=packets(found))
        for one, found in zip(key.identities, certifications, strict=True)
    )
    subkeys = (replace(one, signatures=packets(judged.on_subkey(one))) for one in key.subkeys)
    return replace(
        key,
        primary=replace(key.primary, signatures=kept),
        identities=tuple(one for one in identities if one.signatures),
        subkeys=tuple(one for one in subkeys if one.signatures),
    )


_Genuine = tuple[Packet, Signature]


def _made(found: Iterable[_Genuine]) -> list[Signature]:
    return [made for _, made in found]


class _Judge:
    """Verifies a key's self-signatures; :mod:`pipeline.openpgp.key.parsing` bounds their number."""

    def __init__(self, key: TransferableKey, now: datetime | None = None) -> None:
        self.key = key
        self.now = now
        self.head = sig.hashed_key(key.primary.public)
        self.refused = 0
        self.discounted: list[str] = []
        self.notes: list[str] = []

    def genuine(self, packets: Iterable[Packet], kinds: frozenset[int], data: bytes) -> list[_Genuine]:
        found = []
        primary = self.key.primary.public
        for packet in packets:
            made = sig.read_signature(packet.body)
            if made is None or made.kind not in kinds or made.issuer not in ("", primary.key_id):
                continue
            if not sig.holds(made, primary, data):
                self.refused += 1
            elif made.unknown:
                self.discounted += [f"carry the critical {one}, {_NOT_UNDERSTOOD}" for one in made.unknown]
            elif not made.issuer and made.kind not in _REVOCATIONS:
                self.discounted.append("do not name who made them, which GnuPG and PGPy demand")
            else:
                found.append((packet, made))
        return found

    def on_primary(self) -> list[_Genuine]:
        return self.genuine(self.key.primary.signatures, _ON_PRIMARY, self.head)

    def on_identity(self, identity: KeyIdentity) -> list[_Genuine]:
        found = []
        tag, body = identity.packet.tag, identity.packet.body
        for packet in identity.signatures:
            made = sig.read_signature(packet.body)
            data = self.head + sig.hashed_identity(tag, body, version=made.version if made else 4)
            found += self.genuine((packet,), _ON_IDENTITIES, data)
        return found

    def on_subkey(self, subkey: Component) -> list[_Genuine]:
        return self.genuine(subkey.signatures, _ON_SUBKEYS, self.head + sig.hashed_key(subkey.public))

    def newest(self, made: Iterable[Signature]) -> Signature | None:
        """Of the signatures that count now the one that was made last."""
        return max((one for one in made if one.alive(self.now)), key=lambda one: one.created, default=None)

    def certified(self, made: list[Signature]) -> bool:
        newest = self.newest(one for one in made if one.kind in sig.CERTIFICATIONS)
        revoked = [one.created for one in made if one.kind == sig.CERTIFICATION_REVOCATION]
        return newest is not None and all(moment < newest.created for moment in revoked)

    def primary(
        self, certifications: list[list[Signature]], identities: tuple[bool, ...]
    ) -> ComponentValidity:
        direct = _made(self.on_primary())
        bindings = [one for one in direct if one.kind == sig.DIRECT]
        for made, counts in zip(certifications, identities, strict=True):
            if counts:
                bindings += [one for one in made if one.kind in sig.CERTIFICATIONS]
        revoked = any(one.kind == sig.KEY_REVOCATION for one in direct)
        named = _revokers([*direct, *bindings])
        if not revoked and any(_revokes(packet, named) for packet in self.key.primary.signatures):
            revoked = True
            told = "a designated revoker has revoked the key; that signature cannot be verified here"
            self.notes.append(told)
        every = [one for made in certifications for one in made if one.kind in sig.CERTIFICATIONS]
        default = sig.CERTIFY | sig.SIGN | sig.ENCRYPT
        return self.standing(self.key.primary, self.newest(bindings), every, default, revoked=revoked)

    def subkey(self, subkey: Component) -> ComponentValidity:
        public = subkey.public
        made = _made(self.on_subkey(subkey))
        bindings = [one for one in made if one.kind == sig.SUBKEY_BINDING]
        revoked = any(one.kind == sig.SUBKEY_REVOCATION for one in made)
        chosen = self.newest(bindings)
        standing = self.standing(subkey, chosen, bindings, sig.SIGN | sig.ENCRYPT, revoked=revoked)
        data = self.head + sig.hashed_key(public)
        if chosen and standing.flags & sig.SIGN and not _signed_back(chosen, public, data):
            if chosen.flags is not None:
                self.notes.append(f"the signing subkey {public.key_id} has not signed for the primary key")
            return replace(standing, flags=standing.flags & ~sig.SIGN)
        return standing

    def standing(
        self,
        component: Component,
        chosen: Signature | None,
        every: Iterable[Signature],
        default: int,
        *,
        revoked: bool,
    ) -> ComponentValidity:
        """What the signature that counts says; where none does, whether some are from the future."""
        if chosen is None:
            later = self.now is not None and any(one.created > self.now for one in every)
            return ComponentValidity(component, later=later, revoked=revoked)
        public = component.public
        lifetime = chosen.span(sig.KEY_EXPIRES)
        flags = default if chosen.flags is None else chosen.flags
        if not public.can_encrypt:
            flags &= ~sig.ENCRYPT
        if not public.can_sign:
            flags &= ~(sig.SIGN | sig.CERTIFY)
        return ComponentValidity(
            component,
            bound=True,
            flags=flags,
            expires=None if lifetime is None else public.created + lifetime,
            revoked=revoked,
            weak=chosen.digest == 2,
            ciphers=tuple(chosen.first(sig.CIPHERS) or b""),
        )


def _revokers(made: Iterable[Signature]) -> frozenset[str]:
    """Key ids of those who may revoke the key in its name."""
    return frozenset(
        data[-8:].hex().upper()
        for one in made
        for kind, data in one.hashed
        if kind == sig.REVOKER and len(data) == 22
    )


def _revokes(packet: Packet, named: frozenset[str]) -> bool:
    made = sig.read_signature(packet.body) if named else None
    return made is not None and made.kind == sig.KEY_REVOCATION and made.issuer in named


def _signed_back(binding: Signature, subkey: PublicPart, data: bytes) -> bool:
    for kind, body in (*binding.hashed, *binding.unhashed):
        if kind == sig.EMBEDDED:
            made = sig.read_signature(body)
            if made and made.kind == sig.PRIMARY_BINDING and sig.verify(made, subkey, data):
                return True
    return False


def user_ids(key: TransferableKey) -> list[str]:
    """The user ids as text that is safe to print; user attributes are not among them."""
    return [
        printable(identity.packet.body) for identity in key.identities if identity.packet.tag == Tag.USER_ID
    ]


def printable(raw: bytes) -> str:
    """Text of unknown origin, without anything that a terminal would obey."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
