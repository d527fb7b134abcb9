"""How fresh and how proven the escrow is: the gate for monitoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from pipeline.archive import live_key as lives
from pipeline.archive import overview
from pipeline.archive.backends import BackupBackends
from pipeline.archive.catalog import Catalog, Epoch, EpochState, not_read
from pipeline.archive.overview import Silence
from pipeline.archive.run import KeyScope
from pipeline.core.clock import parse_stamp
from pipeline.core.concurrency import overlap
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.core.text import counted
from pipeline.custody.shares.paths import HolderDescription, describe, from_config
from pipeline.evidence.ledger import drill_history as history
from pipeline.evidence.ledger.drill_history import Drilled, History, Known
from pipeline.evidence.ledger.witnessed import Witnesses
from pipeline.monitoring import rules as gate
from pipeline.monitoring.rules import DAY, Rule
from pipeline.record.create import CustodyPlan
from pipeline.record.verify import Record
from pipeline.workflows import checkin
from pipeline.workflows.backups import backup_map
from pipeline.workflows.backups.backup_map import Backup

_TOLD = 5
"""How many backups of a kind are named one by one."""


@dataclass(frozen=True)
class Status:
    """The state of one key's escrow.

    Attributes:
        epoch: The latest authentic epoch; ``None`` when there is none.
        age_seconds: Since it was minted.
        last_drill_age_seconds: Since this host last proved it; ``None`` when it never did.
        live: The live key against the escrowed one.
        renewal: When the server renews the key by itself; ``None`` when nothing is escrowed.
        former: What is stored of the former Org Keys.
        backups: Which escrowed key opens which of the configured backups, unopened ones first.
        custodians: How the latest epoch's shares of people stand.
        outdated: Names of stored epochs that follow another custody plan than the configuration.
        proven: The last passed test restore of each copy and path of the latest epoch.
        newest_backup: When the newest of the configured backups was written, where any tells.
        rules: Every rule of the gate, whether it holds or not.
        survey: What is stored.
        judged_at: When it was judged.
        code: How the run ends.
        silent: What could not be looked at, one for each cause.
        known: What this host knows of the newest epoch without asking anyone.
    """

    epoch: Epoch | None
    age_seconds: float | None
    last_drill_age_seconds: float | None
    live: lives.Live
    renewal: lives.Renewal | None
    former: tuple[Catalog, ...]
    backups: tuple[Backup, ...]
    custodians: tuple[checkin.ShareState, ...]
    outdated: frozenset[str]
    proven: Mapping[tuple[str, str], Drilled]
    newest_backup: datetime | None
    rules: tuple[Rule, ...]
    survey: Catalog
    judged_at: datetime
    code: Code
    silent: tuple[Silence, ...] = ()
    known: Known | None = None

    @property
    def warned(self) -> tuple[str, ...]:
        """The rules that hold only since nothing asks for more, in words."""
        return tuple(rule.text for rule in self.rules if rule.warned)

    @property
    def unknown(self) -> bool:
        """Whether it is not known what is stored: no good copy was seen, and not all was looked at."""
        return not (self.epoch and self.epoch.good) and bool(overview.silences([self.survey]))

    @property
    def broken(self) -> tuple[str, ...]:
        """The rules that do not hold, in words."""
        return tuple(rule.text for rule in self.rules if not rule.ok)


def status(context: KeyScope) -> Status:
    """Judge the escrow of the pinned key.

    Args:
        context: The run.
    """
    now = context.clock.now()
    estate = context.backends("driller")
    survey, *former = context.catalogs()
    latest = survey.latest()
    drilled = _last_drill(context, latest)
    live = lives.live(context, latest)
    renewal = lives.renewal(live.public or latest.record.public, now) if latest and latest.record else None
    plan, unasked = _plan(context)
    silent = overview.silences((survey, *former), unasked)
    rules = gate.told("reachable", [item.text for item in silent], "every target and holder answers")
    codes = [item.code for item in silent]
    past, ledger = _history(context, survey)
    rules += gate.told("ledger", [error.message for error in ledger], "the ledger's chain holds")
    rules += [Rule("ledger-entry", True, text, warned=True) for text in past.skipped]
    codes += [error.code for error in ledger]
    custodians: list[checkin.ShareState] = []
    outdated = frozenset(
        epoch.name
        for epoch in survey.epochs
        if plan is not None and epoch.record and not plan.is_of(epoch.record)
    )
    age = None
    if latest is None or latest.record is None:
        rules.append(Rule("stored", False, _not_stored(survey, past.known)))
    else:
        age = (now - latest.record.manifest.created).total_seconds()
        rules += _rules(context, latest, age, (now - drilled).total_seconds() if drilled else None)
        rules += gate.unlimited(context.config.policy, latest.record, backups=bool(context.config.backups))
        if not ledger:
            rules += gate.proofs(context.config.policy, latest, latest.record, past.drills, now)
            more, problems = _check_ins(context, latest.record, past.drills, custodians)
            rules += more
            codes += problems
        if context.config.key and context.config.key.live:
            rules += gate.told(
                "live", _live_rules(context, live, renewal), "the live key is the escrowed one"
            )
        rules += gate.told("plan", _other_plan(latest, outdated), "the custody plan is the configured one")
        codes += [copy.code for copy in latest.copies if copy.target not in survey.unreachable]
    for item in (survey, *former):
        rules += gate.foreign(context.config.policy, item, item.latest())
    rules += gate.told("vanished", _vanished(context, survey), "every epoch that was proven here is stored")
    for other in former:
        failing, problems = _former_rules(context, other)
        rules += gate.told("former", failing, f"former key {other.fingerprint} is proven")
        codes += problems + overview.verdict(other, context.config.policy.copies)
    backups, broken, problems = _backups(context, estate, (survey, *former))
    newest = newest_of(backups, now)
    if context.config.backups:
        total = counted(len(backups), "backup")
        rules += gate.told("backups", broken, f"no backup needs another key than the escrowed: {total}")
        rules += gate.backups(context.config.policy, newest, now)
    codes += problems
    if (wrong := context.deadline.dates.problem()) is not None:
        rules.append(Rule("clock", False, f"{wrong.message}; {wrong.hint}"))
    if not all(rule.ok for rule in rules):
        codes.append(Code.STALE)
    return Status(
        latest,
        age,
        (now - drilled).total_seconds() if drilled else None,
        live,
        renewal,
        tuple(former),
        backups,
        tuple(custodians),
        outdated,
        history.last_passed(past.drills, frozenset({latest.name})) if latest else {},
        newest,
        tuple(rules),
        survey,
        now,
        overview.judged(codes, context.deadline),
        tuple(silent),
        past.known,
    )


def _not_stored(survey: Catalog, known: Known | None) -> str:
    """No answer is not an empty answer."""
    if not overview.silences([survey]):
        nothing = "nothing authentic is stored for this key"
        why = not_read(survey.epochs[-1]) if survey.epochs else None
        return f"{nothing}: {why.message}; {why.hint}" if why else nothing
    last = known.text if known else "this host's ledger knows of no epoch"
    return f"whether anything authentic is stored for this key is not known; {last}"


def _other_plan(latest: Epoch, outdated: frozenset[str]) -> list[str]:
    if latest.name not in outdated:
        return []
    return [
        f"epoch {latest.name} follows another custody plan than the configuration; "
        "`orgkey custody rotate` applies it"
    ]


def _history(context: KeyScope, survey: Catalog) -> tuple[History, list[OrgkeyError]]:
    """What the ledger tells that is believed; or why it cannot tell it."""
    try:
        told = history.read(context.ledger.each())
    except OrgkeyError as error:
        return History(), [error]
    witnesses = Witnesses(context.root, (epoch.record for epoch in survey.epochs))
    drills, doubts = witnesses.believed(told.drills)
    return replace(told, drills=drills, skipped=(*told.skipped, *doubts)), []


def _check_ins(
    context: KeyScope, record: Record, drills: Sequence[Drilled], standings: list[checkin.ShareState]
) -> tuple[list[Rule], list[Code]]:
    """How the custodians' shares stand; they are added to ``standings``."""
    try:
        standings += checkin.standings(context, record, drills)
    except OrgkeyError as error:
        return [Rule("check-ins", False, f"{error.message}; {error.hint}")], [error.code]
    limit = context.config.policy.max_check_in_age_days
    if limit is None:
        return [], []
    rules = [
        Rule(
            "max_check_in_age_days",
            False,
            _overdue(item, limit),
            round(item.age_seconds / DAY, 1),
            limit,
            f"{item.seat.share.label} {item.seat.place}",
        )
        for item in standings
        if item.overdue
    ]
    return rules or gate.told("max_check_in_age_days", [], "every custodian has checked in"), []


