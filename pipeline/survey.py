"""What is really stored: every copy of every epoch, read and judged.

Nothing here trusts a listing's order, a name, or what another run believed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pipeline import authentic
from pipeline.authentic import Record
from pipeline.clock import Deadline
from pipeline.context import Context
from pipeline.digest import Digest, sha256
from pipeline.errors import Code, IntegrityProblem, OrgkeyError, UsageProblem
from pipeline.journal import Journal
from pipeline.targets.interface import Presence, Replication, Slot, Stored, Target

REPAIRED = re.compile(r"^(?P<epoch>[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8})(?:-r[1-9][0-9]?)?\Z")
"""A slot's name: the epoch's, with ``-r<n>`` where a repair had to leave a damaged place alone."""


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
        code: The exit code that a bad copy stands for; ``OK`` for a good one, but ``INTEGRITY`` where a
            false version lies in the same place: the copy still restores, and somebody wrote there.
        slot: Where it lies at the target.
        retain_until: End of its retention, where the target tells.
        seconds: How long reading and judging it took.
        replication: What its bucket says of its replication, where it was asked.
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
    retain_until: datetime | None = None
    seconds: float = 0.0
    replication: Replication | None = None

    @property
    def ok(self) -> bool:
        """Whether it was read whole and is authentic."""
        return self.record is not None

    @property
    def standing(self) -> Standing:
        """What is known of it. A copy that could not be read is neither bad nor missing."""
        if self.ok:
            return Standing.GOOD
        known = {Code.INTEGRITY: Standing.BAD, Code.USAGE: Standing.BAD, Code.DEGRADED: Standing.MISSING}
        return known.get(self.code, Standing.UNREACHABLE)


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


@dataclass(frozen=True)
class Survey:
    """What all targets hold for one key.

    Attributes:
        fingerprint: The key's.
        epochs: Oldest first, by the manifest's own time where one is authentic.
        unreachable: Targets that could not be listed, with the error.
    """

    fingerprint: str
    epochs: tuple[Epoch, ...]
    unreachable: Mapping[str, OrgkeyError] = field(default_factory=dict)

    def newest(self) -> Epoch | None:
        """The newest authentic epoch, however far it has come. By the manifest's own time."""
        return next((epoch for epoch in reversed(self.epochs) if epoch.record), None)

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
        return [error.code for error in self.unreachable.values()] + [
            copy.code for epoch in self.epochs for copy in epoch.copies
        ]


