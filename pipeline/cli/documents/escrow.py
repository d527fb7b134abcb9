"""Documents of epochs: `escrow`, `refresh`, `custody rotate`, `drill`, `restore`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from pipeline.cli.documents import ProblemItem
from pipeline.cli.output import spaced
from pipeline.core.documents import Document, Part, Seconds, at, only_where_known
from pipeline.core.errors import Code
from pipeline.evidence import timestamp
from pipeline.evidence.ledger.drill_results import ProvedItem
from pipeline.workflows.drill import Drill, FormerDrill
from pipeline.workflows.publish import PublishedEpoch


class DrillResultItem(ProvedItem):
    """What one copy proved on one path.

    Attributes:
        hint: What to do about what went wrong, or null.
        certificate: Path of the certificate, or null.
        exit_code: The exit code that it stands for.
    """

    hint: str | None
    certificate: str | None
    exit_code: Code = at("code")


class FormerDrillItem(Part):
    """The drill of a key of ``key.former``.

    Attributes:
        fingerprint: The key.
        passed: Whether every result passed.
        results: One for each copy and path.
        rto_seconds: The slowest way from a stored copy to a proven key, or null.
        certificate: Path of the certificate, or null.
        problem: Why nothing could be drilled, or null.
        exit_code: The exit code that it stands for.
    """

    fingerprint: str
    passed: bool = at("drill.passed", default=False)
    results: tuple[DrillResultItem, ...] = at("drill.results", default=())
    rto_seconds: Seconds | None = at("drill.rto_seconds")
    certificate: str | None = at("drill.certificate")
    problem: str | None
    exit_code: Code = at("code")


class DrillDocument(Document, printed_by="orgkey drill"):
    """What the copies proved.

    Attributes:
        passed: Whether every result passed, and there is one.
        held: Whether anything was tried: false for a ceremony that too few people came to, which is not a
            failure.
        results: One for each copy and path.
        rto_seconds: The slowest way from a stored copy to a proven key; null where nothing was proven.
        certificate: Path of the newest epoch's certificate, or null.
        timestamp: Whether its time is stamped: ``none``, ``pending`` or ``stamped``; null without a
            certificate.
        former: In ``orgkey drill``: one for each key of ``key.former`` that was drilled too.
        exit_code: How the run ended.
    """

    passed: bool
    held: bool
    results: tuple[DrillResultItem, ...]
    rto_seconds: Seconds | None
    certificate: str | None
    timestamp: str | None
    former: tuple[FormerDrillItem, ...]
    exit_code: Code

    @classmethod
    def about(
        cls, drill: Drill, former: Sequence[FormerDrill] = (), code: Code | None = None
    ) -> DrillDocument:
        """The document of a drill.

        Args:
            drill: The drill of the key that was asked for.
            former: Those of former keys.
            code: How the run ends, where that is not how the drill ends.
        """
        stamped = timestamp.state(Path(drill.certificate)).state if drill.certificate else None
        code = drill.code if code is None else code
        return cls.of(drill, timestamp=stamped, former=former, exit_code=code)


class WrittenCopyItem(Part):
    """A copy that was written and read back, or that failed.

    Attributes:
        target: The target.
        kind: Its kind.
        domain: What fails together with it.
        location: Where the copy is, or null.
        version: Its version there, or null.
        sha256: Its SHA-256, or null.
        verified: Whether it was read back and is the same.
        retain_until: The end of its lock, or null.
        error: What went wrong, for a copy that failed.
    """

    target: str
    kind: str
    domain: str
    location: str | None
    version: str | None
    sha256: str | None = at("sha256.hex")
    verified: bool
    retain_until: datetime | None
    error: ProblemItem | None = only_where_known()


class PathItem(Part):
    """A custody path.

    Attributes:
        name: Its name.
        needs: The holders that it needs.
    """

    name: str
    needs: tuple[str, ...] = at("needs.holder")


class EscrowDocument(Document, printed_by="orgkey escrow"):
    """What was stored.

    Attributes:
        epoch: The epoch.
        record_id: The record.
        fingerprint: The key.
        record_sha256: SHA-256 of the record.
        copies: One for each target.
        paths: The custody paths.
        drill: The closing drill; null when there was none.
        proven: Whether a drill has proven the epoch, now or before.
        resumed: Whether an interrupted run was finished.
        already: Whether the key was stored like this before.
        exit_code: How the run ended.
    """

    epoch: str = at("record.epoch")
    record_id: str = at("record.manifest.record_id")
    fingerprint: str = at("record.fingerprint")
    record_sha256: str = at("record.sha256.hex")
    copies: tuple[WrittenCopyItem, ...]
    paths: tuple[PathItem, ...] = at("record.manifest.custody.paths")
    drill: DrillDocument | None
    proven: bool
    resumed: bool
    already: bool
    exit_code: Code = at("code")

    @classmethod
    def about(cls, stored: PublishedEpoch, **more: Any) -> Self:
        """The document of what was stored.

        Args:
            stored: What was stored.
            more: The fields that a subclass adds.
        """
        absent = dict.fromkeys(("location", "version", "sha256", "retain_until"))
        written = [WrittenCopyItem.of(item, verified=True) for item in stored.written.receipts.values()]
        failed = [
            WrittenCopyItem.of(stored.targets[name], target=name, verified=False, error=error, **absent)
            for name, error in stored.written.failures.items()
        ]
        drill = DrillDocument.about(stored.drill) if stored.drill else None
        return cls.of(stored, copies=(*written, *failed), drill=drill, **more)


class EscrowPlanDocument(Document, printed_by="orgkey escrow --dry-run"):
    """What would be stored.

    Attributes:
        fingerprint: The key.
        action: What would be done, in words.
        epoch: The epoch that would be taken up, or null.
        targets: Where copies would go.
        paths: The custody paths.
    """

    fingerprint: str
    action: str
    epoch: str | None
    targets: tuple[str, ...]
    paths: tuple[PathItem, ...]

    def lines(self) -> list[str]:
        """What a person reads."""
        return [
            f"dry run: would {self.action}" + (f" (epoch {self.epoch})" if self.epoch else ""),
            *(f"  to {name}" for name in self.targets),
            *(f"  opened by {path.name}: {' and '.join(path.needs)}" for path in self.paths),
            "nothing was written",
        ]


class RefreshDocument(EscrowDocument, printed_by="orgkey refresh"):
    """The new epoch, with the fields of ``orgkey.escrow/1``.

    Attributes:
        supersedes: The epoch that is replaced once the new one is proven.
        refreshed: True.
    """

    supersedes: str
    refreshed: bool = True


class NothingToRefreshDocument(Document, printed_by="orgkey refresh"):
    """The stored public part is as new already.

    Attributes:
        epoch: Null.
        exit_code: 0.
        supersedes: The epoch that was looked at.
        refreshed: False.
    """

    epoch: None = None
    exit_code: Code = Code.OK
    supersedes: str
    refreshed: bool = False


class RefreshPlanDocument(Document, printed_by="orgkey refresh --dry-run"):
    """What would be done.

    Attributes:
        supersedes: The epoch that would be opened.
        action: What would be done, in words.
    """

    supersedes: str
    action: str


class RotateDocument(EscrowDocument, printed_by="orgkey custody rotate"):
    """The new epoch, with the fields of ``orgkey.escrow/1``.

    Attributes:
        supersedes: The epoch that the new one replaces once it is proven.
        reason: What the operator gave.
        custodians_before: Fingerprints of custodians and keepers of paper.
        custodians_after: The same, of the new epoch.
        changes: What is different in the custody plan, in words.
        limits: What a rotation does not do, in words.
    """

    supersedes: str
    reason: str
    custodians_before: tuple[str, ...]
    custodians_after: tuple[str, ...]
    changes: tuple[str, ...]
    limits: tuple[str, ...]


class RotatePlanDocument(Document, printed_by="orgkey custody rotate --dry-run"):
    """What would be done.

    Attributes:
        supersedes: The epoch that would be opened.
        action: What would be done, in words.
        custodians_before: As in ``orgkey.custody-rotate/1``.
        custodians_after: As in ``orgkey.custody-rotate/1``.
        changes: As in ``orgkey.custody-rotate/1``.
        targets: Where copies would go.
        refused: Why it would be refused as it was asked for, or null.
    """

    supersedes: str = at("old")
    action: str
    custodians_before: tuple[str, ...] = at("change.before")
    custodians_after: tuple[str, ...] = at("change.after")
    changes: tuple[str, ...] = at("change.lines")
    targets: tuple[str, ...]
    refused: str | None = at("refusal.message")

    def lines(self) -> list[str]:
        """What a person reads."""
        return [
            f"dry run: would {self.action}",
            *(f"  {line}" for line in self.changes),
            *(f"  to {name}" for name in self.targets),
            "nothing was written",
        ]


class RestoreDocument(Document, printed_by="orgkey restore"):
    """What was restored.

    Attributes:
        epoch: The epoch.
        fingerprint: The key.
        from: The target, or the place given with ``--record``.
        via: The custody path.
        participants: Whose shares people brought: fingerprints of custodians, keepers of paper.
        out: The new file.
        original: Whether it is the export as it came in.
    """

    epoch: str
    fingerprint: str
    from_: str = at("origin")
    via: str = at("path")
    participants: tuple[str, ...]
    out: Path
    original: bool

    def lines(self) -> list[str]:
        """What a person reads."""
        old = "the export as it came in, under its own old passphrase"
        return [
            f"restored: {spaced(self.fingerprint)}",
            f"from {self.from_}, epoch {self.epoch}, opened by path {self.via}",
            f"to {self.out} (0600), {old if self.original else 'under your new passphrase'}",
            "this file is the Org Key: hand it to the server, then destroy it",
        ]
