"""What is really stored: every copy of every epoch, read and judged.

Nothing here trusts a listing's order, a name, or what another run believed.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Final, TypeVar

from pipeline.archive.journal import Journal
from pipeline.archive.run import KeyScope
from pipeline.core.clock import Deadline
from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import (
    ClockProblem,
    Code,
    IntegrityProblem,
    OrgkeyError,
    Unreachable,
    UsageProblem,
    error_of,
    first_of,
)
from pipeline.core.isolation import isolated
from pipeline.record import verify
from pipeline.record.verify import Record
from pipeline.storage.interface import Listing, Presence, Replication, Slot, Stored, Target

_UNDO = "an administrator can bring it back: `{}`"
REPAIRED = re.compile(r"^(?P<epoch>[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8})(?:-r[1-9][0-9]?)?\Z")
"""A slot's name: the epoch's, with ``-r<n>`` where a repair had to leave a damaged place alone."""


T = TypeVar("T")

WORKERS: Final = 8
AT_ONCE: Final = 64
"""Epochs that are read before it is looked whether that is enough: far more than a key ever has."""
_LEAST: Final = 1.0
"""Seconds that a target is waited for at least: where no time is left, its calls say so themselves."""


class State(StrEnum):
    """How far an epoch has come."""

    WRITTEN = "written"
    COMPLETE = "complete"
    PROVEN = "proven"
    SUPERSEDED = "superseded"


class Standing(StrEnum):
    """How one copy stands."""

    GOOD = "good"
    BAD = "bad"
    MISSING = "missing"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Copy:
    """One target's copy of one epoch.

    Attributes:
        target: The target's name.
        kind: ``vault``, ``s3`` or ``directory``.
        domain: Its failure domain.
        location: For people.
        version: The version that is meant: the authentic one where there is one.
        sha256: Digest of the bytes read there; ``None`` when nothing could be read.
        record: The record, when the copy is authentic.
        problem: What is wrong or odd, in words.
        hint: What to do about it, where something is wrong.
        code: The exit code that a bad copy stands for; ``OK`` for a good one, but ``INTEGRITY`` where a
            false version lies in the same place: the copy still restores, and somebody wrote there.
        unread: Whether something is listed there, or may be, that could not be read: nothing is known of it.
        slot: Where it lies at the target.
        retain_until: End of its retention, where the target tells.
        seconds: How long reading and judging it took.
        replication: What its bucket says of its replication, where it was asked.
        unlocked: What is wrong with its lock, in words, where its target asks for one: it restores, and
            whoever may delete there can take it away.
        undo: The administrator's command that brings it back, where it was only deleted.
    """

    target: str
    kind: str
    domain: str
    location: str
    version: str | None
    sha256: Digest | None
    record: Record | None
    problem: str | None
    code: Code
    slot: Slot
    hint: str | None = None
    unread: bool = False
    retain_until: datetime | None = None
    seconds: float = 0.0
    replication: Replication | None = None
    unlocked: str | None = None
    undo: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was read whole and is authentic."""
        return self.record is not None

    @property
    def standing(self) -> Standing:
        """What is known of it. A copy that could not be read is neither bad nor missing."""
        if self.ok:
            return Standing.GOOD
        if self.code in (Code.INTEGRITY, Code.USAGE):
            return Standing.BAD
        return Standing.UNREACHABLE if self.unread else Standing.MISSING


@dataclass(frozen=True)
class Epoch:
    """One epoch over all targets.

    Attributes:
        name: Its name.
        fingerprint: The key's.
        copies: One for each target, in the targets' order.
        state: How far it has come.
    """

    name: str
    fingerprint: str
    copies: tuple[Copy, ...]
    state: State

    @property
    def record(self) -> Record | None:
        """The record, from the first good copy."""
        return next((copy.record for copy in self.copies if copy.record), None)

    @property
    def good(self) -> tuple[Copy, ...]:
        """The authentic copies."""
        return tuple(copy for copy in self.copies if copy.ok)

    @property
    def unread(self) -> bool:
        """Whether nothing is known of it but that a place lists it: no copy is good, and one was not read."""
        return self.record is None and any(copy.unread for copy in self.copies)


