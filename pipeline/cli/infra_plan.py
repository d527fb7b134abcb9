"""`orgkey infra plan`, and what both commands of the group share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import jobs, options
from pipeline.cli.options import Common
from pipeline.cli.output import Output
from pipeline.core.errors import Code, UsageProblem
from pipeline.core.text import counted

if TYPE_CHECKING:
    from pipeline.archive.context import Context
    from pipeline.provision.differ import Change
    from pipeline.provision.plan import Plan
    from pipeline.workflows.provision import Look

FilesDirectory = Annotated[
    Path | None,
    typer.Option(
        "--files", metavar="DIR", help="Your own copy of infra/vault; the one that came with it otherwise."
    ),
]


@jobs.job("infra", "infra plan")
def plan(
    files: FilesDirectory = None,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Compare each Vault server of the configuration with the files of infra/vault. Changes nothing.

    Logs in as [identity.administrator], else with VAULT_TOKEN or ~/.vault-token. Ends with 0 when nothing
    differs, with 42 when something does, with 22 when something is wrong that cannot be changed.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    context, found, out = start(common, files)
    from pipeline.provision.plan import NEVER
    from pipeline.workflows import provision as drift

    if is_pinned(context):
        drift.remember(context, found)
    result = found.plan
    out.emit(
        {
            "schema": "orgkey.infra-plan/1",
            "servers": servers(result),
            "changes": [describe(change) for change in result.changes],
            "problems": problems(result),
            "never": list(NEVER),
            "exit_code": int(result.code),
        },
        [*lines(result, whole=verbose > 0), "", *(f"never: {line}" for line in NEVER)],
    )
    return result.code


_NO_PIN = "0" * 40


def start(common: Common, files: Path | None) -> tuple[Context, Look, Output]:
    """Read the configuration and compare.

    Raises:
        OrgkeyError: There is nothing to compare, or a server does not let itself be.
    """
    out = common.output()
    loaded = common.load(out)
    # Vault's side is set up before there is a pin; the ledger is a key's, so without one nothing is noted.
    pin = common.fingerprint or (loaded.key.fingerprint if loaded.key else _NO_PIN)
    context = common.context(out, loaded, pin)
    from pipeline.workflows import provision as drift

    found = drift.look(context, files)
    if not found.sites:
        raise UsageProblem(
            "the configuration has no Vault",
            hint="`orgkey infra` looks after targets of kind vault and vault-transit holders",
        )
    return context, found, out


def is_pinned(context: Context) -> bool:
    """Whether there is a key whose ledger can have an entry."""
    return context.fingerprint != _NO_PIN


def servers(result: Plan) -> list[dict[str, Any]]:
    """The servers, for a document."""
    return [
        {
            "address": server.address,
            "namespace": server.namespace,
            "product": "OpenBao" if server.openbao else "Vault",
            "version": server.version,
        }
        for server in result.servers
    ]


def describe(change: Change) -> dict[str, Any]:
    """A change, for a document."""
    return {
        "server": change.server,
        "object": change.object,
        "field": change.field,
        "have": change.have,
        "want": change.want,
        "diff": change.diff or None,
        "surplus": list(change.surplus),
        "by_hand": change.by_hand or None,
    }


def problems(result: Plan) -> list[dict[str, Any]]:
    """What cannot be mended, for a document."""
    return [
        {"server": item.server, "object": item.object, "message": item.message, "hint": item.hint}
        for item in result.faults
    ]


def lines(result: Plan, *, whole: bool) -> list[str]:
    """A plan, for people.

    Args:
        result: The plan.
        whole: Whether a policy that is missing is shown with its text; one that differs always shows how.
    """
    shown: list[str] = []
    for server in result.servers:
        product = "OpenBao" if server.openbao else "Vault"
        shown.append(f"{server.label} ({product} {server.version})")
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
