"""`orgkey notify test`."""

from __future__ import annotations

from pipeline.cli.command import SERVER_CODES, Invocation, command
from pipeline.cli.documents.setup import NotifyTestDocument, WayItem
from pipeline.config import Config
from pipeline.core import log
from pipeline.core.errors import Code, OrgkeyError, Unreachable, UsageProblem
from pipeline.monitoring.notify import channels
from pipeline.monitoring.notify.job import RunNotifier
from pipeline.monitoring.notify.message import JobOutcome
from pipeline.monitoring.notify.ping import Pinger


@command("orgkey notify test", SERVER_CODES)
def test(call: Invocation) -> Code:
    """Send a test message by every way of [notify], and a log ping to every [ping.JOB].

    A log ping changes no job's state at the service. Look whether the message arrived: a way that took it
    need not have delivered it.
    """
    config = call.loaded
    if not (config.notify or config.ping):
        raise UsageProblem(
            "the configuration has neither [notify] nor [ping.JOB]",
            hint="see `orgkey explain how-to notifications`",
        )
    results = _notified(config, call.fingerprint) | _pinged(config)
    ways = tuple(
        WayItem(
            way=name,
            ok=error is None,
            problem=f"{error.message}; {error.hint}" if error else None,
            code=error.code if error else Code.OK,
        )
        for name, error in results.items()
    )
    return call.answer(NotifyTestDocument(ways=ways, exit_code=channels.worst(results)))


def _notified(config: Config, fingerprint: str | None) -> dict[str, OrgkeyError | None]:
    if config.notify is None:
        return {}
    pin = fingerprint or (config.key.fingerprint if config.key else None)
    alarm = RunNotifier(config, "status", "notify test", fingerprint=pin, root=None, warn=lambda _: None)
    outcome = JobOutcome(Code.OK, "a test: nothing has happened, and nothing is wrong")
    return channels.deliver(config.notify, alarm.message("test", outcome))


def _pinged(config: Config) -> dict[str, OrgkeyError | None]:
    results: dict[str, OrgkeyError | None] = {}
    for job, ping in config.ping.items():
        problem = Pinger(ping, job, log.run_id(), lambda _: None).send("/log", "orgkey notify test")
        hint = "check the address and the network; a service that does not have /log still gets the rest"
        results[f"ping.{job}"] = Unreachable(problem, hint=hint) if problem else None
    return results
