"""From a file's bytes to complete transferable keys.

An export may hold the same key twice: a private block without self-signatures, then a public block with
them, in either order. Both are merged here, component by component, matched by fingerprint, into one
complete transferable secret key (RFC 4880 section 11.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pipeline.core.errors import NotAKey, OrgkeyError, Unsupported
from pipeline.openpgp.format import armor
from pipeline.openpgp.format.material import read_public
from pipeline.openpgp.format.packets import (
    IDENTITIES,
    IGNORED,
    MESSAGES,
    PRIMARIES,
    SECRETS,
    SUBKEYS,
    Packet,
    Tag,
    join,
    parse,
)
from pipeline.openpgp.format.protection import read_protection
from pipeline.openpgp.format.signatures import KEY_REVOCATION, read_signature
from pipeline.openpgp.key.model import Component, KeyIdentity, TransferableKey, merge, union

MAX_BYTES = 4 << 20  # an Org Key with all its signatures has some ten kilobytes
MAX_SUBKEYS = 100  # each costs a string-to-key run
MAX_SIGNATURES = 1_000  # that claim to be the key's own, each of which is verified; real keys have a dozen
NOT_A_KEY_HINT = "give the file that `Export Keypair` of the Organization Key wrote"
MESSAGE_HINT = "a server backup is such a message; give the file that `Export Keypair` wrote"


@dataclass(frozen=True)
class KeyFile:
    """What a file holds.

    Attributes:
        keys: The keys, merged, in the order of their first appearance.
        problems: What in the file could not be read.
        notes: What was tolerated, for people.
    """

    keys: tuple[TransferableKey, ...] = ()
    problems: tuple[OrgkeyError, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Group:
    """The packets of one key in one block, while it is being read."""

    primary: Component
    direct: list[Packet] = field(default_factory=list)
    identities: list[tuple[Packet, list[Packet]]] = field(default_factory=list)
    subkeys: list[tuple[Component, list[Packet]]] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    problems: list[OrgkeyError] = field(default_factory=list)

    def finish(self) -> TransferableKey:
        return TransferableKey(
            replace(self.primary, signatures=tuple(self.direct)),
            tuple(KeyIdentity(packet, tuple(made)) for packet, made in self.identities),
            tuple(replace(one, signatures=tuple(made)) for one, made in self.subkeys),
            join(self.packets),
            problems=tuple(self.problems),
        )


def read_all(data: bytes) -> KeyFile:
    """Read all keys of a file. Never raises, whatever the bytes.

    Args:
        data: The whole file, armored or binary.
    """
    if len(data) > MAX_BYTES:
        size = f"the file has {len(data):,} bytes, more than any key"
        return KeyFile(problems=(NotAKey(size, hint=NOT_A_KEY_HINT),))
    text = armor.normalise(data)
    problems: list[OrgkeyError] = []
    groups: list[TransferableKey] = []
    strays: list[Packet] = []
    try:
        found = [one.data for one in armor.blocks(text.data)] if armor.is_armored(text.data) else [text.data]
        pieces = [piece for piece in found if piece]  # an armor block may be empty
        if not pieces or not pieces[0][0] & 0x80:
            raise NotAKey("there is no OpenPGP key in this file", hint=NOT_A_KEY_HINT)
    except NotAKey as error:
        return KeyFile(problems=(error,), notes=text.notes)
    for piece in pieces:
        try:
            packets = parse(piece)
        except NotAKey as error:
            problems.append(error)
            continue
        for one in _groups(packets, strays):
            if isinstance(one, TransferableKey):
                groups.append(one)
            else:
                problems.append(one)
    keys = _merge_all(groups, strays)
    if not keys and not problems:
        problems.append(NotAKey("there is no OpenPGP key in this file", hint=NOT_A_KEY_HINT))
    return KeyFile(tuple(keys), tuple(problems), text.notes)


def _groups(packets: list[Packet], strays: list[Packet]) -> Iterator[TransferableKey | OrgkeyError]:
    """Cut one block's packets into keys; signatures before the first key go to ``strays``."""
    group: _Group | None = None
    skipping = False
    for packet in packets:
        if packet.tag in IGNORED:
            continue
        if packet.tag in PRIMARIES:
            if group:
                yield group.finish()
            group, skipping = None, False
            try:
                group = _Group(_component(packet))
                group.packets.append(packet)
            except (NotAKey, Unsupported) as error:
                skipping = True
                yield error
        elif group:
            group.packets.append(packet)
            try:
                _add(group, packet)
            except Unsupported as error:
                group.problems.append(error)
            except NotAKey as error:
                yield error
        elif not skipping:
            if packet.tag == Tag.SIGNATURE:
                strays.append(packet)
                continue
            skipping = True
            if packet.tag in MESSAGES:
                yield NotAKey("this is an OpenPGP message, not a key", hint=MESSAGE_HINT)
            else:
                what = f"a packet with tag {packet.tag}"
                yield NotAKey(f"a key cannot begin with {what}", hint=armor.DAMAGED_HINT)
    if group:
        yield group.finish()


