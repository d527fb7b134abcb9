"""The posture as a document: for `custody posture`, and for the bundles of reports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Self

from pipeline.archive.catalog import EpochState
from pipeline.core.documents import Document, Part, at
from pipeline.core.errors import Code
from pipeline.posture.analysis import TRUTH, Exposure

Listed = tuple[tuple[str, ...], ...] | None


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

    reconstruct: tuple[str, ...] = at("reconstruct.singles")
    loss: tuple[str, ...] = at("fatal_losses.singles")


class ConfiguredItem(Part):
    """Both answers for the configured plan alone.

    Attributes:
        reconstruct: As the field of that name.
        fatal_losses: As the field of that name.
    """

    reconstruct: Listed = at("reconstruct.listed")
    fatal_losses: Listed = at("fatal_losses.listed")


class LingeringItem(Part):
    """An older epoch, or left-over exports.

    Attributes:
        epoch: The epoch; null for exports.
        who: Sets that get the key through it and could not through the latest epoch.
        until: When its last locked copy can be deleted; null: at any time.
        what: What lingers.
    """

    epoch: str | None
    who: Listed = at("who.listed")
    until: datetime | None
    what: str


class CountedEpochItem(Part):
    """An epoch that was taken into account.

    Attributes:
        epoch: Its name.
        fingerprint: The key.
        state: How far it is.
    """

    epoch: str = at("name")
    fingerprint: str
    state: EpochState


class CustodyPostureDocument(Document, printed_by="orgkey custody posture"):
    """Who can reconstruct the key, and what loss is fatal.

    It is a file of a report's bundle, too.

    Attributes:
        reconstruct: Minimal sets of parties that get the key out of what is stored (out of the configured
            plan where nothing is); null when there are more than 200, see ``groups``.
        fatal_losses: Minimal sets whose loss leaves no restore of the key, or of a former one; null as above.
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
        exit_code: 0, or 24 when something could not be read or asked.
    """

    reconstruct: Listed = at("now.reconstruct.listed")
    fatal_losses: Listed = at("now.fatal_losses.listed")
    groups: GroupsItem
    single_points: SinglePointsItem = at("now")
    configured: ConfiguredItem
    lingering: tuple[LingeringItem, ...]
    hosts: tuple[str, ...]
    epochs: tuple[CountedEpochItem, ...]
    facts: tuple[str, ...]
    unknown: tuple[str, ...]
    names: Mapping[str, str]
    truth: str = TRUTH
    exit_code: Code = at("code")

    @classmethod
    def about(cls, found: Exposure) -> Self:
        """The document of an exposure.

        Args:
            found: Who can get the key.
        """
        answers = {"reconstruct": found.now.reconstruct, "fatal_losses": found.now.fatal_losses}
        groups = {
            name: tuple(
                tuple(GroupItem(count=count, of_=of) for count, of in line) for line in answer.lines()
            )
            for name, answer in answers.items()
        }
        return cls.of(found, groups=GroupsItem(**groups))
