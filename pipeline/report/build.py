"""Compute a report: from what the targets hold now, what the holders say now, and what the ledger has."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pipeline import __version__
from pipeline.archive import overview
from pipeline.archive.catalog import Catalog, Copy, Epoch
from pipeline.archive.run import KeyScope
from pipeline.config import Config
from pipeline.config.places import S3TargetConfig
from pipeline.core import log
from pipeline.core.clock import parse_stamp
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, OrgkeyError, first_of
from pipeline.core.isolation import isolated
from pipeline.core.templates import expression, table, template
from pipeline.core.values import taken_from
from pipeline.custody.shares.manifest_section import PathEntry
from pipeline.custody.shares.paths import HolderDescription
from pipeline.evidence.ledger.backup_history import BackupHistory
from pipeline.evidence.ledger.drill_history import History
from pipeline.evidence.ledger.verify import Claim
from pipeline.evidence.ledger.witnessed import Witnesses
from pipeline.evidence.verify import Checked
from pipeline.monitoring import ledger_lag, status
from pipeline.monitoring.status import Status
from pipeline.openpgp.key import parsing, validity
from pipeline.openpgp.key.inspection import part
from pipeline.posture import analysis, diagram, text
from pipeline.posture.analysis import TRUTH, Exposure, until_text
from pipeline.posture.document import CustodyPostureDocument
from pipeline.record.verify import Record
from pipeline.report import anchoring, model, past, verdict
from pipeline.report.backup_facts import BackupFacts
from pipeline.report.certificates import issued, words
from pipeline.report.controls.assess import assess
from pipeline.report.custody_facts import CustodianFacts, CustodyFacts
from pipeline.report.ledger_facts import LedgerChange
from pipeline.report.past import Past
from pipeline.report.texts import without_logins
from pipeline.workflows.backups.backup_map import Backup
from pipeline.workflows.checkin import ShareState

PERIOD: Final = timedelta(days=365)
_PEOPLE: Final = frozenset({"openpgp", "paper"})
_CERTIFICATE: Final = re.compile(r"\b[0-9A-F]{40}\b")


@dataclass(frozen=True)
class BuildResult:
    """A report, and what a bundle takes along.

    Attributes:
        report: The report.
        public: The key's public part, in ASCII armor; ``None`` when nothing authentic is stored.
        posture: The posture's document, as JSON.
        certificates: The certificates on this host, newest first.
        code: How the run ends: not 0 where the ledger is broken, or the verdict is that it is not known.
    """

    report: model.Report
    public: bytes | None
    posture: bytes | None
    certificates: tuple[Checked, ...]
    code: Code


def build(context: KeyScope, *, since: datetime | None = None) -> BuildResult:
    """Compute a report. Nothing is opened, and nothing is written.

    Args:
        context: The run; the driller's logins read.
        since: The beginning of the period; a year ago when ``None``.

    Raises:
        OrgkeyError: The ledger cannot be read, or the configuration does not hold. A server that does not
            answer is a finding, not an error.
    """
    now = context.clock.now()
    begin = since or now - PERIOD
    events = past.read(context.ledger)
    state = status.status(context, events.history)
    surveys = (state.survey, *state.former)
    witnesses = Witnesses(context.root, (epoch.record for item in surveys for epoch in item.epochs))
    drills, _ = witnesses.believed(events.drills)
    epoch, policy = state.epoch, context.config.policy
    record = epoch.record if epoch else None
    copies = tuple(_copy(context.config, copy) for copy in epoch.copies) if epoch else ()
    paths = tuple(_path(entry, record) for entry in record.manifest.custody.paths) if record else ()
    cells = verdict.matrix(copies, paths, drills, epoch.name if epoch else "", policy, now)
    certificates, bad_certificates = issued(context, record, state.survey.records())
    claims = [
        Claim(one.head, frozenset({one.digest}), words(one), host=one.host, asked=True)
        for one in certificates
        if one.head and one.fingerprint
    ]
    ends = {host: number for host, (number, _) in events.heads.items()}
    vouched, unvouched = anchoring.outside(context, ends)
    ledger, doubts = past.ledger_facts(
        events, context.ledger.directory, (*claims, *vouched), ledger_lag.waiting(context)
    )
    exposure = _exposure(context, surveys)
    today = verdict.Today(
        now,
        begin,
        closed=_closed(context, record),
        gaps=(
            *([] if ledger.ok else [f"the ledger is broken: {ledger.problem}"]),
            *bad_certificates,
            *unvouched,
            *(f"the ledger: {doubt}" for doubt in doubts),
            *state.broken,
        ),
        objective=policy.rto_seconds,
        unseen=" and ".join(name for it in overview.silences([state.survey]) for name in it.subjects),
        known=state.known,
    )
    entered = events.history.backups if isinstance(events.history, History) else ()
    readings = BackupHistory.of(entered, policy.known_backups)
    report = model.Report(
        generated=now,
        host=platform.node(),
        run=context.run_id,
        program=f"orgkey-escrow {__version__}",
        since=begin,
        previous=events.bundled,
        drill_interval_days=policy.max_drill_age_days,
        verdict=verdict.judge(copies, paths, cells, today),
        key=_key(context, state, record),
        epoch=_epoch(epoch, state.survey, record) if epoch and record else None,
        copies=copies,
        paths=paths,
        matrix=cells,
        drills=past.drill_facts(drills, begin, policy.rto_seconds),
        missed=past.missed(drills, events.begun, policy.max_drill_age_days, begin, now),
        backups=tuple(_backup(backup, readings) for backup in state.backups),
        custody=_custody(exposure) if exposure else None,
        custodians=tuple(_custodian(item) for item in state.custodians),
        changes=_by_name(events.since(begin), exposure.names if exposure else {}),
        rules=tuple(taken_from(rule, model.RuleFacts) for rule in state.rules),
        not_covered=(),
        ledger=ledger,
        evidence=(),
        vault=events.vault,
    )
    posture = None
    if exposure:
        told = log.document_without_logins(CustodyPostureDocument.about(exposure).to_json())
        posture = (json.dumps(told, indent=2, sort_keys=True) + "\n").encode()
    report = replace(report, not_covered=tuple(_not_covered(context.config, report)))
    report = replace(report, evidence=tuple(_evidence(report, events, certificates, record, posture)))
    report = without_logins(report)
    report = replace(report, controls=assess(report))
    public = record.members["public.asc"] if record else None
    return BuildResult(report, public, posture, certificates, _code(report, state))


def _code(report: model.Report, state: Status) -> Code:
    """How a report ends: it could not be made where the ledger is broken, or nobody answers."""
    codes = [] if report.ledger.ok else [Code.LEDGER_BROKEN]
    if report.verdict.answer is model.Restorability.UNKNOWN:
        codes += [item.code for item in state.silent] or [Code.UNREACHABLE]
    return first_of(codes)


def _copy(config: Config, copy: Copy) -> model.CopyFacts:
    target = config.target[copy.target]
    unlocked = f"not locked as configured: {copy.unlocked}" if copy.unlocked else None
    return taken_from(
        copy,
        model.CopyFacts,
        controlled_by=target.controlled_by,
        problem="; ".join(filter(None, (copy.problem, unlocked))) or None,
        sha256=copy.sha256.hex if copy.sha256 else None,
        # One that the server tells otherwise is not what keeps this version from being deleted.
        lock_mode=target.lock_mode if isinstance(target, S3TargetConfig) and not unlocked else None,
        evidence=("R1",) if copy.ok else (),
    )


def _path(entry: PathEntry, record: Record) -> model.PathFacts:
    holders = record.manifest.custody.holders
    people = any(holders[need.holder].kind in _PEOPLE for need in entry.needs)
    return model.PathFacts(entry.name, overview.needs(record, entry), people)


def _closed(context: KeyScope, record: Record | None) -> dict[str, str]:
    """The paths that cannot be opened today, since a machine among their holders does not answer."""
    if record is None:
        return {}
    section = record.manifest.custody
    silent: dict[str, str] = {}
    for name, holder in context.backends("driller").openers(section).items():
        answer = isolated(holder.describe, f"holder {name}")
        if isinstance(answer, OrgkeyError):
            silent[name] = answer.message
    problems = {
        entry.name: [silent[need.holder] for need in entry.needs if need.holder in silent]
        for entry in section.paths
    }
    return {name: "; ".join(found) for name, found in problems.items() if found}


def _key(context: KeyScope, state: Status, record: Record | None) -> model.OrgKeyFacts:
    key, renewal = record.manifest.key if record else {}, state.renewal
    created = key.get("created")
    foretold = renewal.state if renewal else None
    if renewal and renewal.due:
        early, late = renewal.due
        foretold = f"{renewal.state}: about {early:%Y-%m-%d}, older releases {late:%Y-%m-%d}"
    return model.OrgKeyFacts(
        fingerprint=context.fingerprint,
        user_ids=tuple(map(str, key.get("user_ids", ()))),
        algorithm=str(key.get("algorithm", "unknown")),
        created=parse_stamp(created) if isinstance(created, str) else None,
        expires=renewal.expires if renewal else None,
        capabilities=_capabilities(record) if record else (),
        live=state.live.state,
        live_reason=state.live.reason,
        renewal=foretold,
        former=tuple((survey.fingerprint, _former(survey)) for survey in state.former),
    )


def _former(survey: Catalog) -> str:
    latest = survey.latest()
    if latest:
        return f"epoch {latest.name}, {latest.state}"
    return "not known: it could not be asked" if overview.silences([survey]) else "nothing is stored"


def _capabilities(record: Record) -> tuple[tuple[str, str, str], ...]:
    """What each part of the key may do, by its own signatures."""
    judged = validity.judge(parsing.read_one(record.public, "the record's public part"), None)
    parts = map(part, judged.standings)
    return tuple((one["fingerprint"], one["algorithm"], ", ".join(one["usage"])) for one in parts)


def _epoch(epoch: Epoch, survey: Catalog, record: Record) -> model.EpochFacts:
    return taken_from(
        record.manifest,
        model.EpochFacts,
        name=epoch.name,
        state=str(epoch.state),
        record_sha256=record.sha256.hex,
        protection=(
            "the key: AES-256, iterated and salted SHA-256, under an escrow passphrase of 256 random bits",
            "the passphrase: split with SLIP-39 for each custody path, every share sealed to its holder",
            *(_sealed(name, item) for name, item in sorted(record.manifest.custody.holders.items())),
        ),
        others=tuple((it.name, str(it.state)) for it in survey.epochs if it.name != epoch.name),
    )


def _sealed(name: str, item: HolderDescription) -> str:
    keys = ("key", "key_arn", "key_version")
    where = [f"{key.replace('_', ' ')} {value}" for key in keys if (value := item.coordinates.get(key))]
    return f"holder {name}: {', '.join((item.kind, *where))}"


def _backup(backup: Backup, readings: BackupHistory) -> BackupFacts:
    last = readings.last(backup.source.location)
    verified = readings.verified(backup.source.location, backup.source.state)
    failed = last if last and not last.read.ok else None
    read = last.read if last else None
    return BackupFacts(
        name=backup.source.name,
        bytes=backup.source.size,
        key_ids=backup.head.key_ids if backup.head else (),
        epoch=backup.key.epoch.name if backup.key else None,
        proven=bool(backup.key and backup.key.proven),
        problem=backup.problem,
        verified_at=verified.at if verified else None,
        evidence=(last.entry.label,) if last else (),
        failed_at=failed.at if failed else None,
        failure=failed.read.problem if failed else None,
        sha256=verified.read.sha256 if verified else None,
        signed_by=verified.read.signed_by if verified else None,
        history=read.history if read else None,
        history_text=read.history_text if read and read.sha256 not in readings.known else "",
        changed=bool(last and last.read.ok and verified is None),
        unknown=backup.code not in (Code.OK, Code.STALE),
    )


def _custodian(item: ShareState) -> CustodianFacts:
    seat, evidence = item.seat, (item.entry.label,) if item.entry else ()
    who = {"name": seat.name, "label": seat.share.label, "path": seat.path.name}
    return taken_from(item, CustodianFacts, **who, last_check_in=item.last, evidence=evidence)


def _by_name(changes: tuple[LedgerChange, ...], names: Mapping[str, str]) -> tuple[LedgerChange, ...]:
    """The changes, with the people in them by name; the ledger has the fingerprints of their certificates."""
    called = {party.rpartition(" ")[2]: name.partition(" <")[0] for party, name in names.items()}

    def name(found: re.Match[str]) -> str:
        return called.get(found[0], found[0])

    return tuple(replace(change, text=_CERTIFICATE.sub(name, change.text)) for change in changes)


def _exposure(context: KeyScope, surveys: tuple[Catalog, ...]) -> Exposure | None:
    try:
        return analysis.expose(context, surveys)
    except OrgkeyError as error:
        context.reporter.warn(f"the custody posture cannot be computed: {error.message}")
        return None


def _custody(found: Exposure) -> CustodyFacts:
    words, now = text.PostureText(found), found.now
    alone, fatal = now.reconstruct.singles(), now.fatal_losses.singles()
    older = (
        f"{item.epoch or 'exports'}: {item.what}; can be deleted {until_text(item.until)}"
        for item in found.lingering
    )
    return CustodyFacts(
        reconstruct=(*words.answer(now.reconstruct), *(f"{host}, alone" for host in found.hosts)),
        fatal=tuple(words.answer(now.fatal_losses)),
        alone=tuple(words.name(name) for name in alone),
        fatal_alone=tuple(words.name(name) for name in fatal),
        lingering=(*older, TRUTH),
        facts=found.facts,
        unknown=found.unknown,
        picture=diagram.draw(found),
        evidence=("P1",),
        hosts=found.hosts,
        people=tuple(words.legend()),
    )


def _not_covered(config: Config, report: model.Report) -> Iterator[str]:
    facts = {"config": config, "report": report}
    for row in table(__package__, "limits.toml")["limits"]:
        for it in expression(row.get("each", "[none]"))(facts) or ():
            if expression(row.get("when", "true"))(facts, it=it):
                yield template(row["says"])(facts, it=it)


def _evidence(
    report: model.Report,
    events: Past,
    certificates: tuple[Checked, ...],
    record: Record | None,
    posture: bytes | None,
) -> Iterator[model.EvidenceItem]:
    if record is not None and report.epoch is not None:
        yield model.EvidenceItem("R1", "record", f"record of epoch {record.epoch}", record.sha256.hex, None)
        public = sha256(record.members["public.asc"]).hex
        yield model.EvidenceItem("K1", "public key", "the Org Key's public part", public, "public.asc")
    for number, one in enumerate(certificates, start=1):
        file = f"certificates/{one.path.name}"
        kind = "certificate" if one.fingerprint else "unchecked certificate"
        yield model.EvidenceItem(f"C{number}", kind, words(one), one.sha256, file)
    if posture is not None:
        yield model.EvidenceItem("P1", "computed", "custody posture", sha256(posture).hex, "posture.json")
    used = set(model.cited(report, report.drills))
    for label, (digest, place) in events.files.items():
        if label in used:
            yield model.EvidenceItem(label, "ledger entry", f"ledger entry {label[1:]}", digest, place)
