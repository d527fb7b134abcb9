"""How fresh and how proven the escrow is: the gate for monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline import checkin
from pipeline import live as lives
from pipeline.clock import parse_stamp
from pipeline.context import Context
from pipeline.custody.paths import describe, from_config, plan_digest
from pipeline.errors import Code, OrgkeyError, first_of
from pipeline.survey import Epoch, Reader, State, Survey

DAY = 86400.0


@dataclass(frozen=True)
class Status:
    """The state of one key's escrow.

    Attributes:
        epoch: The latest authentic epoch; ``None`` when there is none.
        age_seconds: Since it was minted.
        last_drill_age_seconds: Since this host last proved it; ``None`` when it never did.
        live: ``same``, ``renewed``, ``replaced`` or ``unknown``: the live key against the escrowed one.
        custodians: How the latest epoch's shares of people stand.
        outdated: Names of stored epochs that follow another custody plan than the configuration.
        broken: The rules that do not hold, in words.
        survey: What is stored.
        code: How the run ends.
    """

    epoch: Epoch | None
    age_seconds: float | None
    last_drill_age_seconds: float | None
    live: str
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
    survey = Reader(estate.targets(), context.pins, context.deadline, now).survey(
        context.fingerprint, journal=context.journal
    )
    latest = survey.latest()
    drilled = _last_drill(context, latest)
    live = lives.live(context, latest).state
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
        broken += _rules(context, latest, age, (now - drilled).total_seconds() if drilled else None, live)
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
    if broken:
        codes.append(Code.STALE)
    return Status(
        latest,
        age,
        (now - drilled).total_seconds() if drilled else None,
        live,
        tuple(custodians),
        outdated,
        tuple(broken),
        survey,
        first_of(codes),
    )


def _rules(context: Context, latest: Epoch, age: float, drill_age: float | None, live: str) -> list[str]:
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
    if live == "replaced":
        broken.append("the live key is another key: new backups are not covered by this escrow")
    if live == "renewed":
        broken.append(
            "the live key has newer self-signatures than the escrowed public part; "
            "`orgkey refresh` stores them"
        )
    return broken


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
