"""How fresh and how proven the escrow is: the gate for monitoring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from pipeline.archive import live_key, overview
from pipeline.archive.catalog import Catalog, Epoch, EpochState, not_read
from pipeline.archive.overview import Silence
from pipeline.archive.run import KeyScope
from pipeline.core.clock import AHEAD, parse_stamp, within
from pipeline.core.concurrency import overlap
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.core.text import counted
from pipeline.custody.shares.paths import HolderDescription, describe, from_config
from pipeline.evidence.ledger import drill_history
from pipeline.evidence.ledger.backup_history import BackupHistory, RecordedReading
from pipeline.evidence.ledger.drill_history import Drilled, History, LastKnown
from pipeline.evidence.ledger.witnessed import Witnesses
from pipeline.monitoring import backup_rules, rules
from pipeline.monitoring.rules import DAY, Rule
from pipeline.record.create import CustodyPlan
from pipeline.record.verify import Record
from pipeline.workflows import checkin, drill
from pipeline.workflows.backups.backup_map import Backup, escrowed, map_backups, missing
from pipeline.workflows.backups.selection import Places


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
        outdated: Names of stored epochs that follow another custody plan than the configuration; ``None``
            where that is not known, since a holder cannot be asked.
        proven: The last passed test restore of each copy and path of the latest epoch.
        newest_backups: When the newest backup of each place was written; ``None`` where none tells.
        verified_backups: The newest of each place that was read to its end, as it lies there now.
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
    live: live_key.Live
    renewal: live_key.Renewal | None
    former: tuple[Catalog, ...]
    backups: tuple[Backup, ...]
    custodians: tuple[checkin.ShareState, ...]
    outdated: frozenset[str] | None
    proven: Mapping[tuple[str, str], Drilled]
    newest_backups: Mapping[str, datetime | None]
    verified_backups: Mapping[str, RecordedReading | None]
    rules: tuple[Rule, ...]
    survey: Catalog
    judged_at: datetime
    code: Code
    silent: tuple[Silence, ...] = ()
    known: LastKnown | None = None

    @property
    def verified_backup(self) -> RecordedReading | None:
        """The newest backup of all places that was read to its end, as it lies there now."""
        return max(filter(None, self.verified_backups.values()), key=backup_rules.written, default=None)

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


def status(context: KeyScope, past: History | OrgkeyError | None = None) -> Status:
    """Judge the escrow of the pinned key.

    Args:
        context: The run.
        past: What its ledger holds, or why it cannot be read, where it was read already.
    """
    return _Gate(context).judge(past)


class _Gate:
    """Collects the rules, and the codes of what is wrong."""

    def __init__(self, context: KeyScope) -> None:
        self._context, self._policy, self._now = context, context.config.policy, context.clock.now()
        self._survey, *self._former = context.catalogs()
        self._locked = frozenset(
            name for name, target in context.config.target.items() if getattr(target, "lock_mode", None)
        )
        self._rules: list[Rule] = []
        self._codes: list[Code] = []

    def judge(self, known: History | OrgkeyError | None) -> Status:
        """Look at everything; the order is that of the rules for people."""
        context, survey, former = self._context, self._survey, self._former
        latest = survey.latest()
        drilled = _last_drill(context, latest)
        drill_age = (self._now - drilled).total_seconds() if drilled else None
        live = live_key.live(context, latest)
        record = latest.record if latest else None
        renewal = live_key.renewal(live.public or record.public, self._now) if record else None
        plan, unasked = _plan(context)
        silent = overview.silences((survey, *former), unasked)
        self._require("reachable", [it.text for it in silent], "every target and holder answers")
        self._codes += [it.code for it in silent if it.stores or it.code is not Code.USAGE]
        past, error = _history(context, survey, known)
        self._require("ledger", [error.message] if error else [], "the ledger's chain holds")
        self._rules += [Rule("ledger-entry", True, text, warned=True) for text in past.skipped]
        self._codes += [error.code] if error else []
        outdated = None
        if plan is not None:
            stored = [epoch for epoch in survey.epochs if epoch.record]
            outdated = frozenset(it.name for it in stored if it.record and not plan.is_of(it.record))
        age, custodians = None, tuple[checkin.ShareState, ...]()
        if latest is None or record is None:
            self._rules.append(Rule("stored", False, _not_stored(survey, past.known)))
        else:
            age = (self._now - record.manifest.created).total_seconds()
            self._rules += rules.copies(self._policy, latest)
            self._rules += rules.ages(self._policy, latest, age, drill_age)
            self._rules += rules.locks(latest.copies, self._locked)
            self._rules += rules.retention(self._policy, latest.copies, self._locked, self._now)
            self._rules += rules.unlimited(self._policy, record, backups=bool(context.config.backups))
            if error is None:
                targets = context.config.target
                self._rules += rules.proofs(self._policy, latest, record, past.drills, targets, self._now)
                custodians = self._check_ins(record, past.drills)
            if context.config.key and context.config.key.live:
                self._require("live", _live_problems(live, renewal), "the live key is the escrowed one")
            self._rules += rules.newer(survey, latest, past.drills)
            if outdated is not None:  # else the rule about holders says why it is not known
                problems = [_outdated(survey, latest, outdated)] if latest.name in outdated else []
                self._require("plan", problems, "the custody plan is the configured one")
            self._codes += [copy.code for copy in latest.copies if copy.target not in survey.unreachable]
        for each in (survey, *former):
            self._rules += rules.foreign(self._policy, each, each.latest())
        if not (survey.unreachable or survey.left_out):  # else they may be there
            gone = _vanished(context, survey)
            self._require("vanished", gone, "every epoch that was proven here is stored")
        unusable = context.journal.damaged().values()
        self._rules += [Rule("journal", False, f"{it.message}; {it.hint}") for it in unusable]
        self._codes += [it.code for it in unusable]
        for each in former:
            self._former_key(each)
        backups = self._backups()
        places = Places(context.config.backups)
        newest = newest_of(backups, places, self._now)
        readings = BackupHistory.of(past.backups, self._policy.known_backups)
        if context.config.backups:
            self._rules += backup_rules.backups(self._policy, newest, self._now)
            if error is None:
                self._rules += backup_rules.verified_backups(
                    self._policy, backups, places, readings, self._now
                )
        if (wrong := context.deadline.dates.problem()) is not None:
            self._rules.append(Rule("clock", False, f"{wrong.message}; {wrong.hint}"))
        if not all(rule.ok for rule in self._rules):
            self._codes.append(Code.STALE)
        return Status(
            epoch=latest,
            age_seconds=age,
            last_drill_age_seconds=drill_age,
            live=live,
            renewal=renewal,
            former=tuple(former),
            backups=backups,
            custodians=custodians,
            outdated=outdated,
            proven=rules.last_passed(past.drills, latest.name, self._now) if latest else {},
            newest_backups=newest,
            verified_backups=backup_rules.newest_verified(backups, places, readings),
            rules=tuple(self._rules),
            survey=survey,
            judged_at=self._now,
            code=overview.judged(self._codes, context.deadline),
            silent=tuple(silent),
            known=past.known,
        )

    def _require(self, name: str, problems: Iterable[str], fine: str) -> None:
        self._rules += rules.require(name, problems, fine)

    def _check_ins(self, record: Record, drills: Sequence[Drilled]) -> tuple[checkin.ShareState, ...]:
        """How the custodians' shares stand."""
        try:
            standings = tuple(checkin.standings(self._context, record, drills))
        except OrgkeyError as error:
            self._rules.append(Rule("check-ins", False, f"{error.message}; {error.hint}"))
            self._codes.append(error.code)
            return ()
        name, limit = "max_check_in_age_days", self._policy.max_check_in_age_days
        if limit is not None:
            self._rules += [_overdue(item, name, limit) for item in standings if item.overdue] or [
                Rule(name, True, f"no custodian's check-in is overdue, policy.{name} is {limit:g}")
            ]
        return standings

    def _former_key(self, survey: Catalog) -> None:
        """A former key is needed as long as there are backups that were made with it."""
        name, latest = f"former key {survey.fingerprint}", survey.latest()
        problems: list[str] = []
        if latest is not None:
            copies = rules.copies(self._policy, latest)
            copies += rules.locks(latest.copies, self._locked)
            problems += [rule.text for rule in copies if not rule.ok]
            context = self._context.of(survey.fingerprint)
            past, error = _history(context, survey)
            if error is not None:
                problems.append(error.message)
                self._codes.append(error.code)
            drills = [item for item in past.drills if item.epoch == latest.name]
            credible, targets = rules.credible(drills, self._now), context.config.target
            problems += rules.failures(credible, targets, latest.record, context.fingerprint)
            problems += self._unproven(context, latest)
        elif not overview.silences([survey]):  # the targets' rule says already why it is not known
            problems.append("nothing authentic is stored for it")
        self._require("former", [f"{name}: {problem}" for problem in problems], f"{name} is proven")
        self._codes += overview.verdict(survey, self._policy.copies)

    def _unproven(self, context: KeyScope, latest: Epoch) -> list[str]:
        if latest.state not in (EpochState.PROVEN, EpochState.SUPERSEDED):
            mend = f"run `{drill.command(latest.record, former=context.fingerprint)}`"
            return [f"this host does not know of a drill that proved it; {mend}"]
        drilled, limit = _last_drill(context, latest), self._policy.max_drill_age_days
        age = self._now - drilled if drilled else timedelta()
        if not limit or within(age, limit):
            return []
        days = age / timedelta(days=1)
        old = f"{days:.1f} days old" if days > 0 else f"dated {-days:.1f} days in the future"
        return [f"its last drill is {old}, policy.max_drill_age_days is {limit:g}"]

    def _backups(self) -> tuple[Backup, ...]:
        """The map of the configured backups."""
        if not self._context.config.backups:
            return ()
        surveys = (self._survey, *self._former)
        problems: list[str] = []
        found: tuple[Backup, ...] = ()
        try:
            sources = self._context.backends("driller").backups(whole=False)
            found = map_backups(sources, escrowed(surveys), missing(surveys))
            if not found:
                problems.append("no backup has arrived in any place of [backups]")
        except OrgkeyError as error:
            problems.append(f"the backups cannot be looked at: {error.message}; {error.hint}")
            self._codes.append(error.code)
        unopened = [backup for backup in found if backup.code is Code.STALE]
        # One in an archive is not lost: it breaks nothing as long as there is another.
        others = any(backup.head is not None for backup in found)
        harmless = (Code.OK, Code.STALE, Code.DEGRADED)
        damaged = [it for it in found if it.code not in harmless and not (it.archived and others)]
        problems += [f"backup {it.source.name}: {it.problem}" for it in unopened[: backup_rules.NAMED]]
        if len(unopened) > backup_rules.NAMED:
            problems.append(
                f"and {len(unopened) - backup_rules.NAMED} backups more that no escrowed key opens"
            )
        problems += [f"backup {it.source.name}: {it.problem}" for it in damaged[: backup_rules.NAMED]]
        self._codes += [it.code for it in damaged]
        total = counted(len(found), "backup")
        self._require(
            "backups", problems, f"no backup is known to need another key than the escrowed: {total}"
        )
        return found


