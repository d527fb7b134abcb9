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
from pipeline.storage.ledger_mirror import Mirror

_HEAD = re.compile(r"([0-9]{1,9}):(?:sha256:)?([0-9a-fA-F]{64})")
_LARGEST: Final = 8 << 20
MOST: Final = 100_000
"""Entries of a mirror that are read at most; a busy host makes some thousands a year."""
_TOGETHER: Final = 256
"""So many of them are under way at a time."""


@dataclass(frozen=True)
class Certified:
    """What a drill certificate says of the ledger.

    Attributes:
        fingerprint: The key's.
        head: The ledger's head when the drill was made.
        body: The statement, for its signature.
    """

    fingerprint: str
    head: Head
    body: bytes


def head(text: str) -> Claim:
    """Read ``N:SHA256``.

    Raises:
        UsageProblem: It has another form.
    """
    match = _HEAD.fullmatch(text.strip())
    if match is None:
        raise UsageProblem(
            f"{text!r} is not a head", hint="write the entry's number, a colon and its SHA-256: 42:9f86d0…"
        )
    return Claim(int(match[1]), frozenset({match[2].lower()}), f"the head {int(match[1])}")


def certificate(path: Path) -> Certified:
    """Read a drill certificate. Its signature is not checked here.

    Raises:
        LocalFilesProblem: It cannot be read.
        IntegrityProblem: It is no certificate of a drill.
    """
    body = read_file(path)
    try:
        _, told = checking.contents(body)
        number, digest = told["ledger_head"]["sequence"], told["ledger_head"]["sha256"]
        if type(number) is not int or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError
        return Certified(str(told["fingerprint"]), Head(number, Digest("sha256", digest)), body)
    except (IntegrityProblem, ValueError, KeyError, TypeError):
        raise IntegrityProblem(
            f"{path} is not a certificate of a drill, or is damaged",
            hint="name the statement itself, the file that ends in .json",
        ) from None


def read_file(path: Path) -> bytes:
    """Read a small regular file.

    Raises:
        LocalFilesProblem: It cannot be read, or is no file, or is too large.
    """
    try:
        data = files.read_regular(path, _LARGEST)
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot read {path}: {error.strerror or error}", hint="check the name and its permissions"
        ) from error
    if data is None or len(data) > _LARGEST:
        raise LocalFilesProblem(f"{path} is not a file of a few kilobytes", hint="name the right file")
    return data


def heads(place: Mirror) -> list[Claim]:
    """What a place for heads says.

    Raises:
        OrgkeyError: The place cannot be read.
    """
    claims = (
        head_at(place, number, handles, f"the head in {place.name}")
        for number, handles in place.listing(0).items()
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
    listing = mirror.listing(0)
    if len(listing) > MOST:
        raise IntegrityProblem(
            f"mirror {mirror.name} lists {len(listing)} entries, more than {MOST} are not read",
            hint="find out who could write to it",
        )

    def read(number: int) -> Claim:
        return entry_at(mirror, number, listing.get(number, ()), f"mirror {mirror.name}", fingerprint)

    numbers = sorted(listing)
    gaps = [number + 1 for number in (0, *numbers[:-1]) if number + 1 not in listing]
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="mirror") as pool:
        wanted = sorted({*numbers, *gaps})
        for begin in range(0, len(wanted), _TOGETHER):
            yield from pool.map(read, wanted[begin : begin + _TOGETHER])


def head_at(place: Mirror, number: int, handles: Sequence[str], what: str) -> Claim:
    """What a place for heads says of one entry.

    Args:
        place: The place.
        number: Which entry.
        handles: What it has under that number.
        what: What the place is called.

    Raises:
        OrgkeyError: The place cannot be read.
    """
    found = [chain.parse_head(place.get(handle)) for handle in handles]
    digests = frozenset(item.digest.hex for item in found if item and item.sequence == number)
    return Claim(number, digests, what)


def entry_at(mirror: Mirror, number: int, handles: Sequence[str], what: str, fingerprint: str) -> Claim:
    """What a mirror says of one entry; what is no sound entry says nothing.

    Args:
        mirror: The mirror.
        number: Which entry.
        handles: What it has under that number.
        what: What the mirror is called.
        fingerprint: The key's.

    Raises:
        OrgkeyError: The mirror cannot be read.
    """
    follows, senses = set(), {}
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
        follows.add(str(entry["previous"]))
        senses[sha256(data).hex] = chain.sense(entry)
    return Claim(number, frozenset(senses), what, frozenset(follows), senses)
