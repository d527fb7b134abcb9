"""`orgkey stack`: the local stack."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.core.errors import Code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.devstack.members import MemberStatus
    from pipeline.devstack.stack import Stack

app = typer.Typer(
    name="stack",
    no_args_is_help=True,
    help="Run real servers on this host, for trying and testing.",
)

Directory = Annotated[
    Path | None,
    typer.Option(
        "--dir", help="Where the stack lives.", envvar="ORGKEY_STACK_DIR", show_default="user state"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Silent = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


class StackIdentity(StrEnum):
    """Whose credentials a shell gets."""

    DRILLER = "driller"
    WRITER = "writer"
    ROOT = "root"


def _stack(directory: Path | None, *, quiet: bool = True) -> Stack:
    from pipeline.devstack.environment import drop_ambient
    from pipeline.devstack.outside import Outside
    from pipeline.devstack.progress import reporter
    from pipeline.devstack.stack import Stack, default_directory

    drop_ambient()  # nothing that points at other servers gets near the stack
    outside = Outside.from_environment()
    return Stack(directory or default_directory(), outside=outside, report=reporter(quiet=quiet))


@app.command()
def up(directory: Directory = None, as_json: Json = False, quiet: Silent = False) -> None:
    """Start the stack, and build its servers where they are missing.

    Building takes some minutes, once. Outside servers are used in place of its own only when
    ORGKEY_STACK_VAULT_ADDR (with ORGKEY_STACK_VAULT_TOKEN_FILE) or ORGKEY_STACK_S3_ENDPOINT (with
    ORGKEY_STACK_S3_CREDENTIALS_FILE, ORGKEY_STACK_S3_BUCKET) are set.
    """
    stack = _stack(directory, quiet=quiet or as_json)
    stack.up()
    _show(stack, stack.status(), as_json)


@app.command()
def build(quiet: Silent = False) -> None:
    """Build the servers where they are missing; start nothing.

    For images and pipelines that want the minutes that it takes spent before anything else. The servers are
    kept in the user's cache, by version, or in ORGKEY_STACK_CACHE.
    """
    from pipeline.devstack.build import check, ensure
    from pipeline.devstack.progress import reporter
    from pipeline.devstack.stack import BUILT, check_extra

    check_extra()
    report = reporter(quiet=quiet)
    for program in BUILT:
        check(program, report)
    for program in BUILT:
        path = ensure(program, report)
        if not quiet:
            typer.echo(f"{program.name} {path}")


@app.command()
def down(
    directory: Directory = None,
    wipe: Annotated[bool, typer.Option("--wipe", help="Also remove everything that it stored.")] = False,
    as_json: Json = False,
    quiet: Silent = False,
) -> None:
    """Stop the stack's own processes; its data stays unless wiped."""
    stack = _stack(directory)
    stack.down(wipe=wipe)
    if as_json:
        _show(stack, stack.status(), as_json)
    elif not quiet:
        typer.echo(f"stopped {stack.layout.root}" + (", and removed it" if wipe else "; its data stays"))


@app.command()
def status(directory: Directory = None, as_json: Json = False, quiet: Silent = False) -> None:
    """Show each server; exit code 20 unless all can be used."""
    stack = _stack(directory)
    members = stack.status()
    if as_json or not quiet:
        _show(stack, members, as_json)
    if not _ready(members):
        raise typer.Exit(Code.UNREACHABLE)


@app.command()
def env(
    directory: Directory = None,
    identity: Annotated[
        StackIdentity, typer.Option("--as", help="Whose credentials.")
    ] = StackIdentity.DRILLER,
) -> None:
    """Print shell exports for bao and aws: eval "$(orgkey stack env)"."""
    from pipeline.devstack.environment import shell_exports

    typer.echo(shell_exports(_stack(directory), identity.value), nl=False)


@app.command()
def config(
    out: Annotated[Path, typer.Option("--out", help="The new file.")],
    directory: Directory = None,
    fingerprint: Annotated[
        str | None, typer.Option("--fingerprint", help="The Org Key's fingerprint, to pin it.")
    ] = None,
    as_json: Json = False,
    quiet: Silent = False,
) -> None:
    """Write an orgkey.toml for the stack.

    One Vault, one S3, the unattended path.
    """
    from pipeline import config as configuration
    from pipeline.core import files
    from pipeline.devstack.configfile import render

    text = render(_stack(directory), fingerprint=fingerprint).encode()
    configuration.parse(text, str(out))
    files.write_new(out.absolute(), text)
    if as_json:
        typer.echo(json.dumps({"schema": "orgkey.stack-config/1", "out": str(out)}))
    elif not quiet:
        typer.echo(f"wrote {out}")


def _ready(members: Sequence[MemberStatus]) -> bool:
    return bool(members) and all(member.ready for member in members)


def _show(stack: Stack, members: Sequence[MemberStatus], as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        document = {
            "schema": "orgkey.stack/1",
            "directory": str(stack.layout.root),
            "ready": _ready(members),
            "members": [asdict(member) for member in members],
        }
        typer.echo(json.dumps(document, indent=2))
        return
    if not members:
        typer.echo(f"no stack in {stack.layout.root}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("server", "state", "pid", "endpoint", "version", box=None, pad_edge=False)
    for member in members:
        state = "ready" if member.ready else "not ready" if member.running else "stopped"
        pid = "outside" if member.outside else str(member.pid or "-")
        table.add_row(member.name, state, pid, member.endpoint, member.version)
    Console(highlight=False, width=None).print(table)
