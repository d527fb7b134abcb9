"""Documents of what is stored: `list`, `verify`, `status`, `watch`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from pipeline.archive.catalog import CopyState, EpochState
from pipeline.archive.live_key import LiveNode
from pipeline.cli.documents.backups import BackupItem
from pipeline.core.documents import Document, Part, at
from pipeline.core.errors import Code
from pipeline.monitoring.rules import Rule

if TYPE_CHECKING:
    from pipeline.archive.catalog import Catalog, Epoch
    from pipeline.evidence.ledger.drill_history import LastKnown
    from pipeline.monitoring.status import Status


class CopyItem(Part):
    """One copy of a record.

    Attributes:
        target: The target that has it.
        kind: The target's kind.
        domain: What fails together with it.
        location: Where it is.
        version: Its version there, or null.
        sha256: Its SHA-256, or null where it could not be read.
        ok: Whether it is good.
        standing: How it is; ``unreachable`` is not known.
        problem: What is wrong, or null.
        unlocked: What is wrong with a lock that its target asks for, or null.
        replication: S3's word for that version (``PENDING``, ``COMPLETED``, ``FAILED``, ``REPLICA``); null
            where the bucket is not configured as ``replicated``, or does not say. It never counts as a copy.
    """

    target: str
    kind: str
    domain: str
    location: str
    version: str | None
    sha256: str | None = at("sha256.hex")
    ok: bool
    standing: CopyState
    problem: str | None
    unlocked: str | None
    replication: str | None = at("replication.status")


class EpochItem(Part):
    """One epoch.

    Attributes:
        epoch: Its name.
        fingerprint: The key.
        state: How far it is.
        authentic: Whether an authentic copy was read.
        copies: Its copies.
    """

    epoch: str = at("name")
    fingerprint: str
    state: EpochState
    authentic: bool
    copies: tuple[CopyItem, ...]


class SilentItem(Part):
    """A target that could not be asked.

    Attributes:
        code: The exit code that it stands for.
        message: Why.
    """

    code: Code
    message: str


class LastKnownItem(Part):
    """What this host's ledger knows of the newest epoch.

    Attributes:
        epoch: Its name.
        copies: Names of the targets that have a copy.
        proven: When it was proven, or null.
    """

    epoch: str
    copies: tuple[str, ...]
    proven: datetime | None


class ListDocument(Document, printed_by="orgkey list"):
    """What is stored, of the pinned key and of former keys.

    Attributes:
        epochs: Every epoch.
        unreachable: Targets that could not be asked, by name.
        last_known: By fingerprint, where not all could be looked at.
    """

    epochs: tuple[EpochItem, ...]
    unreachable: Mapping[str, SilentItem]
    last_known: Mapping[str, LastKnownItem]

    @classmethod
    def about(cls, surveys: tuple[Catalog, ...], known: Mapping[str, LastKnown], **more: Any) -> Self:
        """The document of what is stored.

        Args:
            surveys: What is stored, key by key.
            known: What this host's ledger knows, by fingerprint.
            more: The fields that a subclass adds.
        """
        found = [epoch for item in surveys for epoch in item.epochs]
        epochs = [EpochItem.of(epoch, authentic=epoch.record is not None) for epoch in found]
        silent = {name: error for item in surveys for name, error in item.unreachable.items()}
        return cls.of(epochs=epochs, unreachable=silent, last_known=known, **more)


class VerifyDocument(ListDocument, printed_by="orgkey verify"):
    """What is stored, each copy read whole.

    Attributes:
        exit_code: How the run ended.
    """

    exit_code: Code


class RenewalItem(Part):
    """When the server renews the key by itself.

    Attributes:
        state: ``never expires``, ``ahead``, ``due`` or ``overdue``.
        expires: When the key expires, or null.
        due_31_days: When servers that renew 31 days ahead do it, or null.
        due_1_day: When servers that renew one day ahead do it, or null.
    """

    state: str
    expires: datetime | None
    due_31_days: datetime | None
    due_1_day: datetime | None


class PlannedEpochItem(Part):
    """One epoch of the pinned key.

    Attributes:
        epoch: Its name.
        state: How far it is.
        plan: ``current``, or ``old`` when it follows another custody plan than the configuration; null where
            that is not known: a holder cannot be asked, or no copy could be read.
    """

    epoch: str = at("name")
    state: EpochState
    plan: str | None


class FormerKeyItem(Part):
    """A key of ``key.former``.

    Attributes:
        fingerprint: The key.
        epoch: Its latest epoch, or null.
        state: How far that is, or null.
        copies: The copies of that.
    """

    fingerprint: str
    epoch: str | None = at("latest.name")
    state: EpochState | None = at("latest.state")
    copies: tuple[CopyItem, ...] = at("latest.copies", default=())


class CheckInItem(Part):
    """A share of a person in the latest epoch.

    Attributes:
        custodian: Fingerprint of a certificate, or name of a keeper of paper.
        name: What the custodian is called.
        path: The custody path.
        holder: The group.
        index: The number of the share in the group.
        last_check_in: When the custodian last proved the share, or null.
        age_seconds: Since then, or since the epoch was made.
        overdue: Whether that is longer than the policy allows.
        pending: Whether a challenge is open.
    """

    custodian: str = at("seat.share.label")
    name: str = at("seat.name")
    path: str = at("seat.path.name")
    holder: str = at("seat.share.holder")
    index: int = at("seat.share.index")
    last_check_in: datetime | None = at("last")
    age_seconds: float
    overdue: bool
    pending: bool


class GateItem(Part):
    """The gate.

    Attributes:
        ok: Whether every rule holds.
        broken: The rules that do not hold, in words.
        warned: Those that hold only because nothing asks for more, such as an age without a limit.
        rules: All of them.
    """

    ok: bool
    broken: tuple[str, ...]
    warned: tuple[str, ...]
    rules: tuple[Rule, ...]


class VerifiedBackupPart(Part):
    """A backup that was read to its end.

    Attributes:
        source: Where it is.
        modified: When it was written, as its place says.
        verified: When it was read.
        sha256: Of its stored bytes.
    """

    source: str = at("read.source")
    modified: str | None = at("read.modified")
    verified: datetime = at("at")
    sha256: str = at("read.sha256")


class StatusDocument(Document, printed_by="orgkey status"):
    """How fresh and how proven the escrow is.

    Attributes:
        fingerprint: The pinned key.
        epoch: The latest epoch; null when nothing authentic is stored.
        state: How far it is, or null.
        age_seconds: Since it was made.
        last_drill_age_seconds: Since this host last proved it; null when it never did.
        live: ``same``, ``renewed``, ``replaced`` or ``unknown``.
        live_reason: Why it is replaced or unknown, or null.
        live_others: Other keys that the key server lists under the pinned key's names.
        live_nodes: Of a cluster whose places are configured one by one, what each node gives out.
        renewal: When the server renews the key by itself; null when nothing is stored.
        copies: The copies of the latest epoch.
        last_known: What this host knows without asking anyone; null when its ledger names none.
        epochs: All that are stored, oldest first.
        former: One for each key of ``key.former``.
        backups: The map of the configured backups.
        verified_backup: The newest of them that was read to its end, as it lies there now, or null.
        custodians: One for each share of a person in the latest epoch.
        gate: The rules that must hold.
        exit_code: How the run ended.
    """

    fingerprint: str = at("survey.fingerprint")
    epoch: str | None = at("epoch.name")
    state: EpochState | None = at("epoch.state")
    age_seconds: float | None
    last_drill_age_seconds: float | None
    live: str = at("live.state")
    live_reason: str | None = at("live.reason")
    live_others: tuple[str, ...] = at("live.others")
    live_nodes: tuple[LiveNode, ...] = at("live.nodes")
    renewal: RenewalItem | None
    copies: tuple[CopyItem, ...] = at("epoch.copies", default=())
    last_known: LastKnownItem | None = at("known")
    epochs: tuple[PlannedEpochItem, ...]
    former: tuple[FormerKeyItem, ...]
    backups: tuple[BackupItem, ...]
    verified_backup: VerifiedBackupPart | None
    custodians: tuple[CheckInItem, ...]
    gate: GateItem
    exit_code: Code

    @classmethod
    def about(cls, status: Status, code: Code) -> StatusDocument:
        """The document of a status.

        Args:
            status: The status.
            code: How the run ends.
        """
        epochs = [
            PlannedEpochItem.of(epoch, plan=_plan(epoch, status.outdated)) for epoch in status.survey.epochs
        ]
        return cls.of(
            status,
            renewal=_renewal(status),
            epochs=epochs,
            backups=BackupItem.all(status.backups),
            gate=GateItem.of(status, ok=not status.broken),
            exit_code=code,
        )


def _plan(epoch: Epoch, outdated: Collection[str] | None) -> str | None:
    if outdated is None or epoch.record is None:
        return None
    return "old" if epoch.name in outdated else "current"


def _renewal(status: Status) -> RenewalItem | None:
    if status.renewal is None:
        return None
    early, late = status.renewal.due or (None, None)
    return RenewalItem.of(status.renewal, due_31_days=early, due_1_day=late)


class RoundGateItem(Part):
    """The gate after a round.

    Attributes:
        ok: Whether it could be judged and every rule holds.
        broken: The rules that do not hold, in words.
    """

    ok: bool
    broken: tuple[str, ...]


class WatchDocument(Document, printed_by="orgkey watch"):
    """What one round did and found. One document with ``--once``; else one for each round that differs.

    Attributes:
        escrowed: The epoch of an export that had arrived in the inbox, or null.
        refreshed: The epoch that ``key.auto_refresh`` stored, or null.
        live: As in ``orgkey.status/1``.
        unopened: Backups that no escrowed key opens.
        gate: The rules that must hold.
        problems: What went wrong in the round, in words.
        exit_code: How the round ended.
    """

    escrowed: str | None
    refreshed: str | None
    live: str
    unopened: tuple[str, ...]
    gate: RoundGateItem
    problems: tuple[str, ...]
    exit_code: Code