@dataclass(frozen=True)
class Reader:
    """Reads copies from targets and judges them.

    Attributes:
        targets: By name.
        deadline: Bounds the work.
        now: The present time.
    """

    targets: Mapping[str, Target]
    deadline: Deadline
    now: datetime

    @classmethod
    def of(cls, context: Context, targets: Mapping[str, Target]) -> Reader:
        """A reader for one run.

        Args:
            context: The run.
            targets: What is to be read, by name.
        """
        return cls(targets, context.deadline, context.clock.now())

    def survey(
        self, fingerprint: str, *, journal: Journal | None = None, epochs: Collection[str] | None = None
    ) -> Survey:
        """List and read all copies of a key's epochs.

        Args:
            fingerprint: Which key.
            journal: What this host remembers: which epochs were proven, which versions were confirmed.
            epochs: Only these; all when ``None``.
        """
        listed: dict[str, list[Stored]] = {}
        unreachable: dict[str, OrgkeyError] = {}
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="survey") as pool:
            jobs = {
                name: pool.submit(self._find, target, fingerprint) for name, target in self.targets.items()
            }
            for name, job in jobs.items():
                try:
                    listed[name] = job.result()
                except OrgkeyError as error:
                    unreachable[name] = error
            names = {epoch_of(item.slot) for found in listed.values() for item in found}
            if epochs is not None:
                names &= set(epochs)
            copies = {
                name: {
                    target: pool.submit(
                        self._copy,
                        target,
                        Slot(fingerprint, name),
                        [item for item in listed.get(target, []) if epoch_of(item.slot) == name],
                        _known_version(journal, name, target),
                        unreachable.get(target),
                    )
                    for target in self.targets
                }
                for name in sorted(names)
            }
            found_epochs = [
                (name, tuple(job.result() for job in by_target.values()))
                for name, by_target in copies.items()
            ]
        return Survey(fingerprint, _judge(fingerprint, found_epochs, journal), unreachable)

    def copy(self, target: str, slot: Slot, *, version: str | None = None) -> Copy:
        """Read one copy; a version that is named is the only one looked at."""
        place = self.targets[target]
        if version is not None:
            stored = Stored(slot, f"{target}:{slot.fingerprint}/{slot.epoch}", version, Presence.CURRENT)
            return self._copy(target, slot, [stored], version, None)
        try:
            found = place.find(slot.fingerprint, slot.epoch)
        except OrgkeyError as error:
            return self._absent(place, slot, error)
        return self._copy(target, slot, found, None, None)

    def read(self, target: Target, stored: Stored) -> Record:
        """Read one stored version, and accept it as a record of the key whose slot it lies in.

        Args:
            target: Where.
            stored: As the target lists it.

        Raises:
            OrgkeyError: It cannot be read, or is not authentic.
        """
        data = target.get(stored.slot, stored.version)
        return authentic.open_record(
            data, stored.slot.fingerprint, deadline=self.deadline, now=self.now, epoch=epoch_of(stored.slot)
        )

    def _find(self, target: Target, fingerprint: str) -> list[Stored]:
        return [item for item in target.find(fingerprint) if REPAIRED.match(item.slot.epoch)]

    def _copy(
        self,
        target: str,
        slot: Slot,
        stored: Sequence[Stored],
        known: str | None,
        error: OrgkeyError | None,
    ) -> Copy:
        """Choose the authentic version among all that a target has of one epoch."""
        place = self.targets[target]
        if error is not None:
            return self._absent(place, slot, error)
        started = time.monotonic()
        problems: list[str] = []
        code = Code.OK
        false: set[Slot] = set()
        digest: Digest | None = None
        for item in _order(stored, known):
            if not item.readable:
                problems.append(f"{_called(item)} was {item.presence}")
                continue
            try:
                data = place.get(item.slot, item.version)
                digest = sha256(data)
                record = authentic.open_record(
                    data, slot.fingerprint, deadline=self.deadline, now=self.now, epoch=slot.epoch
                )
            except OrgkeyError as problem:
                # A newer schema is nothing wrong with the copy: what to do about it is said here.
                newer = f" ({problem.hint})" if problem.code is Code.USAGE else ""
                problems.append(f"{_called(item)}: {problem.message}{newer}")
                code = problem.code if code is Code.OK else code
                if problem.code is Code.INTEGRITY:
                    false.add(item.slot)
                continue
            if item.presence is Presence.HIDDEN:
                problems.append("hidden behind a delete marker, read by its version")
            return Copy(
                target, place.kind, place.domain, item.location, item.version, record.sha256, record,
                "; ".join(problems) or None, Code.INTEGRITY if item.slot in false else Code.OK,
                item.slot, item.retain_until, time.monotonic() - started, item.replication,
            )  # fmt: skip
        if not stored:
            problems.append("no copy of this epoch is there")
        location = stored[0].location if stored else f"{target}: {slot.epoch}"
        return Copy(
            target, place.kind, place.domain, location, None, digest, None, "; ".join(problems),
            code if code is not Code.OK else Code.DEGRADED, slot,
        )  # fmt: skip

    def _absent(self, place: Target, slot: Slot, error: OrgkeyError) -> Copy:
        return Copy(
            place.name, place.kind, place.domain, f"{place.name}: {slot.epoch}", None, None, None,
            error.message, error.code, slot,
        )  # fmt: skip


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


def _known_version(journal: Journal | None, epoch: str, target: str) -> str | None:
    entry = journal.entry(epoch) if journal else None
    receipt = entry.receipts().get(target) if entry else None
    return receipt.version if receipt else None


def _judge(
    fingerprint: str, found: Sequence[tuple[str, tuple[Copy, ...]]], journal: Journal | None
) -> tuple[Epoch, ...]:
    def made(item: tuple[str, tuple[Copy, ...]]) -> tuple[bool, str]:
        record = next((copy.record for copy in item[1] if copy.record), None)
        return (record is not None, record.epoch if record else item[0])

    epochs: list[Epoch] = []
    newer_proven = False
    for name, copies in sorted(found, key=made, reverse=True):
        entry = journal.entry(name) if journal else None
        mark = entry.proven() if entry else None
        good = [copy for copy in copies if copy.ok]
        proven = mark is not None and any(
            copy.sha256 is not None and copy.sha256.hex == mark.get("record_sha256") for copy in good
        )
        if proven:
            state = State.SUPERSEDED if newer_proven else State.PROVEN
            newer_proven = True
        elif good and len(good) == len(copies):
            state = State.COMPLETE
        else:
            state = State.WRITTEN
        epochs.append(Epoch(name, fingerprint, copies, state))
    return tuple(reversed(epochs))


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
    for error in survey.unreachable.values():
        raise error
    bad = [copy for epoch in survey.epochs for copy in epoch.copies if copy.code is Code.INTEGRITY]
    if bad and not wanted:
        raise IntegrityProblem(
            f"no copy of this key is authentic; {bad[0].target}, {bad[0].location}: {bad[0].problem}",
            hint="find out who could write to the targets; another copy or export of the key is needed",
        )
    which = f"epoch {', '.join(sorted(wanted))}" if wanted else "epoch"
    raise UsageProblem(
        f"no {which} is stored for {survey.fingerprint}",
        hint="`orgkey list` shows what is stored; `orgkey escrow` makes the first epoch",
    )