@dataclass(frozen=True)
class Survey:
    """What all targets hold for one key.

    Attributes:
        fingerprint: The key's.
        epochs: Oldest first, by the manifest's own time where one is authentic.
        unreachable: Targets that could not be listed, with the error.
        left_out: How many more epochs each target lists, by name: there was no time to read them all.
    """

    fingerprint: str
    epochs: tuple[Epoch, ...]
    unreachable: Mapping[str, OrgkeyError] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def newest(self) -> Epoch | None:
        """The newest authentic epoch, however far it has come. By the manifest's own time."""
        return next((epoch for epoch in reversed(self.epochs) if epoch.record), None)

    def unread(self) -> tuple[Epoch, ...]:
        """Epochs that are listed and newer than every authentic one, and that could not be read."""
        newest = self.newest()
        return tuple(
            epoch for epoch in self.epochs if epoch.unread and (newest is None or epoch.name > newest.name)
        )

    def latest(self) -> Epoch | None:
        """The newest authentic, proven epoch; else the newest complete one; else any authentic one.

        By the manifest's own time. An incomplete epoch still restores, so it is better than none.
        """
        sound = [epoch for epoch in self.epochs if epoch.record]
        for states in ((State.PROVEN, State.SUPERSEDED), (State.COMPLETE,), tuple(State)):
            chosen = [epoch for epoch in sound if epoch.state in states]
            if chosen:
                return chosen[-1]
        return None

    def codes(self) -> list[Code]:
        """The codes of everything that is wrong."""
        codes = [error.code for error in self.unreachable.values()]
        codes += [copy.code for epoch in self.epochs for copy in epoch.copies]
        return [*codes, *(Code.DEGRADED for _ in self.left_out)]


_Details = Callable[[], list[Stored]]
"""Looks at what a target holds of one epoch."""


@dataclass(frozen=True)
class _Reading:
    """What one survey has listed, to be read copy by copy."""

    reader: Reader
    fingerprint: str
    listed: Mapping[str, Mapping[str, _Details]]
    unreachable: Mapping[str, OrgkeyError]
    journal: Journal | None

    def copy(self, epoch: str, target: str) -> Copy:
        """Read one target's copy of one epoch."""
        slot = Slot(self.fingerprint, epoch)
        details = self.listed.get(target, {}).get(epoch, list)
        silent = self.unreachable.get(target)
        stored = silent if silent is not None else isolated(details, f"target {target}")
        if isinstance(stored, OrgkeyError):
            return self.reader.absent(self.reader.targets[target], slot, stored)
        known = _known_version(self.journal, epoch, target)
        return self.reader.judge(target, slot, stored, known)


@dataclass(frozen=True)
class Read:
    """What came of reading one stored version.

    Attributes:
        sha256: Of the bytes; ``None`` when none came.
        outcome: The record, or why it is none.
    """

    sha256: Digest | None
    outcome: Record | OrgkeyError