def _add(group: _Group, packet: Packet) -> None:
    if packet.tag == Tag.SIGNATURE:
        if group.subkeys:
            group.subkeys[-1][1].append(packet)
        elif group.identities:
            group.identities[-1][1].append(packet)
        else:
            group.direct.append(packet)
    elif packet.tag in IDENTITIES:
        group.identities.append((packet, []))
    elif packet.tag in SUBKEYS:
        if len(group.subkeys) == MAX_SUBKEYS:
            raise Unsupported(f"the key has more than {MAX_SUBKEYS} subkeys", hint="export one key only")
        try:
            group.subkeys.append((_component(packet), []))
        except Unsupported as error:
            raise Unsupported(f"a subkey cannot be handled: {error}", hint=error.hint) from error
    else:
        raise NotAKey(f"a packet with tag {packet.tag} is not part of a key", hint=armor.DAMAGED_HINT)


def _component(packet: Packet) -> Component:
    public = read_public(packet.body)
    if packet.tag not in SECRETS:
        if len(public.raw) != len(packet.body):
            raise NotAKey("a public key packet is longer than its numbers", hint=armor.DAMAGED_HINT)
        return Component(public, packet, None)
    return Component(public, packet, read_protection(packet.body, len(public.raw)))


def _merge_all(groups: list[TransferableKey], strays: list[Packet]) -> list[TransferableKey]:
    merged: dict[str, TransferableKey] = {}
    for group in groups:
        known = merged.get(group.fingerprint)
        merged[group.fingerprint] = merge(known, group) if known else group
    return [_bounded(_with_strays(key, strays)) for key in merged.values()]


class Flooded(Unsupported):
    """A key carries more signatures in its own name than can be judged."""


def _bounded(key: TransferableKey) -> TransferableKey:
    """Refuse a key with too many signatures to judge: what is not looked at could be its revocation."""
    own = ("", key.primary.public.key_id)
    packets = [packet for component in key.components for packet in component.signatures]
    packets += [packet for identity in key.identities for packet in identity.signatures]
    if len(packets) <= MAX_SIGNATURES:
        return key
    count = sum(1 for packet in packets if (made := read_signature(packet.body)) and made.issuer in own)
    if count <= MAX_SIGNATURES:
        return key
    error = Flooded(
        f"the key has more than {MAX_SIGNATURES} signatures in its own name",
        hint="somebody has filled it up: take it from its owner again, not from a key server",
    )
    return replace(key, problems=(*key.problems, error))


def _with_strays(key: TransferableKey, strays: list[Packet]) -> TransferableKey:
    """Add revocations that stand before any key: that is how revocation certificates are exported."""
    mine = []
    for packet in strays:
        made = read_signature(packet.body)
        if made and made.kind == KEY_REVOCATION and made.issuer == key.primary.public.key_id:
            mine.append(packet)
    if not mine:
        return key
    primary = replace(key.primary, signatures=union(key.primary.signatures, mine))
    return replace(key, primary=primary, raw=key.raw + join(mine))


def read_one(data: bytes, what: str) -> TransferableKey:
    """Read bytes that hold exactly one key.

    Args:
        data: Armored or binary.
        what: What it is, for messages.

    Raises:
        NotAKey: It is damaged, or holds no key or several.
        Unsupported: A form that cannot be handled.
        Incomplete: It holds no secret key packet.
    """
    reading = read_all(data)
    problems = (*reading.problems, *(problem for key in reading.keys for problem in key.problems))
    if problems:
        raise problems[0]
    if len(reading.keys) != 1:
        raise NotAKey(f"{what} holds {len(reading.keys)} keys, not one", hint=armor.DAMAGED_HINT)
    return reading.keys[0]
