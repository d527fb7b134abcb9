"""How far a report has evidence for what controls ask of keys, custody and custodians."""

from __future__ import annotations

from pipeline.report.facts import Facts, merged
from pipeline.report.judging import FULL, NONE, PARTIAL, Judgement, graded, sentence

_SIGNS = "sign"


def protected(facts: Facts) -> Judgement:
    """What is stored is encrypted, and the key to it is split."""
    epoch = facts.report.epoch
    return Judgement(
        graded(
            epoch is None or not epoch.protection or not facts.good,
            len(facts.good) < len(facts.report.copies),
        ),
        sentence(*(epoch.protection if epoch else ("no epoch is stored",)), facts.copies_text),
        facts.of_copies,
    )


def algorithms(facts: Facts) -> Judgement:
    """Which algorithms are used is known; whether validated modules are needed, or a review was, is not."""
    epoch, key = facts.report.epoch, facts.report.key
    return Judgement(
        graded(epoch is None or not epoch.protection, True),
        sentence(
            f"the Org Key: {key.algorithm}",
            *(
                f"{fingerprint[-16:]}: {algorithm}, {usage}"
                for fingerprint, algorithm, usage in key.capabilities
            ),
            *(epoch.protection if epoch else ()),
            "not shown: whether validated modules are required or used, and when the list was last reviewed",
        ),
        facts.of_copies,
    )


def inventory(facts: Facts) -> Judgement:
    """The key, its parts and its former ones are known, and compared with the server's."""
    report = facts.report
    key = report.key
    return Judgement(
        graded(report.epoch is None, key.live not in ("same", "renewed") or facts.unstored),
        sentence(
            f"Org Key {key.fingerprint}, {key.algorithm}, {len(key.capabilities)} parts",
            facts.former_text,
            facts.live_text,
            f"renewal {key.renewal}" if key.renewal else "",
        ),
        merged(facts.of_kind("public key"), facts.of_copies),
    )


def holder_lost(facts: Facts) -> Judgement:
    """The key stays available when any one holder of it is lost."""
    custody = facts.report.custody
    fatal = custody.fatal_alone if custody else ()
    paths = sorted({cell.path for cell in facts.standing})
    return Judgement(
        graded(
            not facts.standing,
            facts.indispensable or fatal or custody is None or facts.missing or facts.failing,
        ),
        sentence(
            f"recovered by {len(paths)} of {len(facts.report.paths)} custody paths"
            + (f" ({', '.join(paths)})" if paths else ""),
            f"every proven path needs {', '.join(facts.indispensable)}" if facts.indispensable else "",
            f"fatal alone: the loss of {', '.join(fatal)}" if fatal else "",
            "the custody posture could not be computed" if custody is None else "",
        ),
        merged(facts.of_drills, facts.of_custody),
    )


def dual(facts: Facts) -> Judgement:
    """Nobody gets the key alone."""
    custody = facts.report.custody
    return Judgement(
        graded(custody is None or bool(facts.alone), custody is not None and bool(custody.unknown)),
        sentence(facts.posture_text),
        facts.of_custody,
    )


def separated(facts: Facts) -> Judgement:
    """Storing, sealing and opening are apart: no party has both what is stored and what opens it."""
    custody = facts.report.custody
    shared = sorted(
        frozenset.intersection(*(frozenset(copy.controlled_by) for copy in facts.report.copies))
        if len(facts.report.copies) > 1
        else ()
    )
    return Judgement(
        graded(
            custody is None or bool(facts.alone),
            bool(shared) or (custody is not None and bool(custody.unknown)),
        ),
        sentence(facts.posture_text, f"every copy is controlled by {', '.join(shared)}" if shared else ""),
        facts.of_custody,
    )


def custodians_few(facts: Facts) -> Judgement:
    """Who can open the key is known, and nobody can alone."""
    people = facts.report.custodians
    found = dual(facts)
    return Judgement(
        found.support,
        sentence(
            f"{len(people)} people hold shares",
            *(f"path {path.name}: {', '.join(path.needs)}" for path in facts.report.paths),
            facts.posture_text,
            "whether these are the fewest necessary is for the organisation to say",
        ),
        merged(found.evidence, *(person.evidence for person in people)),
    )


