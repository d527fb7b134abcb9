"""The ledger: a hash-chained log, one file an entry, of what was done and what failed.

``<state>/<FINGERPRINT>/ledger/<number>.json``; each entry is canonical JSON (RFC 8785) and carries the
SHA-256 of the file before it. A file is created, never replaced: two writers cannot take one number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline import __version__, files
from pipeline.clock import stamp
from pipeline.digest import Digest, sha256
from pipeline.errors import LedgerBroken, LocalFilesProblem

SCHEMA = "orgkey.ledger/1"
_ATTEMPTS = 50
_ENTRY = re.compile(r"[0-9]{9,}\.json")


@dataclass(frozen=True)
class Head:
    """The end of the chain.

    Attributes:
        sequence: Number of the last entry; 0 when there is none.
        digest: SHA-256 of its file; of nothing when there is none.
    """

    sequence: int
    digest: Digest


class Ledger:
    """The log of one key on this host.

    Args:
        root: The key's state directory, ``<state>/<FINGERPRINT>``.
        fingerprint: The key's fingerprint, 40 upper-case hexadecimal digits.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        self._directory = root / "ledger"
        self._root = root
        self._fingerprint = fingerprint

    def head(self) -> Head:
        """The last entry and its digest.

        Raises:
            LedgerBroken: The last entry is no file.
            LocalFilesProblem: It cannot be read.
        """
        last = max((int(path.stem) for path in self._paths()), default=0)
        if last == 0:
            return Head(0, sha256(b""))
        return Head(last, sha256(_read(self._path(last))))

    def append(self, event: str, details: Mapping[str, Any], *, now: datetime, run: str) -> Head:
        """Write one entry.

        Args:
            event: What happened, for example ``escrow`` or ``drill``.
            details: JSON values; never a secret.
            now: When.
            run: The correlation id of the run.

        Returns:
            The new head.

        Raises:
            LocalFilesProblem: The entry cannot be written. Evidence that cannot be kept is a failure.
            LedgerBroken: What it is to be chained to is no file.
        """
        import rfc8785

        files.private_directory(self._root)
        files.private_directory(self._directory)
        for _ in range(_ATTEMPTS):
            before = self.head()
            entry = rfc8785.dumps(
                {
                    "schema": SCHEMA,
                    "sequence": before.sequence + 1,
                    "previous": before.digest.hex,
                    "at": stamp(now),
                    "fingerprint": self._fingerprint,
                    "event": event,
                    "run": run,
                    "program": f"orgkey-escrow {__version__}",
                    "details": dict(details),
                }
            )
            path = self._path(before.sequence + 1)
            try:
                files.write_new(path, entry)
            except LocalFilesProblem as error:
                if isinstance(error.__context__, FileExistsError):
                    continue  # another run took the number: chain behind it
                raise
            return Head(before.sequence + 1, sha256(entry))
        raise LocalFilesProblem(
            f"cannot find a free number in {self._directory}", hint="too many runs write to it at once"
        )

    def entries(self) -> list[dict[str, Any]]:
        """Every entry, oldest first, after checking the chain.

        Raises:
            LedgerBroken: An entry is missing, was changed, or does not follow from the one before.
            LocalFilesProblem: An entry cannot be read.
        """
        entries: list[dict[str, Any]] = []
        previous = sha256(b"").hex
        for number, path in enumerate(sorted(self._paths(), key=lambda item: int(item.stem)), start=1):
            data = _read(path)
            try:
                entry = json.loads(data)
                sound = (
                    int(path.stem) == number
                    and entry["sequence"] == number
                    and entry["previous"] == previous
                    and entry["schema"] == SCHEMA
                )
            except (ValueError, KeyError, TypeError, RecursionError):
                sound = False
            if not sound:
                raise LedgerBroken(
                    f"the ledger breaks at entry {number} ({path})",
                    hint="keep the folder as it is and find out who could write to it",
                )
            entries.append(entry)
            previous = sha256(data).hex
        return entries

    def _paths(self) -> list[Path]:
        if not self._directory.is_dir():
            return []
        return [path for path in self._directory.glob("*.json") if _ENTRY.fullmatch(path.name)]

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:09d}.json"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise LedgerBroken(
            f"the ledger breaks at {path}, which is no file",
            hint="keep the folder as it is and find out who could write to it",
        ) from None
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot read {path}: {error.strerror or error}", hint="check its permissions and its disk"
        ) from error
