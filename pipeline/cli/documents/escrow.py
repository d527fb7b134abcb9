"""Documents of epochs: `escrow`, `refresh`, `custody rotate`, `drill`, `restore`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipeline.cli.documents import Document, Part, ProblemItem, at, only_where_known
from pipeline.core.errors import Code

if TYPE_CHECKING:
    from pipeline.custody.shares import paths as custody_paths
    from pipeline.custody.shares.manifest_section import PathEntry
    from pipeline.evidence.ledger.drill_results import Result
    from pipeline.workflows.drill import Drill, FormerDrill
    from pipeline.workflows.publish import PublishedEpoch


class ProofItem(Part):
    """How a proof ended.

    Attributes:
        ok: Whether it was proven.
        by: The implementations that agree, or what else showed it.
        problem: Why not.
    """

    ok: bool
    by: tuple[str, ...]
    problem: str | None = only_where_known()


class DrillResultItem(Part):
    """What one copy proved on one path.

    Attributes:
        epoch: The epoch.
        copy: The target whose copy it was.
        path: The custody path; ``-`` when the copy was not good enough to try one.
        record_sha256: SHA-256 of the record, or null.
        passed: Whether everything was proven.
        proofs: ``digest``, ``authentic``, ``recover``, ``unlock``, ``fingerprint``, ``sign``, ``certify``,
            ``decrypt`` and ``negative``; ``original`` where the record has the export's digest, and with
            ``--backup`` also ``backup``. What each shows is in
            [design.md](../design.md#drill-and-certificate).
        seconds: By stage: ``fetch``, ``gather``, ``recover``, ``prove``, ``total``, and ``backup``, which is
            not in the total; ``gather``, the people's own time, only where a path needs people.
        expired_public: Whether the public part had expired.
        participants: Fingerprints of the custodians and keepers of paper who brought a share, by share.
        dual_control: Whether at least two different people took part; null where nobody had to.
        notes: For people.
        hint: What to do about what went wrong, or null.
        certificate: Path of the certificate, or null.
        exit_code: The exit code that it stands for.
    """

    epoch: str
    copy: str
    path: str
    record_sha256: str | None = at("record_sha256.hex")
    passed: bool
    proofs: Mapping[str, ProofItem]
    seconds: Mapping[str, float]
    expired_public: bool
    participants: tuple[str, ...]
    dual_control: bool | None
    notes: tuple[str, ...]
    hint: str | None
    certificate: str | None
    exit_code: Code = at("code")

    @classmethod
    def all(cls, results: Iterable[Result]) -> tuple[Self, ...]:
        """The same for several results."""
        return tuple(
            cls.of(
                item,
                proofs={
                    name: ProofItem.of(proof, problem=proof.problem or None)
                    for name, proof in item.proofs.items()
                },
                seconds={stage: round(value, 3) for stage, value in item.seconds.items()},
            )
            for item in results
        )


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
    passed: bool
    results: tuple[DrillResultItem, ...]
    rto_seconds: float | None
    certificate: str | None
    problem: str | None
    exit_code: Code


class DrillDocument(Document, schema="orgkey.drill/1", printed_by="orgkey drill"):
    """What the copies proved.

    Attributes:
        passed: Whether every result passed, and there is one.
        held: Whether anything was tried: false for a ceremony that too few people came to, which is not a
            failure.
        results: One for each copy and path.
        rto_seconds: The slowest way from a stored copy to a proven key.
        certificate: Path of the newest epoch's certificate, or null.
        timestamp: Whether its time is stamped: ``none``, ``pending`` or ``stamped``; null without a
            certificate.
        former: In ``orgkey drill``: one for each key of ``key.former`` that was drilled too.
        exit_code: How the run ended.
    """

    passed: bool
    held: bool
    results: tuple[DrillResultItem, ...]
    rto_seconds: float
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
        from pipeline.evidence import timestamp

        return cls(
            passed=drill.passed,
            held=drill.held,
            results=DrillResultItem.all(drill.results),
            rto_seconds=round(drill.rto_seconds, 3),
            certificate=drill.certificate,
            timestamp=timestamp.state(Path(drill.certificate)).state if drill.certificate else None,
            former=tuple(
                FormerDrillItem(
                    fingerprint=item.fingerprint,
                    passed=item.drill is not None and item.drill.passed,
                    results=DrillResultItem.all(item.drill.results if item.drill else ()),
                    rto_seconds=round(item.drill.rto_seconds, 3) if item.drill else None,
                    certificate=item.drill.certificate if item.drill else None,
                    problem=item.problem,
                    exit_code=item.code,
                )
                for item in former
            ),
            exit_code=drill.code if code is None else code,
        )


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
    needs: tuple[str, ...]

    @classmethod
    def all(cls, paths: Iterable[PathEntry | custody_paths.Path]) -> tuple[PathItem, ...]:
        """The same for several paths."""
        return tuple(cls(name=path.name, needs=tuple(need.holder for need in path.needs)) for path in paths)


class EscrowDocument(Document, schema="orgkey.escrow/1", printed_by="orgkey escrow"):
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

    epoch: str
    record_id: str
    fingerprint: str
    record_sha256: str
    copies: tuple[WrittenCopyItem, ...]
    paths: tuple[PathItem, ...]
    drill: DrillDocument | None
    proven: bool
    resumed: bool
    already: bool
    exit_code: Code

    @classmethod
    def about(cls, stored: PublishedEpoch, **more: Any) -> Self:
        """The document of what was stored.

        Args:
            stored: What was stored.
            more: The fields that a subclass adds.
        """
        record, placed = stored.record, stored.written
        failed = [
            WrittenCopyItem(
                target=name,
                kind=stored.targets[name].kind,
                domain=stored.targets[name].domain,
                location=None,
                version=None,
                sha256=None,
                verified=False,
                retain_until=None,
                error=ProblemItem.of(error),
            )
            for name, error in placed.failures.items()
        ]
        return cls(
            epoch=record.epoch,
            record_id=record.manifest.record_id,
            fingerprint=record.fingerprint,
            record_sha256=record.sha256.hex,
            copies=(
                *(WrittenCopyItem.of(receipt, verified=True) for receipt in placed.receipts.values()),
                *failed,
            ),
            paths=PathItem.all(record.manifest.custody.paths),
            drill=DrillDocument.about(stored.drill) if stored.drill else None,
            proven=stored.proven,
            resumed=stored.resumed,
            already=stored.already,
            exit_code=stored.code,
            **more,
        )


class EscrowPlanDocument(Document, schema="orgkey.escrow-plan/1", printed_by="orgkey escrow --dry-run"):
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


class RefreshDocument(EscrowDocument, schema="orgkey.refresh/1", printed_by="orgkey refresh"):
    """The new epoch, with the fields of ``orgkey.escrow/1``.

    Attributes:
        supersedes: The epoch that is replaced once the new one is proven.
        refreshed: True.
    """

    supersedes: str
    refreshed: bool = True


class NothingToRefreshDocument(Document, schema="orgkey.refresh/1", printed_by="orgkey refresh"):
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


class RefreshPlanDocument(Document, schema="orgkey.refresh-plan/1", printed_by="orgkey refresh --dry-run"):
    """What would be done.

    Attributes:
        supersedes: The epoch that would be opened.
        action: What would be done, in words.
    """

    supersedes: str
    action: str


class RotateDocument(EscrowDocument, schema="orgkey.custody-rotate/1", printed_by="orgkey custody rotate"):
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


class RotatePlanDocument(
    Document, schema="orgkey.custody-rotate-plan/1", printed_by="orgkey custody rotate --dry-run"
):
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


class RestoreDocument(Document, schema="orgkey.restore/1", printed_by="orgkey restore"):
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
