"""`orgkey custody check`: the custodian's side; no configuration, no network, no state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.cli import shares
from pipeline.cli.command import OPENED, SHARE_CODES, SPEAKING, WHERE, Invocation, command, opt
from pipeline.cli.documents.custody import CustodyAnswerDocument, CustodyCheckDocument
from pipeline.cli.output import counted, printable, spaced
from pipeline.core import files, log, passphrases
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, OrgkeyError, UsageProblem, WrongShare, first_of
from pipeline.core.isolation import isolated
from pipeline.core.secret import Secret
from pipeline.custody.custodians import challenge as protocol
from pipeline.custody.custodians import many_keys
from pipeline.openpgp.gnupg import user

SECONDS = 600.0
"""How long a custodian may take; for each share of a challenge for many keys."""


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
    out: Path | None = opt(
        "--out", "Of a challenge for many keys: the answer, to be sent back; a new file.", "FILE", WHERE
    ),
) -> Code:
    """Prove to the operator that your share is good, without showing it.

    For custodians, on their own machine. The share is opened by your own gpg, compared with what the
    challenge says of it, and a code is printed. Give the operator the code, and nothing else. A challenge
    for many keys is answered with one file.
    """
    data = files.read_named(challenge, many_keys.LARGEST)
    keys = many_keys.apart(data)
    if keys is not None:
        if share or words:
            raise UsageProblem(
                "a challenge for many keys is answered with the shares in it",
                hint="leave --share and --words out, or ask the operator for a challenge for one key",
            )
        return _many(call, keys, out)
    if out is not None:
        raise UsageProblem(
            "this challenge is for one key: its codes are printed", hint="give no --out, and send the codes"
        )
    asked = protocol.read(data)
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


def _many(call: Invocation, keys: Mapping[str, protocol.Challenge], out: Path | None) -> Code:
    """Answer for each key by itself: what is wrong with one share leaves the others alone."""
    if out is None and not call.json:
        raise UsageProblem(
            f"this challenge is for {counted(len(keys), 'key')}: its answer is a file",
            hint="name a new file with --out, and send it to the operator",
        )
    if out is not None:
        files.check_new(out)
    items, codes = {}, []
    for name, asked in keys.items():
        found = [_one(asked, item, name) for item in asked.shares]
        problems = [item for item in found if isinstance(item, OrgkeyError)]
        codes += [item.code for item in problems]
        items[name] = many_keys.KeyAnswer(
            fingerprint=asked.fingerprint,
            epoch=asked.epoch,
            codes=tuple(item.code for item in found if isinstance(item, protocol.RevealedCode)),
            problems=tuple(f"{item.message}; {item.hint}" for item in problems),
        )
        state = f"{problems[0]}" if problems else "your share is good"
        call.out.progress(f"{len(items)} of {len(keys)}: {name} ({spaced(asked.fingerprint)}): {state}")
    custodian = next(iter(keys.values())).custodian
    document = CustodyAnswerDocument(custodian=custodian, keys=items, exit_code=first_of(codes))
    if out is not None:
        files.write_new(out, (json.dumps(document.to_json(), indent=1) + "\n").encode())
    good = sum(not item.problems for item in items.values())
    lines = [f"your shares of {good} of {counted(len(items), 'key')} are good"]
    lines += [f"  - {name}: {text}" for name, item in items.items() for text in item.problems]
    lines += ["", f"send the operator this file, and nothing else: {out}"]
    return call.answer(document, lines)


def _one(
    asked: protocol.Challenge, item: protocol.ChallengedShare, name: str
) -> protocol.RevealedCode | OrgkeyError:
    what = f"the share of {name}, path {item.path}"

    def answer() -> protocol.RevealedCode:
        words = user.decrypt(item.sealed.encode("ascii"), what, Deadline(SECONDS))
        return protocol.answer(asked, words, what)

    answered = isolated(answer, what, WrongShare)
    if isinstance(answered, user.OpeningCancelled):  # who cancels is not asked for all the others, too
        raise answered
    return answered


def _shares(asked: protocol.Challenge, files: list[Path], *, words: bool) -> list[tuple[str, Secret]]:
    """The shares, each with what errors call it."""
    if words and files:
        raise UsageProblem("--words and --share exclude each other", hint="give one of them")
    if words:
        typed = passphrases.from_options("words of your share", option_names="--share")()
        texts = shares.split(typed.reveal()) or [typed.reveal()]
        return [("the share that was typed", log.redact(Secret(text))) for text in texts]
    deadline = Deadline(SECONDS)
    if not files:
        named = [(f"the share of path {item.path}", item.sealed.encode("ascii")) for item in asked.shares]
        return [(name, user.decrypt(data, name, deadline)) for name, data in named]
    return [(item.what, item.words) for path in files for item in shares.read_one(str(path), deadline)]
