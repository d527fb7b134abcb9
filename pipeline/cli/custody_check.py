"""`orgkey custody check`: the custodian's side; no configuration, no network, no state."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli import shares
from pipeline.cli.command import OPENED, SHARE_CODES, SPEAKING, Invocation, command, opt, read_file
from pipeline.cli.documents.custody import CustodyCheckDocument
from pipeline.cli.output import counted, printable, spaced
from pipeline.core import passphrases
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, UsageProblem
from pipeline.core.secret import Secret
from pipeline.custody.custodians import challenge as protocol
from pipeline.openpgp.gnupg import user

SECONDS = 600.0
"""How long a custodian may take."""


@command("orgkey custody check --challenge FILE", SHARE_CODES, shared=SPEAKING)
def check(
    call: Invocation,
    challenge: Path = opt("--challenge", "The operator's challenge.", "FILE"),
    share: list[Path] | None = opt(
        "--share",
        "Your share: as it was encrypted to you, or its words; else the one in the challenge.",
        "FILE",
        OPENED,
    ),
    words: bool = opt("--words", "Type the words of your share, unseen.", None, OPENED),
) -> Code:
    """Prove to the operator that your share is good, without showing it.

    For custodians, on their own machine. The share is opened by your own gpg, compared with what the
    challenge says of it, and a code is printed. Give the operator the code, and nothing else.
    """
    asked = protocol.read(read_file(challenge, protocol.LARGEST))
    call.out.progress(
        f"challenge for {printable(asked.name)}: epoch {printable(asked.epoch)} of the Org Key "
        f"{spaced(asked.fingerprint)}"
    )
    answers = protocol.answers(asked, _shares(asked, share or [], words=words))
    lines = [
        f"your share of path {item.asked.path} is good (epoch {printable(asked.epoch)}, "
        f"share {item.asked.index} of holder {item.asked.holder})"
        for item in answers
    ]
    lines += ["", "give the operator this, and nothing else:", ""]
    lines += [f"  {item.code}" for item in answers]
    if left := len(asked.shares) - len(answers):
        lines += ["", f"{counted(left, 'further share')} asked for"]
    return call.answer(CustodyCheckDocument.of(asked, answers=answers), lines)


def _shares(asked: protocol.Challenge, files: list[Path], *, words: bool) -> list[tuple[str, Secret]]:
    """The shares, each with what errors call it."""
    if words and files:
        raise UsageProblem("--words and --share exclude each other", hint="give one of them")
    if words:
        typed = passphrases.from_options("words of your share", option_names="--share")()
        return [("the share that was typed", typed)]
    deadline = Deadline(SECONDS)
    if not files:
        named = {f"the share of path {item.path}": item.sealed.encode("ascii") for item in asked.shares}
        return [(name, user.decrypt(data, name, deadline)) for name, data in named.items()]
    return [(item.what, item.words) for path in files for item in shares.read_one(str(path), deadline)]
