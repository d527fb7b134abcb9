"""`orgkey ledger`: a group with a file for each command."""

from __future__ import annotations

import typer

from pipeline.cli.ledger_show import show
from pipeline.cli.ledger_sync import sync
from pipeline.cli.ledger_verify import verify

app = typer.Typer(
    help="Verify, show and mirror the log of what was done and what failed.", no_args_is_help=True
)
app.command("verify", short_help="Check the chain, and what vouches for it.")(verify)
app.command("show", short_help="Show the last entries.")(show)
app.command("sync", short_help="Fetch from the mirrors, and push what waits.")(sync)