def _rules(context: KeyScope, latest: Epoch, age: float, drill_age: float | None) -> list[Rule]:
    policy, now = context.config.policy, context.clock.now()
    locked = _locked(context)
    return [
        *gate.copies(policy, latest),
        *gate.ages(policy, latest, age, drill_age),
        *gate.locks(latest.copies, locked),
        *gate.retention(policy, latest.copies, locked, now),
    ]


def _locked(context: KeyScope) -> frozenset[str]:
    """The targets that are configured to lock."""
    targets = context.config.target.items()
    return frozenset(name for name, target in targets if getattr(target, "lock_mode", None))


def _live_rules(context: KeyScope, live: lives.Live, renewal: lives.Renewal | None) -> list[str]:
    if context.config.key is None or context.config.key.live is None:
        return []
    if live.state == "replaced":
        return [f"new backups are not covered by this escrow; the live key: {live.reason}"]
    if live.state == "unknown":
        # A gate that cannot see a replacement must not be green.
        return [f"the live key cannot be looked up: {live.reason}"]
    broken = []
    if live.state == "renewed":
        broken.append(
            "the live key has newer self-signatures than the escrowed public part; "
            "`orgkey refresh` stores them"
        )
    if renewal and renewal.state == "overdue":
        broken.append("the live key has expired and has not renewed itself: the server cannot use it")
    return broken


