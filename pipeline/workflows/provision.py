"""Whether Vault's side is as `infra/vault/` says: look, mend, and what `doctor` says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.archive.run import KeyScope
from pipeline.core.errors import Code
from pipeline.core.finding import Finding, Level
from pipeline.core.retry import Retrier
from pipeline.evidence.ledger.events import InfraChange, InfraEvent
from pipeline.provision import apply, plan
from pipeline.provision.apply import AppliedChange
from pipeline.provision.compare import Fault
from pipeline.provision.desired import Site
from pipeline.provision.files import Files
from pipeline.provision.plan import ServersPlan


@dataclass(frozen=True)
class Look:
    """Servers, and how they differ.

    Attributes:
        files: What should be there.
        sites: The servers.
        plan: The differences.
    """

    files: Files
    sites: tuple[Site, ...]
    plan: ServersPlan


@dataclass(frozen=True)
class Mended:
    """What an apply did.

    Attributes:
        outcomes: One for each change.
        left: What the plan shows afterwards; ``None`` where it was not made, after a failure.
        code: The exit code.
    """

    outcomes: tuple[AppliedChange, ...]
    left: ServersPlan | None
    code: Code


def look(scope: KeyScope, directory: Path | None = None) -> Look:
    """Compare every Vault server of the configuration, logged in as the administrator; changes nothing.

    Args:
        scope: The key.
        directory: Own copies of `infra/vault/`.

    Raises:
        Denied, Unreachable, DeadlinePassed: No server could be asked.
        UsageProblem: The files or the configuration do not fit.
    """
    files = Files(directory)
    sites = tuple(scope.backends("administrator").sites())
    return Look(files, sites, plan.make(files, scope.config, sites))


def mend(scope: KeyScope, found: Look) -> Mended:
    """Make the changes of a plan, and look again.

    Raises:
        Denied, Unreachable, DeadlinePassed, UsageProblem: The second look failed.
    """
    retrier = Retrier(scope.deadline, clock=scope.clock)
    outcomes = tuple(apply.apply(found.sites, found.plan.changes, retrier))
    code = apply.code(outcomes)
    if any(item.state == "failed" for item in outcomes):
        return Mended(outcomes, None, code)
    left = plan.make(found.files, scope.config, found.sites)
    if left.code is not Code.OK:
        code = Code.CONFLICT if left.code is Code.PENDING else left.code
    return Mended(outcomes, left, code)


def remember(scope: KeyScope, found: Look, mended: Mended | None = None) -> None:
    """Write what was found, or done, to the ledger.

    Raises:
        LocalFilesProblem: It cannot be kept here.
    """
    event = InfraEvent(
        action="plan" if mended is None else "apply",
        servers=tuple(server.label for server in found.plan.servers),
        changes=tuple(
            InfraChange(server=item.server, what=item.summary, surplus=tuple(item.surplus))
            for item in found.plan.changes
        ),
        problems=tuple(InfraChange(server=item.server, what=_fault(item)) for item in found.plan.faults),
        code=int(found.plan.code if mended is None else mended.code),
        states=tuple(item.state for item in mended.outcomes) if mended else (),
        left=tuple(_left(mended.left)) if mended and mended.left is not None else None,
    )
    if mended is None:
        scope.note_event(event)
    else:
        scope.record_event(event)


def findings(scope: KeyScope) -> list[Finding]:
    """What `doctor` says: one finding for each difference, a failure where it gives more than it should."""
    if not any(item.kind in ("vault", "vault-transit") for item in _places(scope)):
        return []
    subject = "vault's side"
    if "administrator" not in scope.config.identity:
        said = "whether policies and roles drift is not looked at: there is no [identity.administrator]"
        return [Finding(Level.UNSEEN, subject, said)]
    found = look(scope).plan
    told = [
        Finding(Level.FAIL, f"{subject}, {item.server}", _fault(item), item.hint, item.code)
        for item in found.faults
    ]
    for change in found.changes:
        more = f"; it gives more: {', '.join(change.surplus)}" if change.widens else ""
        told.append(
            Finding(
                Level.FAIL if change.widens else Level.WARN,
                f"{subject}, {change.server}",
                change.summary + more,
                change.by_hand or "`orgkey infra plan` shows it, `orgkey infra apply` mends it",
                Code.PENDING if change.widens else Code.OK,
            )
        )
    return told or [Finding(Level.OK, subject, "as infra/vault says, no differences")]


def _places(scope: KeyScope) -> Sequence[Any]:
    return [*scope.config.target.values(), *scope.config.holder.values()]


def _fault(fault: Fault) -> str:
    return f"{fault.object}: {fault.message}"


def _left(left: ServersPlan) -> list[str]:
    return [change.summary for change in left.changes] + [_fault(item) for item in left.faults]
