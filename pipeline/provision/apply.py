"""Makes exactly the changes of a plan, one object at a time, and says how far it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline.core.errors import Code, OrgkeyError, UsageProblem
from pipeline.core.isolation import isolated
from pipeline.core.retry import Retrier
from pipeline.provision.compare import ServerChange
from pipeline.provision.desired import Site
from pipeline.provision.fields import Mount, read_as


@dataclass(frozen=True, slots=True)
class AppliedChange:
    """What became of one change.

    Attributes:
        change: The change.
        state: ``done``, ``failed``, ``not-done`` after a failure at that server, or ``by-hand``.
        error: Why it failed.
    """

    change: ServerChange
    state: str
    error: OrgkeyError | None = None


def apply(sites: Sequence[Site], changes: Sequence[ServerChange], retrier: Retrier) -> list[AppliedChange]:
    """Send what the changes say; changes of one object go in one request.

    At the first failure at a server it stops there; the other servers go on.

    Args:
        sites: The servers, with logins that may write.
        changes: As :func:`pipeline.provision.compare.compare` found them.
        retrier: Waits while a server takes a new mount into use.

    Returns:
        One outcome for each change, in their order.
    """
    by_label = {site.label: site for site in sites}
    bodies: dict[tuple[str, str], dict[str, Any]] = {}
    for change in changes:
        if change.call:
            bodies.setdefault((change.server, change.call), {}).update(change.body)
    states: dict[tuple[str, str], tuple[str, OrgkeyError | None]] = {}
    stopped: set[str] = set()
    for (server, call), body in bodies.items():
        states[server, call] = "not-done", None
        if server in stopped:
            continue
        send = partial(_send, by_label[server], call, body, retrier)
        error = isolated(send, f"apply, write {call} at {server}")
        states[server, call] = "failed" if error else "done", error
        if error:
            stopped.add(server)
    by_hand = ("by-hand", None)
    return [AppliedChange(change, *states.get((change.server, change.call), by_hand)) for change in changes]


def code(outcomes: Sequence[AppliedChange]) -> Code:
    """The exit code of the first failure."""
    return next((outcome.error.code for outcome in outcomes if outcome.error is not None), Code.OK)


def _send(site: Site, path: str, body: Mapping[str, Any], retrier: Retrier) -> None:
    what = f"apply, write {path}"
    tries = 0

    def attempt() -> None:
        nonlocal tries
        tries += 1
        try:
            site.session.write(path, body, what)
        except UsageProblem:
            # An earlier attempt may have done it and lost its answer; what is made once is refused twice.
            if tries == 1 or not _made(site, path, body):
                raise

    retrier.call(attempt, what)


def _made(site: Site, path: str, body: Mapping[str, Any]) -> bool:
    """Whether a mount, a login or an audit device is there as it was asked for."""
    for table in ("sys/mounts", "sys/auth", "sys/audit"):
        if path.startswith(f"{table}/"):
            what = f"apply, read {table}"
            found = (site.session.read(table, what) or {}).get(f"{path.removeprefix(f'{table}/')}/")
            return found is not None and read_as(Mount, found, f"{what} at {site.label}").type == body["type"]
    return False