def _former_rules(context: KeyScope, survey: Catalog) -> tuple[list[str], list[Code]]:
    """A former key is needed as long as there are backups that were made with it."""
    latest = survey.latest()
    name = f"former key {survey.fingerprint}"
    if latest is None:
        # Why it is not known is told of the targets already.
        unknown = overview.silences([survey])
        return ([] if unknown else [f"{name}: nothing authentic is stored for it"]), []
    rules = [*gate.copies(context.config.policy, latest), *gate.locks(latest.copies, _locked(context))]
    broken = [f"{name}: {rule.text}" for rule in rules if not rule.ok]
    its = context.of(survey.fingerprint)
    past, ledger = _history(its, survey)
    broken += [f"{name}: {error.message}" for error in ledger]
    mine = [item for item in past.drills if item.epoch == latest.name]
    broken += [f"{name}: {failure}" for failure in gate.failures(mine)]
    codes = [error.code for error in ledger]
    if latest.state not in (EpochState.PROVEN, EpochState.SUPERSEDED):
        broken.append(
            f"{name}: this host knows of no drill that proved it; "
            f"run `orgkey drill --fingerprint {survey.fingerprint}`"
        )
        return broken, codes
    drilled = _last_drill(its, latest)
    age = (context.clock.now() - drilled).total_seconds() if drilled else 0.0
    limit = context.config.policy.max_drill_age_days
    if limit and age > limit * DAY:
        broken.append(
            f"{name}: its last drill is {age / DAY:.1f} days old, policy.max_drill_age_days is {limit:g}"
        )
    return broken, codes


