"""Extend the retention of stored records: read and judged by the driller, extended by an identity of its own.

Nothing is ever shortened, so a run that was killed is finished by running it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from pipeline.archive.archive import AT_ONCE, WORKERS, Archive
from pipeline.archive.run import KeyScope
from pipeline.config.places import S3TargetConfig
from pipeline.core.clock import stamp
from pipeline.core.errors import Code, Degraded, OrgkeyError, UsageProblem, first_of
from pipeline.core.isolation import isolated
from pipeline.evidence.ledger.events import RetainEvent
from pipeline.storage.interface import Presence, Retainer, Stored, Target
from pipeline.storage.names import epoch_of
from pipeline.workflows.retention import ledger as retain_ledger
from pipeline.workflows.retention.ledger import MirroredLedger
from pipeline.workflows.retention.rules import Action, Fate, Request, configured_mode, decide, each, extend


@dataclass(frozen=True)
class Version:
    """One stored version.

    Attributes:
        target: Where.
        epoch: The epoch's name.
        stored: As the target lists it; ``None`` where the target has no copy of the epoch.
        fate: What becomes of its retention.
    """

    target: str
    epoch: str
    stored: Stored | None
    fate: Fate = field(default_factory=Fate)


@dataclass(frozen=True)
class Plan:
    """What would be done, or was.

    Attributes:
        request: What was asked for.
        versions: Every readable version of the chosen epochs, by target and epoch.
        without: The kind of every target that has no retention, by name.
        failures: Targets that could not be read.
        ledger: The ledger at those of its mirrors that are among the targets; empty where single epochs
            were asked for.
    """

    request: Request
    versions: tuple[Version, ...]
    without: Mapping[str, str]
    failures: Mapping[str, OrgkeyError]
    ledger: tuple[MirroredLedger, ...] = ()

    @property
    def code(self) -> Code:
        """How the run ends."""
        return first_of(
            [
                *(item.fate.code for item in self.versions),
                *(item.code for item in self.ledger),
                *(error.code for error in self.failures.values()),
            ]
        )

    @property
    def irrevocable(self) -> int:
        """How many versions nobody could delete, or unlock, before the new date."""
        fates = [item.fate for item in self.versions]
        fates += [item.fate for mirrored in self.ledger for item in mirrored.entries]
        return sum(fate.irrevocable for fate in fates)


def plan(context: KeyScope, request: Request, *, sync: bool) -> Plan:
    """Find the authentic versions, look at their retention, and decide.

    Args:
        context: The run.
        request: What is asked for.
        sync: Whether the ledger and its mirrors are brought level first; else nothing is written.

    Raises:
        UsageProblem: The date, a target, a mode or an epoch is not possible; nothing is stored.
        OrgkeyError: No target could be read: the first one's error.
    """
    _check_date(context, request.until)
    chosen, without = _targets(context, request.targets)
    archive = context.archive("driller")
    wanted = request.epochs
    if wanted is not None and not wanted:
        wanted = [archive.catalog().choose(())[0].name]
    found: dict[str, tuple[Version, ...]] = {}
    failures: dict[str, OrgkeyError] = {}
    for name in chosen:
        seen = isolated(partial(_read, context, archive, archive.targets[name], wanted), f"target {name}")
        if isinstance(seen, OrgkeyError):
            failures[name] = seen
            continue
        found[name], left_out = seen
        if left_out:
            failures[name] = Degraded(
                f"{name} lists {left_out} more epochs than there was time to read",
                hint="find out who writes there, or name the epochs with --epoch",
            )
    if not found:
        raise next(iter(failures.values()))
    names = {item.epoch for items in found.values() for item in items}
    if not names or (wanted is not None and not names & set(wanted)):
        if failures:
            raise next(iter(failures.values()))
        which = f"epoch {', '.join(sorted(wanted))}" if wanted else "epoch"
        raise UsageProblem(
            f"no {which} of {context.fingerprint} is stored at {', '.join(chosen)}",
            hint="`orgkey list` shows what is stored",
        )
    extender = context.backends("retention")
    retainers, versions = extender.retainers(), []
    for name, items in found.items():
        decided = _decided(context, request, retainers[name], items)
        versions += [*decided, *_missing(name, decided, names)]
    ledger: tuple[MirroredLedger, ...] = ()
    if request.epochs is None:
        mirrors = {name: item for name, item in extender.entry_retainers().items() if name in chosen}
        ledger = retain_ledger.plan(context, request, mirrors, sync=sync)
    return Plan(request, tuple(versions), without, failures, ledger)


def retain(context: KeyScope, planned: Plan) -> Plan:
    """Do what was planned, and enter it in the ledger.

    Args:
        context: The run.
        planned: What :func:`plan` found.

    Returns:
        What was done; see ``code``.

    Raises:
        Locked: Another run works on this key.
        LocalFilesProblem: The ledger cannot be written.
    """
    with context.locked("retain-failed"):
        extender = context.backends("retention")
        retainers = extender.retainers()

        def extended(item: Version) -> Fate:
            if item.stored is None:
                return item.fate
            fate = extend(retainers[item.target], item.stored, item.fate)
            _tell(context, item.target, item.stored, fate)
            return fate

        versions = each(planned.versions, extended)
        ledger = retain_ledger.carry_out(context, planned.ledger, extender.entry_retainers())
        result = replace(planned, versions=versions, ledger=ledger)
        context.record_event(_event(result))
    return result


# -- inside --------------------------------------------------------------------------------------


def _check_date(context: KeyScope, until: datetime) -> None:
    now, limit = context.clock.now(), context.config.policy.max_lock_days
    if until <= now:
        raise UsageProblem(
            f"--until {stamp(until)} has passed", hint="give a date in the future; nothing is ever shortened"
        )
    if until > now + timedelta(days=limit):
        raise UsageProblem(
            f"--until {stamp(until)} is more than {limit} days away, which policy.max_lock_days forbids",
            hint="give an earlier date, or raise policy.max_lock_days",
        )


def _targets(context: KeyScope, asked: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Choose the targets that have a retention, and say which have none."""
    known = context.config.target
    for name in asked:
        if name not in known:
            raise UsageProblem(f"there is no target {name}", hint=f"configured are {', '.join(known)}")
        if not isinstance(known[name], S3TargetConfig):
            raise UsageProblem(
                f"target {name} has no retention: it is of kind {known[name].kind}",
                hint="only S3 with Object Lock has one",
            )
    chosen = tuple(
        name for name in known if isinstance(known[name], S3TargetConfig) and name in (asked or known)
    )
    if not chosen:
        raise UsageProblem("no target has a retention", hint="only S3 with Object Lock has one")
    return chosen, {name: item.kind for name, item in known.items() if not isinstance(item, S3TargetConfig)}


