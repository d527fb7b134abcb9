"""A transferable key: its components, identities and signatures, merged from all that a file holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pipeline.core.errors import Incomplete, OrgkeyError, Unsupported
from pipeline.openpgp.format.material import UNSUPPORTED_HINT, PublicPart
from pipeline.openpgp.format.packets import Packet, Tag, build, join
from pipeline.openpgp.format.protection import Protection, ProtectionState


@dataclass(frozen=True)
class Component:
    """A primary key or subkey with all that is known of it.

    Attributes:
        public: Its public part.
        signatures: Signature packets that follow it.
        packet: The secret packet, or the public one where there is none.
        protection: How the secret part is protected; none without a secret packet.
    """

    public: PublicPart
    packet: Packet
    protection: Protection | None
    signatures: tuple[Packet, ...] = ()

    @property
    def state(self) -> ProtectionState | None:
        """What its secret part is; ``None`` without a secret packet."""
        return self.protection.state if self.protection else None

    @property
    def secret_here(self) -> bool:
        """Whether secret numbers are in the file, in whatever protection."""
        return self.state not in (None, ProtectionState.DUMMY, ProtectionState.CARD)


@dataclass(frozen=True)
class KeyIdentity:
    """A user id or user attribute with its signatures."""

    packet: Packet
    signatures: tuple[Packet, ...] = ()


@dataclass(frozen=True)
class TransferableKey:
    """One transferable key, merged from all its blocks.

    Attributes:
        primary: The primary key; its signatures are direct ones and revocations.
        identities: User ids and attributes, in their order.
        subkeys: In their order.
        raw: The packets as they came in, one block's after the other's.
        parts: How many blocks it was merged from.
        problems: Parts of it that cannot be handled.
    """

    primary: Component
    identities: tuple[KeyIdentity, ...]
    subkeys: tuple[Component, ...]
    raw: bytes = field(repr=False)
    parts: int = 1
    problems: tuple[OrgkeyError, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The primary key's fingerprint."""
        return self.primary.public.fingerprint

    @property
    def components(self) -> tuple[Component, ...]:
        """The primary key and the subkeys."""
        return (self.primary, *self.subkeys)

    @property
    def has_secret(self) -> bool:
        """Whether any component came in a secret key packet."""
        return any(component.protection is not None for component in self.components)

    @property
    def signatures(self) -> list[Packet]:
        """All signatures of the key."""
        parts: list[Component | KeyIdentity] = [*self.components, *self.identities]
        return [packet for part in parts for packet in part.signatures]

    def packets(self, keys: Iterable[Packet]) -> list[Packet]:
        """Write the key down in the order of RFC 4880 section 11, with these key packets.

        Args:
            keys: One packet for each of :attr:`components`, in their order.
        """
        supply = iter(keys)
        found = [next(supply), *self.primary.signatures]
        for identity in self.identities:
            found += [identity.packet, *identity.signatures]
        for subkey, packet in zip(self.subkeys, supply, strict=True):
            found += [packet, *subkey.signatures]
        return found

    def public(self) -> bytes:
        """The transferable public key, binary."""
        tags: dict[int, int] = {Tag.SECRET_KEY: Tag.PUBLIC_KEY, Tag.SECRET_SUBKEY: Tag.PUBLIC_SUBKEY}
        return join(
            self.packets(
                build(
                    tags.get(one.packet.tag, one.packet.tag),
                    one.public.raw,
                    new_format=one.packet.new_format,
                )
                for one in self.components
            )
        )


def merge(one: TransferableKey, other: TransferableKey) -> TransferableKey:
    """Merge two forms of the same key: every component, identity and signature of both, once.

    The order is that of the form which has the secrets, then what only the other has.
    """
    first, second = (one, other) if one.has_secret or not other.has_secret else (other, one)
    identities = {identity.packet.body: identity for identity in first.identities}
    for identity in second.identities:
        known = identities.get(identity.packet.body)
        identities[identity.packet.body] = (
            replace(known, signatures=union(known.signatures, identity.signatures)) if known else identity
        )
    subkeys = {subkey.public.fingerprint: subkey for subkey in first.subkeys}
    for subkey in second.subkeys:
        mine = subkeys.get(subkey.public.fingerprint)
        subkeys[subkey.public.fingerprint] = _merge_component(mine, subkey) if mine else subkey
    return TransferableKey(
        _merge_component(first.primary, second.primary),
        tuple(identities.values()),
        tuple(subkeys.values()),
        one.raw + other.raw,
        one.parts + other.parts,
        (*one.problems, *other.problems),
    )


_PREFERENCE = (
    ProtectionState.PROTECTED,
    ProtectionState.UNPROTECTED,
    ProtectionState.UNSUPPORTED,
    ProtectionState.CARD,
    ProtectionState.DUMMY,
    None,
)


def _merge_component(one: Component, other: Component) -> Component:
    best = min(one, other, key=lambda part: _PREFERENCE.index(part.state))  # the first of two equal ones
    return replace(best, signatures=union(one.signatures, other.signatures))


def union(one: Iterable[Packet], other: Iterable[Packet]) -> tuple[Packet, ...]:
    """Signatures of both, each once, in their order."""
    found: dict[bytes, Packet] = {}
    for packet in (*one, *other):
        found.setdefault(packet.body, packet)
    return tuple(found.values())


def require_secret(key: TransferableKey) -> None:
    """Demand that every component has its secret numbers here, in a form that can be opened.

    Raises:
        Unsupported: A protection that cannot be handled.
        Incomplete: A secret is elsewhere, or missing.
    """
    for component in key.components:
        if component.protection is None or not component.secret_here:
            raise Incomplete(
                f"the secret part of {component.public.key_id} is missing",
                hint="this copy cannot restore the key; use another",
            )
        if component.protection.state is ProtectionState.UNSUPPORTED:
            raise Unsupported(
                f"{component.public.key_id} is {component.protection.problem}", hint=UNSUPPORTED_HINT
            )
