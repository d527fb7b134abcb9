"""The documents of `orgkey fleet`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

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


_OWN: Final = ("holder ", "target ")


class PartyItem(Part):
    """What people or machines have over several keys.

    Attributes:
        parties: Who: together they are enough, and none of them can be left out; ``3 of`` some in one text
            where a key has more than 200 such sets.
        keys: The names of the keys.
    """

    parties: tuple[str, ...]
    keys: tuple[str, ...]

    @classmethod
    def of_keys(cls, known: Mapping[str, Mapping[str, Any]], field: str) -> tuple[PartyItem, ...]:
        """Each minimal set with the keys that it is enough for; sets are compared by the parties' names.

        Holders and targets are left out: their names are each configuration's own.

        Args:
            known: The posture of each key, as `orgkey custody posture` prints it.
            field: ``reconstruct`` or ``fatal_losses``.
        """
        keys: dict[tuple[str, ...], list[str]] = {}
        for name, document in known.items():
            for line in _groups(document, field):
                groups = [
                    (
                        count,
                        [document["names"].get(party, party) for party in of if not party.startswith(_OWN)],
                    )
                    for count, of in line
                ]
                if all(count <= len(of) for count, of in groups):
                    texts = (f"{it} of {', '.join(sorted(of))}" if of[1:] else of[0] for it, of in groups)
                    keys.setdefault(tuple(sorted(texts)), []).append(name)
        ordered = sorted(keys.items(), key=lambda item: (-len(item[1]), len(item[0]), item[0]))
        return tuple(cls(parties=parties, keys=tuple(names)) for parties, names in ordered)


def _groups(document: Mapping[str, Any], field: str) -> list[list[tuple[int, list[str]]]]:
    """The minimal sets of one key, in groups where they are too many to be listed."""
    if document[field] is not None:
        return [[(1, [party]) for party in parties] for parties in document[field]]
    return [[(item["count"], item["of"]) for item in line] for line in document["groups"][field]]


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
