"""What is really stored: every copy of every epoch, as it was read and judged.

Nothing here trusts a listing's order, a name, or what another run believed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from pipeline.core.digest import Digest
from pipeline.core.errors import Code, IntegrityProblem, OrgkeyError, UsageProblem, error_of, first_of
from pipeline.core.values import taken_from
from pipeline.record.verify import Record
from pipeline.storage.interface import Receipt, Replication, Slot

UNDO = "an administrator can bring it back: `{}`"


class EpochState(StrEnum):
    """How far an epoch has come."""

    WRITTEN = "written"
    COMPLETE = "complete"
    PROVEN = "proven"
    SUPERSEDED = "superseded"


class CopyState(StrEnum):
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
        identity: What another target tells alike where the two are one place.
        twin: The target that this copy is of as well: the two are one place, and this is one copy with that
            one, whose failure domain it has. Empty where it stands alone.
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
    identity: str = ""
    twin: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was read whole and is authentic."""
        return self.record is not None

    def receipt(self) -> Receipt:
        """What a write of this good copy would have confirmed."""
        assert self.record is not None
        slot = None if self.slot.epoch == self.record.epoch else self.slot.epoch
        return taken_from(self, Receipt, sha256=self.record.sha256, slot=slot)

    @property
    def standing(self) -> CopyState:
        """What is known of it. A copy that could not be read is neither bad nor missing."""
        if self.ok:
            return CopyState.GOOD
        newer = self.code is Code.USAGE and self.sha256 is not None  # else a login's file could not be read
        if newer or self.code is Code.INTEGRITY:
            return CopyState.BAD
        return CopyState.UNREACHABLE if self.unread else CopyState.MISSING


def one_place(name: str, other: str) -> UsageProblem:
    """The error for a target that is another one once more: what lies there is one copy."""
    return UsageProblem(
        f"target {name} is the same place as target {other}, under another name: a record there is one copy",
        hint=f"correct where [target.{name}] lies, or take it out of the configuration",
    )