def _outdated(survey: Catalog, latest: Epoch, outdated: frozenset[str]) -> str:
    """That the latest epoch does not follow the configured plan, and what makes one that does the latest."""
    mend = "`orgkey custody rotate` applies it"
    for epoch in survey.after(latest):
        if epoch.name not in outdated:
            mend = f"epoch {epoch.name} does: prove it with `{drill.command(epoch.record, epoch=epoch.name)}`"
    return f"epoch {latest.name} follows another custody plan than the configuration; {mend}"


def _not_stored(survey: Catalog, known: LastKnown | None) -> str:
    """No answer is not an empty answer."""
    if not overview.silences([survey]):
        nothing = "nothing authentic is stored for this key"
        why = not_read(survey.epochs[-1]) if survey.epochs else None
        return f"{nothing}: {why.message}; {why.hint}" if why else nothing
    last = known.text if known else "this host's ledger does not name an epoch"
    return f"whether anything authentic is stored for this key is not known; {last}"


def _history(
    context: KeyScope, survey: Catalog, past: History | OrgkeyError | None = None
) -> tuple[History, OrgkeyError | None]:
    """What of the ledger is believed; or why it cannot be read."""
    try:
        past = past or drill_history.read(context.ledger.each())
    except OrgkeyError as error:
        past = error
    if isinstance(past, OrgkeyError):
        return History(), past
    witnesses = Witnesses(context.root, (epoch.record for epoch in survey.epochs))
    drills, doubts = witnesses.believed(past.drills)
    skipped = (*past.skipped, *doubts, *rules.taken_away(survey, past.drills))
    return replace(past, drills=drills, skipped=skipped), None


