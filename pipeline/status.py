"""How fresh and how proven the escrow is: the gate for monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline import checkin, coverage, overview
from pipeline import live as lives
from pipeline.clock import parse_stamp
from pipeline.context import Context, Estate
from pipeline.coverage import Backup
from pipeline.custody.paths import describe, from_config, plan_digest
from pipeline.errors import Code, OrgkeyError, first_of
from pipeline.survey import Epoch, State, Survey

DAY = 86400.0
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
        broken: The rules that do not hold, in words.
        survey: What is stored.
        code: How the run ends.
    """

    epoch: Epoch | None
    age_seconds: float | None
    last_drill_age_seconds: float | None
    live: lives.Live
    renewal: lives.Renewal | None
    former: tuple[Survey, ...]
    backups: tuple[Backup, ...]
    custodians: tuple[checkin.Standing, ...]
    outdated: frozenset[str]
    broken: tuple[str, ...]
    survey: Survey
    code: Code


def status(context: Context) -> Status:
    """Judge the escrow of the pinned key.

    Args:
        context: The run.
    """
    now = context.clock.now()
    estate = context.estate("driller")
    survey, *former = overview.all_keys(context)
    latest = survey.latest()
    drilled = _last_drill(context, latest)
    live = lives.live(context, latest)
    renewal = lives.renewal(live.public or latest.record.public, now) if latest and latest.record else None
    broken = [f"{name} cannot be reached: {error.message}" for name, error in survey.unreachable.items()]
    codes = [error.code for error in survey.unreachable.values()]
    custodians: list[checkin.Standing] = []
    plan, unasked = _plan(context)
    outdated = frozenset(
        epoch.name
        for epoch in survey.epochs
        if plan is not None and epoch.record and epoch.record.manifest.plan != plan
    )
    broken += unasked
    if latest is None or latest.record is None:
        broken.append("nothing authentic is stored for this key")
        age = None
    else:
        age = (now - latest.record.manifest.created).total_seconds()
        broken += _rules(context, latest, age, (now - drilled).total_seconds() if drilled else None)
        broken += _live_rules(context, live, renewal)
        if latest.name in outdated:
            broken.append(
                f"epoch {latest.name} follows another custody plan than the configuration; "
                "`orgkey custody rotate` applies it"
            )
        try:
            custodians = checkin.standings(context, latest.record)
        except OrgkeyError as error:
            broken.append(error.message)
            codes.append(error.code)
        broken += [_overdue(item) for item in custodians if item.overdue]
        codes += [copy.code for copy in latest.copies if copy.target not in survey.unreachable]
    broken += _vanished(context, survey)
    for other in former:
        problems = _former_rules(context, other)
        broken += problems
        codes += overview.verdict(other, context.config.policy.copies)
    backups, problems, more = _backups(context, estate, (survey, *former))
    broken += problems
    codes += more
    if broken:
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
        tuple(broken),
        survey,
        first_of(codes),
    )


def _rules(context: Context, latest: Epoch, age: float, drill_age: float | None) -> list[str]:
    policy = context.config.policy
    broken = [f"{copy.target}: {copy.problem}" for copy in latest.copies if copy.code is not Code.OK]
    domains = {copy.domain for copy in latest.good}
    if len(domains) < policy.copies:
        broken.append(
            f"good copies stand in {len(domains)} failure domain(s), policy.copies asks for {policy.copies}"
        )
    if latest.state not in (State.PROVEN, State.SUPERSEDED) or drill_age is None:
        broken.append("this host knows of no drill that proved the latest epoch; run `orgkey drill`")
    elif policy.max_drill_age_days and drill_age > policy.max_drill_age_days * DAY:
        broken.append(
            f"the last drill is {drill_age / DAY:.1f} days old, "
            f"policy.max_drill_age_days is {policy.max_drill_age_days:g}"
        )
    if min(age, drill_age or 0.0) < -DAY:
        # No age limit would ever be reached: a clock was wrong, then or now.
        broken.append("the escrow or its drill is dated in the future: check the clocks of the hosts")
    if policy.max_age_days and age > policy.max_age_days * DAY:
        broken.append(
            f"the escrow is {age / DAY:.1f} days old, policy.max_age_days is {policy.max_age_days:g}"
        )
    return broken