def apart(copies: Iterable[Copy]) -> tuple[Copy, ...]:
    """The copies, those of one place marked as one: a second name for a place makes no second copy."""
    first: dict[tuple[str, str], Copy] = {}
    found = []
    for copy in copies:
        if copy.ok and copy.identity:
            other = first.setdefault((copy.kind, copy.identity), copy)
            if other is not copy:
                wrong = one_place(copy.target, other.target)
                problem = "; ".join(filter(None, (copy.problem, wrong.message)))
                copy = replace(copy, domain=other.domain, twin=other.target, problem=problem, hint=wrong.hint)
        found.append(copy)
    return tuple(found)


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
    state: EpochState

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
class Catalog:
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

    def after(self, latest: Epoch) -> tuple[Epoch, ...]:
        """The authentic epochs that are newer; one that a wrong clock dated in the future is not."""
        later = self.epochs[self.epochs.index(latest) + 1 :]
        return tuple(epoch for epoch in later if epoch.record)

    def unread(self) -> tuple[Epoch, ...]:
        """Epochs that are listed and newer than every authentic one, and that could not be read."""
        newest = self.newest()
        return tuple(
            epoch for epoch in self.epochs if epoch.unread and (newest is None or epoch.name > newest.name)
        )

    def newest_record(self) -> Record | None:
        """The newest authentic record, if there is one."""
        newest = self.newest()
        return newest.record if newest else None

    def records(self, other_than: Record | None = None) -> tuple[Record, ...]:
        """The authentic records of all epochs, but for one."""
        found = (epoch.record for epoch in self.epochs if epoch.record)
        return tuple(record for record in found if other_than is None or record.epoch != other_than.epoch)

    def record(self, epoch: str | None = None) -> Record:
        """The record of one epoch, the latest where none is named.

        Raises:
            OrgkeyError: It is not stored, or could not be read.
        """
        (chosen, *_) = self.choose([epoch] if epoch else ())
        if chosen.record is None:
            raise not_read(chosen)
        return chosen.record

    def latest(self) -> Epoch | None:
        """The newest authentic, proven epoch; else the newest complete one; else any authentic one.

        By the manifest's own time. An incomplete epoch still restores, so it is better than none.
        """
        sound = [epoch for epoch in self.epochs if epoch.record]
        for states in ((EpochState.PROVEN, EpochState.SUPERSEDED), (EpochState.COMPLETE,), tuple(EpochState)):
            chosen = [epoch for epoch in sound if epoch.state in states]
            if chosen:
                return chosen[-1]
        return None

    def codes(self) -> list[Code]:
        """The codes of everything that is wrong."""
        codes = [error.code for error in self.unreachable.values()]
        codes += [copy.code for epoch in self.epochs for copy in epoch.copies]
        return [*codes, *(Code.DEGRADED for _ in self.left_out)]

    def choose(self, wanted: Collection[str] | None) -> tuple[Epoch, ...]:
        """Choose epochs.

        Args:
            wanted: Names; ``None`` for all, empty for the latest.

        Raises:
            OrgkeyError: None is there, or none of those named; a target that cannot be reached is the cause
                that is told first.
        """
        if wanted is None:
            found = self.epochs
        elif wanted:
            found = tuple(epoch for epoch in self.epochs if epoch.name in wanted)
        else:
            latest = self.latest()
            found = (latest,) if latest else ()
        if found:
            return found
        raise _none(self, wanted)

    def passed_over(
        self, chosen: str, mend: str = "take it with --epoch", *, known_false: Collection[str] = ()
    ) -> list[str]:
        """What is told of newer epochs, where an older one was chosen as the latest.

        Args:
            chosen: The latest's name.
            mend: What to do about one that is authentic.
            known_false: Those that were looked into: nothing is told of them.
        """
        lines = []
        newer = [epoch for epoch in self.epochs if epoch.name > chosen and epoch.name not in known_false]
        lost = sorted(epoch.name for epoch in newer if not (epoch.record or epoch.unread))
        for epoch in sorted(newer, key=lambda item: item.name):
            if epoch.record:
                where = ", ".join(copy.target for copy in epoch.good)
                lines.append(f"epoch {epoch.name} is newer, {epoch.state} at {where}: {mend}")
            elif epoch.unread or epoch.name == lost[-1]:  # anybody who can write there makes any number
                more = "" if epoch.unread or len(lost) == 1 else f", and of {len(lost) - 1} more none is"
                lines.append(f"{not_read(epoch).message}{more}; it may be newer than {chosen}")
        return lines


def _none(catalog: Catalog, wanted: Collection[str] | None) -> OrgkeyError:
    """Why there is nothing to choose: not read is told apart from not authentic, and both from not there."""
    unread = [epoch for epoch in catalog.epochs if epoch.unread]
    if unread and not wanted:
        return not_read(unread[-1])
    if catalog.unreachable:
        return _silent([*catalog.unreachable.values()])
    bad = [copy for epoch in catalog.epochs for copy in epoch.copies if copy.code is Code.INTEGRITY]
    if bad and not wanted:
        return IntegrityProblem(
            f"no copy of this key is authentic; {bad[0].target}, {bad[0].location}: {bad[0].problem}",
            hint="find out who could write to the targets; another copy or export of the key is needed",
        )
    if catalog.epochs and not wanted:
        return not_read(catalog.epochs[-1])
    which = f"epoch {', '.join(sorted(wanted))}" if wanted else "epoch"
    return UsageProblem(
        f"no {which} is stored for {catalog.fingerprint}",
        hint="`orgkey list` shows what is stored"
        + ("" if catalog.epochs or wanted else "; `orgkey escrow` makes the first epoch"),
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
        f"{copy.target}: {copy.problem}" for copy in epoch.copies if copy.standing is not CopyState.MISSING
    )
    if not unread:
        undo = [UNDO.format(copy.undo) for copy in epoch.copies if copy.undo]
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
