"""All targets that one identity sees, as one, for one key: list, read, judge, write.

A copy counts for what its own bytes prove::

    catalog = scope.archive("driller").catalog()
    record = catalog.record()  # of the latest epoch
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from pipeline.archive.catalog import UNDO, Catalog, Copy, Epoch, EpochState, apart
from pipeline.archive.journal import Journal
from pipeline.archive.replicate import WriteResult, replicate
from pipeline.core.clock import AHEAD, Deadline
from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import ClockProblem, Code, IntegrityProblem, OrgkeyError, Unreachable, UsageProblem
from pipeline.core.isolation import isolated
from pipeline.record.verify import Record, verify_record
from pipeline.storage.interface import Listing, Presence, Receipt, Slot, Stored, Target
from pipeline.storage.names import epoch_of, is_epoch

T = TypeVar("T")

WORKERS: Final = 8
AT_ONCE: Final = 64
"""Epochs that are read before it is looked whether that is enough: far more than a key ever has."""
_LEAST: Final = 1.0
"""Seconds that a target is waited for at least: where no time is left, its calls say so themselves."""

_Details = Callable[[], list[Stored]]
"""Looks at what a target holds of one epoch."""


@dataclass(frozen=True)
class ReadVersion:
    """What came of reading one stored version.

    Attributes:
        sha256: Of the bytes; ``None`` when none came.
        outcome: The record, or why the bytes are not one.
    """

    sha256: Digest | None
    outcome: Record | OrgkeyError


@dataclass(frozen=True)
class Archive:
    """All targets that one identity sees, as one.

    Attributes:
        fingerprint: The key's.
        targets: By name.
        deadline: Bounds the work.
        now: The present time.
        copies: How many distinct failure domains hold a complete epoch (``policy.copies``).
        journal: What this host remembers: which epochs were proven, which versions were confirmed.
        known_false: Epochs that were looked into (``policy.known_false``).
    """

    fingerprint: str
    targets: Mapping[str, Target]
    deadline: Deadline
    now: datetime
    copies: int = 1
    journal: Journal | None = None
    known_false: Collection[str] = ()

    def at(self, names: Collection[str]) -> Archive:
        """The same, with only these targets.

        Raises:
            UsageProblem: One of them is not configured.
        """
        if unknown := set(names) - set(self.targets):
            raise UsageProblem(
                f"no target is called {', '.join(sorted(unknown))}",
                hint="the configuration has " + ", ".join(sorted(self.targets)),
            )
        return replace(self, targets={name: self.targets[name] for name in names})

    def publish(
        self,
        record: Record,
        *,
        confirmed: Mapping[str, Receipt] | None = None,
        remember: Callable[[Receipt], None] = lambda receipt: None,
        beside: bool = False,
    ) -> WriteResult:
        """Write a record to every target, and read every copy back.

        Args:
            record: The record.
            confirmed: Receipts of an earlier run; those copies are only read back.
            remember: Told each receipt as soon as its copy was read back.
            beside: Leave a place that holds something else alone, and use one beside it.

        Raises:
            LocalFilesProblem: A receipt cannot be kept, which is a failure of the run and not of the target.
        """
        slot = Slot(self.fingerprint, record.epoch)
        return replicate(
            self.targets, slot, record.data, confirmed=confirmed or {}, remember=remember, beside=beside
        )

    def catalog(self, epochs: Collection[str] | None = None, *, everything: bool = True) -> Catalog:
        """List and read all copies of the key's epochs.

        Args:
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
                name: ThreadPoolExecutor(WORKERS, thread_name_prefix=f"archive-{name}")
                for name in self.targets
            }
            for pool in pools.values():
                stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            jobs = {
                name: pools[name].submit(
                    isolated, partial(_list, target, self.fingerprint), f"target {name}, list"
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
            order = self._order(listed, epochs)
            read = partial(self._read_copy, listed, unreachable)
            found: list[tuple[str, tuple[Copy, ...]]] = []
            done = False
            while order and not done and (not found or self.deadline.left() > half):
                chunk, order = order[:AT_ONCE], order[AT_ONCE:]
                copies = {
                    name: [pools[target].submit(read, name, target) for target in self.targets]
                    for name in chunk
                }
                share = self._share()
                for name, under_way in copies.items():
                    slot, each = Slot(self.fingerprint, name), zip(self.targets, under_way, strict=True)
                    found.append((name, tuple(self._copy(job, one, slot, share) for one, job in each)))
                done = not everything and self._latest_known(found)
        left_out = Counter(target for name in order for target, known in listed.items() if name in known)
        return Catalog(self.fingerprint, self._epochs(found), unreachable, {} if done else left_out)

    def listed(
        self, target: Target, epochs: Collection[str] | None = None
    ) -> tuple[dict[str, _Details], list[str]]:
        """What one target lists of the key, to look at it alone.

        Args:
            target: Where.
            epochs: Only these; all when ``None``.

        Returns:
            What tells the versions of each epoch, and the epochs' names: those that this host knows first.
        """
        listed = _list(target, self.fingerprint)
        known = self._known()
        return listed, sorted(self._order({target.name: listed}, epochs), key=lambda name: name not in known)

    def _read_copy(
        self,
        listed: Mapping[str, Mapping[str, _Details]],
        unreachable: Mapping[str, OrgkeyError],
        epoch: str,
        target: str,
    ) -> Copy:
        """Read one target's copy of one epoch."""
        slot = Slot(self.fingerprint, epoch)
        details = listed.get(target, {}).get(epoch, list)
        silent = unreachable.get(target)
        stored = silent if silent is not None else isolated(details, f"target {target}")
        if isinstance(stored, OrgkeyError):
            return self.absent(self.targets[target], slot, stored)
        return self.judge(target, slot, stored, self.journal.version(epoch, target) if self.journal else None)

    def _known(self) -> set[str]:
        return {entry.epoch for entry in self.journal.entries()} if self.journal else set()

    def _share(self) -> float:
        """When one of several targets is no longer waited for: the others' answers have to be used, too."""
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

    def _order(self, listed: Mapping[str, Collection[str]], epochs: Collection[str] | None) -> list[str]:
        """The names in the order in which they are read, where there may be too many to read them all.

        First what this host knows and what enough targets list, then the rest; newest first, and last what
        is dated in the future. Whoever can write to one target can fill it with names.
        """
        count = Counter(name for names in listed.values() for name in names)
        enough = min(self.copies, len(listed))
        tomorrow = self._tomorrow
        known = self._known()
        names = sorted(set(count) if epochs is None else set(count) & set(epochs), reverse=True)
        return sorted(names, key=lambda name: (name not in known and count[name] < enough, name > tomorrow))

    def _latest_known(self, found: Sequence[tuple[str, tuple[Copy, ...]]]) -> bool:
        """Whether what was read has the latest: a proven epoch, or a complete one where none was proven."""
        states = {epoch.state for epoch in self._epochs(found)}
        any_proven = self.journal is not None and any(entry.proven() for entry in self.journal.entries())
        return EpochState.PROVEN in states or (not any_proven and EpochState.COMPLETE in states)

    def version(self, target: str, epoch: str, version: str) -> Copy:
        """Read one version of one copy, and no other."""
        slot = Slot(self.fingerprint, epoch)
        stored = Stored(slot, f"{target}:{slot.fingerprint}/{slot.epoch}", version, Presence.CURRENT)
        return self.judge(target, slot, [stored], version)

    def read(self, target: Target, stored: Stored) -> ReadVersion:
        """Read one stored version, and accept it as a record of the key whose slot it lies in, or not.

        Args:
            target: Where.
            stored: As the target lists it.
        """
        place, called = stored.slot, _called(stored)
        data = isolated(lambda: target.get(place, stored.version), called)
        if isinstance(data, OrgkeyError):
            return ReadVersion(None, data)
        now = self.now + self.deadline.dates.off()
        outcome = isolated(
            lambda: verify_record(
                data, place.fingerprint, deadline=self.deadline, now=now, epoch=epoch_of(place)
            ),
            called,
            IntegrityProblem,
        )
        dated = self.deadline.dates.seen or epoch_of(place) in self.known_false
        if isinstance(outcome, ClockProblem) and dated:
            # The time is right, by the servers or by people: it was made with a wrong clock, or to look new.
            outcome = IntegrityProblem(outcome.message, hint="do not use this copy, but another epoch")
        return ReadVersion(sha256(data), outcome)

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
        problems, failed, false = list[str](), list[OrgkeyError](), set[Slot]()
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
                item.unlocked, identity=item.identity,
            )  # fmt: skip
        if not stored:
            problems.append("no copy of this epoch is there")
        location = stored[0].location if stored else f"{target}: {slot.epoch}"
        hint = "`orgkey repair` copies it there from a good copy"
        if undo := next((item.undo for item in stored if item.undo), ""):
            hint = f"{UNDO.format(undo)}; or else {hint}"
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

    @property
    def _tomorrow(self) -> str:
        return (self.now + self.deadline.dates.off() + AHEAD).strftime("%Y%m%dT%H%M%SZ")

    def _made(self, item: tuple[str, tuple[Copy, ...]]) -> tuple[bool, bool, str]:
        """Authentic epochs behind all others: neither a chosen name nor a wrong clock makes the latest."""
        return any(copy.record for copy in item[1]), item[0] < self._tomorrow, item[0]

    def _epochs(self, found: Sequence[tuple[str, tuple[Copy, ...]]]) -> tuple[Epoch, ...]:
        # Of a part of the targets, no more can be asked than that all of them hold it.
        enough = min(self.copies, len({target.domain for target in self.targets.values()}))
        epochs: list[Epoch] = []
        newer_proven = False
        for name, copies in sorted(found, key=self._made, reverse=True):
            entry = self.journal.entry(name) if self.journal else None
            mark = entry.proven() if entry else None
            copies = apart(copies)
            good = [copy for copy in copies if copy.ok]
            proven = mark is not None and any(
                copy.sha256 is not None and copy.sha256.hex == mark.get("record_sha256") for copy in good
            )
            if proven:
                state = EpochState.SUPERSEDED if newer_proven else EpochState.PROVEN
                newer_proven = True
            elif good and len({copy.domain for copy in good}) >= enough:
                state = EpochState.COMPLETE
            else:
                state = EpochState.WRITTEN
            epochs.append(Epoch(name, self.fingerprint, copies, state))
        return tuple(reversed(epochs))


def _list(target: Target, fingerprint: str) -> dict[str, _Details]:
    """What a target lists of a key, by epoch; names that are not an epoch's cost nothing more."""
    found: dict[str, list[Slot]] = {}
    if isinstance(target, Listing):
        for name in sorted(target.slots(fingerprint)):  # the epoch's own place before those beside it
            if is_epoch(name):
                found.setdefault(epoch_of(Slot(fingerprint, name)), []).append(Slot(fingerprint, name))
        return {name: partial(_look, target, slots) for name, slots in found.items()}
    stored: dict[str, list[Stored]] = {}
    for item in target.find(fingerprint):
        if is_epoch(item.slot.epoch):
            stored.setdefault(epoch_of(item.slot), []).append(item)
    return {name: items.copy for name, items in stored.items()}


def _look(target: Target, slots: Sequence[Slot]) -> list[Stored]:
    return [item for slot in slots for item in target.find(slot.fingerprint, slot.epoch)]


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
