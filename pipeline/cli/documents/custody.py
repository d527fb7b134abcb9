"""Documents of shares and the people who have them: the commands of `custody`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.cli.output import printable, table
from pipeline.core.documents import Document, Part, at
from pipeline.core.errors import Code
from pipeline.custody.custodians.many_keys import KeyAnswer


class AskedShareItem(Part):
    """A share that is asked for.

    Attributes:
        path: The custody path.
        holder: The group.
        index: The number of the share in the group.
        number: The number of the question.
    """

    path: str
    holder: str
    index: int
    number: int


class ChallengeItem(Part):
    """A challenge for one custodian.

    Attributes:
        custodian: Fingerprint of the certificate, or name of a keeper of paper.
        name: What the custodian is called.
        file: The file to send.
        shares: The shares that are asked for.
    """

    custodian: str
    name: str
    file: Path
    shares: tuple[AskedShareItem, ...]


class CustodyChallengeDocument(Document, printed_by="orgkey custody challenge"):
    """The challenges that were made.

    Attributes:
        epoch: The epoch whose shares are asked for; null where nobody is asked.
        challenges: One for each custodian.
    """

    epoch: str | None
    challenges: tuple[ChallengeItem, ...]

    def lines(self) -> list[str]:
        """What a person reads."""
        if not self.challenges:
            return ["nobody is asked"]
        rows = [
            (printable(item.name), item.custodian, str(len(item.shares)), str(item.file))
            for item in self.challenges
        ]
        return [
            f"epoch {self.epoch}",
            "",
            *table(("custodian", "certificate", "shares", "file to send"), rows),
            "",
            "each of them runs: orgkey custody check --challenge FILE",
            "enter what they answer: orgkey custody confirm CODE",
        ]


class AnswerItem(Part):
    """The answer for one share.

    Attributes:
        path: The custody path.
        holder: The group.
        index: The number of the share in the group.
        number: The number of the question.
        code: What the operator is given.
    """

    path: str = at("asked.path")
    holder: str = at("asked.holder")
    index: int = at("asked.index")
    number: int = at("asked.number")
    code: str


class CustodyCheckDocument(Document, printed_by="orgkey custody check"):
    """What a custodian answers.

    Attributes:
        epoch: From the challenge.
        custodian: From the challenge.
        answers: One for each share.
    """

    epoch: str
    custodian: str
    answers: tuple[AnswerItem, ...]


class CustodyAnswerDocument(
    Document, schema="orgkey.custody-answer/1", printed_by="orgkey custody check of a challenge for many keys"
):
    """What a custodian of many keys answers; `orgkey fleet confirm` enters it.

    Attributes:
        custodian: From the challenges.
        keys: The answer for each key, by the name that the challenge has for it.
        exit_code: 0, or of all shares that are not good the first code of the table.
    """

    custodian: str
    keys: Mapping[str, KeyAnswer]
    exit_code: Code


class ConfirmedItem(Part):
    """A share that was proven.

    Attributes:
        custodian: Fingerprint of the certificate, or name of a keeper of paper.
        name: What the custodian is called.
        path: The custody path.
        holder: The group.
        index: The number of the share in the group.
    """

    custodian: str = at("share.label")
    name: str
    path: str = at("path.name")
    holder: str = at("share.holder")
    index: int = at("share.index")


class CustodyConfirmDocument(Document, printed_by="orgkey custody confirm"):
    """The codes that were entered.

    Attributes:
        epoch: The latest epoch.
        confirmed: One for each code.
    """

    epoch: str
    confirmed: tuple[ConfirmedItem, ...]


class SheetItem(Part):
    """The sheet of one custodian.

    Attributes:
        custodian: Fingerprint of the certificate, or name of a keeper of paper.
        name: What the custodian is called.
        folder: The custodian's folder.
        paths: The custody paths.
    """

    custodian: str
    name: str
    folder: str
    paths: tuple[str, ...]


class KitFileItem(Part):
    """One file of a kit.

    Attributes:
        name: Its name.
        sha256: Its SHA-256.
    """

    name: str
    sha256: str


class CustodyKitDocument(Document, printed_by="orgkey custody kit"):
    """The kit that was made.

    Attributes:
        epoch: The epoch that it is for.
        out: The new folder.
        custodians: One for each custodian.
        wheels: How many wheels the offline bundle has.
        files: Every file.
    """

    epoch: str
    out: Path
    custodians: tuple[SheetItem, ...] = at("sheets")
    wheels: int
    files: tuple[KitFileItem, ...]

    def lines(self) -> list[str]:
        """What a person reads."""
        rows = [(printable(item.name), ", ".join(item.paths), item.folder) for item in self.custodians]
        lines = [f"kit of epoch {self.epoch} in {self.out}", ""]
        lines += [f"safe: {self.out / 'safe'}" + (f", with {self.wheels} wheels" if self.wheels else "")]
        if rows:
            lines += ["", *table(("custodian", "paths", "folder"), rows)]
            lines += ["", "print each sheet.pdf, and hand it over together with the folder"]
        return lines
