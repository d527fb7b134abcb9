"""What a report says of the server's backups."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.core.text import amount


@dataclass(frozen=True)
class BackupFacts:
    """One of the server's backups.

    Attributes:
        name: For people.
        bytes: Its size, where it is known.
        key_ids: Whom it is encrypted to.
        epoch: The escrowed epoch that opens it; ``None`` when none does.
        proven: Whether that epoch is proven.
        problem: Why none opens it for sure, in words.
        verified_at: When it was read to its end with the escrowed key; ``None`` when it never was, or could
            not be when it was last tried.
        evidence: Ids.
        failed_at: When the last try to read it to its end failed; ``None`` when it did not.
        failure: Why, in words.
        sha256: Of the bytes that were read to their end; ``None`` where ``verified_at`` is.
        signed_by: The fingerprint of the signer whose signature inside was checked; ``None``: who made it is
            not proven.
        history: What it is after those before it: ``new``, ``same``, ``replaced``, ``shrunk``, ``older``;
            ``None`` where that is not known.
        history_text: What is wrong with that, in words; empty where nothing is, or somebody has looked at it.
        changed: Whether what lies there now is not what was read to its end, or its bytes were not kept.
        unknown: Whether it is not known which key it is for: its head cannot be read, or names none.
    """

    name: str
    bytes: int | None
    key_ids: tuple[str, ...]
    epoch: str | None
    proven: bool
    problem: str | None
    verified_at: datetime | None = None
    evidence: tuple[str, ...] = ()
    failed_at: datetime | None = None
    failure: str | None = None
    sha256: str | None = None
    signed_by: str | None = None
    history: str | None = None
    history_text: str = ""
    changed: bool = False
    unknown: bool = False

    @property
    def origin(self) -> str:
        """Who made it, as far as it is proven."""
        return f"signed by {self.signed_by}" if self.signed_by else "unproven"

    @property
    def state(self) -> str:
        """Whether an escrowed key is known to open it."""
        if self.unknown:
            return "not known"
        return "covered" if self.epoch and not self.problem else "not covered"

    @property
    def read_at(self) -> datetime | None:
        """When it was last tried to read it to its end."""
        return self.failed_at or self.verified_at

    @property
    def read_state(self) -> str:
        """How that ended, in a word."""
        if self.failed_at:
            return "failed"
        if self.history_text:
            return self.history or "unexpected"
        return "done" if self.verified_at else "changed" if self.changed else "never"

    @property
    def size_text(self) -> str:
        """Its size for people."""
        return "unknown" if self.bytes is None else amount(self.bytes)

    @property
    def read_text(self) -> str:
        """Whether it was read to its end, in words."""
        if self.failed_at:
            why = f": {self.failure}" if self.failure else ""
            return f"FAILED when it was read on {self.failed_at:%Y-%m-%d %H:%M}{why}"
        if self.changed:
            return "what lies there now was never read whole"
        if self.verified_at is None:
            return "never read whole"
        origin = self.origin if self.signed_by else "who made it is unproven"
        text = f"read to its end {self.verified_at:%Y-%m-%d %H:%M}, SHA-256 {self.sha256}, {origin}"
        return f"{text}; {self.history}: {self.history_text}" if self.history_text else text
