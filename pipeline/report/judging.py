"""How far a report has evidence for what a control asks, by subject; catalogues share the subjects.

Every function looks at computed facts only. ``SUPPORTED`` says that there is evidence today, never that a
control is met: that is for an assessor, who also knows what this program does not see.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

from pipeline.report.facts import Facts, merged
from pipeline.report.model import Answer, DrillFacts, Support

_YEAR: Final = timedelta(days=366)
FULL, PARTIAL, NONE = Support.SUPPORTED, Support.PARTIAL, Support.NONE


class Judgement(NamedTuple):
    """What was found.

    Attributes:
        support: How far there is evidence.
        says: The measured facts, in words.
        evidence: Ids.
    """

    support: Support
    says: str
    evidence: tuple[str, ...] = ()


def graded(none: object, partly: object) -> Support:
    """The support: none at all when ``none`` holds, partly when ``partly`` does."""
    return NONE if none else PARTIAL if partly else FULL


def sentence(*parts: str) -> str:
    """One sentence out of the parts that are not empty."""
    text = "; ".join(part for part in parts if part)
    return text[:1].upper() + text[1:] + "."


# -- copies and places ------------------------------------------------------------------------------


def backups(facts: Facts) -> Judgement:
    """Copies of the key exist, are whole, and are of the key that the server uses; its backups open."""
    report = facts.report
    taken = f"epoch {report.epoch.name} was taken {report.epoch.created:%Y-%m-%d}" if report.epoch else ""
    gaps = len(facts.good) < len(report.copies) or report.key.live != "same" or bool(facts.closed)
    return Judgement(
        graded(not facts.good, gaps),
        sentence(
            taken,
            facts.copies_text,
            facts.live_text,
            facts.backups_text,
        ),
        merged(facts.of_copies, *(backup.evidence for backup in report.backups)),
    )


def exact_copies(facts: Facts) -> Judgement:
    """Every copy is byte for byte the record."""
    report = facts.report
    wanted = report.epoch.record_sha256 if report.epoch else None
    same = [copy for copy in facts.good if copy.sha256 == wanted]
    return Judgement(
        graded(not same, len(same) < len(report.copies)),
        sentence(
            f"{len(same)} of {len(report.copies)} copies were read and have the record's digest "
            f"{wanted or 'that is not known'}",
            facts.copies_text,
        ),
        facts.of_copies,
    )


def elsewhere(facts: Facts) -> Judgement:
    """Good copies lie in more than one failure domain, and no loss alone is fatal."""
    custody = facts.report.custody
    fatal = custody.fatal_alone if custody else ()
    lost = {copy.domain for copy in facts.report.copies} - set(facts.domains)
    return Judgement(
        graded(
            not facts.good or (len(facts.domains) < 2 and not lost),
            len(facts.domains) < 2 or lost or fatal or custody is None,
        ),
        sentence(
            facts.domains_text,
            f"no good copy in {', '.join(sorted(lost))}" if lost else "",
            f"fatal alone: the loss of {', '.join(fatal)}" if fatal else "",
        ),
        merged(facts.of_copies, facts.of_custody),
    )


def destruction(facts: Facts) -> Judgement:
    """Destroying the copies takes more than one person."""
    locked = [f"{copy.target} until {copy.retain_until:%Y-%m-%d}" for copy in facts.locked]
    several = bool(facts.good) and not facts.erasers
    return Judgement(
        graded(not several, len(facts.locked) < len(facts.report.copies)),
        sentence(
            f"{len(locked)} of {len(facts.report.copies)} copies cannot be deleted by anyone before their "
            "retention ends",
            *locked,
            f"all copies can be deleted by {', '.join(facts.erasers)} alone"
            if facts.erasers
            else "no party controls all copies and can delete them"
            if facts.good
            else "no copy is good",
            "a deletion was not tried for this report",
        ),
        facts.of_copies,
    )


def places(facts: Facts) -> Judgement:
    """Where the key lies, and what lingers elsewhere."""
    custody = facts.report.custody
    lingering = custody.lingering if custody else ()
    return Judgement(
        graded(
            not facts.report.copies,
            custody is None
            or len(facts.good) < len(facts.report.copies)
            or any(line.startswith("exports") for line in lingering),
        ),
        sentence(
            f"{len(facts.report.copies)} copies, all encrypted: {', '.join(_place(facts))}",
            f"leftovers: {'; '.join(lingering)}" if lingering else "no leftovers are known",
            "whether these are the fewest possible is for the organisation to say",
        ),
        merged(facts.of_copies, facts.of_custody),
    )


def _place(facts: Facts) -> list[str]:
    return [f"{copy.target} ({copy.domain})" for copy in facts.report.copies]


# -- test restores ----------------------------------------------------------------------------------


def tested(facts: Facts) -> Judgement:
    """Copies are read back and restored at the frequency that the policy sets."""
    report = facts.report
    late = facts.missing or report.missed or report.drill_interval_days is None
    broken = facts.failing or len(facts.good) < len(report.copies)
    return Judgement(
        graded(not facts.standing, late or broken or not facts.covered(facts.standing)),
        sentence(facts.drills_text, facts.frequency_text, facts.last_text, facts.copies_text),
        merged(facts.of_copies, facts.of_drills),
    )


def sampled(facts: Facts) -> Judgement:
    """Every copy and every path was restored at least once, with a proven key at the end."""
    makers = sorted({name for drill in facts.passed for name in drill.implementations})
    return Judgement(
        graded(
            not facts.standing,
            not facts.covered(facts.proven) or facts.failing or facts.missing,
        ),
        sentence(
            facts.sample_text,
            facts.last_text,
            f"the recovered key signed, certified and decrypted, checked by {', '.join(makers)}"
            if makers
            else "",
        ),
        facts.of_drills,
    )


def complete(facts: Facts) -> Judgement:
    """Recovery is tested for integrity and completeness: the sample is the population, nothing was missed."""
    report = facts.report
    unread = [backup.name for backup in report.backups if backup.verified_at is None]
    failed = [backup.name for backup in report.backups if backup.failed_at]
    whole = bool(report.matrix) and len(facts.proven) == len(report.matrix)
    return Judgement(
        graded(not facts.standing, not whole or report.missed or facts.uncorrected or unread),
        sentence(
            facts.sample_text,
            facts.drills_text,
            f"{len(report.backups) - len(unread)} of {len(report.backups)} backups were read to their end"
            + (f", {len(failed)} could not be when they were last tried" if failed else ""),
        ),
        merged(facts.of_drills, *(backup.evidence for backup in report.backups)),
    )


def corrected(facts: Facts) -> Judgement:
    """The plan is tested; what failed was followed by a passed test restore."""
    report = facts.report
    open_ = facts.uncorrected
    slow = any(drill.within_objective is False for drill in _newest(facts))
    problems = sorted({problem for drill in open_ for problem in drill.problems})
    return Judgement(
        graded(not report.drills or not facts.standing, open_ or facts.missing or slow),
        sentence(
            facts.drills_text,
            f"{len(report.failed) - len(open_)} of {len(report.failed)} failures were followed by a passed "
            "test restore of the same copy and path"
            if report.failed
            else "",
            f"still open: {'; '.join(problems)}" if problems else "",
            facts.rto_text,
            "who reviewed the results is not recorded here",
        ),
        merged(facts.of_drills, facts.of_kind("certificate")),
    )


def _newest(facts: Facts) -> list[DrillFacts]:
    last = {(drill.copy, drill.path): drill for drill in sorted(facts.passed, key=lambda one: one.at)}
    return list(last.values())


def ready(facts: Facts) -> Judgement:
    """The key can be restored today, in a measured time within an objective."""
    told = facts.report.verdict
    unmeasured = told.rto_seconds is None or told.rto_objective is None
    slow = not unmeasured and (told.rto_seconds or 0.0) > (told.rto_objective or 0.0)
    return Judgement(
        graded(
            told.answer is Answer.NO or not facts.standing,
            told.answer is not Answer.YES or unmeasured or slow,
        ),
        sentence(told.sentence.rstrip("."), facts.rto_text, facts.last_text),
        merged(told.evidence, facts.of_drills),
    )


def yearly(facts: Facts) -> Judgement:
    """A test restore passed within the last year."""
    last = facts.last_passed
    within = last is not None and facts.report.generated - last <= _YEAR
    return Judgement(
        graded(not within, facts.missing or facts.uncorrected or facts.failing),
        sentence(facts.last_text, facts.drills_text),
        facts.of_drills,
    )


def separate(facts: Facts) -> Judgement:
    """Test restores run without the server that the key is of; how far apart from it is not seen."""
    return Judgement(
        graded(not facts.standing, True),
        sentence(
            facts.last_text,
            f"test restores run where this program does, this report's on {facts.report.host}",
            "that it is another system than the server, and apart from it physically and logically, is for "
            "the organisation to show",
        ),
        facts.of_drills,
    )


# -- the ledger -------------------------------------------------------------------------------------


def integrity(facts: Facts) -> Judgement:
    """The ledger's chain holds, and something outside the host vouches for its end."""
    ledger = facts.report.ledger
    behind = ledger.entries - ledger.anchored_to
    return Judgement(
        graded(not ledger.ok or not ledger.entries, behind > 0),
        sentence(*_chain(facts)),
        _newest_entry(facts),
    )