def _live_rules(context: Context, live: lives.Live, renewal: lives.Renewal | None) -> list[str]:
    if context.config.key is None or context.config.key.live is None:
        return []
    if live.state == "replaced":
        return [f"the live key is another key: new backups are not covered by this escrow ({live.reason})"]
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


def _former_rules(context: Context, survey: Survey) -> list[str]:
    """A former key is needed as long as there are backups that were made with it."""
    latest = survey.latest()
    name = f"former key {survey.fingerprint}"
    if latest is None:
        return [] if survey.unreachable else [f"{name}: nothing authentic is stored for it"]
    broken = [
        f"{name}: {copy.target}: {copy.problem}"
        for copy in latest.copies
        if copy.code is not Code.OK and copy.target not in survey.unreachable
    ]
    if len({copy.domain for copy in latest.good}) < context.config.policy.copies and not broken:
        broken.append(f"{name}: its good copies stand in too few failure domains")
    if latest.state not in (State.PROVEN, State.SUPERSEDED):
        broken.append(
            f"{name}: this host knows of no drill that proved it; "
            f"run `orgkey drill --fingerprint {survey.fingerprint}`"
        )
    return broken


def _backups(
    context: Context, estate: Estate, surveys: Sequence[Survey]
) -> tuple[tuple[Backup, ...], list[str], list[Code]]:
    """The map of the configured backups, and what is wrong with it."""
    if not context.config.backups:
        return (), [], []
    try:
        found = coverage.cover(estate.backups(), coverage.escrowed(surveys))
    except OrgkeyError as error:
        return (), [f"the backups cannot be looked at: {error.message}"], [error.code]
    unopened = [backup for backup in found if backup.code is Code.STALE]
    broken = [f"backup {backup.source.name}: {backup.problem}" for backup in unopened[:_TOLD]]
    if len(unopened) > _TOLD:
        broken.append(f"and {len(unopened) - _TOLD} backups more that no escrowed key opens")
    if not found:
        broken.append("no backup has arrived in any place of [backups]")
    damaged = [backup for backup in found if backup.code not in (Code.OK, Code.STALE, Code.DEGRADED)]
    broken += [f"backup {backup.source.name}: {backup.problem}" for backup in damaged[:_TOLD]]
    return found, broken, [backup.code for backup in damaged]


def _plan(context: Context) -> tuple[str | None, list[str]]:
    """The digest of the configured custody plan; or why it cannot be told."""
    holders = context.estate("driller").holders()
    try:
        paths = from_config(context.config, holders)
        needed = {need.holder for path in paths for need in path.needs}
        return plan_digest(paths, describe(holders, needed)), []
    except OrgkeyError as error:
        return None, [f"a holder cannot be asked: {error.message}"]


def _overdue(item: checkin.Standing) -> str:
    when = f"{item.age_seconds / DAY:.1f} days ago"
    last = f"checked in {when}" if item.last else f"has never checked in, the share was made {when}"
    return f"custodian {item.seat.name} ({item.seat.path.name}) {last}; `orgkey custody challenge`"


def _last_drill(context: Context, latest: Epoch | None) -> datetime | None:
    entry = context.journal.entry(latest.name) if latest else None
    mark = entry.proven() if entry else None
    return parse_stamp(str(mark["at"])) if mark else None


def _vanished(context: Context, survey: Survey) -> list[str]:
    """Epochs that this host has proven and that no target shows any more: somebody rolled them back."""
    if survey.unreachable:
        return []  # they may be there
    shown = {epoch.name for epoch in survey.epochs if epoch.record}
    return [
        f"epoch {entry.epoch} was proven by this host, and no target has an authentic copy of it any more"
        for entry in context.journal.entries()
        if entry.proven() and entry.epoch not in shown
    ]
