"""What a report saw, as OSCAL observations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from pipeline.core.clock import stamp
from pipeline.report.facts import Facts
from pipeline.report.model import Control, Proof, Report
from pipeline.report.oscal_words import Names, control_id, markup, prop

_TEST: Final = "TEST"
_EXAMINE: Final = "EXAMINE"


def observations(report: Report, judged: Iterable[Control], names: Names) -> list[dict[str, Any]]:
    """Everything that was seen: what stands today first, then the period's test restores.

    Args:
        report: The report.
        judged: The controls of NIST SP 800-53.
        names: Makes identifiers.
    """
    writer = _Writer(report, names)
    return [
        *writer.controls(judged), *writer.copies(), *writer.matrix(), *writer.missed(), *writer.drills(),
        *writer.backups(), *writer.custody(), *writer.vault(), *writer.ledger(),
    ]  # fmt: skip


class _Writer:
    def __init__(self, report: Report, names: Names) -> None:
        self._report = report
        self._names = names
        self._evidence = {item.id: item for item in report.evidence}

    def _one(
        self,
        name: tuple[str, ...],
        title: str,
        text: str,
        *,
        method: str,
        kind: str = "control-objective",
        props: Iterable[dict[str, str]] = (),
        subjects: Iterable[str] = (),
        evidence: Iterable[str] = (),
        collected: datetime | None = None,
        expires: datetime | None = None,
    ) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "uuid": self._names.once(*name),
            "title": markup(title),
            "description": markup(text),
            "props": list(props),
            "methods": [method],
            "types": [kind],
            "origins": self._names.origins,
            "subjects": [
                {"subject-uuid": subject, "type": "component"} for subject in (*subjects, self._names.key)
            ],
            "relevant-evidence": [self._relevant(one) for one in evidence if one in self._evidence],
            "collected": stamp(collected or self._report.generated),
        }
        if expires is not None:
            parts["expires"] = stamp(expires)
        return {key: value for key, value in parts.items() if value != []}

    def _relevant(self, one: str) -> dict[str, Any]:
        item = self._evidence[one]
        resource = f"#{self._names.once('evidence', one)}"
        return {
            "href": quote(item.file) if item.file else resource,
            "description": markup(f"{item.kind}: {item.what}"),
            "props": [prop("evidence", one), prop("sha256", item.sha256)],
            "links": [{"href": resource, "rel": "reference"}],
        }

    def controls(self, judged: Iterable[Control]) -> Iterator[dict[str, Any]]:
        due = Facts(self._report).next_due
        for control in judged:
            yield self._one(
                ("control", control.id),
                f"Evidence for {control.id}: {control.support}",
                control.says,
                method=_EXAMINE,
                props=[
                    prop("control-id", control_id(control.id)),
                    prop("support", control.support),
                    *([prop("check-number", "read in secondary sources")] if control.check else []),
                ],
                evidence=control.evidence,
                expires=due,
            )

    def copies(self) -> Iterator[dict[str, Any]]:
        for copy in self._report.copies:
            said = f"read whole, authentic, sha256 {copy.sha256}" if copy.ok else copy.problem or "not good"
            yield self._one(
                ("copy", copy.target),
                f"Copy at {copy.target}: {'good' if copy.ok else 'not good'}",
                f"{said}; {copy.location}, version {copy.version or 'none'}",
                method=_TEST,
                props=[prop("state", "good" if copy.ok else "bad"), prop("domain", copy.domain)],
                subjects=[self._names.copy(copy.target)],
                evidence=copy.evidence,
            )

    def matrix(self) -> Iterator[dict[str, Any]]:
        days = self._report.drill_interval_days
        for cell in self._report.matrix:
            due = cell.proven_at + timedelta(days=days) if cell.proven_at and days is not None else None
            took = f", in {cell.seconds:.1f} s" if cell.seconds is not None else ""
            said = f"last passed {stamp(cell.proven_at)}{took}" if cell.proven_at else "never passed"
            yield self._one(
                ("cell", cell.copy, cell.path),
                f"Test restore of {cell.copy} by {cell.path}: {cell.state}",
                f"{said}; {cell.problem}" if cell.problem else said,
                method=_EXAMINE if cell.state is Proof.NEVER else _TEST,
                props=[prop("state", cell.state)],
                subjects=[self._names.copy(cell.copy), self._names.path(cell.path)],
                evidence=cell.evidence,
                collected=cell.tried_at,
                expires=due if cell.state in (Proof.PROVEN, Proof.OVERDUE) else None,
            )

    def missed(self) -> Iterator[dict[str, Any]]:
        for item in self._report.missed:
            end = f"until one passed on {stamp(item.until)}" if item.until else "and is missing still"
            yield self._one(
                ("missed", stamp(item.due)),
                "A test restore was missed" if item.until else "A test restore is overdue",
                f"due {stamp(item.due)}, overdue for {item.days:.1f} days, {end}",
                method=_EXAMINE,
                kind="historic" if item.until else "finding",
                props=[prop("state", "missed" if item.until else "overdue")],
            )

    def drills(self) -> Iterator[dict[str, Any]]:
        for number, drill in enumerate(self._report.drills):
            took = f"in {drill.seconds:.1f} s" if drill.seconds is not None else "without a proven key"
            by = f", checked by {', '.join(drill.implementations)}" if drill.implementations else ""
            slow = {True: ", within the objective", False: ", slower than the objective", None: ""}
            said = f"epoch {drill.epoch}, {took}{slow[drill.within_objective]}{by}"
            yield self._one(
                ("drill", str(number), stamp(drill.at), drill.copy, drill.path),
                f"Test restore of {drill.copy} by {drill.path}: {'passed' if drill.passed else 'failed'}",
                "; ".join((said, *drill.problems)),
                method=_TEST,
                kind="historic",
                props=[prop("state", "passed" if drill.passed else "failed")],
                subjects=[self._names.copy(drill.copy), self._names.path(drill.path)],
                evidence=drill.evidence,
                collected=drill.at,
            )

    def backups(self) -> Iterator[dict[str, Any]]:
        for backup in self._report.backups:
            said = f"for epoch {backup.epoch}" if backup.epoch else "no escrowed key is known to open it"
            yield self._one(
                ("backup", backup.name),
                f"Backup {backup.name}",
                "; ".join(filter(None, (said, backup.problem, backup.read_text))),
                method=_TEST if backup.verified_at or backup.failed_at else _EXAMINE,
                props=[
                    prop("state", "covered" if backup.epoch and not backup.problem else "not covered"),
                    prop("read", "failed" if backup.failed_at else "done" if backup.verified_at else "never"),
                ],
                collected=backup.failed_at or backup.verified_at,
                evidence=backup.evidence,
            )

    def custody(self) -> Iterator[dict[str, Any]]:
        facts = Facts(self._report)
        yield self._one(
            ("custody",),
            "Who can get the key",
            facts.posture_text,
            method=_EXAMINE,
            props=[prop("alone", custody.alone_text)] if (custody := self._report.custody) else (),
            evidence=facts.of_custody,
        )
        for person in self._report.custodians:
            last = f"last proven {stamp(person.last_check_in)}" if person.last_check_in else "never proven"
            yield self._one(
                ("custodian", person.path, person.label),
                f"Share of {person.name} on {person.path}",
                f"{last}{', overdue' if person.overdue else ''}; {person.label}",
                method=_TEST if person.last_check_in else _EXAMINE,
                props=[prop("state", person.state)],
                subjects=[self._names.path(person.path)],
                evidence=person.evidence,
                collected=person.last_check_in,
            )

    def vault(self) -> Iterator[dict[str, Any]]:
        side = self._report.vault
        if side is None:
            return
        state = "gives more" if side.wider else "differs" if side.differences else "same"
        yield self._one(
            ("vault",),
            "Vault's policies, roles, mounts and keys, compared with what they should be",
            side.text,
            method=_TEST,
            kind="historic",
            props=[prop("state", state)],
            evidence=side.evidence,
            collected=side.at,
        )

    def ledger(self) -> Iterator[dict[str, Any]]:
        ledger = self._report.ledger
        said = ledger.problem or "the chain holds"
        anchor = f"{ledger.anchored_to} vouched for by {ledger.anchor or 'nothing'}"
        yield self._one(
            ("ledger",),
            "Ledger",
            f"{ledger.entries} entries, {said}; {anchor}; head sha256 {ledger.head}",
            method=_TEST,
            props=[prop("state", "ok" if ledger.ok else "broken"), prop("head", ledger.head)],
        )
