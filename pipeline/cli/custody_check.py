"""`orgkey custody check`: the custodian's side; no configuration, no network, no state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import options
from pipeline.cli.output import Output, counted, printable, spaced
from pipeline.core.errors import Code, LocalFilesProblem, UsageProblem

if TYPE_CHECKING:
    from pipeline.core.clock import Deadline
    from pipeline.core.secret import Secret
    from pipeline.custody.custodians.challenge import Answer, Challenge

SECONDS = 600.0
"""How long a custodian may take."""


def check(
    challenge: Annotated[Path, typer.Option("--challenge", metavar="FILE", help="The operator's challenge.")],
    share: Annotated[
        list[Path] | None,
        typer.Option(
            "--share",
            metavar="FILE",
            help="Your share: as it was encrypted to you, or its words; else the one in the challenge.",
        ),
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="Type the words of your share, unseen.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Prove to the operator that your share is good, without showing it.

    For custodians, on their own machine. The share is opened by your own gpg, compared with what the
    challenge says of it, and a code is printed. Give the operator the code, and nothing else.
    """
    from pipeline.core import log as logs
    from pipeline.core.clock import Deadline
    from pipeline.custody.custodians import challenge as protocol

    logs.setup(-1 if quiet else verbose)
    out = Output(json=json, quiet=quiet)
    asked = protocol.read(_file(challenge, protocol.LARGEST))
    out.progress(f"challenge for {printable(asked.name)}: epoch {printable(asked.epoch)} of the Org Key "
            f"{spaced(asked.fingerprint)}")  # fmt: skip
    given = _given(asked, share or [], words=words, deadline=Deadline(SECONDS))
    found = protocol.answers(asked, given)
    out.emit(_document(asked, found), _lines(asked, found))
    return Code.OK


def _given(
    asked: Challenge, shares: list[Path], *, words: bool, deadline: Deadline
) -> list[tuple[str, Secret]]:
    """The shares, each with what errors call it."""
    from pipeline.core import passphrases as inputs
    from pipeline.openpgp.gnupg import user as own_gpg

    if words and shares:
        raise UsageProblem("--words and --share exclude each other", hint="give one of them")
    if words:
        typed = inputs.from_options("words of your share", option_names="--share")()
        return [("the share that was typed", typed)]
    if shares:
        return [(f"the share in {path}", _opened(path, deadline)) for path in shares]
    return [
        (
            f"the share of path {item.path}",
            own_gpg.decrypt(item.sealed.encode("ascii"), f"the share of path {item.path}", deadline),
        )
        for item in asked.shares
    ]


def _opened(path: Path, deadline: Deadline) -> Secret:
    from pipeline.core import log as logs
    from pipeline.core.secret import Secret
    from pipeline.custody.custodians.challenge import LARGEST
    from pipeline.openpgp.gnupg import user as own_gpg

    data = _file(path, LARGEST)
    if own_gpg.looks_encrypted(data):
        return own_gpg.decrypt(data, str(path), deadline)
    return logs.redact(Secret(data))


def _file(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(limit + 1)
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot read {path}: {error.strerror or error}", hint="check the path and its permissions"
        ) from error


def _document(asked: Challenge, found: list[Answer]) -> dict[str, Any]:
    return {
        "schema": "orgkey.custody-check/1",
        "epoch": asked.epoch,
        "custodian": asked.custodian,
        "answers": [
            {
                "path": item.asked.path,
                "holder": item.asked.holder,
                "index": item.asked.index,
                "number": item.asked.number,
                "code": item.code,
            }
            for item in found
        ],
    }


def _lines(asked: Challenge, found: list[Answer]) -> list[str]:
    shown = [
        f"your share of path {item.asked.path} is good (epoch {printable(asked.epoch)}, "
        f"share {item.asked.index} of holder {item.asked.holder})"
        for item in found
    ]
    shown += ["", "give the operator this, and nothing else:", ""]
    shown += [f"  {item.code}" for item in found]
    left = len(asked.shares) - len(found)
    return [*shown, "", f"{counted(left, 'further share')} asked for"] if left else shown
