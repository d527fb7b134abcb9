"""The drill certificates on this host, checked: the anchors of a ledger."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipeline.archive.run import KeyScope
from pipeline.core.errors import IntegrityProblem, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.evidence import timestamp
from pipeline.evidence.ledger.store import listed
from pipeline.evidence.statement import FOLDER
from pipeline.evidence.verify import Checked, check
from pipeline.record.verify import Record


def issued(
    context: KeyScope, record: Record | None, records: Sequence[Record] = ()
) -> tuple[tuple[Checked, ...], tuple[str, ...]]:
    """Read the certificates of this host's drills.

    Args:
        context: The run.
        record: The latest record; its key's public part checks the signatures.
        records: All of the key that were read: each names the witness of its certificates.

    Returns:
        Those that hold, newest first; and what is wrong with the others, in words. Without a record nothing
        is known of who signed them: they have no fingerprint, and vouch for nothing.

    Raises:
        LocalFilesProblem: The folder cannot be read.
    """
    found, problems = [], []
    folder = context.root / FOLDER
    settings = context.config.certificate
    names = sorted(path for path in listed(folder) if path.suffix == ".json")
    trusted = timestamp.roots(settings.timestamp_ca_file) if settings.timestamp_ca_file else None

    def look(path: Path) -> Checked:
        one = check(
            path,
            record.public if record else None,
            trusted=trusted,
            deadline=context.deadline,
            now=context.clock.now(),
        )
        for known in records:
            if one.record_id == known.manifest.record_id:
                of_record(one, known)
        return one

    for path in names:
        one = isolated(partial(look, path), "it", IntegrityProblem)
        if isinstance(one, OrgkeyError):
            problems.append(f"certificate {path.name}: {one.message}")
        else:
            found.append(one)
    return tuple(sorted(found, key=lambda one: one.at, reverse=True)), tuple(problems)


def of_record(one: Checked, record: Record) -> None:
    """Make sure that a certificate's witness is the one that its record names.

    Raises:
        IntegrityProblem: It is another: whoever made the certificate did not have the escrow passphrase.
    """
    if one.witness != record.manifest.custody.witness:
        raise IntegrityProblem(
            "its witness is not the one that the record's manifest names",
            hint="do not believe it: whoever made it did not open that record",
        )


def words(one: Checked) -> str:
    """What a certificate is called."""
    stamped = f", time-stamped {one.stamped.at:%Y-%m-%d %H:%M}" if one.stamped.at else ""
    unchecked = " by an authority that is not checked" if one.stamped.reason else ""
    signed = "" if one.fingerprint else "; who signed it could not be checked"
    return f"the certificate of the drill of {one.at:%Y-%m-%d %H:%M} UTC{stamped}{unchecked}{signed}"