@dataclass(frozen=True)
class Reader:
    """Reads copies from targets and judges them.

    Attributes:
        targets: By name.
        deadline: Bounds the work.
        now: The present time.
        copies: How many distinct failure domains hold a complete epoch (``policy.copies``).
    """

    targets: Mapping[str, Target]
    deadline: Deadline
    now: datetime
    copies: int = 1

    @classmethod
    def of(cls, context: KeyScope, targets: Mapping[str, Target]) -> Reader:
        """A reader for one run.

        Args:
            context: The run.
            targets: What is to be read, by name.
        """
        return cls(targets, context.deadline, context.clock.now(), context.config.policy.copies)

    def survey(
        self,
        fingerprint: str,
        *,
        journal: Journal | None = None,
        epochs: Collection[str] | None = None,
        everything: bool = True,
    ) -> Survey:
        """List and read all copies of a key's epochs.

        Args:
            fingerprint: Which key.
            journal: What this host remembers: which epochs were proven, which versions were confirmed.
            epochs: Only these; all when ``None``.
            everything: Whether all of them are wanted. Else, where there are more than a few, reading stops
                once the latest is known.
        """
        listed: dict[str, dict[str, _Details]] = {}
        unreachable: dict[str, OrgkeyError] = {}
        half = self.deadline.left() / 2  # what is read by then has to be judged and used, too
        with ExitStack() as stack:
            # One for each target: a slow one must not keep the others waiting. Nobody waits for its end.
            pools = {
                name: ThreadPoolExecutor(WORKERS, thread_name_prefix=f"survey-{name}")
                for name in self.targets
            }
            for pool in pools.values():
                stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            jobs = {
                name: pools[name].submit(
                    isolated, partial(_list, target, fingerprint), f"target {name}, list"
                )
                for name, target in self.targets.items()
            }
            share = self._share()
            for name, job in jobs.items():
                answer = self._in_time(job, name, share)
                if isinstance(answer, OrgkeyError):
                    unreachable[name] = answer
                else:
                    listed[name] = answer
            order = self._order(listed, journal, epochs)
            reading = _Reading(self, fingerprint, listed, unreachable, journal)
            found: list[tuple[str, tuple[Copy, ...]]] = []
            done = False
            while order and not done and (not found or self.deadline.left() > half):
                chunk, order = order[:AT_ONCE], order[AT_ONCE:]
                copies = {
                    name: [pools[target].submit(reading.copy, name, target) for target in self.targets]
                    for name in chunk
                }
                share = self._share()
                for name, under_way in copies.items():
                    slot, each = Slot(fingerprint, name), zip(self.targets, under_way, strict=True)
                    found.append((name, tuple(self._copy(job, one, slot, share) for one, job in each)))
                done = not everything and self._latest_known(fingerprint, found, journal)
        left_out = Counter(target for name in order for target, known in listed.items() if name in known)
        return Survey(
            fingerprint, self._judge(fingerprint, found, journal), unreachable, {} if done else left_out
        )

    def at(
        self,
        target: Target,
        fingerprint: str,
        journal: Journal | None,
        epochs: Collection[str] | None = None,
    ) -> tuple[dict[str, _Details], list[str]]:
        """What one target lists of a key, for who looks at it alone.

        Args:
            target: Where.
            fingerprint: Which key.
            journal: What this host remembers.
            epochs: Only these; all when ``None``.

        Returns:
            What tells the versions of each epoch, and the epochs' names: those that this host knows first.
        """
        listed = _list(target, fingerprint)
        known = {entry.epoch for entry in journal.entries()} if journal else set()
        order = self._order({target.name: listed}, journal, epochs)
        return listed, sorted(order, key=lambda name: name not in known)

    def _share(self) -> float:
        """When one of several targets is no longer waited for: what the others told has to be used, too."""
        return time.monotonic() + max(self.deadline.left() / 2, _LEAST)

    def _copy(self, job: Future[Copy], target: str, slot: Slot, until: float) -> Copy:
        told = self._in_time(job, target, until)
        return self.absent(self.targets[target], slot, told) if isinstance(told, OrgkeyError) else told

    def _in_time(self, job: Future[T], target: str, until: float) -> T | OrgkeyError:
        """What a target told, or that it took too long."""
        try:
            return job.result(None if len(self.targets) == 1 else max(0.0, until - time.monotonic()))
        except TimeoutError:
            return Unreachable(
                f"target {target} did not answer in its share of the time, half of what the run had left",
                hint="check the network and the service, or raise policy.deadline_seconds",
                silent=True,
            )

    def _order(
        self, listed: Mapping[str, Collection[str]], journal: Journal | None, epochs: Collection[str] | None
    ) -> list[str]:
        """The names in the order in which they are read, where there may be too many to read them all.

        First what this host knows and what enough targets list, then the rest; newest first, and last what
        is dated in the future. Whoever can write to one target can fill it with names.
        """
        count = Counter(name for names in listed.values() for name in names)
        enough = min(self.copies, len(listed))
        tomorrow = (self.now + self.deadline.dates.off() + timedelta(days=1)).strftime("%Y%m%dT%H%M%SZ")
        known = {entry.epoch for entry in journal.entries()} if journal else set()
        names = sorted(set(count) if epochs is None else set(count) & set(epochs), reverse=True)
        return sorted(names, key=lambda name: (name not in known and count[name] < enough, name > tomorrow))

    def _latest_known(
        self, fingerprint: str, found: Sequence[tuple[str, tuple[Copy, ...]]], journal: Journal | None
    ) -> bool:
        """Whether what was read has the latest: a proven epoch, or a complete one where none was proven."""
        states = {epoch.state for epoch in self._judge(fingerprint, found, journal)}
        any_proven = journal is not None and any(entry.proven() for entry in journal.entries())
        return State.PROVEN in states or (not any_proven and State.COMPLETE in states)

    def copy(self, target: str, slot: Slot, *, version: str | None = None) -> Copy:
        """Read one copy; a version that is named is the only one looked at."""
        place = self.targets[target]
        if version is not None:
            stored = Stored(slot, f"{target}:{slot.fingerprint}/{slot.epoch}", version, Presence.CURRENT)
            return self.judge(target, slot, [stored], version)
        found = isolated(lambda: place.find(slot.fingerprint, slot.epoch), f"target {target}")
        if isinstance(found, OrgkeyError):
            return self.absent(place, slot, found)
        return self.judge(target, slot, found)

    def read(self, target: Target, stored: Stored) -> Read:
        """Read one stored version, and accept it as a record of the key whose slot it lies in, or not.

        Args:
            target: Where.
            stored: As the target lists it.
        """
        place, called = stored.slot, _called(stored)
        data = isolated(lambda: target.get(place, stored.version), called)
        if isinstance(data, OrgkeyError):
            return Read(None, data)
        now = self.now + self.deadline.dates.off()
        outcome = isolated(
            lambda: verify.verify_record(
                data, place.fingerprint, deadline=self.deadline, now=now, epoch=epoch_of(place)
            ),
            called,
            IntegrityProblem,
        )
        if isinstance(outcome, ClockProblem) and self.deadline.dates.seen:
            # The time is right by the servers: it was made with a wrong clock, or to look new.
            outcome = IntegrityProblem(outcome.message, hint="do not use this copy, but another epoch")
        return Read(sha256(data), outcome)

    def judge(self, target: str, slot: Slot, stored: Sequence[Stored], known: str | None = None) -> Copy:
        """Choose the authentic version among all that a target has of one epoch.

        Args:
            target: The target's name.
            slot: The epoch's place.
            stored: The versions that it lists.
            known: The version that a receipt names.
        """
        place = self.targets[target]
        started = time.monotonic()
        problems: list[str] = []
        failed: list[OrgkeyError] = []
        false: set[Slot] = set()
        digest: Digest | None = None
        for item in _order(stored, known):
            if not item.readable:
                problems.append(f"{_called(item)} was {item.presence}")
                continue
            read = self.read(place, item)
            digest = read.sha256 or digest
            if isinstance(read.outcome, OrgkeyError):
                problems.append(_said(item, read.outcome))
                failed.append(read.outcome)
                if read.outcome.code is Code.INTEGRITY:
                    false.add(item.slot)
                continue
            if item.presence is Presence.HIDDEN:
                problems.append("hidden behind a delete marker, read by its version")
            return Copy(
                target, place.kind, place.domain, item.location, item.version, read.sha256, read.outcome,
                "; ".join(problems) or None, Code.INTEGRITY if item.slot in false else Code.OK,
                item.slot, None, False, item.retain_until, time.monotonic() - started, item.replication,
                item.unlocked,
            )  # fmt: skip
        if not stored:
            problems.append("no copy of this epoch is there")
        location = stored[0].location if stored else f"{target}: {slot.epoch}"
        hint = "`orgkey repair` copies it there from a good copy"
        if undo := next((item.undo for item in stored if item.undo), ""):
            hint = f"{_UNDO.format(undo)}; or else {hint}"
        return Copy(
            target, place.kind, place.domain, location, None, digest, None, "; ".join(problems),
            failed[0].code if failed else Code.DEGRADED, slot,
            failed[0].hint if failed else hint,
            any(error.code is not Code.INTEGRITY for error in failed), undo=undo,
        )  # fmt: skip

    def absent(self, place: Target, slot: Slot, error: OrgkeyError) -> Copy:
        """A copy that could not be looked at."""
        return Copy(
            place.name, place.kind, place.domain, f"{place.name}: {slot.epoch}", None, None, None,
            error.message, error.code, slot, error.hint, True,
        )  # fmt: skip

    def _judge(
        self, fingerprint: str, found: Sequence[tuple[str, tuple[Copy, ...]]], journal: Journal | None
    ) -> tuple[Epoch, ...]:
        # Of a part of the targets, no more can be asked than that all of them hold it.
        enough = min(self.copies, len({target.domain for target in self.targets.values()}))
        epochs: list[Epoch] = []
        newer_proven = False
        for name, copies in sorted(found, key=_made, reverse=True):
            entry = journal.entry(name) if journal else None
            mark = entry.proven() if entry else None
            good = [copy for copy in copies if copy.ok]
            proven = mark is not None and any(
                copy.sha256 is not None and copy.sha256.hex == mark.get("record_sha256") for copy in good
            )
            if proven:
                state = State.SUPERSEDED if newer_proven else State.PROVEN
                newer_proven = True
            elif good and len({copy.domain for copy in good}) >= enough:
                state = State.COMPLETE
            else:
                state = State.WRITTEN
            epochs.append(Epoch(name, fingerprint, copies, state))
        return tuple(reversed(epochs))


