"""The documents of `orgkey fleet`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.cli.documents import Document, Part, at
from pipeline.core.errors import Code


class FleetMemberItem(Part):
    """What came of one configuration.

    Attributes:
        name: The configuration file's name without its ending.
        config: The file.
        verdict: ``good``, ``stale``, ``degraded``, ``damaged``, ``cannot be restored``, ``not known``, or
            ``failed``.
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
