"""What vouches for a ledger from outside: heads, drill certificates, mirrors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from pipeline.core import files
from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import Code, IntegrityProblem, LocalFilesProblem, OrgkeyError, UsageProblem
from pipeline.core.isolation import isolated
from pipeline.evidence import verify as checking
from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger.entry import Head
from pipeline.evidence.ledger.verify import Claim
from pipeline.storage.ledger_mirror import HOST, Mirror

_HEAD = re.compile(r"([0-9]{1,9}):(?:sha256:)?([0-9a-fA-F]{64})")
_LARGEST: Final = 8 << 20
MOST: Final = 100_000
"""Entries of a mirror that are read at most; a busy host makes some thousands a year."""
MOST_HOSTS: Final = 64
"""Hosts whose chains are read at most."""
_TOGETHER: Final = 256
"""So many of them are under way at a time."""


@dataclass(frozen=True)
class Certified:
    """What a drill certificate says of the ledger.

    Attributes:
        fingerprint: The key's.
        head: The head of the host's chain when the drill was made.
        host: The host-id; ``None`` in a certificate of 0.1.
        body: The statement, for its signature.
    """

    fingerprint: str
    head: Head
    host: str | None
    body: bytes


def head(text: str) -> Claim:
    """Read ``N:SHA256``.

    Raises:
        UsageProblem: It is malformed.
    """
    match = _HEAD.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise UsageProblem(
            f"{text!r} is not a head",
            hint="write the entry's number, which is at least 1, a colon and its SHA-256: 42:9f86d0…",
        )
    return Claim(int(match[1]), frozenset({match[2].lower()}), f"the head {int(match[1])}")


def certificate(path: Path) -> Certified:
    """Read a drill certificate. Its signature is not checked here.

    Raises:
        LocalFilesProblem: It cannot be read.
        IntegrityProblem: It is not a certificate of a drill.
    """
    body = read_file(path)
    try:
        _, told = checking.contents(body)
        number, digest = told["ledger_head"]["sequence"], told["ledger_head"]["sha256"]
        host = told["ledger_head"].get("host")
        if type(number) is not int or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError
        named = host if isinstance(host, str) and HOST.fullmatch(host) else None
        return Certified(str(told["fingerprint"]), Head(number, Digest("sha256", digest)), named, body)
    except (IntegrityProblem, ValueError, KeyError, TypeError):
        raise IntegrityProblem(
            f"{path} is not a certificate of a drill, or is damaged",
            hint="name the statement itself, the file that ends in .json",
        ) from None


def read_file(path: Path) -> bytes:
    """Read a small regular file.

    Raises:
        LocalFilesProblem: It cannot be read, or is not a file, or is too large.
    """
    with files.os_errors(f"cannot read {path}", hint="check the name and its permissions"):
        data = files.read_regular(path, _LARGEST)
    if data is None or len(data) > _LARGEST:
        raise LocalFilesProblem(f"{path} is not a file of a few kilobytes", hint="name the right file")
    return data


def heads(place: Mirror) -> list[Claim]:
    """What a place for heads says.

    Raises:
        OrgkeyError: The place cannot be read.
    """
    what = f"the head in {place.name}"
    claims = (
        head_at(place, host, number, handles, what)
        for host in place.hosts()[:MOST_HOSTS]
        for number, handles in place.listing(host, 0).items()
    )
    return [claim for claim in claims if claim.digests]


def entries(mirror: Mirror, fingerprint: str) -> Iterator[Claim]:
    """What a mirror says of every entry that it lists; of the first one of each gap, no digest is right.

    What is listed is what is read: a number says nothing of how many there are.

    Args:
        mirror: The mirror.
        fingerprint: The key's.

    Raises:
        OrgkeyError: The mirror cannot be read, or holds more than can be a ledger's.
    """
    listings = {host: mirror.listing(host, 0) for host in mirror.hosts()[:MOST_HOSTS]}
    if (count := sum(map(len, listings.values()))) > MOST:
        raise IntegrityProblem(
            f"mirror {mirror.name} lists {count} entries, more than {MOST} are not read",
            hint="find out who could write to it",
        )
    wanted: list[tuple[str, int]] = []
    for host, listing in listings.items():
        gaps = [number + 1 for number in (0, *sorted(listing)[:-1]) if number + 1 not in listing]
        wanted += [(host, number) for number in sorted({*listing, *gaps})]

    def read(one: tuple[str, int]) -> Claim:
        host, number = one
        handles = listings[host].get(number, ())
        return entry_at(mirror, host, number, handles, f"mirror {mirror.name}", fingerprint)

    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="mirror") as pool:
        for begin in range(0, len(wanted), _TOGETHER):
            yield from pool.map(read, wanted[begin : begin + _TOGETHER])


def head_at(place: Mirror, host: str, number: int, handles: Sequence[str], what: str) -> Claim:
    """What a place for heads says of one entry.

    Args:
        place: The place.
        host: Of whose chain.
        number: Which entry.
        handles: What it has under that number.
        what: What the place is called.

    Raises:
        OrgkeyError: The place cannot be read.
    """
    found = [chain.parse_head(place.get(handle)) for handle in handles]
    digests = frozenset(item.digest.hex for item in found if item and item.sequence == number)
    return Claim(number, digests, what, host=host)


def entry_at(
    mirror: Mirror, host: str, number: int, handles: Sequence[str], what: str, fingerprint: str
) -> Claim:
    """What a mirror says of one entry: what the first one says that was there; others came later.

    What is not a sound entry says nothing.

    Args:
        mirror: The mirror.
        host: Of whose chain.
        number: Which entry.
        handles: What it has under that number.
        what: What the mirror is called.
        fingerprint: The key's.

    Raises:
        OrgkeyError: The mirror cannot be read.
    """
    for handle in handles:
        try:
            data = mirror.get(handle)
            entry = isolated(partial(chain.parse, data, number, fingerprint), what, IntegrityProblem)
        except IntegrityProblem:
            continue
        if isinstance(entry, OrgkeyError):
            if entry.code is not Code.INTEGRITY:  # this host could not look at it
                raise entry
            continue
        digest, follows = sha256(data).hex, str(entry["previous"])
        return Claim(number, frozenset({digest}), what, frozenset({follows}), host)
    return Claim(number, frozenset(), what, frozenset(), host)
