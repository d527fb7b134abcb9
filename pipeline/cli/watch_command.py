"""`orgkey watch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import escrow_command, jobs, options
from pipeline.cli.options import Common
from pipeline.cli.output import Output
from pipeline.core import passphrases as inputs
from pipeline.core.errors import Code, OrgkeyError, UsageProblem, first_of
from pipeline.core.signals import Signalled

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.monitoring.status import Status
    from pipeline.workflows.inbox_state import Outcome


@jobs.job("watch")
def watch(
    once: Annotated[bool, typer.Option("--once", help="One round, for a timer.")] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=1.0, help="Pause between two rounds.")
    ] = 300.0,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Watch the inbox, the live key and the backups; for a service or a timer.

    Each round escrows an export that has arrived in the inbox, compares the live key (and refreshes the
    escrow with key.auto_refresh), maps the backups, and judges the gate as `orgkey status` does. What has not
    changed since the round before is not said again. A signal during the pause ends it with 0.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    from pipeline.core import clock
    from pipeline.core import log as logs

    loaded = common.load(out)
    if loaded.key is None and fingerprint is None:
        raise UsageProblem("no key is pinned", hint="set key.fingerprint: nobody can be asked while watching")
    told: list[str] | None = None
    while True:
        found = _round(common, out, loaded)
        jobs.judged(found.status.rules if found.status else ())
        lines = found.lines()
        if once or lines != told:
            out.emit(found.document(), lines)
            if not once and inputs.interactive():
                out.progress(f"next round in {every:g} s, told where something has changed; Ctrl-C ends it")
        if once:
            return found.code
        told = lines
        jobs.ended(found.code, "; ".join(found.problems))
        try:
            if clock.interrupted.is_set():  # a signal met the telling, which it may not end
                raise Signalled
            _pause(every)
        except (Signalled, KeyboardInterrupt):
            out.progress("stopped between two rounds")
            return Code.OK
        logs.begin_run()
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

    def document(self) -> dict[str, Any]:
        """The document orgkey.watch/1."""
        broken = list(self.status.broken) if self.status else []
        unopened = [item for item in self.status.backups if item.code is Code.STALE] if self.status else []
        return {
            "schema": "orgkey.watch/1",
            "escrowed": self.escrowed,
            "refreshed": self.refreshed,
            "live": self.status.live.state if self.status else "unknown",
            "unopened": [item.source.name for item in unopened],
            "gate": {"ok": self.status is not None and not broken, "broken": broken},
            "problems": list(self.problems),
            "exit_code": int(self.code),
        }

    def lines(self) -> list[str]:
        """What a person reads."""
        told = [f"escrowed and stored as {self.escrowed}"] if self.escrowed else []
        told += [f"refreshed as {self.refreshed}"] if self.refreshed else []
        told += [f"problem: {problem}" for problem in self.problems]
        if self.status is None:
            return [*told, "gate: not judged"]
        live = f"live key {self.status.live.state}, {len(self.status.backups)} backups"
        if not self.status.broken:
            return [*told, f"gate: ok; {live}"]
        return [*told, f"gate: BROKEN; {live}", *(f"  - {rule}" for rule in self.status.broken)]


def _round(common: Common, out: Output, loaded: Config) -> _Round:
    problems: list[str] = []
    codes: list[Code] = []
    escrowed = refreshed = None
    found: Status | None = None

    def note(error: OrgkeyError) -> None:
        problems.append(f"{error.message}; {error.hint}")
        codes.append(error.code)

    try:
        escrowed, code, held = _inbox(common, out, loaded)
        codes.append(code)
        problems += [held] if held else []
    except OrgkeyError as error:
        note(error)
    try:
        from pipeline.monitoring import status as story

        found = story.status(common.context(out, loaded))
        if found.live.state == "renewed" and found.live.public and loaded.key and loaded.key.auto_refresh:
            refreshed, code = _refresh(common, out, loaded, found.live.public)
            codes.append(code)
            found = story.status(common.context(out, loaded))
    except OrgkeyError as error:
        note(error)
    if found is not None:
        codes.append(found.code)
    return _Round(escrowed, refreshed, found, tuple(problems), first_of(codes))


def _inbox(common: Common, out: Output, loaded: Config) -> tuple[str | None, Code, str | None]:
    """Escrow what has arrived.

    Returns:
        The epoch, how it ended, and why it was not tried where the round before has shown how it ends.
    """
    if loaded.source is None or loaded.source.kind != "inbox":
        return None, Code.OK, None
    from pipeline.core.clock import Deadline
    from pipeline.sources.interface import NoExport
    from pipeline.wiring import factory as wiring
    from pipeline.workflows import escrow
    from pipeline.workflows.inbox_state import Arrival

    pin = wiring.pinned(loaded, common.fingerprint)
    passphrase = escrow_command.export_passphrase(loaded, None, None, None, None)
    source = wiring.source(loaded, None, pin=pin, passphrase=passphrase)
    try:
        fetched = source.fetch(Deadline(loaded.policy.deadline_seconds))
    except NoExport:
        return None, Code.OK, None
    context = common.context(out, loaded)
    arrival = Arrival(context, fetched.data)
    if before := arrival.held():
        return None, before.code, _held(before)
    out.progress(f"export: {fetched.origin}")
    secret = escrow_command.needed(context, fetched.data, passphrase)
    result = escrow.escrow(context, fetched.data, secret, arrival=arrival)
    code = escrow_command.finish(out, source, fetched, result)
    if not any(taken.path.exists() for taken in fetched.files):
        arrival.forget()
    return result.record.epoch, code, None


def _held(before: Outcome) -> str:
    if before.epoch:
        return (
            f"the export in the inbox is stored as {before.epoch} and not proven, which takes people; "
            f"prove it as a ceremony, orgkey drill --epoch {before.epoch} --via PATH, and it is put aside"
        )
    return (
        f"{before.message}; the export in the inbox is not tried again before it, the file with its "
        "passphrase or the configuration changes"
    )


def _refresh(common: Common, out: Output, loaded: Config, public: bytes) -> tuple[str | None, Code]:
    from pipeline.workflows import refresh

    done = refresh.refresh(common.context(out, loaded), refresh.Request(public))
    return (done.stored.record.epoch, done.stored.code) if done.stored else (None, Code.OK)