def _backups(
    context: KeyScope, estate: BackupBackends, surveys: Sequence[Catalog]
) -> tuple[tuple[Backup, ...], list[str], list[Code]]:
    """The map of the configured backups, and what is wrong with it."""
    if not context.config.backups:
        return (), [], []
    try:
        found = backup_map.map_backups(
            estate.backups(whole=False), backup_map.escrowed(surveys), backup_map.missing(surveys)
        )
    except OrgkeyError as error:
        return (), [f"the backups cannot be looked at: {error.message}; {error.hint}"], [error.code]
    unopened = [backup for backup in found if backup.code is Code.STALE]
    broken = [f"backup {backup.source.name}: {backup.problem}" for backup in unopened[:_TOLD]]
    if len(unopened) > _TOLD:
        broken.append(f"and {len(unopened) - _TOLD} backups more that no escrowed key opens")
    if not found:
        broken.append("no backup has arrived in any place of [backups]")
    # One in an archive is not lost: it breaks nothing as long as there is another.
    others = any(backup.head is not None for backup in found)
    damaged = [
        backup
        for backup in found
        if backup.code not in (Code.OK, Code.STALE, Code.DEGRADED) and not (backup.archived and others)
    ]
    broken += [f"backup {backup.source.name}: {backup.problem}" for backup in damaged[:_TOLD]]
    return found, broken, [backup.code for backup in damaged]


def _plan(context: KeyScope) -> tuple[CustodyPlan | None, list[tuple[str, OrgkeyError]]]:
    """The configured custody plan; and which holders could not be asked for it."""
    holders = context.backends("driller").holders()
    paths = from_config(context.config, holders)
    names = sorted({need.holder for path in paths for need in path.needs})

    def ask(name: str) -> HolderDescription | OrgkeyError:
        return isolated(lambda: describe(holders, [name])[name], f"holder {name}")

    told = dict(zip(names, overlap([partial(ask, name) for name in names]), strict=True))
    unasked = [(name, item) for name, item in told.items() if isinstance(item, OrgkeyError)]
    described = {name: item for name, item in told.items() if isinstance(item, HolderDescription)}
    return (None if unasked else CustodyPlan(paths, {}, {}, described)), unasked


def newest_of(found: Sequence[Backup], now: datetime) -> datetime | None:
    """When the newest backup was written; a date that lies ahead must not keep the gate green."""
    times = [
        backup.source.modified
        for backup in found
        if (backup.code in (Code.OK, Code.STALE) or (backup.code is Code.DEGRADED and backup.head))
        and backup.source.modified
        and backup.source.modified < now + timedelta(days=1)
    ]
    return max(times, default=None)


def _overdue(item: checkin.ShareState, limit: float) -> str:
    when = f"{item.age_seconds / DAY:.1f} days ago"
    last = f"checked in {when}" if item.last else f"has never checked in, the share was made {when}"
    asked = f"policy.max_check_in_age_days is {limit:g}; run `orgkey custody challenge`"
    return f"custodian {item.seat.name} ({item.seat.path.name}) {last}, {asked}"


def _last_drill(context: KeyScope, latest: Epoch | None) -> datetime | None:
    entry = context.journal.entry(latest.name) if latest else None
    mark = entry.proven() if entry else None
    return parse_stamp(str(mark["at"])) if mark else None


def _vanished(context: KeyScope, survey: Catalog) -> list[str]:
    """Epochs that this host has proven and that no target shows any more: somebody rolled them back."""
    if survey.unreachable or survey.left_out:
        return []  # they may be there
    shown = {epoch.name for epoch in survey.epochs if epoch.record or epoch.unread}
    return [
        f"epoch {entry.epoch} was proven by this host, and no target has an authentic copy of it any more"
        for entry in context.journal.entries()
        if entry.proven() and entry.epoch not in shown
    ]