def _read(
    context: KeyScope, archive: Archive, target: Target, wanted: Collection[str] | None
) -> tuple[tuple[Version, ...], int]:
    """Read every version that a target has of the epochs, and judge it, in half of the time that is left.

    Returns:
        The versions, and how many more epochs it lists.
    """
    listed, order = archive.listed(target, wanted)
    half = context.deadline.left() / 2
    read: list[Version] = []
    begun = False
    with ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="retain") as pool:
        while order and (not begun or context.deadline.left() > half):
            chunk, order, begun = order[:AT_ONCE], order[AT_ONCE:], True
            stored = [item for items in pool.map(lambda name: listed[name](), chunk) for item in items]
            found = [Version(target.name, epoch_of(item.slot), item) for item in stored if item.readable]
            read += each(found, partial(_judge, archive, target))
    return tuple(read), len(order)


def _judge(archive: Archive, target: Target, item: Version) -> Fate:
    assert item.stored is not None
    outcome = archive.read(target, item.stored).outcome
    if isinstance(outcome, OrgkeyError):
        return Fate(problem=outcome.message, code=outcome.code)
    hidden = item.stored.presence is Presence.HIDDEN
    return Fate(problem="hidden behind a delete marker" if hidden else None)


def _missing(name: str, items: Iterable[Version], epochs: Iterable[str]) -> list[Version]:
    """An epoch of which other targets have a copy, and this one has none."""
    gap = sorted(set(epochs) - {item.epoch for item in items})
    why = "no copy of this epoch is there: `orgkey repair`"
    return [Version(name, epoch, None, Fate(problem=why, code=Code.DEGRADED)) for epoch in gap]


def _decided(
    context: KeyScope, request: Request, retainer: Retainer[Stored], items: Collection[Version]
) -> tuple[Version, ...]:
    configured = configured_mode(context.config, retainer.name)

    def decided(item: Version) -> Fate:
        assert item.stored is not None
        where = f"{item.stored.location} at {item.target}"
        return decide(request, retainer, item.stored, item.fate, configured=configured, where=where)

    return each(items, decided)


def _tell(context: KeyScope, target: str, stored: Stored, fate: Fate) -> None:
    if fate.action is Action.EXTENDED and fate.wanted:
        until = stamp(fate.wanted.until)
        context.reporter.progress(f"{target}: {stored.location} is retained until {until}")
    elif fate.action is Action.FAILED:
        context.reporter.warn(f"{fate.problem}")


def _event(result: Plan) -> RetainEvent:
    """What the ledger keeps of it."""
    count = Counter(item.fate.action for item in result.versions)
    return RetainEvent(
        code=int(result.code),
        until=stamp(result.request.until),
        mode=result.request.mode,
        epochs=tuple(sorted({item.epoch for item in result.versions})),
        targets=tuple(sorted({item.target for item in result.versions})),
        extended=count[Action.EXTENDED],
        kept=count[Action.KEPT],
        ledger=tuple(
            {
                "target": item.target,
                "extended": item.counts.get(Action.EXTENDED, 0),
                "kept": item.counts.get(Action.KEPT, 0),
                "code": int(item.code),
                "message": item.problem,
            }
            for item in result.ledger
        ),
        failures=(
            *(
                {
                    "target": item.target,
                    "epoch": item.epoch,
                    "version": item.stored.version if item.stored else None,
                    "code": int(item.fate.code),
                    "message": item.fate.problem,
                }
                for item in result.versions
                if item.fate.code is not Code.OK
            ),
            *(
                {"target": name, "code": int(error.code), "message": error.message}
                for name, error in result.failures.items()
            ),
        ),
    )