def acknowledged(facts: Facts) -> Judgement:
    """Custodians prove that they hold their shares; that they accept their duties is not recorded."""
    people = facts.report.custodians
    return Judgement(
        graded(not people or facts.late, True),
        sentence(
            f"{len(people) - len(facts.late)} of {len(people)} custodians proved their shares in time"
            if people
            else "no custody path needs people",
            f"not: {', '.join(facts.late)}" if facts.late else "",
            "a check-in proves a share; a written acknowledgement of duties is not part of it",
        ),
        merged(*(person.evidence for person in people)),
    )


def decided(facts: Facts) -> Judgement:
    """Keys are backed up by their kind: the usage of each part is known, and why a signing key is stored."""
    key = facts.report.key
    parts = [f"{fingerprint[-16:]} may {usage}" for fingerprint, _, usage in key.capabilities]
    signs = any(_SIGNS in usage for _, _, usage in key.capabilities)
    return Judgement(
        graded(not parts or not facts.good, signs),
        sentence(
            *(parts or ["the parts of the key are not known"]),
            "a signing key is stored, since a server's backups and user keys hang on the one Org Key; the "
            "organisation's own reasons are to be kept beside this"
            if signs
            else "",
        ),
        facts.of_copies,
    )


def archived(facts: Facts) -> Judgement:
    """Keys that old backups need are kept as long as these are."""
    report = facts.report
    return Judgement(
        graded(not facts.good, facts.unstored or facts.closed or not report.backups),
        sentence(facts.former_text, facts.backups_text),
        merged(facts.of_copies, *(backup.evidence for backup in report.backups)),
    )


def generated(facts: Facts) -> Judgement:
    """Strong keys: the algorithm is known; how the server makes the Org Key is not seen."""
    return Judgement(
        graded(facts.report.epoch is None, True),
        sentence(
            f"the Org Key is {facts.report.key.algorithm}",
            "it is made by the server, out of this program's sight",
            "the escrow passphrase is 256 random bits",
        ),
        facts.of_copies,
    )


def distributed(facts: Facts) -> Judgement:
    """Shares reach their holders sealed to them, and those who should have one prove it."""
    people = facts.report.custodians
    return Judgement(
        graded(not facts.report.paths, facts.late or not facts.good),
        sentence(
            *(f"path {path.name}: {', '.join(path.needs)}" for path in facts.report.paths),
            "every share is sealed to its holder",
            f"not proven lately by {', '.join(facts.late)}" if facts.late else "",
        ),
        merged(facts.of_copies, *(person.evidence for person in people)),
    )


def cryptoperiod(facts: Facts) -> Judgement:
    """When the key ends is known; a renewal keeps the key material, so it ends no cryptoperiod."""
    key = facts.report.key
    made = f"made {key.created:%Y-%m-%d}" if key.created else "when it was made is not known"
    ends = f"its self-signatures end {key.expires:%Y-%m-%d}" if key.expires else "its end is not known"
    return Judgement(
        graded(key.expires is None and key.created is None, True),
        sentence(f"Org Key {made}", ends, "a renewal keeps the key material; the organisation sets its life"),
        facts.of_kind("public key"),
    )


def retired(facts: Facts) -> Judgement:
    """A replaced key is noticed, and superseded epochs and former keys are known."""
    report = facts.report
    others = report.epoch.others if report.epoch else ()
    lingering = len(report.custody.lingering) if report.custody else 0
    return Judgement(
        graded(report.epoch is None or report.key.live == "replaced", True),
        sentence(
            facts.live_text,
            f"{len(others)} other epochs are stored",
            facts.former_text,
            f"leftovers: {lingering}, open to those who had them; only a regenerated Org Key ends that",
        ),
        facts.of_custody,
    )


def substituted(facts: Facts) -> Judgement:
    """A false key shows: every copy is checked against the pinned fingerprint, and so is the live key."""
    report = facts.report
    live = report.key.live
    return Judgement(
        graded(
            not facts.good or live == "replaced", len(facts.good) < len(report.copies) or live == "unknown"
        ),
        sentence(
            f"every reading is checked against the pinned fingerprint {report.key.fingerprint}",
            facts.copies_text,
            facts.live_text,
        ),
        merged(facts.of_copies, facts.of_kind("public key")),
    )


def lifecycle(facts: Facts) -> Judgement:
    """Keys are registered through their life, and a lost one can be replaced from the escrow."""
    listed, kept = inventory(facts), holder_lost(facts)
    weaker = min(listed.support, kept.support, key=(NONE, PARTIAL, FULL).index)
    return Judgement(weaker, f"{listed.says} {kept.says}", merged(listed.evidence, kept.evidence))
