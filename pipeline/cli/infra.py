"""`orgkey infra`: a group with a file for each command."""

from __future__ import annotations

import typer

from pipeline.cli.infra_apply import apply
from pipeline.cli.infra_plan import plan

app = typer.Typer(
    help="Compare Vault's mounts, policies and roles with the files of infra/vault, and set them.",
    no_args_is_help=True,
)
app.command("plan", short_help="Show what differs; changes nothing.")(plan)
app.command("apply", short_help="Make what the plan shows.")(apply)
