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
for function, summary in (
    (posture, "Who can reconstruct the key; what loss is fatal."),
    (challenge, "Ask custodians for proof of their shares."),
    (check, "For custodians: prove a share to the operator."),
    (confirm, "Enter the codes that custodians answered."),
    (rotate, "New passphrase, shares and record for the same key."),
    (kit, "Make sheets for custodians and a kit for the safe."),
):
    app.command(function.__name__, short_help=summary)(function)
