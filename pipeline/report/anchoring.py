"""What vouches for a ledger from outside this host: the newest entry that each mirror shares with it."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from pipeline.archive.run import KeyScope
from pipeline.core.errors import OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.evidence import anchors
from pipeline.evidence.ledger.entry import Head
from pipeline.evidence.ledger.mirror_state import Memory
from pipeline.evidence.ledger.store import Ledger
from pipeline.evidence.ledger.verify import Claim
from pipeline.storage.ledger_mirror import Mirror

_NEAR = 100
"""So far below the ledger's own end a mirror's is looked for first."""


def outside(context: KeyScope, head: Head) -> tuple[tuple[Claim, ...], tuple[str, ...]]:
    """Ask every mirror, and every place for heads, for the newest entry that it shares with this host.

    Args:
        context: The run; the auditor's login reads.
        head: The end of this host's ledger.

    Returns:
        What they say. And in words what could not be asked, and who has entries that this host lacks.
    """
    if not (context.config.ledger.mirrors or context.config.ledger.heads):
        return (), ()
    estate = context.backends("auditor")
    memory = Memory(context.root)
    found: list[Claim] = []
    gaps = []
    for places, what, of_head in (
        (estate.heads(context.fingerprint), "the head in", True),
        (estate.mirrors(context.fingerprint), "the mirror at", False),
    ):
        for name, mirror in places.items():
            confirmed = memory.known(name).head.sequence
            one = _Place(mirror, f"{what} {name}", context.fingerprint, of_head)
            told = isolated(partial(_newest, one, context.ledger, head.sequence, confirmed), one.what)
            if isinstance(told, OrgkeyError):
                gaps.append(f"{one.what} cannot be asked: {told.message}")
                continue
            claim, last, stranger = told
            found += [claim] if claim is not None else []
            if stranger:
                gaps.append(
                    f"{one.what} has another entry {stranger} than this host, and has never confirmed one of "
                    "this host's from there on: whose it is, is not known here; run `orgkey ledger sync` "
                    "with the writer's login"
                )
            if last > head.sequence:
                gaps.append(
                    f"{one.what} knows entry {last}, this host's ledger ends at {head.sequence}: entries "
                    "of other hosts, or some that were cut off here; run `orgkey ledger sync`"
                )
    return tuple(found), tuple(gaps)


class _Place(NamedTuple):
    """One place, and what it is called."""

    mirror: Mirror
    what: str
    key: str
    of_head: bool

    def claim(self, number: int, handles: tuple[str, ...]) -> Claim:
        """What it says of one entry."""
        if self.of_head:
            return anchors.head_at(self.mirror, number, handles, self.what)
        return anchors.entry_at(self.mirror, number, handles, self.what, self.key)


def _newest(place: _Place, ledger: Ledger, last: int, confirmed: int) -> tuple[Claim | None, int, int]:
    """What it says of the newest entry up to ``last``, the number of its very last one, and a stranger's.

    A stranger's entry stands under a number of this host's that the place has never confirmed: it accuses
    nobody. Then what was confirmed is looked at.
    """
    newest = 0
    for after in (max(last - _NEAR, 0), 0):
        listing = place.mirror.listing(after)
        newest = max(newest, *listing, 0)
        number = max((one for one in listing if one <= last), default=0)
        if not number:
            continue
        claim = place.claim(number, listing[number])
        if number <= confirmed or ledger.at(number).digest.hex in claim.digests:
            return claim, newest, 0
        if confirmed and confirmed <= after:
            listing = place.mirror.listing(confirmed - 1)
        known = place.claim(confirmed, listing[confirmed]) if confirmed in listing else None
        return known, newest, number
    return None, newest, 0
