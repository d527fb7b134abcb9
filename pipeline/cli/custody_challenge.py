"""`orgkey custody challenge`."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.cli.command import COPY_CODES, WHERE, Invocation, command, opt
from pipeline.cli.documents.custody import ChallengeItem, CustodyChallengeDocument
from pipeline.core import files
from pipeline.core.errors import Code
from pipeline.workflows import checkin


@command("orgkey custody challenge --out challenges", COPY_CODES)
def challenge(
    call: Invocation,
    out_dir: Path = opt("--out", "Folder for one file for each custodian.", "DIR", WHERE, default=Path()),
    custodian: list[str] | None = opt("--custodian", "Only this custodian; repeatable.", "FPR|NAME"),
    new: bool = opt("--new", "Ask for other codes where a challenge is still open."),
    if_any: bool = opt("--if-any", "No error where nobody of them holds a share."),
) -> Code:
    """Ask custodians to prove that they still have good shares, without showing them.

    Writes a file for each custodian, to be sent by mail: nothing in it is secret. They answer it with
    `orgkey custody check`, and what they answer is entered with `orgkey custody confirm`.
    """
    context = call.context()
    files.check_folder(out_dir)
    made = checkin.challenge(context, custodian or (), new=new, if_any=if_any)
    items = []
    for item in made:
        end = re.sub(r"[\W_]", "", item.custodian)[-16:]
        path = out_dir / f"challenge-{item.epoch}-{end}.json"
        files.replace(path, item.to_bytes(), mode=0o644)
        items.append(ChallengeItem.of(item, file=path))
    return call.answer(
        CustodyChallengeDocument(epoch=made[0].epoch if made else None, challenges=tuple(items))
    )
