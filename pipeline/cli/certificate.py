"""`orgkey certificate`: a group with a file for each command."""

from __future__ import annotations

import typer

from pipeline.cli.certificate_stamp import stamp
from pipeline.cli.certificate_verify import verify

app = typer.Typer(help="Check drill certificates, and have their time stamped.", no_args_is_help=True)
app.command("verify", short_help="Check a certificate's signatures, contents and time-stamp; offline.")(
    verify
)
app.command("stamp", short_help="Ask the time-stamp authority again for certificates that wait.")(stamp)
