"""`orgkey stack`: the local stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pipeline import config as configuration
from pipeline.cli.command import WHERE, Invocation, command, opt
from pipeline.cli.lazy import HelpCommand, HelpGroup
from pipeline.cli.output import table
from pipeline.core import files
from pipeline.core.errors import Code
from pipeline.devstack.progress import reporter

if TYPE_CHECKING:
    from pipeline.devstack.members import MemberStatus
    from pipeline.devstack.stack import Stack

app = typer.Typer(
    name="stack",
    cls=HelpGroup,
    no_args_is_help=True,
    help="Run real servers on this host, for trying and testing.",
)
DIRECTORY: Any = opt(
    "--dir", "Where the stack lives.", "PATH", WHERE, envvar="ORGKEY_STACK_DIR", show_default="user state"
)


class StackIdentity(StrEnum):
    """Whose credentials a shell gets."""

    DRILLER = "driller"
    WRITER = "writer"
    ROOT = "root"


def _command(example: str, *shared: str) -> Callable[[Callable[..., Code]], Callable[..., Code]]:
    """Make a function a command of the name with which its example begins."""

    def decorate(function: Callable[..., Code]) -> Callable[..., Code]:
        made = command(f"orgkey stack {example}", shared=shared)(function)
        return app.command(example.partition(" ")[0], cls=HelpCommand)(made)

    return decorate


def _stack(directory: Path | None, *, quiet: bool = True) -> Stack:
    from pipeline.devstack.environment import drop_ambient
    from pipeline.devstack.outside import Outside
    from pipeline.devstack.stack import Stack, default_directory

    drop_ambient()  # nothing that points at other servers gets near the stack
    outside = Outside.from_environment()
    return Stack(directory or default_directory(), outside=outside, report=reporter(quiet=quiet))


@_command("up", "json", "quiet")
def up(call: Invocation, directory: Path | None = DIRECTORY) -> Code:
    """Start the stack, and build its servers where they are missing.

    Building takes some minutes, once. Outside servers are used in place of its own only when
    ORGKEY_STACK_VAULT_ADDR (with ORGKEY_STACK_VAULT_TOKEN_FILE) or ORGKEY_STACK_S3_ENDPOINT (with
    ORGKEY_STACK_S3_CREDENTIALS_FILE, ORGKEY_STACK_S3_BUCKET) are set.
    """
    stack = _stack(directory, quiet=call.quiet or call.json)
    stack.up()
    _show(call, stack, stack.status())
    return Code.OK


@_command("build", "quiet")
def build(call: Invocation) -> Code:
    """Build the servers where they are missing; start nothing.

    For images and pipelines that want the minutes that it takes spent before anything else. The servers are
    kept in the user's cache, by version, or in ORGKEY_STACK_CACHE.
    """
    from pipeline.devstack.build import check, ensure
    from pipeline.devstack.stack import BUILT, check_extra

    check_extra()
    report = reporter(quiet=call.quiet)
    for program in BUILT:
        check(program, report)
    for program in BUILT:
        path = ensure(program, report)
        if not call.quiet:
            typer.echo(f"{program.name} {path}")
    return Code.OK


@_command("down", "json", "quiet")
def down(
    call: Invocation,
    directory: Path | None = DIRECTORY,
    wipe: bool = opt("--wipe", "Also remove everything that it stored."),
) -> Code:
    """Stop the stack's own processes; its data stays unless wiped."""
    stack = _stack(directory)
    stack.down(wipe=wipe)
    if call.json:
        _show(call, stack, stack.status())
    elif not call.quiet:
        typer.echo(f"stopped {stack.layout.root}" + (", and removed it" if wipe else "; its data stays"))
    return Code.OK


@_command("status", "json", "quiet")
def status(call: Invocation, directory: Path | None = DIRECTORY) -> Code:
    """Show each server; exit code 20 unless all can be used."""
    stack = _stack(directory)
    members = stack.status()
    if call.json or not call.quiet:
        _show(call, stack, members)
    if not _ready(members):
        raise typer.Exit(Code.UNREACHABLE)
    return Code.OK


@_command("env --as driller")
def env(
    call: Invocation,  # noqa: ARG001, RUF100 - as every command has it
    directory: Path | None = DIRECTORY,
    identity: StackIdentity = opt("--as", "Whose credentials.", default=StackIdentity.DRILLER),
) -> Code:
    """Print shell exports for bao and aws: eval "$(orgkey stack env)"."""
    from pipeline.devstack.environment import shell_exports

    typer.echo(shell_exports(_stack(directory), identity.value), nl=False)
    return Code.OK


@_command("config --out orgkey.toml", "json", "quiet")
def config(
    call: Invocation,
    out: Path = opt("--out", "The new file.", "PATH", WHERE),
    directory: Path | None = DIRECTORY,
    fingerprint: str | None = opt("--fingerprint", "The Org Key's fingerprint, to pin it.", "TEXT"),
) -> Code:
    """Write an orgkey.toml for the stack.

    One Vault, one S3, the unattended path.
    """
    from pipeline.devstack.configfile import render

    text = render(_stack(directory), fingerprint=fingerprint).encode()
    configuration.parse(text, out)
    files.write_new(out.absolute(), text)
    if call.json:
        typer.echo(json.dumps({"schema": "orgkey.stack-config/1", "out": str(out)}))
    elif not call.quiet:
        typer.echo(f"wrote {out}")
    return Code.OK


def _ready(members: Sequence[MemberStatus]) -> bool:
    return bool(members) and all(member.ready for member in members)


def _show(call: Invocation, stack: Stack, members: Sequence[MemberStatus]) -> None:
    rows = [
        (
            member.name,
            "ready" if member.ready else "not ready" if member.running else "stopped",
            "outside" if member.outside else str(member.pid or "-"),
            member.endpoint,
            member.version,
        )
        for member in members
    ]
    root = str(stack.layout.root)
    headings = ("server", "state", "pid", "endpoint", "version")
    document = {
        "schema": "orgkey.stack/1",
        "directory": root,
        "ready": _ready(members),
        "members": [asdict(member) for member in members],
    }
    call.out.emit(document, table(headings, rows) if rows else [f"no stack in {root}"])
