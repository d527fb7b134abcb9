"""The rules of the gate: what must hold for an escrow to be good enough, each measured and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.archive.catalog import Catalog, Copy, CopyState, Epoch, EpochState
from pipeline.config.sections import Policy
from pipeline.core.clock import AHEAD, within
from pipeline.core.errors import Code
from pipeline.evidence.ledger.drill_history import Drilled
from pipeline.record.verify import Record
from pipeline.workflows import drill

DAY = 86400.0
OVERDUE = frozenset(
    {
        "max_age_days",
        "max_drill_age_days",
        "max_copy_drill_age_days",
        "max_path_drill_age_days",
        "max_check_in_age_days",
        "max_backup_age_days",
        "max_backup_verify_age_days",
        "max_newest_verify_age_days",
    }
)
"""The rules about ages."""


@dataclass(frozen=True)
class Rule:
    """One rule of the gate.

    Attributes:
        name: Most often the setting of ``[policy]`` that asks for it.
        ok: Whether it holds.
        text: What was measured, against what; and what to do where it does not hold.
        value: What was measured, where it is a number; ages in days, times in seconds.
        limit: What the policy allows.
        subject: What it was measured of, where there are several: a copy, a path, a custodian.
        warned: Whether it holds only since nothing asks for more: a reader has to know.
    """

    name: str
    ok: bool
    text: str
    value: float | None = None
    limit: float | None = None
    subject: str = ""
    warned: bool = False

    @property
    def overdue(self) -> bool:
        """Whether it is broken only because time has passed, so that doing the work again mends it."""
        return not self.ok and self.name in OVERDUE


def require(name: str, problems: Iterable[str], fine: str) -> list[Rule]:
    """A rule that is broken once for each problem, or holds.

    Args:
        name: The rule's name.
        problems: What is wrong.
        fine: The text when nothing is wrong.
    """
    return [Rule(name, False, text) for text in problems] or [Rule(name, True, fine)]


def copies(policy: Policy, latest: Epoch) -> list[Rule]:
    """Every copy is good, and enough of them stand apart.

    Copies that could not be read have a rule of their own, once for each cause: where they decide whether
    enough stand apart, that is not known.
    """
    unread = {copy.domain for copy in latest.copies if copy.standing is CopyState.UNREACHABLE}
    domains = {copy.domain for copy in latest.good}
    wrong = [
        "; ".join(filter(None, (f"{copy.target}: {copy.problem}", copy.hint)))
        for copy in latest.copies
        if (copy.code != 0 or copy.twin) and copy.standing is not CopyState.UNREACHABLE
    ]
    rules = require("copy", wrong, f"{len(latest.good)} of {len(latest.copies)} copies are good")
    enough = len(domains) >= policy.copies
    if enough or len(domains | unread) < policy.copies:
        good = f"good copies stand in {len(domains)} failure domain{'s' if len(domains) != 1 else ''}"
        text = f"{good}, policy.copies asks for {policy.copies}"
        twins = any(copy.twin for copy in latest.copies)
        mend = "add a target elsewhere" if twins else "run `orgkey repair`"
        rules.append(measured("copies", enough, text, mend, len(domains), policy.copies))
    return rules


def unlimited(policy: Policy, record: Record, *, backups: bool) -> list[Rule]:
    """The ages that nothing limits: such a rule holds for ever, so each is named.

    Args:
        policy: The limits.
        record: The latest epoch's.
        backups: Whether places of backups are configured.
    """
    paths = record.manifest.custody.paths
    people = any(share.checks for path in paths for share in path.shares)
    limits = (
        ("max_drill_age_days", "a drill", True),
        ("max_path_drill_age_days", "a drill of each custody path", len(paths) > 1),
        ("max_check_in_age_days", "a custodian's check-in", people),
        ("max_backup_age_days", "the newest backup", backups),
        ("max_backup_verify_age_days", "the last reading of each backup", backups),
        ("max_newest_verify_age_days", "the last reading of the newest backup", backups),
    )
    return [
        Rule(name, True, f"no limit for the age of {what}: set policy.{name}", warned=True)
        for name, what, concerned in limits
        if concerned and getattr(policy, name) is None
    ]


def ages(policy: Policy, latest: Epoch, age: float, drill_age: float | None) -> list[Rule]:
    """The escrow and its proof are young enough.

    Args:
        policy: The limits.
        latest: The latest epoch.
        age: Its age in seconds.
        drill_age: Of its last test restore on this host, in seconds; ``None`` when there is none.
    """
    rules = []
    run = f"run `{drill.command(latest.record)}`"
    if latest.state not in (EpochState.PROVEN, EpochState.SUPERSEDED) or drill_age is None:
        rules.append(
            Rule("drill", False, f"this host does not know of a drill that proved the latest epoch; {run}")
        )
    else:
        rules.append(Rule("drill", True, "this host has proven the latest epoch"))
        rules += aged("the last drill", "max_drill_age_days", policy.max_drill_age_days, drill_age, run)
    if min(age, drill_age or 0.0) < -DAY:
        # No age limit would ever be reached: a clock was wrong, then or now.
        text = "the escrow or its drill is dated in the future: check the clocks of the hosts"
        rules.append(Rule("clock", False, text))
    mend = "run `orgkey custody rotate`: an export of the same key makes no new epoch"
    return rules + aged("the escrow", "max_age_days", policy.max_age_days, age, mend)


def proofs(
    policy: Policy,
    latest: Epoch,
    record: Record,
    drills: Sequence[Drilled],
    targets: Collection[str],
    now: datetime,
) -> list[Rule]:
    """Every copy and every path was restored lately and fast enough, and nothing failed since.

    Args:
        policy: The limits.
        latest: The latest epoch.
        record: Its record.
        drills: All test restores that the ledger has, oldest first.
        targets: The configured targets: how a copy elsewhere failed or how long it took is of the past.
        now: The present time.
    """
    dated = credible([item for item in drills if item.epoch == latest.name], now)
    passed = last_passed(drills, latest.name, now)
    names = [entry.name for entry in record.manifest.custody.paths]
    rules = require(
        "drill-failed",
        failures(dated, targets, record),
        "no test restore of the latest epoch has failed since",
    )
    by_copy, by_path, copies = {}, {}, [copy.target for copy in latest.copies]
    for (copy, path), item in sorted(passed.items(), key=lambda pair: pair[1].at):
        by_path[path] = item.at
        if not item.replaced:
            by_copy[copy] = item.at
    for kind, again, wanted, times in (
        ("copy", f"{drill.command(record)} --from", copies, by_copy),
        ("path", "orgkey drill --via", names, by_path),
    ):
        rule = f"max_{kind}_drill_age_days"
        limit = getattr(policy, rule)
        if limit is not None:
            rules += [
                _proven(kind, name, rule, limit, times.get(name), now, f"{again} {name}") for name in wanted
            ]
    present = {pair: item for pair, item in passed.items() if item.copy in targets}
    return rules + _objective(policy.rto_seconds, present)


def newer(survey: Catalog, latest: Epoch, drills: Sequence[Drilled]) -> list[Rule]:
    """Newer epochs that no drill has proven, on this host or on another one: so far they replace nothing.

    Args:
        survey: What is stored.
        latest: The latest epoch.
        drills: All test restores that are believed.
    """
    proven = {item.epoch for item in drills if item.passed}
    return [
        Rule(
            "newer",
            True,
            f"epoch {epoch.name} is newer than the latest, {epoch.state}, and no drill has proven it: "
            f"run `{drill.command(epoch.record, epoch=epoch.name)}`",
            warned=True,
        )
        for epoch in survey.after(latest)
        if epoch.name not in proven
    ]


def taken_away(survey: Catalog, drills: Iterable[Drilled]) -> list[str]:
    """What another host tells of a newer epoch that no target shows: nothing proves it, so it only warns.

    Args:
        survey: What is stored.
        drills: All test restores that the ledger has.
    """
    latest, shown = survey.latest(), {epoch.name for epoch in survey.epochs}
    told = [item for item in drills if item.passed and not item.entry.own and item.epoch not in shown]
    newest = max(told, key=lambda item: item.epoch, default=None)
    if newest is None or survey.unreachable or survey.left_out or (latest and newest.epoch < latest.name):
        return []
    return [
        f"the ledger of host {newest.entry.host} tells of a test restore of epoch {newest.epoch}, "
        "which is newer, and which no target shows: was it taken away?"
    ]


def credible(drills: Iterable[Drilled], now: datetime) -> list[Drilled]:
    """Those that may heal a failure: one that a wrong clock dated in the future heals nothing."""
    return [item for item in drills if not item.passed or item.at - now <= AHEAD]


def last_passed(drills: Sequence[Drilled], epoch: str, now: datetime) -> dict[tuple[str, str], Drilled]:
    """The newest passed test restore of each copy and path of an epoch.

    One that is dated in the future counts where there is no other.

    Args:
        drills: Oldest first.
        epoch: The epoch's name.
        now: The present time.
    """
    mine = [item for item in drills if item.passed and item.epoch == epoch]
    return {(item.copy, item.path): item for item in (*mine, *credible(mine, now))}


def foreign(policy: Policy, survey: Catalog, latest: Epoch | None) -> list[Rule]:
    """Every stored record is signed by the Org Key; else somebody else could write there.

    Args:
        policy: Which ones are known.
        survey: What is stored.
        latest: The latest epoch, whose copies have a rule of their own.
    """
    count = Counter(
        copy.target
        for epoch in survey.epochs
        for copy in epoch.copies
        if epoch is not latest and epoch.name not in policy.known_false and copy.code is Code.INTEGRITY
    )
    broken = [
        f"{target}: {number} of the stored records {'is' if number == 1 else 'are'} not authentic: "
        "`orgkey verify` names them; find out who could write there, then put their epochs into "
        "policy.known_false"
        for target, number in count.items()
    ]
    broken += [
        f"{target} lists {number} more epochs than there was time to read: find out who writes there"
        for target, number in survey.left_out.items()
    ]
    return require("foreign", broken, "every stored record is authentic") if broken else []


def locks(found: Sequence[Copy], locked: frozenset[str]) -> list[Rule]:
    """Every copy has the lock that its target asks for.

    Args:
        found: The latest epoch's copies.
        locked: Targets that are configured to lock.
    """
    if not any(copy.ok and (copy.target in locked or copy.unlocked) for copy in found):
        return []
    wrong = [
        f"{copy.target}: not locked as configured: {copy.unlocked}; `orgkey retain --until DATE` locks it"
        for copy in found
        if copy.ok and copy.unlocked
    ]
    return require("lock", wrong, "every good copy has the lock that its target asks for")


def retention(policy: Policy, found: Sequence[Copy], locked: frozenset[str], now: datetime) -> list[Rule]:
    """The locks of the copies last long enough.

    Args:
        policy: The limit.
        found: The latest epoch's copies.
        locked: Targets that are configured to lock.
        now: The present time.
    """
    name, limit = "min_retention_days", policy.min_retention_days
    if limit is None:
        return []
    rules = []
    for copy in found:
        if not copy.ok or (copy.target not in locked and copy.retain_until is None):
            continue
        left = (copy.retain_until - now).total_seconds() / DAY if copy.retain_until else 0.0
        what = f"{left:.1f} days of retention are left" if copy.retain_until else "no retention is set"
        text = f"{copy.target}: {what}, policy.{name} is {limit:g}"
        mend = "extend it with `orgkey retain --until DATE`"
        rules.append(measured(name, left >= limit, text, mend, round(left, 1), limit, copy.target))
    return rules


def measured(
    name: str, ok: bool, text: str, mend: str, value: float | None, limit: float, subject: str = ""
) -> Rule:
    """A rule about a number; what to do is said where it does not hold."""
    return Rule(name, ok, text if ok else f"{text}; {mend}", value, limit, subject)


def aged(
    what: str, name: str, limit: float | None, seconds: float, mend: str, subject: str = ""
) -> list[Rule]:
    """The rule about an age; none where nothing limits it."""
    if limit is None:
        return []
    days = seconds / DAY
    text = f"{what} is {days:.1f} days old, policy.{name} is {limit:g}"
    return [measured(name, seconds <= limit * DAY, text, mend, round(days, 1), limit, subject)]


def _proven(
    kind: str, which: str, name: str, limit: float, at: datetime | None, now: datetime, command: str
) -> Rule:
    """The rule about how long ago a copy or a path was restored."""
    what, asks, mend = f"{kind} {which}", f"policy.{name} is {limit:g}", f"run `{command}`"
    if at is None:
        text = f"{what} of the latest epoch was never restored in a drill of this host, {asks}"
        return measured(name, False, text, mend, None, limit, which)
    days = (now - at).total_seconds() / DAY
    text = f"{what} was last restored {days:.1f} days ago, {asks}"
    if days < -1:
        text = f"the last restore of {what} is dated {-days:.1f} days in the future, {asks}"
    return measured(name, within(now - at, limit), text, mend, round(days, 1), limit, which)


def _objective(limit: float | None, passed: Mapping[tuple[str, str], Drilled]) -> list[Rule]:
    """The last passed test restore of each copy and path was fast enough."""
    if limit is None:
        return []
    rules = []
    for (copy, path), item in sorted(passed.items()):
        if item.seconds is None:
            continue
        pair = f"{copy} by {path}"
        text = f"the last restore of {pair} took {item.seconds:.1f} s, policy.rto_seconds is {limit:g}"
        mend, seconds = "`orgkey drill` shows the seconds of each stage", round(item.seconds, 3)
        rules.append(measured("rto_seconds", item.seconds <= limit, text, mend, seconds, limit, pair))
    return rules


def failures(
    mine: Sequence[Drilled],
    targets: Collection[str],
    record: Record | None = None,
    former: str | None = None,
) -> list[str]:
    """The newest test restore of each copy and path, where it failed.

    Args:
        mine: An epoch's, oldest first.
        targets: The configured targets.
        record: The epoch's record, which says what only people can mend.
        former: The key's fingerprint, where it is not the present one.
    """
    newest = {(item.copy, item.path): item for item in mine if item.copy in targets}
    healed = {item.copy: item.at for item in mine if item.passed}
    return [
        f"the drill of {item.copy}{'' if item.path == '-' else f' by {item.path}'} failed on "
        f"{item.at:%Y-%m-%d}: {'; '.join(item.problems)}; "
        f"put that right, then run `{drill.command(record, item.path, former=former)}`"
        for item in newest.values()
        # A copy that was too bad for any path is well once any path opens it.
        if not item.passed and not (item.path == "-" and healed.get(item.copy, item.at) > item.at)
    ]
