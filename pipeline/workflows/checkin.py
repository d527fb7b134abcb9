"""Check-ins, the operator's side: which custodian was asked for which code, and who has answered.

What is pending lies in ``<state>/<FINGERPRINT>/checkins/``; what was accepted is in the ledger, so a code
counts once even if that directory is lost or put back. Hashes come from the authentic manifest alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.archive.catalog import Catalog
from pipeline.archive.run import KeyScope
from pipeline.core.clock import AHEAD, stamp, within
from pipeline.core.errors import Conflict, LocalFilesProblem, OrgkeyError, UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.core.state_files import Moment, StateFile
from pipeline.core.text import one_line
from pipeline.custody.custodians.challenge import Challenge, ChallengedShare, Older, plain
from pipeline.custody.shares import commitments
from pipeline.custody.shares.identify import place_of
from pipeline.custody.shares.manifest_section import PathEntry, ShareEntry
from pipeline.evidence.ledger import drill_history
from pipeline.evidence.ledger.drill_history import CheckIn, Drilled
from pipeline.evidence.ledger.events import ChallengeEvent, CheckInEvent, CheckInRefusedEvent
from pipeline.evidence.ledger.store import LedgerEntry
from pipeline.record.verify import Record


@dataclass(frozen=True)
class Seat:
    """One share of one custodian in one epoch.

    Attributes:
        record: The record.
        path: The custody path.
        share: What the manifest says of it; ``label`` is the custodian.
        kind: The holder's kind.
        name: What the custodian is called.
    """

    record: Record
    path: PathEntry
    share: ShareEntry
    kind: str
    name: str

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells it from every other. A share belongs to its record id, whatever epoch carries it."""
        return (self.record.manifest.record_id, self.path.name, self.share.holder, self.share.index)

    @property
    def place(self) -> commitments.Place:
        """Where the share belongs."""
        return place_of(self.path, self.share, self.record.binding)


@dataclass(frozen=True)
class ShareState:
    """How one custodian's share stands.

    Attributes:
        seat: The share.
        last: When it was last proven; ``None`` when it never was.
        age_seconds: Since then, or since the epoch was made.
        overdue: Whether that is longer than ``policy.max_check_in_age_days``.
        pending: Whether a challenge is open.
        entry: The ledger's entry that says when it was last proven.
    """

    seat: Seat
    last: datetime | None
    age_seconds: float
    overdue: bool
    pending: bool
    entry: LedgerEntry | None = None


class _Pending(StateFile):
    """Which code of a share was asked for, and when."""

    number: int
    at: Moment


def seats(record: Record) -> list[Seat]:
    """The shares of people in a record, by path, holder and index."""
    found = []
    for path in record.manifest.custody.paths:
        for share in path.shares:
            holder = record.manifest.custody.holders[share.holder]
            if share.checks:
                name = holder.names.get(share.label) or share.label
                found.append(Seat(record, path, share, holder.kind, name))
    return found


def by_custodian(taken: Iterable[Seat]) -> dict[str, list[Seat]]:
    """The shares of each custodian, by label."""
    people: dict[str, list[Seat]] = {}
    for seat in taken:
        people.setdefault(seat.share.label, []).append(seat)
    return people


def accepted(scope: KeyScope, taken: Iterable[Seat]) -> dict[tuple[str, str, str, int], dict[int, CheckIn]]:
    """The check-ins that were accepted, by share and by number of the code.

    An entry may come from another host, or from who could write to a mirror: it counts where the code that
    it reveals is the one that the authentic manifest has the hash of.

    Args:
        scope: The key.
        taken: The shares that are asked about.

    Raises:
        LedgerBroken: The ledger's chain does not hold.
    """
    by_key = {seat.key: seat for seat in taken}
    found: dict[tuple[str, str, str, int], dict[int, CheckIn]] = {}
    if not by_key:
        return found
    for told in drill_history.read(scope.ledger.each()).check_ins:
        seat = by_key.get(told.share)
        if seat is not None and _reveals(seat, told):
            found.setdefault(seat.key, {}).setdefault(told.number, told)
    return found


