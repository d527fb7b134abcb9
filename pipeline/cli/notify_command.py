"""`orgkey notify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.cli.output import table
from pipeline.core.errors import Code, UsageProblem

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.core.errors import OrgkeyError

app = typer.Typer(help="See that notifications and pings arrive.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `test` a command of its own."""


@app.command("test")
def notify_test(
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Send a test message by every way of [notify], and a log ping to every [ping.JOB].

    A log ping changes no job's state at the service. Look whether the message arrived: a way that took it
    need not have delivered it.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    loaded = common.load(out)
    if not (loaded.notify or loaded.ping):
        raise UsageProblem(
            "nobody is told anything: the configuration has neither [notify] nor [ping.JOB]",
            hint="see docs/how-to.md, notifications",
        )
    from pipeline.monitoring.notify.channels import worst

    results = _notified(loaded, fingerprint) | _pinged(loaded)
    code = worst(results)
    out.emit(
        {
            "schema": "orgkey.notify-test/1",
            "ways": [
                {
                    "way": name,
                    "ok": error is None,
                    "problem": f"{error.message}; {error.hint}" if error else None,
                    "code": int(error.code) if error else 0,
                }
                for name, error in results.items()
            ],
            "exit_code": int(code),
        },
        table(
            ("way", "", ""),
            [
                (
                    name,
                    "FAILED" if error else "sent",
                    f"{error.message}; {error.hint}" if error else "",
                )
                for name, error in results.items()
            ],
        ),
    )
    return code


def _notified(loaded: Config, fingerprint: str | None) -> dict[str, OrgkeyError | None]:
    if loaded.notify is None:
        return {}
    from pipeline.monitoring.notify import channels
    from pipeline.monitoring.notify.job import Alarm
    from pipeline.monitoring.notify.message import Outcome

    pin = fingerprint or (loaded.key.fingerprint if loaded.key else None)
    alarm = Alarm(loaded, "status", "notify test", fingerprint=pin, root=None, warn=lambda _: None)
    said = Outcome(Code.OK, "a test: nothing has happened, and nothing is wrong")
    return channels.deliver(loaded.notify, alarm.message("test", said))


def _pinged(loaded: Config) -> dict[str, OrgkeyError | None]:
    from pipeline.core import log as logs
    from pipeline.core.errors import Unreachable
    from pipeline.monitoring.notify.ping import Pinger

    results: dict[str, OrgkeyError | None] = {}
    for job, ping in loaded.ping.items():
        pinger = Pinger(ping, job, logs.run_id(), lambda _: None)
        problem = pinger.send("/log", "orgkey notify test")
        hint = "check the address and the network; a service that does not have /log still gets the rest"
        results[f"ping.{job}"] = Unreachable(problem, hint=hint) if problem else None
    return results
