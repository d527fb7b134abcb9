"""What vouches for a ledger from outside this host: the newest entry that each mirror shares with it."""

from __future__ import annotations

from functools import partial

from pipeline.context import Context
from pipeline.errors import OrgkeyError
from pipeline.evidence import anchors
from pipeline.evidence.chain import Head
from pipeline.evidence.verification import Claim
from pipeline.isolation import isolated
from pipeline.mirrors.interface import Mirror

_NEAR = 100
"""So far below the ledger's own end a mirror's is looked for first."""


def outside(context: Context, head: Head) -> tuple[tuple[Claim, ...], tuple[str, ...]]:
    """Ask every mirror, and every place for heads, for the newest entry that it shares with this host.

    Args:
        context: The run; the auditor's login reads.
        head: The end of this host's ledger.

    Returns:
        What they say. And in words what could not be asked, and who has entries that this host lacks.
    """
    if not (context.config.ledger.mirrors or context.config.ledger.heads):
        return (), ()
    estate = context.estate("auditor")
    found: list[Claim] = []
    gaps = []
    for places, what, of_head in (
        (estate.heads(context.fingerprint), "the head in", True),
        (estate.mirrors(context.fingerprint), "the mirror at", False),
    ):
        for name, mirror in places.items():
            newest = isolated(
                partial(_newest, mirror, f"{what} {name}", head.sequence, context.fingerprint, of_head),
                f"{what} {name}",
            )
            if isinstance(newest, OrgkeyError):
                gaps.append(f"{what} {name} cannot be asked: {newest.message}")
                continue
            claim, last = newest
            if claim is not None:
                found.append(claim)
            if last > head.sequence:
                gaps.append(
                    f"{what} {name} knows entry {last}, this host's ledger ends at {head.sequence}: entries "
                    "of other hosts, or some that were cut off here; run `orgkey ledger sync`"
                )
    return tuple(found), tuple(gaps)


def _newest(mirror: Mirror, what: str, last: int, key: str, of_head: bool) -> tuple[Claim | None, int]:
    """What it says of the newest entry up to ``last``, and the number of its very last one."""
    newest = 0
    for after in (max(last - _NEAR, 0), 0):
        listing = mirror.listing(after)
        newest = max(newest, *listing, 0)
        shared = [number for number in listing if number <= last]
        if shared:
            number = max(shared)
            if of_head:
                return anchors.head_at(mirror, number, listing[number], what), newest
            return anchors.entry_at(mirror, number, listing[number], what, key), newest
    return None, newest
