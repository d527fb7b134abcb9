"""`orgkey watch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.cli import escrow_command, jobs
from pipeline.cli.command import Invocation, command
from pipeline.cli.documents.stored import RoundGateItem, WatchDocument
from pipeline.cli.help import COPY_CODES
from pipeline.cli.options import opt
from pipeline.core import passphrases
from pipeline.core.errors import Code, OrgkeyError, UsageProblem, first_of
from pipeline.core.signals import Signalled

if TYPE_CHECKING:
    from pipeline.monitoring.status import Status
    from pipeline.workflows.inbox_state import InboxOutcome


@command("orgkey watch --once", (*COPY_CODES, Code.STALE), job="watch")
def watch(
    call: Invocation,
    once: bool = opt("--once", "One round, for a timer."),
    every: float = opt("--every", "Pause between two rounds.", "SECONDS", min=1.0, default=300.0),
) -> Code:
    """Watch the inbox, the live key and the backups; for a service or a timer.

    Each round escrows an export that has arrived in the inbox, compares the live key (and refreshes the
    escrow with key.auto_refresh), maps the backups, and judges the gate as `orgkey status` does. What has not
    changed since the round before is not printed again. A signal during the pause ends it with 0.
    """
    from pipeline.core import clock, log

    if call.loaded.key is None and call.fingerprint is None:
        raise UsageProblem("no key is pinned", hint="set key.fingerprint: nobody can be asked while watching")
    shown: list[str] | None = None
    while True:
        done = _round(call)
        jobs.judged(done.status.rules if done.status else ())
        lines = done.lines()
        if once or lines != shown:
            call.answer(done.document(), lines)
            if not once and passphrases.interactive():
                call.out.progress(
                    f"next round in {every:g} s, shown where something has changed; Ctrl-C ends it"
                )
        if once:
            return done.code
        shown = lines
        jobs.ended(done.code, "; ".join(done.problems))
        try:
            if clock.interrupted.is_set():  # a signal came while the result was printed, which it may not end
                raise Signalled
            _pause(every)
        except (Signalled, KeyboardInterrupt):
            call.out.progress("stopped between two rounds")
            return Code.OK
        log.begin_run()
        jobs.begin()


def _pause(seconds: float) -> None:
    import time

    time.sleep(seconds)


@dataclass(frozen=True)
class _Round:
    """What one round did and found.

    Attributes:
        escrowed: The epoch of an export that had arrived.
        refreshed: The epoch with a renewed public part.
        status: The gate; ``None`` when it could not be judged.
        problems: What went wrong, in words.
        code: How the round ends.
    """

    escrowed: str | None
    refreshed: str | None
    status: Status | None
    problems: tuple[str, ...]
    code: Code

    def document(self) -> WatchDocument:
        """The document of this round."""
        backups = self.status.backups if self.status else ()
        broken = tuple(self.status.broken) if self.status else ()
        return WatchDocument(
            escrowed=self.escrowed,
            refreshed=self.refreshed,
            live=self.status.live.state if self.status else "unknown",
            unopened=tuple(item.source.name for item in backups if item.code is Code.STALE),
            gate=RoundGateItem(ok=self.status is not None and not broken, broken=broken),
            problems=self.problems,
            exit_code=self.code,
        )

    def lines(self) -> list[str]:
        """What a person reads."""
        lines = [f"escrowed and stored as {self.escrowed}"] if self.escrowed else []
        lines += [f"refreshed as {self.refreshed}"] if self.refreshed else []
        lines += [f"problem: {problem}" for problem in self.problems]
        if self.status is None:
            return [*lines, "gate: not judged"]
        live = f"live key {self.status.live.state}, {len(self.status.backups)} backups"
        if not self.status.broken:
            return [*lines, f"gate: ok; {live}"]
        return [*lines, f"gate: BROKEN; {live}", *(f"  - {rule}" for rule in self.status.broken)]


def _round(call: Invocation) -> _Round:
    problems: list[str] = []
    codes: list[Code] = []
    escrowed = refreshed = None
    gate: Status | None = None

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
        from pipeline.monitoring import status as story

        gate = story.status(call.context())
        key = call.loaded.key
        if gate.live.state == "renewed" and gate.live.public and key and key.auto_refresh:
            refreshed, code = _refresh(call, gate.live.public)
            codes.append(code)
            gate = story.status(call.context())
    except OrgkeyError as error:
        note(error)
    if gate is not None:
        codes.append(gate.code)
    return _Round(escrowed, refreshed, gate, tuple(problems), first_of(codes))


def _inbox(call: Invocation) -> tuple[str | None, Code, str | None]:
    """Escrow what has arrived.

    Returns:
        The epoch, how it ended, and why it was not tried where the round before has shown how it ends.
    """
    config = call.loaded
    if config.source is None or config.source.kind != "inbox":
        return None, Code.OK, None
    from pipeline.core.clock import Deadline
    from pipeline.sources.interface import NoExport
    from pipeline.wiring import factory
    from pipeline.workflows import escrow
    from pipeline.workflows.inbox_state import InboxState

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


def _refresh(call: Invocation, public: bytes) -> tuple[str | None, Code]:
    from pipeline.workflows import refresh

    done = refresh.refresh(call.context(), refresh.RefreshRequest(public))
    return (done.stored.record.epoch, done.stored.code) if done.stored else (None, Code.OK)
