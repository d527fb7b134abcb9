"""`orgkey escrow`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import typer

from pipeline.archive.run import KeyScope
from pipeline.cli import drill_command
from pipeline.cli.command import COPY_CODES, CUSTODY_CHANGE, DRY_RUN, KEY_CODES, Invocation, arg, command, opt
from pipeline.cli.documents.escrow import EscrowDocument, EscrowPlanDocument
from pipeline.cli.output import Output, printable, spaced, table
from pipeline.core import passphrases
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, OrgkeyError, UsageProblem, first_of
from pipeline.core.passphrases import Once
from pipeline.core.secret import Secret
from pipeline.openpgp.key import inspection, preflight
from pipeline.sources.interface import Export, ExportSource
from pipeline.wiring import factory
from pipeline.workflows import escrow as story
from pipeline.workflows.publish import PublishedEpoch

ACCEPTABLE = ("unprotected", "expired", "certificates")


@command(
    "orgkey escrow export.asc",
    (*KEY_CODES, *COPY_CODES, Code.PROOF_FAILED),
    takes=["export_passphrase"],
    job="escrow",
)
def escrow(
    call: Invocation,
    export: Path | None = arg("EXPORT", "The keypair export; else the configured source."),
    accept: list[str] | None = opt(
        "--accept",
        "Override a refusal: unprotected (11), expired (15), certificates (17); never a revocation.",
        "unprotected|expired|certificates",
    ),
    accept_custody_change: bool = CUSTODY_CHANGE,
    no_drill: bool = opt("--no-drill", "Leave the drill to another host; the epoch stays unproven."),
    new_epoch: bool = opt(
        "--new-epoch", "Make a new epoch although what is stored could not be read, or opens no more."
    ),
    dry_run: bool = DRY_RUN,
) -> Code:
    """Store sealed copies of the Org Key, and prove that they restore.

    Reads the export, re-wraps it under a fresh escrow passphrase, splits that passphrase among the
    holders, writes the same bytes to every target, reads every copy back, and then restores from them.
    """
    if unknown := set(accept or ()) - set(ACCEPTABLE):
        raise UsageProblem(f"--accept {min(unknown)} is unknown", hint="it takes " + ", ".join(ACCEPTABLE))
    passphrase = export_passphrase(call, export)
    pin = factory.pinned(call.loaded, call.fingerprint)
    source = factory.source(call.loaded, export, pin=pin, passphrase=passphrase)
    try:
        fetched = source.fetch(Deadline(call.loaded.policy.deadline_seconds))
    except OrgkeyError as error:
        # An export that is refused is entered; that there is none is not.
        if pin is not None and error.code >= Code.PUBLIC_ONLY and not dry_run:
            call.context(pin).note_failure("escrow-failed", error)
        raise
    for line in (f"export: {fetched.origin}", *fetched.notes):
        call.out.progress(line)
    context = call.context(pin or _confirm_pin(fetched.data))
    wishes = story.EscrowOptions(frozenset(accept or ()), accept_custody_change, not no_drill, new_epoch)
    secret = needed(context, fetched.data, passphrase, wishes.accept)
    if dry_run:
        plan = story.rehearse(context, fetched.data, secret, wishes)
        document = EscrowPlanDocument.of(plan)
        return call.answer(document)
    result = story.escrow(context, fetched.data, secret, wishes)
    call.answer(EscrowDocument.about(result), lines(result))
    return finish(call.out, source, fetched, result)


def finish(out: Output, source: ExportSource, fetched: Export, result: PublishedEpoch) -> Code:
    """Let a source put an export aside once it is proven.

    Args:
        out: Where the command speaks.
        source: Where the export came from.
        fetched: The export.
        result: What became of it.

    Returns:
        How the run ends.
    """
    if result.proven:
        try:
            for line in source.finish(fetched, f"escrowed and proven as {result.record.epoch}"):
                out.progress(line)
        except OrgkeyError as error:
            # The escrow stands; the next run sees again that the export is still there.
            out.warn(f"{error.message}; {error.hint}")
            return first_of([result.code, Code.DEGRADED])
    return result.code


def export_passphrase(call: Invocation, export: Path | None = None) -> Once:
    """The options first, then the configured source's own way, then a prompt."""
    source = call.loaded.source if export is None else None
    file = Path(source.passphrase_file) if source and source.passphrase_file else None
    command = source.passphrase_command if source else None
    return passphrases.Once(call.passphrase("export", "passphrase of the export", file, command))


