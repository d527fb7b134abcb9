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
_REVOCATIONS = frozenset({sig.KEY_REVOCATION, sig.SUBKEY_REVOCATION, sig.CERTIFICATION_REVOCATION})


@dataclass(frozen=True)
class ComponentValidity:
    """What self-signatures say of one key or subkey.

    Attributes:
        bound: Whether any genuine self-signature counts now.
        later: Whether there are genuine ones, all made later than now.
        flags: What it may do (RFC 4880 section 5.2.3.21).
        expires: When it expires, if ever.
        revoked: Whether it has been revoked, at whatever time.
        weak: Whether the self-signature that counts uses SHA-1.
        ciphers: The ciphers that it prefers, by their ids.
    """

    bound: bool = False
    later: bool = False
    flags: int = 0
    expires: datetime | None = None
    revoked: bool = False
    weak: bool = False
    ciphers: tuple[int, ...] = ()

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


@dataclass
class _Checker:
    """Verifies a key's self-signatures; :mod:`pipeline.openpgp.key.parsing` bounds their number."""

    primary: PublicPart
    refused: int = 0
    discounted: list[str] = field(default_factory=list)

    def genuine(self, packets: Iterable[Packet], kinds: frozenset[int], data: bytes) -> list[Signature]:
        found = []
        for packet in packets:
            made = sig.read_signature(packet.body)
            if made is None or made.kind not in kinds or made.issuer not in ("", self.primary.key_id):
                continue
            if not sig.holds(made, self.primary, data):
                self.refused += 1
            elif made.unknown:
                self.discounted += [f"carry the critical {one}, {_NOT_UNDERSTOOD}" for one in made.unknown]
            elif not made.issuer and made.kind not in _REVOCATIONS:
                self.discounted.append("do not name who made them, which GnuPG and PGPy demand")
            else:
                found.append(made)
        return found

    def identity(self, identity: KeyIdentity) -> list[Signature]:
        kinds = sig.CERTIFICATIONS | {sig.CERTIFICATION_REVOCATION}
        found = []
        for packet in identity.signatures:
            made = sig.read_signature(packet.body)
            version = made.version if made else 4
            body = sig.hashed_identity(identity.packet.tag, identity.packet.body, version=version)
            found += self.genuine((packet,), kinds, sig.hashed_key(self.primary) + body)
        return found


def judge(key: TransferableKey, now: datetime | None) -> KeyValidity:
    """Evaluate all self-signatures of a key.

    Args:
        key: The merged key.
        now: The time that decides which signatures count; none: all do, the newest decides.
    """
    checker = _Checker(key.primary.public)
    certifications = [checker.identity(identity) for identity in key.identities]
    identities = tuple(_certified(made, now) for made in certifications)
    notes: list[str] = []
    primary = _primary(key, checker, certifications, identities, now, notes)
    subkeys = tuple(_subkey(subkey, checker, now, notes) for subkey in key.subkeys)
    unsigned = identities.count(False)
    if unsigned and primary.bound:
        # An Organization Certificate's user id is one: its signature is the certificate.
        notes.append(f"user ids or attributes without a self-signature that counts: {unsigned}")
    if checker.refused:
        notes.append(f"{checker.refused} self-signatures do not verify and were not counted")
    if primary.weak or any(one.weak for one in subkeys):
        notes.append("self-signatures use SHA-1, which some programs (Sequoia) refuse by policy")
    discounted = tuple(dict.fromkeys(checker.discounted))
    notes += [f"some self-signatures do not count: they {reason}" for reason in discounted]
    return KeyValidity(primary, subkeys, identities, tuple(notes), discounted)


@dataclass(frozen=True)
class OwnSignatures:
    """The packets of a key that the key itself has made, as far as they verify.

    Attributes:
        direct: On the primary key.
        identities: On each user id and attribute.
        subkeys: On each subkey.
    """

    direct: tuple[Packet, ...]
    identities: tuple[tuple[Packet, ...], ...]
    subkeys: tuple[tuple[Packet, ...], ...]


def own_signatures(key: TransferableKey) -> OwnSignatures:
    """Sort out the genuine self-signatures of a key, revocations included."""
    checker = _Checker(key.primary.public)
    head = sig.hashed_key(key.primary.public)

    def genuine(packets: Iterable[Packet], kinds: frozenset[int], data: bytes) -> tuple[Packet, ...]:
        return tuple(packet for packet in packets if checker.genuine((packet,), kinds, data))

    return OwnSignatures(
        genuine(key.primary.signatures, frozenset({sig.DIRECT, sig.KEY_REVOCATION}), head),
        tuple(
            tuple(
                packet
                for packet in identity.signatures
                if checker.identity(KeyIdentity(identity.packet, (packet,)))
            )
            for identity in key.identities
        ),
        tuple(
            genuine(
                subkey.signatures,
                frozenset({sig.SUBKEY_BINDING, sig.SUBKEY_REVOCATION}),
                head + sig.hashed_key(subkey.public),
            )
            for subkey in key.subkeys
        ),
    )


