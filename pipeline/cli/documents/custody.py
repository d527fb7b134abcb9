"""Documents of shares and the people who have them: the commands of `custody`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from pipeline.archive.catalog import EpochState
from pipeline.cli.documents import Document, Part, at
from pipeline.cli.output import printable, table
from pipeline.core.errors import Code


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


class KeyAnswerItem(Part):
    """The answer for one key of many.

    Attributes:
        fingerprint: The Org Key's, from its challenge.
        epoch: From its challenge.
        codes: What the operator is given, one for each share that is good.
        problems: Why there is no code of a share.
    """

    fingerprint: str
    epoch: str
    codes: tuple[str, ...]
    problems: tuple[str, ...]


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
    keys: Mapping[str, KeyAnswerItem]
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


Sets = tuple[tuple[str, ...], ...] | None


class GroupItem(Part):
    """So many of some who stand for each other.

    Attributes:
        count: How many.
        of: Who they are.
    """

    count: int
    of_: tuple[str, ...]


class GroupsItem(Part):
    """Both answers again, each set in groups.

    Attributes:
        reconstruct: As the field of that name, each set as a list of groups.
        fatal_losses: As the field of that name, each set as a list of groups.
    """

    reconstruct: tuple[tuple[GroupItem, ...], ...]
    fatal_losses: tuple[tuple[GroupItem, ...], ...]


class SinglePointsItem(Part):
    """Who and what is enough alone.

    Attributes:
        reconstruct: Parties that get the key alone.
        loss: Losses that are fatal alone.
    """

    reconstruct: tuple[str, ...]
    loss: tuple[str, ...]


class ConfiguredItem(Part):
    """Both answers for the configured plan alone.

    Attributes:
        reconstruct: As the field of that name.
        fatal_losses: As the field of that name.
    """

    reconstruct: Sets
    fatal_losses: Sets


class LingeringItem(Part):
    """An older epoch, or left-over exports.

    Attributes:
        epoch: The epoch; null for exports.
        who: Sets that get the key through it and could not through the latest epoch.
        until: When its last locked copy can be deleted; null: at any time.
        what: What lingers.
    """

    epoch: str | None
    who: Sets
    until: datetime | None
    what: str


class CountedEpochItem(Part):
    """An epoch that was taken into account.

    Attributes:
        epoch: Its name.
        fingerprint: The key.
        state: How far it is.
    """

    epoch: str
    fingerprint: str
    state: EpochState


class CustodyPostureDocument(Document, printed_by="orgkey custody posture"):
    """Who can reconstruct the key, and what loss is fatal.

    It is a file of a report's bundle, too: :func:`pipeline.posture.text.document` makes it.

    Attributes:
        reconstruct: Minimal sets of parties that get the key out of what is stored (out of the configured
            plan where nothing is); null when there are more than 200, see ``groups``.
        fatal_losses: Minimal sets whose loss leaves no restore; null as above.
        groups: The same, each set as a list of groups.
        single_points: Who and what is enough alone.
        configured: The same for the configured plan alone.
        lingering: One for each older epoch, and for left-over exports.
        hosts: Hosts whose live logins open a whole path: they get the key alone, and count for no gate.
        epochs: The epochs that were taken into account.
        facts: What servers said that changes the answer.
        unknown: What could not be found out.
        names: What custodians are called, by party.
        truth: What no computation shows.
        exit_code: 0, or 24 when something stored could not be read.
    """

    reconstruct: Sets
    fatal_losses: Sets
    groups: GroupsItem
    single_points: SinglePointsItem
    configured: ConfiguredItem
    lingering: tuple[LingeringItem, ...]
    hosts: tuple[str, ...]
    epochs: tuple[CountedEpochItem, ...]
    facts: tuple[str, ...]
    unknown: tuple[str, ...]
    names: Mapping[str, str]
    truth: str
    exit_code: Code
