"""`orgkey watch`."""

from __future__ import annotations

import time

from pipeline.cli import escrow_command, jobs
from pipeline.cli.command import COPY_CODES, Invocation, command, opt
from pipeline.cli.documents.stored import RoundGateItem, WatchDocument
from pipeline.core import clock, log, passphrases
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, OrgkeyError, UsageProblem, first_of
from pipeline.core.signals import Signalled
from pipeline.monitoring import status as gate
from pipeline.monitoring.status import Status
from pipeline.sources.interface import NoExport
from pipeline.wiring import factory
from pipeline.workflows import escrow, refresh
from pipeline.workflows.inbox_state import InboxOutcome, InboxState


@command("orgkey watch --once", (*COPY_CODES, Code.STALE), job="watch")
def watch(
    call: Invocation,
    once: bool = opt("--once", "One round, for a timer."),
    every: float = opt("--every", "Pause between two rounds.", "SECONDS", min=1.0, default=300.0),
) -> Code:
    """Watch inbox, live key and backups; for a service or a timer.

    Each round escrows an export that has arrived in the inbox, compares the live key (and refreshes the
    escrow with key.auto_refresh), maps the backups, and judges the gate as `orgkey status` does. What has not
    changed since the round before is not printed again. A signal during the pause ends it with 0.
    """
    if call.loaded.key is None and call.fingerprint is None:
        raise UsageProblem("no key is pinned", hint="set key.fingerprint: nobody can be asked while watching")
    shown: list[str] | None = None
    while True:
        document, found = _round(call)
        jobs.judged(found.rules if found else ())
        lines = _lines(document, found)
        if once or lines != shown:
            call.answer(document, lines)
            if not once and passphrases.interactive():
                call.out.progress(
                    f"next round in {every:g} s, shown where something has changed; Ctrl-C ends it"
                )
        jobs.ended(document.exit_code, problems=document.problems)
        if once:
            return document.exit_code
        shown = lines
        try:
            if clock.interrupted.is_set():  # a signal came while the result was printed, which it may not end
                raise Signalled
            time.sleep(every)
        except (Signalled, KeyboardInterrupt):
            call.out.progress("stopped between two rounds")
            return Code.OK
        log.begin_run()
        jobs.begin()


def _lines(document: WatchDocument, found: Status | None) -> list[str]:
    """What a person reads."""
    lines = [f"escrowed and stored as {document.escrowed}"] if document.escrowed else []
    lines += [f"refreshed as {document.refreshed}"] if document.refreshed else []
    lines += [f"problem: {problem}" for problem in document.problems]
    if found is None:
        return [*lines, "gate: not judged"]
    live = f"live key {found.live.state}, {len(found.backups)} backups"
    if not found.broken:
        return [*lines, f"gate: ok; {live}"]
    return [*lines, f"gate: BROKEN; {live}", *(f"  - {rule}" for rule in found.broken)]


def _round(call: Invocation) -> tuple[WatchDocument, Status | None]:
    """One round: what it did and found, and the gate; ``None`` where that could not be judged."""
    problems: list[str] = []
    codes: list[Code] = []
    escrowed = refreshed = None
    found: Status | None = None

    def note(error: OrgkeyError) -> None:
        problems.append(f"{error.message}; {error.hint}")
        codes.append(error.code)

    try:
        escrowed, code, held = _inbox(call)
        codes.append(code)
        problems += [held] if held else []
    except OrgkeyError as error:
        note(error)
    try:
        found = gate.status(call.context())
        key = call.loaded.key
        if found.live.state == "renewed" and found.live.public and key and key.auto_refresh:
            done = refresh.refresh(call.context(), refresh.RefreshRequest(found.live.public))
            if done.stored:
                refreshed = done.stored.record.epoch
                codes.append(done.stored.code)
            found = gate.status(call.context())
    except OrgkeyError as error:
        note(error)
    broken, backups = (found.broken, found.backups) if found else ((), ())
    document = WatchDocument(
        escrowed=escrowed,
        refreshed=refreshed,
        live=found.live.state if found else "unknown",
        unopened=tuple(item.source.name for item in backups if item.code is Code.STALE),
        gate=RoundGateItem(ok=found is not None and not broken, broken=broken),
        problems=tuple(problems),
        exit_code=first_of([*codes, *([found.code] if found else [])]),
    )
    return document, found


def _inbox(call: Invocation) -> tuple[str | None, Code, str | None]:
    """Escrow what has arrived.

    Returns:
        The epoch, how it ended, and why it was not tried where the round before has shown how it ends.
    """
    config = call.loaded
    if config.source is None or config.source.kind != "inbox":
        return None, Code.OK, None
    passphrase = escrow_command.export_passphrase(call)
    source = factory.source(config, None, pin=factory.pinned(config, call.fingerprint), passphrase=passphrase)
    try:
        fetched = source.fetch(Deadline(config.policy.deadline_seconds))
    except NoExport:
        return None, Code.OK, None
    context = call.context()
    inbox = InboxState(context, fetched.data)
    if before := inbox.held():
        return None, before.code, _held(before)
    call.out.progress(f"export: {fetched.origin}")
    secret = escrow_command.needed(context, fetched.data, passphrase)
    result = escrow.escrow(inbox.scope(), fetched.data, secret)
    code = escrow_command.finish(call.out, source, fetched, result)
    if not any(taken.path.exists() for taken in fetched.files):
        inbox.forget()
    return result.record.epoch, code, None


def _held(before: InboxOutcome) -> str:
    if before.epoch:
        return (
            f"the export in the inbox is stored as {before.epoch} and not proven, which takes people; "
            f"prove it as a ceremony, orgkey drill --epoch {before.epoch} --via PATH, and it is put aside"
        )
    return (
        f"{before.message}; the export in the inbox is not tried again before it, the file with its "
        "passphrase or the configuration changes"
    )
