"""Documents of looking after what is stored: `repair`, `retain`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pipeline.cli.output import hints, table
from pipeline.core.documents import Document, Part, at
from pipeline.core.errors import Code


class RepairedItem(Part):
    """One copy of one epoch.

    Attributes:
        epoch: The epoch.
        target: Where the copy belongs.
        action: ``kept``, ``copied``, ``would copy``, ``not read`` (left alone) or ``failed``.
        location: Where it is.
        version: Its version there, or null.
        problem: What is wrong, or null.
        hint: What to do about it, or null.
        exit_code: The exit code that it stands for.
    """

    epoch: str
    target: str
    action: str
    location: str
    version: str | None
    problem: str | None
    hint: str | None
    exit_code: Code = at("code")


class RepairDocument(Document, printed_by="orgkey repair"):
    """What became of each copy.

    Attributes:
        dry_run: Whether nothing was done.
        copies: One for each epoch and target.
        exit_code: How the run ended.
    """

    dry_run: bool
    copies: tuple[RepairedItem, ...]
    exit_code: Code = at("code")

    def lines(self) -> list[str]:
        """What a person reads."""
        rows = [
            (item.epoch, item.target, item.action, item.location, item.problem or "") for item in self.copies
        ]
        return [
            *table(("epoch", "copy", "action", "where", "why"), rows),
            *hints(item.hint for item in self.copies),
        ]


class RetainedItem(Part):
    """One version of a record.

    Attributes:
        target: Where it is.
        epoch: Its epoch.
        location: Its place there, or null.
        version: Its version, or null.
        action: ``extended``, ``would extend``, ``kept`` (it lasts as long or longer), ``left alone`` (it is
            not authentic, or no copy is there) or ``failed``.
        mode: The mode of its retention that it has or would have; null where it failed.
        retain_until: The end that it has or would have; null where it failed.
        mode_before: The mode that it had, or null.
        retain_until_before: The end that it had, or null.
        problem: What is wrong, or null.
        exit_code: The exit code that it stands for.
    """

    target: str
    epoch: str
    location: str | None = at("stored.location")
    version: str | None = at("stored.version")
    action: str = at("fate.action.value")
    mode: str | None = at("fate.wanted.mode")
    retain_until: datetime | None = at("fate.wanted.until")
    mode_before: str | None = at("fate.before.mode")
    retain_until_before: datetime | None = at("fate.before.until")
    problem: str | None = at("fate.problem")
    exit_code: Code = at("fate.code")


class RetainedLedgerItem(Part):
    """The ledger's entries at one mirror.

    Attributes:
        target: The mirror.
        versions: How many versions, by action as above; ``left alone`` is another's bytes.
        missing: How many entries of this host's chain are not there.
        unknown: How many entries there are not on this host.
        retain_until: The first end, or null.
        problem: What is wrong, or null.
        exit_code: The exit code that it stands for.
    """

    target: str
    versions: dict[str, int] = at("counts")
    missing: int
    unknown: int
    retain_until: datetime | None = at("until")
    problem: str | None
    exit_code: Code = at("code")


class WithoutRetentionItem(Part):
    """A target that has no retention.

    Attributes:
        target: Its name.
        kind: Its kind.
    """

    target: str
    kind: str


class UnreadableItem(Part):
    """A target whose versions could not be read.

    Attributes:
        target: Its name.
        problem: Why.
        exit_code: The exit code that it stands for.
    """

    target: str
    problem: str = at("message")
    exit_code: Code = at("code")


class RetainDocument(Document, printed_by="orgkey retain"):
    """What became of each version's retention.

    Attributes:
        dry_run: Whether nothing was done.
        until: The end that was asked for.
        mode: The mode that was asked for; null where each version keeps its own.
        versions: One for each version of the chosen epochs.
        ledger: One for each mirror of the ledger that has a retention; empty where ``--epoch`` chose.
        without_retention: Targets that have none.
        unreadable: Targets whose versions could not be read.
        exit_code: How the run ended.
    """

    dry_run: bool
    until: datetime = at("request.until")
    mode: str | None = at("request.mode")
    versions: tuple[RetainedItem, ...]
    ledger: tuple[RetainedLedgerItem, ...]
    without_retention: tuple[WithoutRetentionItem, ...]
    unreadable: tuple[UnreadableItem, ...]
    exit_code: Code = at("code")

    @classmethod
    def about(cls, plan: Any, *, dry_run: bool) -> RetainDocument:
        """The document of a plan, carried out or not.

        Args:
            plan: A :class:`pipeline.workflows.retention.records.Plan`.
            dry_run: Whether nothing was done.
        """
        without = [WithoutRetentionItem(target=name, kind=kind) for name, kind in plan.without.items()]
        silent = [UnreadableItem.of(error, target=name) for name, error in plan.failures.items()]
        return cls.of(plan, dry_run=dry_run, without_retention=without, unreadable=silent)

    def lines(self) -> list[str]:
        """What a person reads."""
        rows = [
            (
                item.epoch,
                item.target,
                item.version or "",
                item.action,
                f"{item.retain_until:%Y-%m-%d} {item.mode}" if item.retain_until else "-",
                item.problem or "",
            )
            for item in self.versions
        ]
        rows += [
            (
                "ledger",
                item.target,
                "",
                ", ".join(f"{action} {number}" for action, number in item.versions.items()) or "-",
                f"{item.retain_until:%Y-%m-%d}" if item.retain_until else "-",
                item.problem or "",
            )
            for item in self.ledger
        ]
        lines = table(("epoch", "copy", "version", "action", "until", ""), rows)
        return [*lines, "nothing was written"] if self.dry_run else lines
