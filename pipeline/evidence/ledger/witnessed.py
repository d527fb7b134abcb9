"""What makes a test restore in the ledger believable: the witness's signature over its results.

An entry may come from another host, or from who could write to a mirror. Only who recovered the escrow
passphrase has the witness's key, so a passed test restore counts where that key signed the results and their
time. One that failed on this host counts always; one that failed on another host counts where it is signed,
and is told in any case.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pipeline.core import files, log
from pipeline.core.clock import stamp
from pipeline.core.errors import OrgkeyError
from pipeline.core.secret import Secret
from pipeline.custody.shares import witness
from pipeline.evidence.ledger.drill_history import Drilled, Witnessed
from pipeline.evidence.ledger.drill_results import ProvedItem, Result
from pipeline.evidence.statement import FOLDER
from pipeline.record.verify import Record

UNSIGNED: Final = (
    "results of test restores in the ledger that say passed without a witness's signature that fits, "
    "and do not count: {}"
)
UNPROVEN: Final = (
    "host {} tells of a failed test restore of {} by {} on {:%Y-%m-%d}, which nothing proves: look there"
)
_TOLD: Final = 5
"""How many of those are told."""
_LARGEST: Final = 4096


def results(made: Sequence[Result]) -> list[dict[str, Any]]:
    """Results as an entry keeps them: what is signed is what is read again.

    Args:
        made: What the copies of one epoch proved.
    """
    import rfc8785

    told = log.document_without_logins({"results": [ProvedItem.of(result).to_json() for result in made]})
    found: list[dict[str, Any]] = json.loads(rfc8785.dumps(told))["results"]
    return found


def sign(told: Sequence[Mapping[str, Any]], record: Record, raw: Secret, now: datetime) -> dict[str, str]:
    """Sign the results of one record.

    Args:
        told: As of :func:`results`.
        record: The record that was restored.
        raw: Its escrow passphrase, as it was recovered.
        now: When.
    """
    made = Witnessed.of(record.manifest.record_id, record.sha256.hex, stamp(now), told)
    return {
        "record_id": made.record_id,
        "record_sha256": made.record_sha256,
        "at": stamp(now),
        "signature": witness.sign(raw, made.record_id, made.statement).hex(),
    }


class Witnesses:
    """The witnesses' public keys that this host knows.

    Args:
        root: The key's state directory; the certificates of this host's own drills name their witness.
        records: Authentic records.
    """

    def __init__(self, root: Path, records: Iterable[Record | None]) -> None:
        self._folder = root / FOLDER
        manifests = [record.manifest for record in records if record]
        self._known = {manifest.record_id: manifest.custody.witness for manifest in manifests}
        self._ids = {manifest.epoch: manifest.record_id for manifest in manifests}
        self._judged: dict[tuple[str, bytes], bool] = {}

    def believed(self, drills: Iterable[Drilled]) -> tuple[tuple[Drilled, ...], tuple[str, ...]]:
        """Leave out what is not believed; a signed time goes before the entry's.

        Args:
            drills: As the ledger tells them.

        Returns:
            Those that count, oldest first; and what was left out, in words.
        """
        kept: dict[object, Drilled] = {}
        unsigned, told = 0, []
        for item in drills:
            signed = item.witnessed
            if signed is not None and self._signed(item, signed):
                # The same entry, written again by whoever, is the same test restore.
                kept.setdefault(
                    (signed.signature, item.epoch, item.copy, item.path), replace(item, at=signed.at)
                )
            elif item.passed:
                unsigned += 1
            elif item.entry.own:
                kept[item.entry.digest, item.epoch, item.copy, item.path] = item
            else:
                told.append(UNPROVEN.format(item.entry.host, item.copy, item.path, item.at))
        doubts = ([UNSIGNED.format(unsigned)] if unsigned else []) + told[-_TOLD:]
        return tuple(sorted(kept.values(), key=lambda item: item.at)), tuple(doubts)

    def _signed(self, item: Drilled, signed: Witnessed) -> bool:
        if self._ids.get(item.epoch, signed.record_id) != signed.record_id:
            return False  # former custodians have an older epoch's witness: it vouches for that one alone
        judged = (signed.record_id, signed.signature + signed.statement)
        if judged not in self._judged:
            known = self._known.get(signed.record_id)
            keys = [known] if known else self._of_this_host(item)
            self._judged[judged] = any(_fits(key, signed) for key in keys)
        return self._judged[judged]

    def _of_this_host(self, item: Drilled) -> list[str]:
        """The witnesses that this host's certificates of the drill name: the record may be gone since."""
        found = []
        for name in item.certificates:
            path = self._folder / f"{Path(name).stem}.witness.pem"
            try:
                data = files.read_regular(path, _LARGEST)
            except OSError:
                continue
            found += [data.decode("ascii", errors="replace")] if data else []
        return found


def _fits(key: str, signed: Witnessed) -> bool:
    try:
        witness.verify(key, signed.statement, signed.signature)
    except OrgkeyError:
        return False
    return True
