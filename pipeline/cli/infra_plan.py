"""`orgkey infra plan`, and what both commands of the group share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pipeline.archive.run import KeyScope
from pipeline.cli.command import NO_PIN, SERVER_CODES, WHERE, Invocation, command, opt
from pipeline.cli.documents.infra import InfraPlanDocument
from pipeline.core.errors import Code, UsageProblem
from pipeline.core.text import counted
from pipeline.provision.plan import NEVER, ServersPlan
from pipeline.workflows import provision

FILES: Final[Any] = opt(
    "--files", "Your own copy of infra/vault; the one that came with it otherwise.", "DIR", WHERE
)


@command("orgkey infra plan", (*SERVER_CODES, Code.CONFLICT, Code.PENDING), job="infra")
def plan(
    call: Invocation,
    files: Path | None = FILES,
) -> Code:
    """Compare each Vault server of the configuration with the files of infra/vault. Changes nothing.

    Logs in as [identity.administrator], else with VAULT_TOKEN or ~/.vault-token. Ends with 0 when nothing
    differs, with 42 when something does, with 22 when something is wrong that cannot be changed.
    """
    context, found = start(call, files)
    if is_pinned(context):
        provision.remember(context, found)
    result = found.plan
    document = InfraPlanDocument.of(result, never=NEVER)
    never = [f"never: {line}" for line in NEVER]
    return call.answer(document, [*lines(result, whole=call.verbose > 0), "", *never])


def start(call: Invocation, files: Path | None) -> tuple[KeyScope, provision.Look]:
    """Read the configuration and compare.

    Raises:
        OrgkeyError: There is nothing to compare, or a server does not let itself be.
    """
    # Vault's side is set up before there is a pin; the ledger is a key's, so without one nothing is noted.
    context = call.context(call.pin)
    found = provision.look(context, files)
    if not found.sites:
        raise UsageProblem(
            "the configuration has no Vault",
            hint="`orgkey infra` looks after targets of kind vault and vault-transit holders",
        )
    return context, found


def is_pinned(context: KeyScope) -> bool:
    """Whether there is a key whose ledger can have an entry."""
    return context.fingerprint != NO_PIN


def lines(result: ServersPlan, *, whole: bool) -> list[str]:
    """A plan, for people.

    Args:
        result: The plan.
        whole: Whether a policy that is missing is shown with its text; one that differs always shows how.
    """
    shown: list[str] = []
    for server in result.servers:
        shown.append(f"{server.label} ({server.product} {server.version})")
        of_it = [item for item in result.changes if item.server == server.label]
        for change in of_it:
            shown.append(f"  {change.summary}")
            shown += [f"    gives more than it should: {line}" for line in change.surplus]
            details = (change.by_hand or change.diff).splitlines()
            if change.field == "exists" and change.diff and not whole:
                details = [f"{counted(len(details), 'line')}; -v shows them"]
            shown += [f"    {line}" for line in details]
            if change.field == "exists" and not change.diff:
                shown += [f"    {name} = {_value(value)}" for name, value in change.body.items()]
        wrong = [item for item in result.faults if item.server == server.label]
        for fault in wrong:
            shown += [f"  PROBLEM  {fault.object}: {fault.message}", f"    {fault.hint}"]
        if not of_it and not wrong:
            shown.append("  no differences")
    compared = {server.label for server in result.servers}
    for fault in result.faults:
        if fault.server not in compared:
            shown += [fault.server, f"  PROBLEM  {fault.message}", f"    {fault.hint}"]
    shown += ["", counted(len(result.changes) - len(result.by_hand), "change")]
    if result.by_hand:
        shown[-1] += f", {counted(len(result.by_hand), 'thing')} to do by hand"
    if result.faults:
        shown[-1] += f", {counted(len(result.faults), 'problem')} that cannot be mended from here"
    return shown


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
