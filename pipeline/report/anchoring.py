"""What vouches for a ledger from outside this host: the newest entry of each chain that a mirror has, too."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from pipeline.archive.run import KeyScope
from pipeline.core.errors import OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.evidence import anchors
from pipeline.evidence.ledger.mirror_state import MirrorState
from pipeline.evidence.ledger.verify import Claim
from pipeline.storage.ledger_mirror import Mirror

_NEAR = 100
"""So far below a chain's end a mirror's is looked for first."""


def outside(context: KeyScope, ends: Mapping[str, int]) -> tuple[tuple[Claim, ...], tuple[str, ...]]:
    """Ask every mirror, and every place for heads, for the newest entry that it shares with this host.

    Args:
        context: The run; the auditor's login reads.
        ends: The last entry of each chain on this host, by host-id.

    Returns:
        What they say. And in words what could not be asked, and who has entries that this host lacks.
    """
    if not (context.config.ledger.mirrors or context.config.ledger.heads):
        return (), ()
    estate = context.backends("auditor")
    found: list[Claim] = []
    gaps = []
    for places, what, of_head in (
        (estate.heads(context.fingerprint), "the head in", True),
        (estate.mirrors(context.fingerprint), "the mirror at", False),
    ):
        for name, mirror in places.items():
            place = _Place(context, mirror, f"{what} {name}", of_head)
            told = isolated(partial(_newest, place, ends), place.what)
            if isinstance(told, OrgkeyError):
                gaps.append(f"{place.what} cannot be asked: {told.message}")
                continue
            found += told[0]
            gaps += told[1]
    return tuple(found), tuple(gaps)


class _Place(NamedTuple):
    """One place, and what it is called."""

    context: KeyScope
    mirror: Mirror
    what: str
    of_head: bool

    def claim(self, host: str, number: int, handles: tuple[str, ...]) -> Claim:
        """What it says of one entry."""
        if self.of_head:
            return anchors.head_at(self.mirror, host, number, handles, self.what)
        return anchors.entry_at(self.mirror, host, number, handles, self.what, self.context.fingerprint)


def _newest(place: _Place, ends: Mapping[str, int]) -> tuple[list[Claim], list[str]]:
    """What a place says of the newest entry of each chain here, and where it has something else.

    Another entry than this host's accuses somebody only where the place has confirmed this host's before.
    """
    ledger = place.context.ledger
    confirmed = MirrorState(place.context.root).of(place.mirror.name, ledger.host).head.sequence
    claims, gaps = [], []
    for host in place.mirror.hosts()[: anchors.MOST_HOSTS]:
        last, sure = ends.get(host, 0), confirmed if host == ledger.host else 0
        listing = place.mirror.listing(host, max(min(last, sure or last) - _NEAR, 0))
        if last and not any(number <= last for number in listing):
            listing = place.mirror.listing(host, 0)
        newest, number = max(listing, default=0), max((one for one in listing if one <= last), default=0)
        claim = place.claim(host, number, listing[number]) if number else None
        chain = ledger.own() if host == ledger.host else ledger.copy_of(host)
        if claim and number > sure and chain.at(number).digest.hex not in claim.digests:
            gaps.append(
                f"{place.what} has another entry {number} of host {host} than is here: whose it is, is not "
                "known here; run `orgkey ledger sync` with the writer's login"
            )
            claim = place.claim(host, sure, listing[sure]) if sure in listing else None
        claims += [claim] if claim else []
        if newest > last:
            gaps.append(
                f"{place.what} knows entry {newest} of host {host}, which ends at {last} here: it has "
                "written since, or its end was cut off here; run `orgkey ledger sync`"
            )
    return claims, gaps
