"""`orgkey backups`: a group with a file for each command."""

from __future__ import annotations

import typer

from pipeline.cli.backups_map import map_backups
from pipeline.cli.backups_verify import verify

app = typer.Typer(
    help="Look after the server's backups: that the escrowed keys open them.", no_args_is_help=True
)
app.command("verify", short_help="Open backups with the escrowed key; prove that they are whole.")(verify)
app.command("map", short_help="Which escrowed key opens which backup.")(map_backups)
