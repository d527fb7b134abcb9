"""What a report comes to, counted and put into words once: for controls and for the formats."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Final

from pipeline.core.text import age
from pipeline.report.model import Cell, CopyFacts, ProofState, Report, Restorability

_THRESHOLD: Final = re.compile(r"(\d+) of (\d+) ")
_STANDING: Final = frozenset({ProofState.PROVEN, ProofState.OVERDUE})
_YEAR: Final = timedelta(days=366)


class Summary:
    """A report, summarised.

    Args:
        report: The report.

    Attributes:
        good: The copies that were read whole and are authentic; ``bad``: the others.
        domains: The failure domains of the good copies; ``lost``: those without a good copy.
        exact: The good copies that have the record's digest.
        locked: The good copies that nobody can delete yet.
        erasers: Parties that can delete every good copy.
        proven: Copies on paths that were restored within the limits.
        standing: Copies on paths whose newest test restore passed, be it overdue.
        failing: Copies on paths whose newest attempt failed, or whose copy cannot be read.
        uncorrected: Failed test restores that no passed one of the same copy and path followed.
        overdue: Whether a test restore is overdue now.
        last_passed: When the newest test restore passed that still stands.
        next_due: When the next test restore is due; ``None`` without a frequency or a passed test restore.
        indispensable: What every proven path needs: losing it ends what was proven.
        late: Custodians who did not prove their shares within the limit.
        unopened: Backups that no escrowed key opens; ``unread``: those that were never read to their end.
        unstored: Former keys that nothing is stored of.
        conditions: What may stand against a control, by its name in the catalogue.
        sentences: What can be said, by its name in the catalogue.
        evidence: Ids by what they are evidence of.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        copies, cells, days = report.copies, report.matrix, report.drill_interval_days
        self.good = tuple(copy for copy in copies if copy.ok)
        self.bad = tuple(copy for copy in copies if not copy.ok)
        self.domains = sorted({copy.domain for copy in self.good})
        self.lost = sorted({copy.domain for copy in copies} - set(self.domains))
        self.record = report.epoch.record_sha256 if report.epoch else None
        self.exact = tuple(copy for copy in self.good if copy.sha256 == self.record)
        self.locked = tuple(
            copy
            for copy in self.good
            if copy.lock_mode == "COMPLIANCE" and copy.retain_until and copy.retain_until > report.generated
        )
        self.erasers = [] if self.locked else _controllers(self.good)
        self.proven = tuple(cell for cell in cells if cell.state is ProofState.PROVEN)
        self.standing = tuple(cell for cell in cells if cell.state in _STANDING)
        self.failing = tuple(
            cell for cell in cells if cell.state in (ProofState.FAILED, ProofState.UNREADABLE)
        )
        passed = sorted((drill for drill in report.drills if drill.passed), key=lambda drill: drill.at)
        self.newest = {(drill.copy, drill.path): drill for drill in passed}
        self.uncorrected = tuple(
            drill
            for drill in report.failed
            if (drill.copy, drill.path) not in self.newest
            or self.newest[drill.copy, drill.path].at <= drill.at
        )
        self.overdue = any(not item.until for item in report.missed) or len(self.proven) < len(self.standing)
        self.last_passed = max((cell.proven_at for cell in self.standing if cell.proven_at), default=None)
        self.next_due = self.last_passed + timedelta(days=days) if self.last_passed and days else None
        restored = {cell.path for cell in self.standing}
        needs = [set(filter(_needs_all, path.needs)) for path in report.paths if path.name in restored]
        self.indispensable = sorted(set.intersection(*needs)) if needs else []
        people = report.custodians
        self.late = tuple(person.name for person in people if person.overdue or not person.last_check_in)
        self.unopened = tuple(backup.name for backup in report.backups if backup.epoch is None)
        self.unread = tuple(backup.name for backup in report.backups if backup.verified_at is None)
        self.unstored = tuple(name for name, stored in report.key.former if stored.startswith("nothing"))
        self.evidence = self._evidence()
        self.conditions = self._copy_conditions() | self._drill_conditions() | self._key_conditions()
        self.sentences = self._copy_sentences() | self._drill_sentences() | self._key_sentences()

    def sentence(self, parts: Iterable[str]) -> str:
        """One sentence of those parts that say something.

        Args:
            parts: Text, in which a name in braces stands for one of :attr:`sentences`.
        """
        return joined(*(part.format_map(self.sentences) for part in parts))

    def _evidence(self) -> dict[str, tuple[str, ...]]:
        report = self.report

        def of_kind(kind: str) -> tuple[str, ...]:
            return tuple(item.id for item in report.evidence if item.kind == kind)

        return {
            "verdict": report.verdict.evidence,
            "copies": merged(*(copy.evidence for copy in report.copies)),
            "backups": merged(*(backup.evidence for backup in report.backups)),
            "custody": report.custody.evidence if report.custody else (),
            "custodians": merged(*(person.evidence for person in report.custodians)),
            "test restores": merged(
                *(cell.evidence for cell in report.matrix), *(drill.evidence for drill in report.failed)
            ),
            "certificates": of_kind("certificate"),
            "public key": of_kind("public key"),
            "newest ledger entry": of_kind("ledger entry")[-1:],
        }

    def _copy_conditions(self) -> dict[str, bool]:
        report, ledger, domains = self.report, self.report.ledger, len(self.domains)
        return {
            "there is no copy": not report.copies,
            "no copy is good": not self.good,
            "a copy is not good": bool(self.bad),
            "no copy is the record": not self.exact,
            "a copy is not the record": len(self.exact) < len(report.copies),
            "no copy is locked": not self.locked,
            "a copy is not locked": len(self.locked) < len(report.copies),
            "one party can delete all copies": bool(self.erasers),
            "one party controls every copy": len(report.copies) > 1 and bool(_controllers(report.copies)),
            "all copies are in one failure domain": domains < 2 and not self.lost,
            "all good copies are in one failure domain": domains < 2,
            "a failure domain has no good copy": bool(self.lost),
            "no backup is known": not report.backups,
            "a backup is for no escrowed key": bool(self.unopened),
            "a backup was never read": bool(self.unread),
            "the ledger is empty": not ledger.entries,
            "the ledger's chain is broken": not ledger.ok,
            "the ledger's end is not vouched for": ledger.anchored_to < ledger.entries,
            "entries are not yet mirrored": bool(ledger.waiting),
            "there is no certificate": not self.evidence["certificates"],
        }

    def _drill_conditions(self) -> dict[str, bool]:
        report, verdict = self.report, self.report.verdict
        seconds, objective = verdict.rto_seconds, verdict.rto_objective
        return {
            "no test restore was made": not report.drills,
            "no test restore stands": not self.standing,
            "no test restore of the last year stands": not self.last_passed
            or report.generated - self.last_passed > _YEAR,
            "a test restore is overdue": self.overdue,
            "a test restore was missed": bool(report.missed),
            "a test restore fails": bool(self.failing),
            "a test restore was too slow": any(it.within_objective is False for it in self.newest.values()),
            "a failure was not followed by a success": bool(self.uncorrected),
            "a copy or a path was never restored": not self._covered(self.standing),
            "a copy or a path is not proven": not self._covered(self.proven),
            "a copy on a path is not proven": not report.matrix or len(self.proven) < len(report.matrix),
            "no frequency is set": report.drill_interval_days is None,
            "the key cannot be restored": verdict.answer is Restorability.NO,
            "the verdict is not yes": verdict.answer is not Restorability.YES,
            "the recovery time is not measured against an objective": seconds is None or objective is None,
            "recovery is too slow": seconds is not None and objective is not None and seconds > objective,
            "more is asked for than this program sees": True,
        }

    def _key_conditions(self) -> dict[str, bool]:
        report, key, custody = self.report, self.report.key, self.report.custody
        return {
            "no epoch is stored": report.epoch is None,
            "nothing protected is stored": not (report.epoch and report.epoch.protection),
            "the live key is not the same": key.live != "same",
            "the live key is another": key.live == "replaced",
            "the live key is not known": key.live == "unknown",
            "the live key is another or not known": key.live not in ("same", "renewed"),
            "the key's dates are not known": key.expires is None and key.created is None,
            "the parts of the key are not known": not key.capabilities,
            "a signing key is stored": self._signs,
            "nothing is stored of a former key": bool(self.unstored),
            "there is no custody path": not report.paths,
            "there is no custodian": not report.custodians,
            "a custodian is late": bool(self.late),
            "a holder is indispensable": bool(self.indispensable),
            "the posture is not known": custody is None,
            "part of the posture is not known": bool(custody and custody.unknown),
            "somebody gets the key alone": bool(custody and (custody.alone or custody.hosts)),
            "a single loss is fatal": bool(custody and custody.fatal_alone),
            "exports are left over": any(line.startswith("exports") for line in self._leftovers),
        }

    def _copy_sentences(self) -> dict[str, str]:
        report, ledger, count = self.report, self.report.ledger, len(self.report.copies)
        opened, read = (len(report.backups) - len(names) for names in (self.unopened, self.unread))
        failed = sum(bool(backup.failed_at) for backup in report.backups)
        bad = listed(" ({})", (f"{copy.target}: {copy.problem or 'not good'}" for copy in self.bad), "; ")
        erasers = listed("all copies can be deleted by {} alone", self.erasers)
        undeletable = "no party controls all copies and can delete them" if self.good else "no copy is good"
        places = ", ".join(f"{copy.target} in {copy.domain}" for copy in self.good) or "nowhere"
        anchor = (
            f"{ledger.anchored_to} of them are vouched for{f' by {ledger.anchor}' if ledger.anchor else ''}"
        )
        return {
            "copies": f"{len(self.good)} of {count} copies were read whole and are authentic{bad}",
            "exact copies": f"{len(self.exact)} of {count} copies were read and have the record's digest "
            f"{self.record or 'that is not known'}",
            "domains": f"good copies are in {len(self.domains)} failure domains: {places}",
            "lost domains": listed("no good copy in {}", self.lost),
            "places": f"{count} copies, all encrypted: "
            + ", ".join(f"{copy.target} ({copy.domain})" for copy in report.copies),
            "locked copies": "; ".join(
                (
                    f"{len(self.locked)} of {count} copies cannot be deleted by anyone before their "
                    "retention ends",
                    *(f"{copy.target} until {copy.retain_until:%Y-%m-%d}" for copy in self.locked),
                )
            ),
            "locked records": f"{len(self.locked)} of {count} copies of the record are locked until their "
            "retention ends",
            "erasers": erasers or undeletable,
            "common controllers": listed(
                "every copy is controlled by {}", _controllers(report.copies) if count > 1 else ()
            ),
            "backups": f"{opened} of {len(report.backups)} known backups of the server are for an "
            "escrowed key" + listed(" (not: {})", self.unopened),
            "backups read": f"{read} of {len(report.backups)} backups were read to their end"
            + (f", {failed} could not be when they were last tried" if failed else "")
            + listed(", unexpected: {}", [it.name for it in report.backups if it.history_text]),
            "ledger": "; ".join(
                (
                    f"the ledger has {ledger.entries} entries and its hash chain "
                    + ("holds" if ledger.ok else f"is broken: {ledger.problem}"),
                    anchor if ledger.anchored_to else "nothing outside this host vouches for it",
                    *([f"{ledger.waiting} entries are not yet mirrored"] if ledger.waiting else []),
                )
            ),
            "certificates": f"{len(self.evidence['certificates'])} drill certificates, each signed by the "
            "recovered Org Key and by the witness key",
        }

    def _drill_sentences(self) -> dict[str, str]:
        report, verdict, days = self.report, self.report.verdict, self.report.drill_interval_days
        counts = {state: sum(cell.state is state for cell in report.matrix) for state in ProofState}
        proven = counts.pop(ProofState.PROVEN)
        others = listed(" ({})", (f"{count} {state}" for state, count in counts.items() if count))
        late = listed(
            " ({})", [f"{item.days:.1f} days overdue now" for item in report.missed if not item.until][:1]
        )
        none = "none can be missed where no frequency is set"
        missed = none if days is None else f"{len(report.missed)} test restores missed{late}"
        passed, failed = report.runs
        failures = len(report.failed)
        makers = sorted({name for it in report.drills if it.passed for name in it.implementations})
        due = f", the next one is due {self.next_due:%Y-%m-%d}" if self.next_due else ""
        took = "not measured" if verdict.rto_seconds is None else f"{verdict.rto_seconds:.1f} s"
        goal = (
            "no objective is set"
            if verdict.rto_objective is None
            else f"the objective is {verdict.rto_objective:g} s"
        )
        restored = sorted({cell.path for cell in self.standing})
        return {
            "verdict": verdict.sentence.rstrip("."),
            "host": report.host,
            "sample": f"{proven} of {len(report.matrix)} pairs of copy and path are proven{others}",
            "test restores": f"since {report.since:%Y-%m-%d}: {missed}, {failed} failed, {passed} passed",
            "frequency": "the policy sets no frequency of test restores"
            if days is None
            else f"the policy asks for a test restore every {days:g} days{due}",
            "newest test restore": "no test restore stands as passed"
            if self.last_passed is None
            else "the newest test restore that stands passed "
            f"{age((report.generated - self.last_passed).total_seconds())} ago",
            "proofs": listed("the recovered key signed, certified and decrypted, checked by {}", makers),
            "corrections": f"{failures - len(self.uncorrected)} of {failures} failures were followed by a "
            "passed test restore of the same copy and path"
            if failures
            else "",
            "open failures": listed(
                "still open: {}", sorted({text for it in self.uncorrected for text in it.problems}), "; "
            ),
            "recovery time": f"slowest current recovery: {took}, {goal}",
            "recovered paths": f"recovered by {len(restored)} of {len(report.paths)} custody paths"
            + listed(" ({})", restored),
        }

    def _key_sentences(self) -> dict[str, str]:
        report, key, custody, epoch = self.report, self.report.key, self.report.custody, self.report.epoch
        people, proved = len(report.custodians), len(report.custodians) - len(self.late)
        protection = "; ".join(epoch.protection) if epoch else ""
        made = f"made {key.created:%Y-%m-%d}" if key.created else "when it was made is not known"
        ends = f"its self-signatures end {key.expires:%Y-%m-%d}" if key.expires else "its end is not known"
        no_posture = "" if custody else "the custody posture could not be computed"
        usage = "; ".join(f"{part[-16:]} may {uses}" for part, _, uses in key.capabilities)
        return {
            "epoch": f"epoch {epoch.name} was taken {epoch.created:%Y-%m-%d}" if epoch else "",
            "other epochs": f"{len(epoch.others if epoch else ())} other epochs are stored",
            "protection": protection,
            "stored protection": protection if epoch else "no epoch is stored",
            "fingerprint": key.fingerprint,
            "algorithm": key.algorithm,
            "key": f"Org Key {key.fingerprint}, {key.algorithm}, {len(key.capabilities)} parts",
            "algorithms": "; ".join(f"{part[-16:]}: {kind}, {uses}" for part, kind, uses in key.capabilities),
            "usage": usage or "the parts of the key are not known",
            "signing key": "a signing key is stored, since a server's backups and user keys depend on the "
            "one Org Key; the organisation's own reasons are to be kept beside this"
            if self._signs
            else "",
            "lifetime": f"Org Key {made}; {ends}",
            "live key": f"the live key against the escrowed one: {key.live}"
            + (f" ({key.live_reason})" if key.live_reason else ""),
            "renewal": f"renewal {key.renewal}" if key.renewal else "",
            "former keys": f"{len(key.former)} former keys are listed"
            + listed(", nothing is stored of {}", self.unstored),
            "leftovers": listed("leftovers: {}", self._leftovers, "; ") or "no leftovers are known",
            "number of leftovers": f"leftovers: {len(self._leftovers)}, open to those who had them; only a "
            "regenerated Org Key ends that",
            "paths": "; ".join(f"path {path.name}: {', '.join(path.needs)}" for path in report.paths),
            "indispensable": listed("every proven path needs {}", self.indispensable),
            "people": f"{people} people hold shares",
            "custodians": f"{proved} of {people} custodians proved their shares in time"
            if people
            else "no custody path needs people",
            "late custodians": listed("not: {}", self.late),
            "unproven custodians": listed("not proven lately by {}", self.late),
            "fatal losses": listed("fatal alone: the loss of {}", custody.fatal_alone if custody else ()),
            "no posture": no_posture,
            "posture": no_posture
            if custody is None
            else (
                f"who can get the key: {'; '.join(custody.reconstruct) or 'nobody'}; "
                f"alone: {custody.alone_text}{listed('; not known: {}', custody.unknown, '; ')}"
            ),
        }

    @property
    def _signs(self) -> bool:
        return any("sign" in usage for _, _, usage in self.report.key.capabilities)

    @property
    def _leftovers(self) -> tuple[str, ...]:
        return self.report.custody.lingering if self.report.custody else ()

    def _covered(self, cells: Collection[Cell]) -> bool:
        """Whether there are cells, and every copy and every path occurs in them."""
        return (
            bool(cells)
            and {copy.target for copy in self.report.copies} <= {cell.copy for cell in cells}
            and {path.name for path in self.report.paths} <= {cell.path for cell in cells}
        )


def joined(*parts: str) -> str:
    """One sentence of those parts that say something."""
    text = "; ".join(filter(None, parts))
    return text[:1].upper() + text[1:] + "."


def listed(text: str, items: Iterable[str], separator: str = ", ") -> str:
    """A text with the items in its braces; empty where there are none."""
    found = separator.join(items)
    return text.format(found) if found else ""


def merged(*groups: Sequence[str]) -> tuple[str, ...]:
    """Ids in their order, each once."""
    return tuple(dict.fromkeys(item for group in groups for item in group))


def _controllers(copies: Collection[CopyFacts]) -> list[str]:
    """The parties that control every copy."""
    return (
        sorted(frozenset.intersection(*(frozenset(copy.controlled_by) for copy in copies))) if copies else []
    )


def _needs_all(need: str) -> bool:
    """Whether the loss of one member makes a need impossible: a threshold below all is a spare."""
    found = _THRESHOLD.match(need)
    return found is None or int(found[1]) >= int(found[2])