def own_part(key: TransferableKey) -> TransferableKey:
    """Reduce a key to what it has signed itself: its own signatures, and the parts that have one.

    Anybody can add the rest to a key that a server gives out. A revocation by a designated revoker stays.
    """
    own = own_signatures(key)
    certifications = [packet for made in own.identities for packet in made]
    named = _revokers(
        one for packet in (*own.direct, *certifications) if (one := sig.read_signature(packet.body))
    )
    direct = tuple(
        packet for packet in key.primary.signatures if packet in own.direct or _revokes(packet, named)
    )
    return replace(
        key,
        primary=replace(key.primary, signatures=direct),
        identities=tuple(
            KeyIdentity(identity.packet, made)
            for identity, made in zip(key.identities, own.identities, strict=True)
            if made
        ),
        subkeys=tuple(
            replace(subkey, signatures=made)
            for subkey, made in zip(key.subkeys, own.subkeys, strict=True)
            if made
        ),
    )


def _newest(made: Iterable[Signature], now: datetime | None) -> Signature | None:
    alive = [one for one in made if one.alive(now)]
    return max(alive, key=lambda one: one.created) if alive else None


def _certified(made: list[Signature], now: datetime | None) -> bool:
    newest = _newest((one for one in made if one.kind in sig.CERTIFICATIONS), now)
    revoked = _newest((one for one in made if one.kind == sig.CERTIFICATION_REVOCATION), None)
    return newest is not None and (revoked is None or revoked.created < newest.created)


def _primary(
    key: TransferableKey,
    checker: _Checker,
    certifications: list[list[Signature]],
    identities: tuple[bool, ...],
    now: datetime | None,
    notes: list[str],
) -> ComponentValidity:
    public = key.primary.public
    kinds = frozenset({sig.DIRECT, sig.KEY_REVOCATION})
    direct = checker.genuine(key.primary.signatures, kinds, sig.hashed_key(public))
    bindings = [one for one in direct if one.kind == sig.DIRECT]
    for made, counts in zip(certifications, identities, strict=True):
        if counts:
            bindings += [one for one in made if one.kind in sig.CERTIFICATIONS]
    revoked = any(one.kind == sig.KEY_REVOCATION for one in direct)
    if not revoked and _revoked_by_another(key, [*direct, *bindings]):
        revoked = True
        notes.append("a designated revoker has revoked the key; that signature cannot be verified here")
    chosen = _newest(bindings, now)
    every = [one for made in certifications for one in made if one.kind in sig.CERTIFICATIONS]
    if chosen is None:
        return ComponentValidity(
            later=now is not None and any(one.created > now for one in every), revoked=revoked
        )
    default = (sig.CERTIFY | sig.SIGN if public.can_sign else 0) | (sig.ENCRYPT if public.can_encrypt else 0)
    return _standing(public, chosen, default, revoked=revoked)


def _revoked_by_another(key: TransferableKey, made: list[Signature]) -> bool:
    """Whether somebody whom the key names as revoker has revoked it, as far as key ids tell."""
    named = _revokers(made)
    return bool(named) and any(_revokes(packet, named) for packet in key.primary.signatures)


def _revokers(made: Iterable[Signature]) -> frozenset[str]:
    return frozenset(
        data[-8:].hex().upper()
        for one in made
        for kind, data in one.hashed
        if kind == sig.REVOKER and len(data) == 22
    )


def _revokes(packet: Packet, named: frozenset[str]) -> bool:
    made = sig.read_signature(packet.body)
    return made is not None and made.kind == sig.KEY_REVOCATION and made.issuer in named


def _subkey(
    subkey: Component, checker: _Checker, now: datetime | None, notes: list[str]
) -> ComponentValidity:
    public = subkey.public
    data = sig.hashed_key(checker.primary) + sig.hashed_key(public)
    kinds = frozenset({sig.SUBKEY_BINDING, sig.SUBKEY_REVOCATION})
    made = checker.genuine(subkey.signatures, kinds, data)
    bindings = [one for one in made if one.kind == sig.SUBKEY_BINDING]
    revoked = any(one.kind == sig.SUBKEY_REVOCATION for one in made)
    chosen = _newest(bindings, now)
    if chosen is None:
        return ComponentValidity(
            later=now is not None and any(one.created > now for one in bindings), revoked=revoked
        )
    default = (sig.SIGN if public.can_sign else 0) | (sig.ENCRYPT if public.can_encrypt else 0)
    standing = _standing(public, chosen, default, revoked=revoked)
    if standing.flags & sig.SIGN and not _signed_back(chosen, public, data):
        if chosen.flags is not None:
            notes.append(f"the signing subkey {public.key_id} has not signed for the primary key")
        return replace(standing, flags=standing.flags & ~sig.SIGN)
    return standing


def _signed_back(binding: Signature, subkey: PublicPart, data: bytes) -> bool:
    for kind, body in (*binding.hashed, *binding.unhashed):
        if kind == sig.EMBEDDED:
            made = sig.read_signature(body)
            if made and made.kind == sig.PRIMARY_BINDING and sig.verify(made, subkey, data):
                return True
    return False


def _standing(public: PublicPart, chosen: Signature, default: int, *, revoked: bool) -> ComponentValidity:
    lifetime = chosen.span(sig.KEY_EXPIRES)
    flags = default if chosen.flags is None else chosen.flags
    if not public.can_encrypt:
        flags &= ~sig.ENCRYPT
    if not public.can_sign:
        flags &= ~(sig.SIGN | sig.CERTIFY)
    return ComponentValidity(
        True,
        False,
        flags,
        None if lifetime is None else public.created + lifetime,
        revoked,
        chosen.digest == 2,
        tuple(chosen.first(sig.CIPHERS) or b""),
    )


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