def standings(scope: KeyScope, record: Record, drills: Iterable[Drilled] = ()) -> list[ShareState]:
    """How every custodian's share of a record stands.

    A share that opened the record in a drill was proven no less than by a check-in.

    Args:
        scope: The key.
        record: The record.
        drills: Test restores that are believed.

    Raises:
        LedgerBroken: The ledger's chain does not hold.
    """
    limit = scope.config.policy.max_check_in_age_days
    drills = tuple(drills)
    taken = seats(record)
    known = accepted(scope, taken)
    now = scope.clock.now()
    found = []
    for seat in taken:
        shown: list[CheckIn | Drilled] = [*known.get(seat.key, {}).values(), *_brought(seat, drills)]
        # One that a wrong clock dated in the future counts where there is no other, and hides none.
        dated = [item for item in shown if item.at - now <= AHEAD]
        last = max(dated or shown, key=lambda item: item.at, default=None)
        age = now - (last.at if last else record.manifest.created)
        # A sealed envelope stays sealed: paper is not asked for. A date in the future counts as none.
        fresh = limit is None or within(age, limit)
        overdue = seat.kind != "paper" and not fresh
        pending = _pending(scope, seat) is not None
        proven, entry = (last.at, last.entry) if last else (None, None)
        found.append(ShareState(seat, proven, age.total_seconds(), overdue, pending, entry))
    return found


def _brought(seat: Seat, drills: Iterable[Drilled]) -> list[Drilled]:
    """The drills in which a share opened its record. Of a person's shares on one path, all were brought."""
    mine = sum(share.label == seat.share.label for share in seat.path.shares)
    return [
        item
        for item in drills
        if item.witnessed is not None
        and item.witnessed.record_id == seat.record.manifest.record_id
        and item.path == seat.path.name
        and item.passed
        and item.participants.count(seat.share.label) >= mine
    ]


def challenge(
    scope: KeyScope, who: Collection[str] = (), *, new: bool = False, if_any: bool = False
) -> list[Challenge]:
    """Ask custodians for a code of each of their shares in the latest epoch.

    Args:
        scope: The key.
        who: Fingerprints or names; empty for everybody who holds a certificate.
        new: Draw other numbers where a challenge is still open.
        if_any: Ask those of ``who`` who hold a share, though it be nobody.

    Raises:
        UsageProblem: The epoch has no such custodian, or none at all.
        Conflict: Every code of a share was used.
        OrgkeyError: The record cannot be read, or what is pending not be kept.
    """
    catalog = scope.archive("driller").catalog()
    record = catalog.record()
    wanted = _chosen(seats(record), who, if_any=if_any)
    if not wanted:
        return []
    asked = f"codes are asked of {record.epoch}, until `orgkey drill` has proven the newer one"
    for line in catalog.passed_over(record.epoch, asked, known_false=scope.config.policy.known_false):
        scope.reporter.warn(line)
    with scope.locked():
        known = accepted(scope, wanted)
        numbers = {seat.key: _number(scope, seat, known.get(seat.key, {}), new=new) for seat in wanted}
    people = by_custodian(wanted)
    made = [_challenge(catalog, record, mine, numbers) for mine in people.values()]
    scope.record_event(ChallengeEvent(epoch=record.epoch, custodians=tuple(sorted(people))))
    return made


def confirm(scope: KeyScope, codes: Iterable[str]) -> list[Seat]:
    """Accept check codes.

    Args:
        scope: The key.
        codes: As the custodians told them.

    Returns:
        The shares that are proven now, one for each code.

    Raises:
        WrongShare: A code was used before, is another one than was asked for, or nobody's; those before
            it in the list are accepted all the same.
        UsageProblem: A text has not the form of a code.
    """
    catalog = scope.archive("driller").catalog()
    with scope.locked():
        found = []
        for code in codes:
            try:
                seat = _confirm(scope, catalog, Secret(code.strip()))
            except OrgkeyError as error:
                scope.record_event(CheckInRefusedEvent(code=int(error.code), message=error.message))
                raise
            scope.reporter.progress(f"accepted: {seat.name}, {seat.place}")
            found.append(seat)
        return found


def _confirm(scope: KeyScope, catalog: Catalog, code: Secret) -> Seat:
    latest = catalog.record()
    mine = seats(latest)
    known = accepted(scope, mine)
    for seat in mine:
        number = _matches(seat, code)
        if number is None:
            continue
        if number in known.get(seat.key, {}):
            raise WrongShare(
                f"this is code {number} of {seat.name} ({seat.place}), which was accepted "
                f"at {stamp(known[seat.key][number].at)} already",
                hint="each code counts once: send a new challenge with `orgkey custody challenge`",
            )
        pending = _pending(scope, seat)
        if pending != number:
            asked = "no code of it is asked for here" if pending is None else f"code {pending} is asked for"
            raise WrongShare(
                f"this is code {number} of {seat.name} ({seat.place}), but {asked}",
                hint="send the challenge with `orgkey custody challenge`, and take the code that answers it",
            )
        place = dict(zip(("record_id", "path", "holder", "index"), seat.key, strict=True))
        told = {"epoch": latest.epoch, "custodian": seat.share.label, "number": number, "code": code.text()}
        scope.record_event(CheckInEvent.model_validate(place | told))
        _pending_file(scope, seat).unlink(missing_ok=True)
        return seat
    for epoch in catalog.epochs:
        if epoch.record and epoch.record.epoch != latest.epoch:
            for seat in seats(epoch.record):
                if _matches(seat, code) is not None:
                    which = "older" if epoch.name < latest.epoch else "newer"
                    raise WrongShare(
                        f"this code is of {seat.name}'s share of the {which} epoch {epoch.name}",
                        hint=f"the share of {latest.epoch} has to be proven: send its challenge",
                    )
    raise WrongShare(
        f"this code fits no share of epoch {latest.epoch}",
        hint="compare it with what the custodian sees, letter by letter",
    )