def needed(
    context: KeyScope, data: bytes, source: Once, accept: frozenset[str] = frozenset()
) -> Secret | None:
    """The passphrase of an export, where it takes one; a person may type it several times.

    Args:
        context: The run.
        data: The export.
        source: Where its passphrase comes from.
        accept: Judgements on the export that are overridden.

    Returns:
        Nothing for an export without any protected secret part, and for one that is refused anyway, of
        which nobody need type the passphrase.
    """
    found = preflight.examine(data, pin=context.fingerprint, passphrase=None, now=context.clock.now())
    if not found.protected or (source.typed and found.refused(accept)):
        return None
    with context.deadline.paused():
        for _ in range(passphrases.ATTEMPTS - 1 if source.typed else 0):
            if not found.mistyped(source()):
                break
            typer.echo("this passphrase does not open the export; try again", err=True)
            source.forget()
        return source()


def _confirm_pin(data: bytes) -> str:
    """Nothing says which key is meant: show what is there, and let a person decide.

    Raises:
        UsageProblem: There is no terminal, or the person does not confirm.
    """
    found = inspection.inspect(data, now=datetime.now(UTC))
    hint = "put the fingerprint into [key] (`orgkey init --from EXPORT`), or give --fingerprint"
    if found.fingerprint is None:
        raise UsageProblem(
            "no key is pinned, and the export shows no fingerprint", hint="`orgkey inspect` says why"
        )
    if not passphrases.answerable():
        raise UsageProblem("no key is pinned, and standard input is not a terminal to confirm one", hint=hint)
    typer.echo(f"No key is pinned. The export holds:\n\n  {spaced(found.fingerprint)}", err=True)
    for user_id in found.document["user_ids"]:
        typer.echo(f"  {printable(str(user_id))}", err=True)
    typer.echo("", err=True)
    if not typer.confirm("Does the server show the same fingerprint?", err=True):
        raise UsageProblem("the fingerprint was not confirmed", hint=hint)
    return found.fingerprint


def lines(result: PublishedEpoch) -> list[str]:
    """What a person reads."""
    rows = [
        (item.target, item.domain, item.version or "-", "ok", item.location)
        for item in result.written.receipts.values()
    ]
    rows += [
        (name, result.targets[name].domain, "-", f"FAILED ({int(error.code)})", error.message)
        for name, error in result.written.failures.items()
    ]
    shown = [
        f"{_outcome(result)}: {spaced(result.record.fingerprint)}",
        f"epoch {result.record.epoch}, {'proven' if result.proven else 'not proven'}",
        f"record sha256 {result.record.sha256.hex}",
        "",
        *table(("copy", "domain", "version", "read back", "where"), rows),
    ]
    shown += [f"{name}: {error.hint}" for name, error in result.written.failures.items()]
    if result.drill:
        shown += ["", *drill_command.lines(result.drill)]
    if result.code is not Code.OK:
        shown += ["", f"exit code {int(result.code)}: {result.code.meaning}"]
    return shown


def _outcome(result: PublishedEpoch) -> str:
    """The first words, which people and scripts go by: nothing that is not stored is called escrowed."""
    stored = len(result.written.receipts)
    count = f"{stored} of {stored + len(result.written.failures)} copies are stored"
    if not stored:
        return f"NOT ESCROWED: {count}"
    if not result.enough:
        return f"INCOMPLETE: {count}"
    how = "already escrowed" if result.already else "resumed" if result.resumed else "escrowed"
    return f"{how}, {count}" if result.written.failures else how