def _list(target: Target, fingerprint: str) -> dict[str, _Details]:
    """What a target lists of a key, by epoch; names that are not an epoch's cost nothing more."""
    found: dict[str, list[Slot]] = {}
    if isinstance(target, Listing):
        for name in sorted(target.slots(fingerprint)):  # the epoch's own place before those beside it
            if REPAIRED.match(name):
                found.setdefault(epoch_of(Slot(fingerprint, name)), []).append(Slot(fingerprint, name))
        return {name: partial(_look, target, slots) for name, slots in found.items()}
    stored: dict[str, list[Stored]] = {}
    for item in target.find(fingerprint):
        if REPAIRED.match(item.slot.epoch):
            stored.setdefault(epoch_of(item.slot), []).append(item)
    return {name: items.copy for name, items in stored.items()}


def _look(target: Target, slots: Sequence[Slot]) -> list[Stored]:
    return [item for slot in slots for item in target.find(slot.fingerprint, slot.epoch)]


def epoch_of(slot: Slot) -> str:
    """The epoch that a slot's name stands for."""
    match = REPAIRED.match(slot.epoch)
    return match["epoch"] if match else slot.epoch


def _order(stored: Iterable[Stored], known: str | None) -> list[Stored]:
    """Order versions for judging.

    What a plain read returns comes first, so that a false version there is seen; then the one with a
    receipt, so that no pile of false versions can hide it; then the rest.
    """
    rank = {Presence.CURRENT: 0, Presence.HIDDEN: 2, Presence.OLDER: 3}

    def place(item: Stored) -> int:
        usual = rank.get(item.presence, 4)
        return min(usual, 1) if known and item.version == known else usual

    return sorted(stored, key=place)


