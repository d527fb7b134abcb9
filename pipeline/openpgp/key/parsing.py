"""From a file's bytes to complete transferable keys.

An export may hold the same key twice: a private block without self-signatures, then a public block with
them, in either order. Both are merged here, component by component, matched by fingerprint, into one
complete transferable secret key (RFC 4880 section 11.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

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
ARCHIVES = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR"}
"""How archives begin, in which people send files; a part of what is inside may be readable as it stands."""
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


def read_all(data: bytes) -> KeyFile:
    """Read all keys of a file. Never raises, whatever the bytes.

    Args:
        data: The whole file, armored or binary.
    """
    if len(data) > MAX_BYTES:
        size = f"the file has {len(data):,} bytes, more than any key"
        return KeyFile(problems=(NotAKey(size, hint=NOT_A_KEY_HINT),))
    if archive := next((name for begins, name in ARCHIVES.items() if data.startswith(begins)), None):
        told = f"the file is a {archive} archive"
        return KeyFile(problems=(NotAKey(told, hint="unpack it, and give the keypair export inside"),))
    data, notes = armor.normalise(data)
    problems: list[OrgkeyError] = []
    keys: list[TransferableKey] = []
    strays: list[Packet] = []
    try:
        found = armor.blocks(data) if armor.is_armored(data) else [data]
        pieces = [piece for piece in found if piece]  # an armor block may be empty
        if not pieces or not pieces[0][0] & 0x80:
            raise NotAKey("there is no OpenPGP key in this file", hint=NOT_A_KEY_HINT)
    except NotAKey as error:
        return KeyFile(problems=(error,), notes=notes)
    for piece in pieces:
        try:
            packets = [packet for packet in parse(piece) if packet.tag not in IGNORED]
        except NotAKey as error:
            problems.append(error)
            continue
        starts = [at for at, packet in enumerate(packets) if packet.tag in PRIMARIES]
        ends = [*starts, len(packets)]
        _read_head(packets[: ends[0]], strays, problems)
        keys += filter(None, (_read_key(packets[a:b], problems) for a, b in pairwise(ends)))
    merged = _merge_all(keys, strays)
    if not merged and not problems:
        problems.append(NotAKey("there is no OpenPGP key in this file", hint=NOT_A_KEY_HINT))
    return KeyFile(tuple(merged), tuple(problems), notes)


def _read_head(packets: list[Packet], strays: list[Packet], problems: list[OrgkeyError]) -> None:
    """Take signatures that stand before any key to ``strays``, up to what cannot stand there."""
    for packet in packets:
        if packet.tag == Tag.SIGNATURE:
            strays.append(packet)
            continue
        if packet.tag in MESSAGES:
            problems.append(NotAKey("this is an OpenPGP message, not a key", hint=MESSAGE_HINT))
        else:
            told = f"a key cannot begin with a packet with tag {packet.tag}"
            problems.append(NotAKey(told, hint=armor.DAMAGED_HINT))
        return


def _read_key(packets: list[Packet], problems: list[OrgkeyError]) -> TransferableKey | None:
    """Read the packets of one key in one block; what cannot be read goes to ``problems``."""
    own: list[OrgkeyError] = []
    try:
        primary = _component(packets[0])
    except (NotAKey, Unsupported) as error:
        problems.append(error)
        return None
    signatures: list[Packet] = []
    parts: list[tuple[Component | KeyIdentity, list[Packet]]] = [(primary, signatures)]
    subkeys = 0
    for packet in packets[1:]:
        if packet.tag == Tag.SIGNATURE:
            parts[-1][1].append(packet)
        elif packet.tag in IDENTITIES:
            parts.append((KeyIdentity(packet), []))
        elif packet.tag not in SUBKEYS:
            told = f"a packet with tag {packet.tag} is not part of a key"
            problems.append(NotAKey(told, hint=armor.DAMAGED_HINT))
        elif subkeys == MAX_SUBKEYS:
            told = f"the key has more than {MAX_SUBKEYS} subkeys"
            own.append(Unsupported(told, hint="export one key only"))
        else:
            try:
                parts.append((_component(packet), []))
                subkeys += 1
            except Unsupported as error:
                own.append(Unsupported(f"a subkey cannot be handled: {error}", hint=error.hint))
            except NotAKey as error:
                problems.append(error)
    done = [replace(part, signatures=tuple(made)) for part, made in parts[1:]]
    return TransferableKey(
        replace(primary, signatures=tuple(signatures)),
        tuple(part for part in done if isinstance(part, KeyIdentity)),
        tuple(part for part in done if isinstance(part, Component)),
        join(packets),
        problems=tuple(own),
    )


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
    packets = key.signatures
    if len(packets) > MAX_SIGNATURES:  # most are others', which are not judged
        packets = [one for one in packets if (made := read_signature(one.body)) and made.issuer in own]
    if len(packets) <= MAX_SIGNATURES:
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
