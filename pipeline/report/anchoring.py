"""What vouches for a ledger from outside this host: the newest entry that each mirror shares with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pipeline.context import Context
from pipeline.digest import sha256
from pipeline.errors import OrgkeyError
from pipeline.evidence import chain
from pipeline.evidence.chain import Head
from pipeline.mirrors.interface import Mirror

_NEAR: Final = 100
"""So far below the ledger's own end a mirror's is looked for first."""


def outside(context: Context, head: Head) -> tuple[dict[int, tuple[frozenset[str], str]], tuple[str, ...]]:
    """Ask every mirror for the newest entry that it shares with this host.

    Args:
        context: The run; the auditor's login reads.
        head: The end of this host's ledger.

    Returns:
        What is vouched for: digests, one of which is right, and who says so, by entry. And what could not be
        asked, in words.
    """
    if not (context.config.ledger.mirrors or context.config.ledger.heads) or not head.sequence:
        return {}, ()
    estate = context.estate("auditor")
    found: dict[int, tuple[frozenset[str], str]] = {}
    silent = []
    places: tuple[tuple[dict[str, Mirror], str, Callable[[bytes], str | None]], ...] = (
        (dict(estate.heads(context.fingerprint)), "the head in", _of_head),
        (dict(estate.mirrors(context.fingerprint)), "the mirror at", lambda data: sha256(data).hex),
    )
    for mirrors, what, digest in places:
        for name, mirror in mirrors.items():
            try:
                number, digests = _newest(mirror, head.sequence, digest)
            except OrgkeyError as error:
                silent.append(f"{what} {name} cannot be asked: {error.message}")
                continue
            if number:
                found[number] = (digests, f"{what} {name}")
    return found, tuple(silent)


def _newest(mirror: Mirror, last: int, digest: Callable[[bytes], str | None]) -> tuple[int, frozenset[str]]:
    for after in (max(last - _NEAR, 0), 0):
        listing = mirror.listing(after)
        numbers = [number for number in listing if number <= last]
        if numbers:
            number = max(numbers)
            told = (digest(mirror.get(handle)) for handle in listing[number])
            return number, frozenset(item for item in told if item)
    return 0, frozenset()


def _of_head(data: bytes) -> str | None:
    head = chain.parse_head(data)
    return head.digest.hex if head else None
