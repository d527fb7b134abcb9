"""What `list`, `verify` and `status` say of everything that is stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pipeline.context import Context
from pipeline.errors import Code
from pipeline.survey import Copy, Reader, Survey


def copies_json(copies: Sequence[Copy]) -> list[dict[str, object]]:
    """Copies as the documents of `verify`, `list` and `status` have them."""
    return [
        {
            "target": copy.target,
            "kind": copy.kind,
            "domain": copy.domain,
            "location": copy.location,
            "version": copy.version,
            "sha256": copy.sha256.hex if copy.sha256 else None,
            "ok": copy.ok,
            "problem": copy.problem,
            "replication": copy.replication.status if copy.replication else None,
        }
        for copy in copies
    ]


def replication_problems(surveys: Iterable[Survey], now: datetime) -> list[str]:
    """What to tell of copies whose replication failed, or takes long.

    Args:
        surveys: What is stored.
        now: The present time.
    """
    return [
        f"{copy.location}: {problem}"
        for item in surveys
        for epoch in item.epochs
        for copy in epoch.copies
        if copy.replication and (problem := copy.replication.problem(now))
    ]


def all_keys(context: Context) -> tuple[Survey, ...]:
    """Survey the pinned key, and the former Org Keys that old backups still need.

    Args:
        context: The run; its driller's logins are used.
    """
    reader = Reader.of(context, context.estate("driller").targets())
    former = context.config.key.former if context.config.key else ()
    return tuple(
        reader.survey(fingerprint, journal=context.of(fingerprint).journal)
        for fingerprint in dict.fromkeys((context.fingerprint, *former))
    )


def verdict(survey: Survey, copies: int) -> list[Code]:
    """The codes of everything that is wrong; too few good copies of an epoch weigh more than a missing one.

    Args:
        survey: What is stored.
        copies: How many distinct failure domains must hold a good copy (``policy.copies``).
    """
    codes = survey.codes()
    for epoch in survey.epochs:
        known_bad = {copy.domain for copy in epoch.copies if copy.target not in survey.unreachable}
        if len({copy.domain for copy in epoch.good}) < min(copies, len(known_bad)):
            codes.append(Code.INTEGRITY)
    return codes


def event(surveys: Sequence[Survey], code: Code) -> dict[str, object]:
    """What the ledger keeps of a verification."""
    return {
        "code": int(code),
        "epochs": {
            epoch.name: {copy.target: "good" if copy.ok else copy.problem for copy in epoch.copies}
            for item in surveys
            for epoch in item.epochs
        },
        "unreachable": sorted({name for item in surveys for name in item.unreachable}),
    }