def _called(item: Stored) -> str:
    return f"version {item.version}" if item.version else "the copy"


def _said(item: Stored, error: OrgkeyError) -> str:
    """What is wrong with a version; of a newer schema, which is nothing wrong, what to do."""
    newer = f" ({error.hint})" if error.code is Code.USAGE else ""
    called = _called(item)
    return f"{'' if error.message.startswith(called) else called + ': '}{error.message}{newer}"


def _known_version(journal: Journal | None, epoch: str, target: str) -> str | None:
    entry = journal.entry(epoch) if journal else None
    receipt = entry.receipts().get(target) if entry else None
    return receipt.version if receipt else None


def _made(item: tuple[str, tuple[Copy, ...]]) -> tuple[bool, str]:
    """Authentic epochs behind all others, so that no name that somebody chose stands among them."""
    return any(copy.record for copy in item[1]), item[0]


def choose(survey: Survey, wanted: Collection[str] | None) -> tuple[Epoch, ...]:
    """Choose epochs from what is stored.

    Args:
        survey: What is stored.
        wanted: Names; ``None`` for all, empty for the latest.

    Raises:
        OrgkeyError: None is there, or none of those named; a target that cannot be reached is the cause
            that is told first.
    """
    if wanted is None:
        found = survey.epochs
    elif wanted:
        found = tuple(epoch for epoch in survey.epochs if epoch.name in wanted)
    else:
        latest = survey.latest()
        found = (latest,) if latest else ()
    if found:
        return found
    raise _none(survey, wanted)


