"""Compute a report: from what the targets hold now, what the holders say now, and what the ledger has."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pipeline import __version__
from pipeline import config as settings
from pipeline.archive import overview
from pipeline.archive.catalog import Catalog, Copy, Epoch
from pipeline.archive.run import KeyScope
from pipeline.core.clock import parse_stamp
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, OrgkeyError, first_of
from pipeline.custody.shares.manifest_section import PathEntry
from pipeline.custody.shares.paths import HolderDescription
from pipeline.evidence.ledger.verify import Claim
from pipeline.evidence.ledger.witnessed import Witnesses
from pipeline.evidence.verify import Checked
from pipeline.monitoring import ledger_lag as mirrored
from pipeline.monitoring import status
from pipeline.monitoring.status import Status
from pipeline.openpgp.key import parsing, validity
from pipeline.openpgp.key.inspection import part
from pipeline.posture import analysis as exposure
from pipeline.posture import diagram as picture
from pipeline.posture import text as posture_text
from pipeline.posture.analysis import TRUTH, Exposure, until_text
from pipeline.record.verify import Record
from pipeline.report import anchoring, past, verdict
from pipeline.report.certificates import issued, words
from pipeline.report.controls import controls
from pipeline.report.model import (
    Answer,
    BackupFacts,
    CopyFacts,
    CustodianFacts,
    CustodyFacts,
    EpochFacts,
    Evidence,
    KeyFacts,
    PathFacts,
    Proof,
    Report,
    RuleFacts,
    cited,
)
from pipeline.report.past import Past
from pipeline.workflows.checkin import ShareState

PERIOD: Final = timedelta(days=365)
_PEOPLE: Final = frozenset({"openpgp", "paper"})
_LEDGER_LIMITS: Final = (
    "A ledger shows no entry that was never made, or was cut off behind its last one before anything outside "
    "this host had it."
)
_DRILL_LIMITS: Final = (
    "A test restore opens the record, and proves the key with independent implementations of OpenPGP; "
    "it does not install the key on a server."
)


@dataclass(frozen=True)
class Gathered:
    """A report, and what a bundle takes along.

    Attributes:
        report: The report.
        public: The key's public part, in ASCII armor; ``None`` when nothing authentic is stored.
        posture: The posture's document, as JSON.
        certificates: The certificates on this host, newest first.
        code: How the run ends: not 0 where the ledger is broken, or the verdict is that it is not known.
    """

    report: Report
    public: bytes | None
    posture: bytes | None
    certificates: tuple[Checked, ...]
    code: Code


def gather(context: KeyScope, *, since: datetime | None = None) -> Gathered:
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
    found = status.status(context)
    surveys = (found.survey, *found.former)
    told = past.read(context.ledger)
    witnesses = Witnesses(context.root, (epoch.record for item in surveys for epoch in item.epochs))
    drills, _ = witnesses.believed(told.drills)
    record = found.epoch.record if found.epoch else None
    policy = context.config.policy
    copies = _copies(context, found.epoch)
    paths = tuple(_path(entry, record) for entry in record.manifest.custody.paths) if record else ()
    cells = verdict.matrix(copies, paths, drills, found.epoch.name if found.epoch else "", policy, now)
    missed = past.missed(drills, told.begun, policy.max_drill_age_days, begin, now)
    certificates, odd = issued(context, record)
    certified = [
        Claim(one.head, frozenset({one.digest}), words(one), host=one.host, asked=True)
        for one in certificates
        if one.head
    ]
    vouched, behind = anchoring.outside(context, {host: number for host, (number, _) in told.heads.items()})
    ledger, doubts = past.ledger_facts(
        told, context.ledger.directory, (*certified, *vouched), mirrored.waiting(context)
    )
    exposed, posture = _exposed(context, surveys)
    gaps = [
        *([f"the ledger is broken: {ledger.problem}"] if not ledger.ok else []),
        *odd,
        *behind,
        *(f"the ledger: {doubt}" for doubt in doubts),
        *found.broken,
    ]
    report = Report(
        generated=now,
        host=platform.node(),
        run=context.run_id,
        program=f"orgkey-escrow {__version__}",
        since=begin,
        previous=told.bundled,
        drill_interval_days=policy.max_drill_age_days,
        verdict=verdict.judge(
            copies,
            paths,
            cells,
            verdict.Today(
                now,
                begin,
                _closed(context, record, paths),
                gaps,
                policy.rto_seconds,
                " and ".join(one for item in overview.silences([found.survey]) for one in item.subjects),
                found.known,
            ),
        ),
        key=_key(context, found, record),
        epoch=_epoch(found, record),
        copies=copies,
        paths=paths,
        matrix=cells,
        drills=past.drill_facts(drills, begin, policy.rto_seconds),
        missed=missed,
        backups=_backups(found, told),
        custody=exposed,
        custodians=tuple(_custodian(item) for item in found.custodians),
        changes=told.since(begin),
        rules=tuple(RuleFacts(rule.name, rule.ok, rule.text, rule.warned) for rule in found.rules),
        not_covered=(),
        ledger=ledger,
        evidence=(),
        vault=told.vault,
    )
    report = replace(report, not_covered=tuple(_not_covered(context, report)))
    report = replace(report, evidence=_evidence(report, told, certificates, record, posture))
    report = replace(report, controls=controls(report))
    return Gathered(
        report,
        record.members["public.asc"] if record else None,
        posture,
        certificates,
        _code(report, found),
    )


def _code(report: Report, found: Status) -> Code:
    """How a report ends: it could not be made where the ledger is broken, or nobody answers."""
    unknown = report.verdict.answer is Answer.UNKNOWN
    return first_of(
        [
            *([] if report.ledger.ok else [Code.LEDGER_BROKEN]),
            *([item.code for item in found.silent] or [Code.UNREACHABLE] if unknown else []),
        ]
    )


def _copies(context: KeyScope, epoch: Epoch | None) -> tuple[CopyFacts, ...]:
    return tuple(_copy(context.config, copy) for copy in epoch.copies) if epoch else ()


def _copy(config: settings.Config, copy: Copy) -> CopyFacts:
    target = config.target[copy.target]
    return CopyFacts(
        copy.target,
        copy.kind,
        copy.domain,
        target.controlled_by,
        copy.location,
        copy.version,
        copy.ok,
        "; ".join(
            filter(None, (copy.problem, copy.unlocked and f"not locked as configured: {copy.unlocked}"))
        )
        or None,
        copy.sha256.hex if copy.sha256 else None,
        copy.retain_until,
        target.lock_mode if isinstance(target, settings.S3TargetConfig) else None,
        ("R1",) if copy.ok else (),
    )


def _path(entry: PathEntry, record: Record) -> PathFacts:
    holders = record.manifest.custody.holders
    people = any(holders[need.holder].kind in _PEOPLE for need in entry.needs)
    return PathFacts(entry.name, overview.needs(record, entry), people)


def _closed(context: KeyScope, record: Record | None, paths: Iterable[PathFacts]) -> dict[str, str]:
    """The paths that cannot be opened today, since a machine among their holders does not answer."""
    if record is None:
        return {}
    section = record.manifest.custody
    openers = context.backends("driller").openers(section)
    silent: dict[str, str] = {}
    for name, holder in openers.items():
        try:
            holder.describe()
        except OrgkeyError as error:
            silent[name] = error.message
    known = {path.name for path in paths}
    return {
        entry.name: "; ".join(silent[need.holder] for need in entry.needs if need.holder in silent)
        for entry in section.paths
        if entry.name in known and any(need.holder in silent for need in entry.needs)
    }


def _key(context: KeyScope, found: Status, record: Record | None) -> KeyFacts:
    told = record.manifest.key if record else {}
    former = tuple((survey.fingerprint, _former(survey)) for survey in found.former)
    return KeyFacts(
        context.fingerprint,
        tuple(map(str, told.get("user_ids", ()))),
        str(told.get("algorithm", "unknown")),
        _moment(told.get("created")),
        found.renewal.expires if found.renewal else None,
        _capabilities(record) if record else (),
        found.live.state,
        found.live.reason,
        _renewal(found),
        former,
    )


def _former(survey: Catalog) -> str:
    latest = survey.latest()
    if latest:
        return f"epoch {latest.name}, {latest.state}"
    return "not known: it could not be asked" if overview.silences([survey]) else "nothing is stored"


def _capabilities(record: Record) -> tuple[tuple[str, str, str], ...]:
    """What each part of the key may do, by its own signatures."""
    key = parsing.read_one(record.public, "the record's public part")
    judged = validity.judge(key, None)
    standings = (judged.primary, *judged.subkeys)
    parts = [part(component, standing) for component, standing in zip(key.components, standings, strict=True)]
    return tuple((one["fingerprint"], one["algorithm"], ", ".join(one["usage"])) for one in parts)


def _renewal(found: Status) -> str | None:
    renewal = found.renewal
    if renewal is None or not renewal.due:
        return renewal.state if renewal else None
    return f"{renewal.state}: about {renewal.due[0]:%Y-%m-%d}, older releases {renewal.due[1]:%Y-%m-%d}"


def _moment(text: object) -> datetime | None:
    return parse_stamp(text) if isinstance(text, str) else None


def _epoch(found: Status, record: Record | None) -> EpochFacts | None:
    if found.epoch is None or record is None:
        return None
    return EpochFacts(
        found.epoch.name,
        str(found.epoch.state),
        record.manifest.created,
        record.manifest.record_id,
        record.sha256.hex,
        (
            "the key: AES-256, iterated and salted SHA-256, under an escrow passphrase of 256 random bits",
            "the passphrase: split with SLIP-39 for each custody path, every share sealed to its holder",
            *(_sealed(name, item) for name, item in sorted(record.manifest.custody.holders.items())),
        ),
        tuple(
            (epoch.name, str(epoch.state)) for epoch in found.survey.epochs if epoch.name != found.epoch.name
        ),
    )


def _sealed(name: str, item: HolderDescription) -> str:
    told = item.coordinates
    where = [
        f"{key.replace('_', ' ')} {told[key]}" for key in ("key", "key_arn", "key_version") if told.get(key)
    ]
    return f"holder {name}: {item.kind}" + (f", {', '.join(where)}" if where else "")


def _backups(found: Status, told: Past) -> tuple[BackupFacts, ...]:
    facts = []
    for backup in found.backups:
        tried = told.backups.get(backup.source.name)
        facts.append(
            BackupFacts(
                backup.source.name,
                backup.source.size,
                backup.head.key_ids if backup.head else (),
                backup.key.epoch.name if backup.key else None,
                bool(backup.key and backup.key.proven),
                backup.problem,
                tried.at if tried and tried.ok else None,
                (tried.entry.label,) if tried else (),
                tried.at if tried and not tried.ok else None,
                tried.problem if tried and not tried.ok else None,
            )
        )
    return tuple(facts)


def _custodian(item: ShareState) -> CustodianFacts:
    return CustodianFacts(
        item.seat.name,
        item.seat.share.label,
        item.seat.path.name,
        item.last,
        item.age_seconds,
        item.overdue,
        (item.entry.label,) if item.entry else (),
        item.pending,
    )


def _exposed(context: KeyScope, surveys: tuple[Catalog, ...]) -> tuple[CustodyFacts | None, bytes | None]:
    try:
        found = exposure.expose(context, surveys)
    except OrgkeyError as error:
        context.reporter.warn(f"the custody posture cannot be computed: {error.message}")
        return None, None
    document = (json.dumps(posture_text.document(found), indent=2, sort_keys=True) + "\n").encode()
    return _custody(found), document


def _custody(found: Exposure) -> CustodyFacts:
    text = posture_text.Text(found)
    now = found.now
    hosts = tuple(f"{host}, alone" for host in found.hosts)
    return CustodyFacts(
        (*(line.strip() for line in text.answer(now.reconstruct, "and")), *hosts),
        tuple(line.strip() for line in text.answer(now.fatal_losses, "and")),
        tuple(text.name(name) for name in now.reconstruct.singles()),
        tuple(text.name(name) for name in now.fatal_losses.singles()),
        (
            *(
                f"{item.epoch or 'exports'}: {item.what}; can be deleted {until_text(item.until)}"
                for item in found.lingering
            ),
            TRUTH,
        ),
        (*found.facts, *(line.strip() for line in text.legend() if line.strip() not in ("", "people:"))),
        found.unknown,
        picture.draw(found),
        ("P1",),
        found.hosts,
    )


def _not_covered(context: KeyScope, report: Report) -> Iterable[str]:
    policy, config = context.config.policy, context.config
    for cell in report.matrix:
        if cell.state is Proof.NEVER:
            yield f"The copy at {cell.copy} was never restored by path {cell.path}."
    if policy.max_drill_age_days is None:
        yield "No frequency of test restores is set (policy.max_drill_age_days), so none can be missed."
    if policy.rto_seconds is None:
        yield "No objective for the recovery time is set (policy.rto_seconds)."
    if config.key is None or config.key.live is None:
        yield "The server's live key is not looked up (key.live): a regenerated Org Key would go unnoticed."
    if not config.backups:
        yield "No place of the server's backups is configured ([backups.<name>])."
    for item in report.backups:
        if item.failed_at:
            yield f"Backup {item.name} {item.read_text}."
        elif item.epoch and item.verified_at is None:
            yield f"Backup {item.name} was never read to its end with the escrowed key."
    if report.custody is None:
        yield "The custody posture could not be computed."
    else:
        for unknown in report.custody.unknown:
            yield f"Not known: {unknown}"
    if report.ledger.anchored_to < report.ledger.entries:
        yield (
            f"Ledger entries after {report.ledger.anchored_to} are vouched for by nothing outside this host."
        )
    if report.ledger.waiting is None:
        yield "The ledger is on this host alone: no mirror is configured ([ledger] mirrors)."
    if report.vault is None and any(item.kind == "vault" for item in config.target.values()):
        yield "Vault's policies and roles were never compared with what they should be (`orgkey infra plan`)."
    if context.config.certificate.timestamp is None:
        yield "Times are this host's own: no authority stamps them (certificate.timestamp)."
    yield _LEDGER_LIMITS
    yield _DRILL_LIMITS


def _evidence(
    report: Report,
    told: Past,
    certificates: tuple[Checked, ...],
    record: Record | None,
    posture: bytes | None,
) -> tuple[Evidence, ...]:
    found = []
    if record is not None and report.epoch is not None:
        found.append(Evidence("R1", "record", f"record of epoch {record.epoch}", record.sha256.hex, None))
        public = record.members["public.asc"]
        found.append(
            Evidence("K1", "public key", "the Org Key's public part", sha256(public).hex, "public.asc")
        )
    found += [
        Evidence(f"C{number}", "certificate", words(one), one.sha256, f"certificates/{one.path.name}")
        for number, one in enumerate(certificates, start=1)
    ]
    if posture is not None:
        found.append(Evidence("P1", "computed", "custody posture", sha256(posture).hex, "posture.json"))
    used = set(cited(report, report.drills))
    found += [
        Evidence(label, "ledger entry", f"ledger entry {label[1:]}", digest, place)
        for label, (digest, place) in told.files.items()
        if label in used
    ]
    return tuple(found)