def _reveals(seat: Seat, told: CheckIn) -> bool:
    """Whether the code that an entry reveals is the one that the manifest has the hash of."""
    if not 0 <= told.number < len(seat.share.checks):
        return False
    try:
        shown = commitments.code_hash(seat.share.salt, seat.place, told.number, Secret(told.code))
    except OrgkeyError:
        return False
    return shown == seat.share.checks[told.number]


def _matches(seat: Seat, code: Secret) -> int | None:
    for number, published in enumerate(seat.share.checks):
        if commitments.code_hash(seat.share.salt, seat.place, number, code) == published:
            return number
    return None


def _chosen(all_seats: list[Seat], who: Collection[str], *, if_any: bool) -> list[Seat]:
    people = [seat for seat in all_seats if seat.kind != "paper"]
    if not people and not if_any:
        raise UsageProblem(
            "the latest epoch has no custodians",
            hint="a group of custodians is a [holder.*] of kind openpgp; `orgkey custody rotate` applies it",
        )
    names = {plain(text) for text in who}
    chosen = [seat for seat in people if not names or {plain(seat.share.label), plain(seat.name)} & names]
    known = {plain(text) for seat in chosen for text in (seat.share.label, seat.name)}
    unknown = [text for text in who if plain(text) not in known]
    if unknown and not if_any:
        raise UsageProblem(
            "no custodian of the latest epoch is called " + ", ".join(unknown),
            hint="it has " + ", ".join(sorted({f"{seat.name} ({seat.share.label})" for seat in people})),
        )
    return chosen


def _number(scope: KeyScope, seat: Seat, used: Collection[int], *, new: bool) -> int:
    pending = _pending(scope, seat)
    if pending is not None and pending not in used and not new:
        return pending
    free = [number for number in range(len(seat.share.checks)) if number not in used and number != pending]
    if not free:
        raise Conflict(
            f"all {len(seat.share.checks)} codes of {seat.name} ({seat.place}) were used",
            hint="`orgkey custody rotate` gives new shares, with new codes",
        )
    number = secrets.choice(free)
    _Pending(number=number, at=scope.clock.now()).keep(_pending_file(scope, seat))
    return number


def _pending_file(scope: KeyScope, seat: Seat) -> Path:
    return scope.root / "checkins" / ".".join(["challenge", *map(str, seat.key)])


def _pending(scope: KeyScope, seat: Seat) -> int | None:
    path = _pending_file(scope, seat)
    try:
        pending = _Pending.load(path)
    except ValueError as error:
        raise LocalFilesProblem(
            f"cannot use {path}: it is malformed", hint="remove it, and send a new challenge"
        ) from error
    return pending.number if pending else None


def _committed(seat: Seat) -> tuple[str, str, int, str, str]:
    share = seat.share
    return seat.path.name, share.holder, share.index, share.salt, share.commitment


def _challenge(
    catalog: Catalog, record: Record, mine: list[Seat], numbers: Mapping[tuple[str, str, str, int], int]
) -> Challenge:
    first = mine[0]
    older = [
        Older(*_committed(seat), epoch.name, epoch.record.manifest.record_id)
        for epoch in catalog.epochs
        if epoch.record and epoch.record.epoch < record.epoch
        for seat in seats(epoch.record)
        if seat.share.label == first.share.label
    ]
    return Challenge(
        record.fingerprint,
        record.epoch,
        record.manifest.record_id,
        first.share.label,
        one_line(first.name),
        tuple(
            ChallengedShare(
                *_committed(seat),
                numbers[seat.key],
                seat.share.checks[numbers[seat.key]],
                record.members[seat.share.member].decode("ascii", errors="replace"),
            )
            for seat in mine
        ),
        tuple(older),
    )
