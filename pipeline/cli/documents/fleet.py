"""The documents of `orgkey fleet`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.cli.output import counted, printable, table
from pipeline.core.documents import Document, Part, at
from pipeline.core.errors import Code


class FleetMemberItem(Part):
    """What came of one configuration.

    Attributes:
        name: The configuration file's name without its ending.
        config: The file.
        verdict: ``good``, ``stale``, ``degraded``, ``damaged``, ``not proven``, ``cannot be restored``,
            ``not known``, or ``failed``.
        exit_code: How its run ended.
        problem: Why there is no result, or null.
        seconds: How long it took.
        document: The document of its run, as that command prints it; null where it printed none.
    """

    name: str = at("member.name")
    config: str = at("member.config")
    verdict: str
    exit_code: Code = at("code")
    problem: str | None
    seconds: float
    document: Mapping[str, Any] | None


class FleetDocument(Document, schema="orgkey.fleet/1", printed_by="a command of `orgkey fleet` has a result"):
    """What came of each configuration of a fleet.

    Attributes:
        command: What was run for each.
        verdicts: How many have each verdict.
        members: One for each configuration, by name.
        exit_code: How the run ended: of all codes the first of the table of precedence.
    """

    command: str
    verdicts: Mapping[str, int]
    members: tuple[FleetMemberItem, ...]
    exit_code: Code


class PartyItem(Part):
    """What people or machines have over several keys.

    Attributes:
        parties: Who: together they are enough, and none of them can be left out.
        keys: The names of the keys.
    """

    parties: tuple[str, ...]
    keys: tuple[str, ...]


class FleetPostureDocument(Document, schema="orgkey.fleet-posture/1", printed_by="orgkey fleet posture"):
    """Who can reconstruct how many keys, and whose loss is fatal to how many.

    Attributes:
        reconstruct: Those who can reconstruct keys, most keys first.
        fatal_losses: Those whose loss makes every restore of keys impossible, most keys first.
        unknown: Keys whose posture is not known, with the reason.
        exit_code: How the run ended.
    """

    reconstruct: tuple[PartyItem, ...]
    fatal_losses: tuple[PartyItem, ...]
    unknown: Mapping[str, str]
    exit_code: Code


class FleetChallengeItem(Part):
    """A challenge for one custodian.

    Attributes:
        custodian: Fingerprint of the certificate.
        name: What the custodian is called.
        file: The file to send.
        keys: The names of the keys whose shares are asked for.
    """

    custodian: str
    name: str
    file: Path
    keys: tuple[str, ...]


class FleetChallengeDocument(
    Document, schema="orgkey.fleet-challenge/1", printed_by="orgkey fleet challenge"
):
    """The challenges that were made for many keys.

    Attributes:
        challenges: One for each custodian.
        problems: Keys for which nobody is asked, with the reason.
        exit_code: How the run ended.
    """

    challenges: tuple[FleetChallengeItem, ...]
    problems: Mapping[str, str]
    exit_code: Code

    def lines(self) -> list[str]:
        """What a person reads."""
        rows = [
            (printable(item.name), item.custodian, str(len(item.keys)), str(item.file))
            for item in self.challenges
        ]
        return [
            *table(("custodian", "certificate", "keys", "file to send"), rows),
            *(f"  - {name}: nobody is asked: {why}" for name, why in self.problems.items()),
            "",
            "each of them runs: orgkey custody check --challenge FILE --out ANSWER",
            "enter what they send: orgkey fleet confirm ANSWER",
        ]


class FleetConfirmDocument(Document, schema="orgkey.fleet-confirm/1", printed_by="orgkey fleet confirm"):
    """What was entered of a custodian's answer.

    Attributes:
        confirmed: How many shares were proven, by the name of the key.
        refused: Keys whose codes were not all entered, with the reason.
        unanswered: Keys of which the custodian could not prove a share, with the reason.
        left: Keys of the answer that no configuration was named for.
        exit_code: How the run ended.
    """

    confirmed: Mapping[str, int]
    refused: Mapping[str, str]
    unanswered: Mapping[str, str]
    left: tuple[str, ...]
    exit_code: Code

    def lines(self) -> list[str]:
        """What a person reads."""
        return [
            *(f"  - {name}: refused: {why}" for name, why in self.refused.items()),
            *(f"  - {name}: not answered: {why}" for name, why in self.unanswered.items()),
            *(f"  - {name}: left out: no configuration of this name is given" for name in self.left),
            f"checked in: {counted(sum(self.confirmed.values()), 'share')} "
            f"of {counted(len(self.confirmed), 'key')}",
        ]
