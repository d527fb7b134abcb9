"""What every place that holds records can do: four methods, nothing that deletes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, Protocol, TypeVar, runtime_checkable

from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import UsageProblem
from pipeline.core.finding import Finding


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one epoch's record at any target.

    Attributes:
        fingerprint: The Org Key's fingerprint, 40 upper-case hexadecimal digits.
        epoch: The epoch's name, ``YYYYMMDDTHHMMSSZ-<first 8 hex of the record id>``; with ``-r<n>`` behind
            it where a repair had to leave a damaged place alone.
    """

    fingerprint: str
    epoch: str


class Presence(StrEnum):
    """What a target says of one stored version."""

    CURRENT = "current"  # what a plain read returns
    OLDER = "older"  # behind a newer version
    HIDDEN = "hidden"  # behind a delete marker (S3); readable by its version
    DELETED = "deleted"  # deleted but can be undeleted by an administrator (Vault)
    DESTROYED = "destroyed"  # the bytes are gone, the trace remains (Vault)


REPLICATION_PATIENCE: Final = timedelta(hours=1)
"""After that a version that still waits to be replicated is told: AWS's own promise is fifteen minutes."""


@dataclass(frozen=True, slots=True)
class Replication:
    """What a bucket says of a version's way to other buckets. It is never a copy by itself.

    Attributes:
        status: S3's word: ``PENDING``, ``COMPLETED``, ``FAILED``; ``REPLICA`` of a version that came so.
        since: When the version was stored.
    """

    status: str
    since: datetime

    def problem(self, now: datetime) -> str | None:
        """What an operator should know, in words; ``None`` when all is well or still on its way."""
        if self.status == "FAILED":
            return "its replication failed"
        if self.status == "PENDING" and now - self.since > REPLICATION_PATIENCE:
            return f"its replication has been pending since {self.since:%Y-%m-%dT%H:%M:%SZ}"
        return None


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored version of one epoch's record, as the target lists it (nothing is verified yet).

    Attributes:
        slot: Which epoch.
        location: For people, for example ``s3://bucket/prefix/FPR/epoch.tar``.
        version: The target's own version id; ``None`` for a directory.
        presence: What a plain read would make of it.
        retain_until: End of the retention, where the target tells.
        replication: What the bucket says of its replication, where it was asked.
        unlocked: What is wrong with its lock, in words, where the target asks for one and it has none such.
        undo: The administrator's command that brings it back; empty where there is none, or none is needed.
        identity: What two targets of a kind tell alike where they are one place, called by two names; empty
            where nothing tells it.
    """

    slot: Slot
    location: str
    version: str | None
    presence: Presence
    retain_until: datetime | None = None
    replication: Replication | None = None
    unlocked: str | None = None
    undo: str = ""
    identity: str = ""

    @property
    def readable(self) -> bool:
        """Whether :meth:`Target.get` can return its bytes."""
        return self.presence in (Presence.CURRENT, Presence.OLDER, Presence.HIDDEN)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a place confirmed about a record that was written there.

    Attributes:
        target: The target's name in the config.
        kind: ``vault``, ``s3`` or ``directory``.
        domain: Its failure domain.
        location: For people.
        version: The target's version id; ``None`` for a directory.
        sha256: Digest of the bytes that were sent.
        retain_until: End of the retention that the target confirmed.
        slot: The slot's name where it is not the epoch's own (a repair left a damaged place alone).
    """

    target: str
    kind: str
    domain: str
    location: str
    version: str | None
    sha256: Digest
    retain_until: datetime | None = None
    slot: str | None = None


def receipt(
    target: Target, location: str, version: str | None, data: bytes, retain_until: datetime | None = None
) -> Receipt:
    """The receipt for bytes that a target has taken."""
    return Receipt(target.name, target.kind, target.domain, location, version, sha256(data), retain_until)


LockMode = Literal["GOVERNANCE", "COMPLIANCE"]


@dataclass(frozen=True, slots=True)
class Retention:
    """Until when a version cannot be deleted.

    Attributes:
        mode: ``GOVERNANCE`` can be lifted by a right of its own, ``COMPLIANCE`` by nobody.
        until: Its end, with zone UTC.
    """

    mode: LockMode
    until: datetime


Item = TypeVar("Item", contravariant=True)