def _live_problems(live: live_key.Live, renewal: live_key.Renewal | None) -> Iterator[str]:
    for node in live.nodes:
        if node.behind:
            yield f"{node.place} gives out an older public part than another node: look at its replication"
    if live.state == "replaced":
        yield f"new backups are not covered by this escrow; the live key: {live.reason}"
    elif live.state == "unknown":
        # A gate that cannot see a replacement must not be green.
        yield f"the live key cannot be looked up: {live.reason}"
    else:
        if live.state == "renewed":
            yield (
                "the live key has newer self-signatures than the escrowed public part; "
                "`orgkey refresh` stores them"
            )
        if renewal and renewal.state == "overdue":
            yield "the live key has expired and has not renewed itself: the server cannot use it"


def _plan(context: KeyScope) -> tuple[CustodyPlan | None, list[tuple[str, OrgkeyError]]]:
    """The configured custody plan; and which holders could not be asked for it."""
    holders = context.backends("driller").holders()
    paths = from_config(context.config, holders)
    names = sorted({need.holder for path in paths for need in path.needs})

    def ask(name: str) -> HolderDescription | OrgkeyError:
        return isolated(lambda: describe(holders, [name])[name], f"holder {name}")

    answers = dict(zip(names, overlap([partial(ask, name) for name in names]), strict=True))
    unasked = [(name, item) for name, item in answers.items() if isinstance(item, OrgkeyError)]
    described = {name: item for name, item in answers.items() if isinstance(item, HolderDescription)}
    return (None if unasked else CustodyPlan(paths, {}, {}, described)), unasked