def _chain(facts: Facts) -> list[str]:
    ledger = facts.report.ledger
    text = "its hash chain holds" if ledger.ok else f"its hash chain is broken: {ledger.problem}"
    anchor = f" by {ledger.anchor}" if ledger.anchor else ""
    return [
        f"the ledger has {ledger.entries} entries and {text}",
        f"{ledger.anchored_to} of them are vouched for{anchor}"
        if ledger.anchored_to
        else "nothing outside this host vouches for it",
        f"{ledger.waiting} entries wait for a mirror" if ledger.waiting else "",
    ]


def _newest_entry(facts: Facts) -> tuple[str, ...]:
    return facts.of_kind("ledger entry")[-1:]


def repudiation(facts: Facts) -> Judgement:
    """Certificates are signed by what was recovered; single ledger entries and people's acts are not."""
    signed = facts.of_kind("certificate")
    return Judgement(
        graded(not facts.report.ledger.ok or not signed, True),
        sentence(
            f"{len(signed)} drill certificates, each signed by the recovered Org Key and by the witness key",
            *_chain(facts),
            "single entries carry no signature of a person",
        ),
        merged(signed, _newest_entry(facts)),
    )


def records(facts: Facts) -> Judgement:
    """Records of what was done are kept so that an alteration shows, and locked where a target locks."""
    ledger = facts.report.ledger
    weak = ledger.anchored_to < ledger.entries or ledger.waiting or not facts.locked
    return Judgement(
        graded(not ledger.ok or not ledger.entries, weak),
        sentence(
            *_chain(facts),
            f"{len(facts.locked)} of {len(facts.report.copies)} copies of the record are locked until their "
            "retention ends",
        ),
        merged(_newest_entry(facts), facts.of_copies),
    )