class Retainer(Protocol[Item]):
    """A place whose versions have a retention. It reads no bytes, and never shortens.

    A version is named as its place lists it: of a record by what :meth:`Target.find` says, of an entry of
    the ledger by a mirror's handle. Every error that leaves it descends from ``OrgkeyError``.
    """

    name: str

    def retention(self, item: Item) -> Retention | None:
        """Look at one version's retention.

        Raises:
            Unreachable, DeadlinePassed: The place cannot be reached.
            Denied: This identity may not look.
            UsageProblem: The place has no retention at all.
        """

    def retain(self, item: Item, wanted: Retention) -> Retention:
        """Extend one version's retention, and look again.

        Returns:
            What the place says now; a longer retention that was there is left alone.

        Raises:
            IntegrityProblem: The place did something else than it was asked.
            Unreachable, DeadlinePassed: The place cannot be reached.
            Denied: This identity may not extend.
            UsageProblem: The place has no retention at all.
        """


class Target(Protocol):
    """A place that holds records. Every error that leaves it descends from ``OrgkeyError``.

    ``Unreachable`` means that trying again may help (the answer to a write may be lost: the caller
    reads back before deciding); ``Denied``, ``Conflict`` and ``IntegrityProblem`` are permanent.
    """

    name: str
    kind: str
    domain: str

    def put(self, slot: Slot, data: bytes) -> Receipt:
        """Write a record where nothing is yet.

        Raises:
            Conflict: Something is there already, whatever it is.
            Unreachable: The target cannot be reached, or its answer was lost.
            Denied: This identity may not write there.
            UsageProblem: The record is larger than the target takes.
        """

    def get(self, slot: Slot, version: str | None = None) -> bytes:
        """Read a record's bytes, the current version or the one named.

        Raises:
            IntegrityProblem: Nothing readable is there, or the target's own checksum does not fit.
            Unreachable: The target cannot be reached.
            Denied: This identity may not read there.
        """

    def find(self, fingerprint: str, epoch: str | None = None) -> list[Stored]:
        """List all versions of all epochs of a key (or of one epoch), hidden and deleted ones included.

        Returns:
            Sorted by epoch's name, then newest version first. Empty when nothing is there.

        Raises:
            Unreachable: The target cannot be reached.
            Denied: This identity may not list there.
        """

    def check(self) -> list[Finding]:
        """Say what `doctor` should know: reachable, permitted, not over-privileged, safely set up.

        Writes nothing and never raises for what the server answers.
        """


TARGET_CALLS: Final = {
    "put": "write",
    "get": "read",
    "find": "list",
    "slots": "list",
    "confirm": "look at the lock",
}
"""What is tried again; a check is asked once, and reports what it sees."""
RETAINER_CALLS: Final = {"retention": "look at retention", "retain": "extend the retention"}


@runtime_checkable
class Bounded(Protocol):
    """A target that takes records up to a size only; asked before any target is written.

    Attributes:
        largest: The most bytes of a record.
    """

    largest: int


def refused_size(name: str, size: int, largest: int) -> UsageProblem:
    """The error for a record that a target does not take.

    Args:
        name: The target's name.
        size: The record's size, in bytes.
        largest: What the target takes.
    """
    return UsageProblem(
        f"the record has {size:,} bytes, and the target {name} takes {largest:,}",
        hint="export the key without photos, and without the user ids and signatures that it does not need, "
        "or use another kind of target",
    )


@runtime_checkable
class Locking(Protocol):
    """A target that locks what it holds; it can say so of a version that an earlier try left, too."""

    def confirm(self, stored: Stored) -> datetime | None:
        """Demand the configured lock, or a stronger one, of a version that this call did not write.

        Returns:
            The end of its retention, where the target tells.

        Raises:
            IntegrityProblem: The version has no such lock.
            Unreachable, DeadlinePassed: The target cannot be reached.
            Denied: This identity may not look.
        """


@runtime_checkable
class Tried(Protocol):
    """A target of whose server some features can be seen only by writing."""

    def try_writing(self) -> list[Finding]:
        """Store a small object as records are stored, for as long, and say what the server lacks.

        Never raises for what the server answers.
        """


@runtime_checkable
class Listing(Protocol):
    """A target that can name what it holds for less than :meth:`Target.find` costs, which looks at each."""

    def slots(self, fingerprint: str) -> list[str]:
        """Name the slots of a key; whether anything in them can be read is not looked at.

        Raises:
            Unreachable, DeadlinePassed: The target cannot be reached.
            Denied: This identity may not list there.
        """