def newest_of(found: Sequence[Backup], places: Places, now: datetime) -> dict[str, datetime | None]:
    """When the newest backup of each place was written; a date in the future must not keep the gate green."""
    newest = dict[str, datetime | None].fromkeys(places.configured)
    for backup in found:
        written, place = backup.source.modified, places.name(backup.source)
        counts = backup.code in (Code.OK, Code.STALE) or (backup.code is Code.DEGRADED and backup.head)
        if counts and written and written < now + AHEAD:
            newest[place] = max(newest.get(place) or written, written)
    return newest


def _overdue(item: checkin.ShareState, name: str, limit: float) -> Rule:
    days = item.age_seconds / DAY
    when = f"{days:.1f} days ago" if days >= -1 else f"{-days:.1f} days in the future: a clock was wrong"
    last = f"checked in {when}" if item.last else f"has never checked in, the share was made {when}"
    mend = f"policy.{name} is {limit:g}; run `orgkey custody challenge`"
    text = f"custodian {item.seat.name} ({item.seat.path.name}) {last}, {mend}"
    return Rule(name, False, text, round(days, 1), limit, f"{item.seat.share.label} {item.seat.place}")


def _last_drill(context: KeyScope, latest: Epoch | None) -> datetime | None:
    journal = context.journal.sound()
    entry = journal.entry(latest.name) if latest and journal else None
    mark = (entry.proven() if entry else None) or {}
    return parse_stamp(str(mark["at"])) if "at" in mark else None


def _vanished(context: KeyScope, survey: Catalog) -> list[str]:
    """Epochs that this host has proven and that no target shows any more: somebody rolled them back."""
    shown = {epoch.name for epoch in survey.epochs if epoch.record or epoch.unread}
    damaged, journal = context.journal.damaged(), context.journal.sound()
    proven = [entry.epoch for entry in (journal.entries() if journal else ()) if entry.proven()]
    told = dict.fromkeys(proven, "proven by") | dict.fromkeys(damaged.keys() - {""}, "known to")
    return [
        f"epoch {epoch} was {how} this host, and no target has an authentic copy of it any more"
        for epoch, how in sorted(told.items())
        if epoch not in shown
    ]
