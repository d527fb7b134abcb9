"""One page over many keys: for managers, without script or network, on a phone and on paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Final

from pipeline.core.digest import sha256
from pipeline.core.templates import filled_markup
from pipeline.core.text import age, printable

_TONES: Final = {"good": "ok", "stale": "warn", "degraded": "warn"}
_WORST_FIRST: Final = (
    "cannot be restored", "damaged", "not proven", "failed", "not known", "degraded", "stale", "good",
)  # fmt: skip
_MARKS: Final = {"ok": "✓", "warn": "!", "bad": "✗"}


@dataclass(frozen=True)
class FleetRow:
    """One key.

    Attributes:
        name: What its configuration is called.
        fingerprint: The key's; empty where that is not known.
        verdict: ``good``, ``stale``, and so on.
        code: The exit code of its status.
        drill_age_seconds: Since this host last proved it; ``None`` when it never did.
        backup_at: When the newest backup was written that was read to its end; ``None`` when none was.
        overdue: Custodians whose check-in is overdue, by name.
        why: What is wrong, in words; empty when nothing is.
        report: The address of its report; empty when there is none.
    """

    name: str
    fingerprint: str
    verdict: str
    code: int
    drill_age_seconds: float | None
    backup_at: str | None
    overdue: tuple[str, ...]
    why: str
    report: str

    @property
    def tone(self) -> str:
        """``ok``, ``warn`` or ``bad``."""
        return _TONES.get(self.verdict, "bad")

    @property
    def mark(self) -> str:
        """What stands before the verdict, so that nobody has to tell colours apart."""
        return _MARKS[self.tone]


def render(rows: Sequence[FleetRow], now: datetime) -> bytes:
    """Write the page.

    Args:
        rows: The keys. Their text is shown as text, whoever wrote it.
        now: The present time.
    """
    from markupsafe import Markup

    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    order = {verdict: number for number, verdict in enumerate(_WORST_FIRST)}
    page = filled_markup(
        __package__,
        "fleet.html.j2",
        rows=sorted(rows, key=lambda row: (order.get(row.verdict, -1), row.name)),
        counts=sorted(
            Counter(row.verdict for row in rows).items(), key=lambda item: (item[0] != "good", item[0])
        ),
        tones={row.verdict: row.tone for row in rows},
        now=now,
        style=Markup(style),  # noqa: S704 - a file of this package
        digest=sha256(style.encode()).base64,
        age=age,
        printable=printable,
    )
    return page.encode()