def _none(survey: Survey, wanted: Collection[str] | None) -> OrgkeyError:
    """Why there is nothing to choose: not read is told apart from not authentic, and both from not there."""
    unread = [epoch for epoch in survey.epochs if epoch.unread]
    if unread and not wanted:
        return not_read(unread[-1])
    if survey.unreachable:
        return _silent([*survey.unreachable.values()])
    bad = [copy for epoch in survey.epochs for copy in epoch.copies if copy.code is Code.INTEGRITY]
    if bad and not wanted:
        return IntegrityProblem(
            f"no copy of this key is authentic; {bad[0].target}, {bad[0].location}: {bad[0].problem}",
            hint="find out who could write to the targets; another copy or export of the key is needed",
        )
    if survey.epochs and not wanted:
        return not_read(survey.epochs[-1])
    which = f"epoch {', '.join(sorted(wanted))}" if wanted else "epoch"
    return UsageProblem(
        f"no {which} is stored for {survey.fingerprint}",
        hint="`orgkey list` shows what is stored"
        + ("" if survey.epochs else "; `orgkey escrow` makes the first epoch"),
    )


def _silent(errors: Sequence[OrgkeyError]) -> OrgkeyError:
    """The targets that could not be asked, all of them in one error; one alone is told as it is."""
    if len(errors) == 1:
        return errors[0]
    worst = first_of(error.code for error in errors)
    return error_of(worst)(
        "; ".join(dict.fromkeys(error.message for error in errors)),
        hint="; ".join(dict.fromkeys(error.hint for error in errors if error.hint)),
    )


def not_read(epoch: Epoch) -> OrgkeyError:
    """The error for an epoch that is listed, and of which no copy could be read and found good.

    Args:
        epoch: No copy of it is good.

    Returns:
        An error of the cause's kind: unreachable, denied; ``IntegrityProblem`` where all copies were read.
    """
    told = "; ".join(f"{copy.target}: {copy.problem}" for copy in epoch.copies if copy.problem)
    unread = [copy for copy in epoch.copies if copy.unread]
    seen = "; ".join(
        f"{copy.target}: {copy.problem}" for copy in epoch.copies if copy.standing is not Standing.MISSING
    )
    if not unread:
        undo = [_UNDO.format(copy.undo) for copy in epoch.copies if copy.undo]
        other = "try another target or epoch (`orgkey list`), or a record from elsewhere with --record"
        return IntegrityProblem(
            f"no copy of epoch {epoch.name} is authentic and whole: {told}", hint="; ".join([*undo, other])
        )
    where = " and ".join(copy.target for copy in unread)
    worst = first_of(copy.code for copy in unread)
    first = next(copy for copy in unread if copy.code is worst)
    return error_of(worst)(
        f"epoch {epoch.name} is listed, but could not be read at {where}: {seen}",
        hint=first.hint or "run the same command again when the target answers",
    )


def passed_over(survey: Survey, chosen: Epoch) -> list[str]:
    """What is said of newer epochs, where an older one was chosen as the latest.

    Args:
        survey: What is stored.
        chosen: The latest.
    """
    said = []
    for epoch in sorted(survey.epochs, key=lambda item: item.name):
        if epoch.name <= chosen.name:
            continue
        if epoch.record:
            where = ", ".join(copy.target for copy in epoch.good)
            said.append(f"epoch {epoch.name} is newer, {epoch.state} at {where}: take it with --epoch")
        elif epoch.unread:
            said.append(f"{not_read(epoch).message}; it may be newer than {chosen.name}")
    return said
