"""`orgkey custody`: a group with a file for each command."""

from __future__ import annotations

import typer

from pipeline.cli.custody_challenge import challenge
from pipeline.cli.custody_check import check
from pipeline.cli.custody_confirm import confirm
from pipeline.cli.custody_kit import kit
from pipeline.cli.custody_posture import posture
from pipeline.cli.custody_rotate import rotate

app = typer.Typer(
    help="Look after shares: who has them, whether they are good, new ones.", no_args_is_help=True
)
app.command("posture")(posture)
app.command("challenge")(challenge)
app.command("check")(check)
app.command("confirm")(confirm)
app.command("rotate")(rotate)
app.command("kit")(kit)
