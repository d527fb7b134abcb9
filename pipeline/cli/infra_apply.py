"""`orgkey infra apply`."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from pipeline import config
from pipeline.cli.command import SERVER_CODES, Invocation, command, opt
from pipeline.cli.documents.infra import AppliedChangeItem, CredentialItem, InfraApplyDocument
from pipeline.cli.infra_plan import FILES, is_pinned, lines, start
from pipeline.cli.output import Output
from pipeline.core import passphrases
from pipeline.core.errors import Code, UsageProblem
from pipeline.core.text import counted
from pipeline.provision.plan import NEVER, ServersPlan
from pipeline.workflows import provision
from pipeline.workflows.provision import Mended


@command("orgkey infra apply", (*SERVER_CODES, Code.CONFLICT))
def apply(
    call: Invocation,
    files: Path | None = FILES,
    yes: bool = opt("--yes", "Do not ask."),
) -> Code:
    """Make exactly what `orgkey infra plan` shows, then compare again.

    Removes nothing, makes no secret id, and leaves what belongs to others alone. It prints the commands
    that make each identity's role id and secret id files.
    """
    context, found = start(call, files)
    count = len(found.plan.changes) - len(found.plan.by_hand)
    if count:
        shown = [*lines(found.plan, whole=call.verbose > 0), *(f"never: {line}" for line in NEVER)]
        call.out.show(shown)
        if not yes:
            with context.deadline.paused():
                _ask(count, shown if call.quiet else [])
    pinned = is_pinned(context)
    if pinned:
        context.require_room()
    mended = provision.mend(context, found)
    if pinned:
        provision.remember(context, found, mended)
    document = InfraApplyDocument.of(
        found.plan,
        changes=[
            AppliedChangeItem.of(item.change, state=item.state, error=item.error and item.error.message)
            for item in mended.outcomes
        ],
        problems=(mended.left or found.plan).faults,
        left=mended.left and mended.left.changes,
        credentials=credentials(found.plan, config.locate(call.config).absolute().parent),
        exit_code=mended.code,
    )
    return call.answer(document, _text(mended, found.plan, document.credentials))


def credentials(plan: ServersPlan, beside: Path) -> tuple[CredentialItem, ...]:
    """The commands that make each identity's role id and secret id files, all in one folder.

    Args:
        plan: Which identities log in where.
        beside: The configuration's folder: identities that it does not name go where those go that it does,
            unless each of these has a folder of its own, which only its jobs may read.
    """
    logins = [(server, login) for server in plan.servers for login in server.logins]
    named = {Path(login.role_id_file).parent for _, login in logins if login.role_id_file}
    folder = named.pop() if len(named) == 1 else beside / "credentials"
    made = []
    for server, login in logins:
        tool = "bao" if server.openbao else "vault"
        where = [f"-address={server.address}"]
        where += [f"-namespace={server.namespace}"] if server.namespace else []
        read = shlex.join([tool, "read", *where, "-field=role_id", f"{login.role}/role-id"])
        write = shlex.join([tool, "write", *where, "-f", "-field=secret_id", f"{login.role}/secret-id"])
        role_id = login.role_id_file or f"{folder}/vault-{login.identity}-role-id"
        secret_id = login.secret_id_file or f"{folder}/vault-{login.identity}-secret-id"
        commands = {
            "role_id": f"(umask 077; {read} > {shlex.quote(role_id)})",
            "secret_id": f"(umask 077; {write} > {shlex.quote(secret_id)})",
        }
        place = str(Path(role_id).parent)
        made.append(CredentialItem.of(login, server=server.label, folder=place, **commands))
    return tuple(made)


def _ask(count: int, unseen: list[str]) -> None:
    """Ask, after showing what was not shown yet: nobody agrees to what they have not seen."""
    if not passphrases.answerable():
        raise UsageProblem("nothing was changed without consent", hint="look at the plan, then give --yes")
    Output().show(unseen)
    if not typer.confirm(f"Make {counted(count, 'change')}?", err=True):
        raise UsageProblem("not confirmed, nothing was changed", hint="`orgkey infra plan` only shows")


def _text(mended: Mended, plan: ServersPlan, commands: tuple[CredentialItem, ...]) -> list[str]:
    shown = [
        f"{item.change.server}  {item.change.made}"
        if item.state == "done"
        else f"{item.state:9} {item.change.server}  {item.change.summary}"
        for item in mended.outcomes
    ]
    for item in mended.outcomes:
        if item.error is not None:
            shown += ["", f"failed: {item.error.message}", f"        {item.error.hint}"]
            break
        if item.change.by_hand:
            shown += ["", *item.change.by_hand.splitlines()]
    left = mended.left
    if left is not None:
        rest = [change for change in left.changes if change.call]
        shown += [f"still differs: {change.server}  {change.summary}" for change in rest]
    for fault in (left or plan).faults:
        shown += [f"PROBLEM  {fault.server}  {fault.object}: {fault.message}", f"         {fault.hint}"]
    if not mended.outcomes:
        shown.append("no differences, nothing to do")
    if mended.left is not None:
        shown += ["", "role ids and secret ids, for whoever may make them:"]
        folders = dict.fromkeys(item.folder for item in commands)
        shown += [f"  mkdir -p -m 700 {shlex.quote(folder)}" for folder in folders]
        shown += [f"  {line}" for item in commands for line in (item.role_id, item.secret_id)]
    return shown
