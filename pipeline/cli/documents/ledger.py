"""Documents of the ledger: `ledger verify`, `ledger show`, `ledger sync`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.cli.documents import Document, Part
from pipeline.cli.documents.evidence import HeadItem
from pipeline.core.errors import Code


class LedgerVerifyDocument(Document, schema="orgkey.ledger-verify/1", printed_by="orgkey ledger verify"):
    """Whether a ledger is one whole chain, and what vouches for it.

    Attributes:
        folder: Which ledger.
        fingerprint: Of which key; null for an empty one.
        entries: How many sound entries it begins with.
        head: The last of them.
        anchored_to: The newest entry that something outside the folder vouches for; 0 when nothing does.
        anchored_by: What that is; null when nothing does.
        unauthenticated: How many sound entries come after it.
        ok: Whether nothing contradicts the ledger; it says nothing about its completeness.
        first_bad: The first entry that is missing, changed or out of order; null when none is.
        problem: What is wrong with it, or null.
        notes: What else a reader should know, for example that a signature was not checked.
        exit_code: 0, or 41; where one of several mirrors could not be asked, that failure's code.
    """

    folder: Path
    fingerprint: str | None
    entries: int
    head: HeadItem
    anchored_to: int
    anchored_by: str | None
    unauthenticated: int
    ok: bool
    first_bad: int | None
    problem: str | None
    notes: tuple[str, ...]
    exit_code: Code


class LedgerShowDocument(Document, schema="orgkey.ledger-show/1", printed_by="orgkey ledger show"):
    """The last entries.

    Attributes:
        entries: Oldest first, as they are in the ledger, each with its own ``sha256``.
        problem: What breaks the chain, or null; then only what comes before is shown.
        exit_code: 0, or 41.
    """

    entries: tuple[Mapping[str, Any], ...]
    problem: str | None
    exit_code: Code


class MirrorItem(Part):
    """A mirror of the ledger.

    Attributes:
        name: Its name.
        kind: ``entries`` or ``heads``.
        confirmed: The newest entry that it has.
        waiting: How many entries it does not have yet.
        problem: What is wrong, or null.
    """

    name: str
    kind: str
    confirmed: int
    waiting: int
    problem: str | None


class LedgerSyncDocument(Document, schema="orgkey.ledger-sync/1", printed_by="orgkey ledger sync"):
    """What the mirrors have now.

    Attributes:
        head: The last entry.
        mirrors: One for each mirror.
        exit_code: 24 while entries wait, 41 when a mirror is not believed; where no mirror could be asked, or
            one needs a change, that failure's code.
    """

    head: HeadItem
    mirrors: tuple[MirrorItem, ...]
    exit_code: Code
