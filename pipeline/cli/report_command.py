"""`orgkey report`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pipeline.archive.run import KeyScope
from pipeline.cli.command import COPY_CODES, WHERE, Invocation, command, opt, since_day
from pipeline.cli.output import printable, spaced
from pipeline.core import files
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, OrgkeyError, UsageProblem
from pipeline.evidence.ledger.events import ReportEvent
from pipeline.evidence.statement import FOLDER
from pipeline.printing.pdf import demand_typst
from pipeline.report import bundle as bundles
from pipeline.report import model
from pipeline.report.build import BuildResult, build
from pipeline.report.model import Report
from pipeline.report.past import HERE


class Format(StrEnum):
    """How a report is written."""

    HTML = "html"
    PDF = "pdf"
    CSV = "csv"
    OSCAL = "oscal"
    JSON = "json"


class OscalVersion(StrEnum):
    """Which OSCAL."""

    NEW = "1.2.1"
    OLD = "1.1.2"


@command("orgkey report --bundle report.zip", (*COPY_CODES, Code.PROGRAM_MISSING), job="report")
def report(
    call: Invocation,
    form: Format | None = opt(
        "--format", "How; by the ending of FILE if left out.", "html|pdf|csv|oscal|json"
    ),
    out_file: Path | None = opt("--out", "Write it into this new file.", "FILE", WHERE),
    bundle: Path | None = opt(
        "--bundle",
        "Write every format, with ledger, certificates, public key and the pages that verify "
        "them, into this new folder, or .zip file.",
        "FILE",
        WHERE,
    ),
    verify_page: Path | None = opt(
        "--verify-page",
        "Write only the page that checks a bundle in a browser, the same in all bundles of this version.",
        "FILE",
        WHERE,
    ),
    oscal_version: OscalVersion = opt(
        "--oscal-version", "Which OSCAL to write.", "1.2.1|1.1.2", default=OscalVersion.NEW
    ),
    findings: bool = opt("--findings", "OSCAL: also findings, which are an assessor's to make."),
    since: str | None = opt("--since", "The period of test restores; a year if left out.", "DATE"),
) -> Code:
    """Compute a report that an auditor can check.

    It says whether the key can be restored, from where and by which people, when that was proven, and by what
    evidence.

    Without --out only the verdict is printed. Opens nothing, and needs no passphrase. The exit code says
    whether the report could be made: `orgkey status` is the gate. Where nobody answers, the verdict is
    UNKNOWN, with what this host knows, and the exit code says why.
    """
    if verify_page is not None:
        return _verify_page(call, verify_page)
    begin = since_day(since)
    chosen = _format(form, out_file)
    for path in (out_file, bundle):
        if path is not None:
            files.check_new(path)
    if chosen is Format.PDF or bundle is not None:
        demand_typst()
    context = call.context()
    if out_file is not None or bundle is not None:
        context.require_room()
    _catch_up(context)
    found = build(context, since=begin)
    written: dict[str, str] = {}
    if out_file is not None:
        written[out_file.name] = _write(out_file, _render(found.report, chosen, oscal_version, findings))
    if bundle is not None:
        written[bundle.name] = _bundle(context, found, bundle)
    if written:
        verdict = str(found.report.verdict.answer)
        # What another host enters meanwhile is in the next report.
        own, *others = found.report.ledger.hosts
        through = {HERE: own.entries} | {item.host: item.entries for item in others}
        context.record_event(
            ReportEvent(verdict=verdict, files=written, through=through, bundle=bundle is not None)
        )
    document = model.document(found.report) | {"files": written} if call.json else {}
    call.out.emit(document, _lines(found.report, [out_file, bundle]))
    return found.code


def _catch_up(context: KeyScope) -> None:
    """Take in what other hosts have entered; a mirror that cannot be read is a gap of the report."""
    if not context.config.ledger.mirrors:
        return
    try:
        context.replicator.sync(now=context.clock.now(), run=context.run_id, whole=False)
    except OrgkeyError as error:
        context.reporter.warn(f"the ledger is not level with its mirrors: {error.message}")


def _write(path: Path, data: bytes) -> str:
    files.write_new(path, data, mode=0o644)
    return sha256(data).hex


def _verify_page(call: Invocation, path: Path) -> Code:
    """Write the page for auditors; it needs no key, no server and no configuration."""
    from pipeline.report.offline import page

    if call.json:
        raise UsageProblem("--verify-page has no document to print", hint="leave out --json")
    call.out.emit({}, [f"SHA-256    {_write(path, page.render())}", f"written to {path}"])
    return Code.OK


def _bundle(context: KeyScope, found: BuildResult, path: Path) -> str:
    rendered = bundles.renderings(found.report, found.posture)
    parts = bundles.Parts(context.root / "ledger", context.root / FOLDER, found.public, rendered)
    return bundles.write(path, found.report, parts).hex


def _render(report: Report, chosen: Format, version: OscalVersion, findings: bool) -> bytes:
    from pipeline.report.formats import csv, html, oscal, pdf

    if chosen is Format.OSCAL:
        return oscal.render(report, version=version.value, findings=findings)
    return {
        Format.HTML: html.render,
        Format.PDF: pdf.render,
        Format.CSV: csv.claims,
        Format.JSON: model.render,
    }[chosen](report)


def _format(form: Format | None, out_file: Path | None) -> Format:
    if form is not None:
        if out_file is None:
            raise UsageProblem("--format needs --out FILE", hint="name the new file that it is written to")
        return form
    if out_file is None:
        return Format.JSON
    try:
        return Format(out_file.suffix.removeprefix(".").lower())
    except ValueError:
        raise UsageProblem(
            f"the ending of {out_file.name} is not that of a format", hint=f"--format {'|'.join(Format)}"
        ) from None


def _lines(report: Report, written: list[Path | None]) -> list[str]:
    verdict = report.verdict
    shown = [
        f"key        {spaced(report.key.fingerprint)}",
        f"verdict    {str(verdict.answer).upper()}: {verdict.sentence}",
        f"from       {verdict.from_text}",
        f"by         {verdict.by_text}",
        f"proven     {verdict.proven_text}"
        + (f", in {verdict.rto_text}" if verdict.rto_seconds is not None else ""),
        f"drills     {report.runs[0]} passed, {report.runs[1]} failed, "
        f"{report.missed_text} missed since {report.since:%Y-%m-%d}",
    ]
    if verdict.gaps:
        shown += ["", "gaps:", *(f"  - {printable(gap)}" for gap in verdict.gaps)]
    files = [f"written to {path}" for path in written if path]
    return [*shown, "", *files] if files else shown
