"""The journal: what a run must remember so that the next one can finish it.

``<state>/<FINGERPRINT>/journal/<epoch>/`` holds the sealed record until it is proven, a receipt for each
target, and a mark when the epoch is proven. Nothing in it is secret in the clear. Every file appears
whole or not at all, so a kill at any instant leaves a state that the next run understands.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError

from pipeline.core import files
from pipeline.core.clock import parse_stamp
from pipeline.core.digest import Digest
from pipeline.core.errors import LocalFilesProblem, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.core.state_files import HINT, Moment, StateFile, locked, read_if_there
from pipeline.storage.interface import Receipt
from pipeline.storage.names import is_epoch

_RECORD = "record.tar"
_PROVEN = "proven.json"
_RECEIPTS = "receipts"


@dataclass(frozen=True)
class JournalEntry:
    """One epoch in the journal.

    Attributes:
        epoch: Its name.
        path: Its directory.
    """

    epoch: str
    path: Path

    def record_bytes(self) -> bytes | None:
        """The sealed record, or ``None`` once the epoch is proven and the record lives at its targets."""
        return read_if_there(self.path / _RECORD)

    def receipts(self) -> dict[str, Receipt]:
        """What the targets confirmed so far, by target."""
        found = map(_read_receipt, sorted((self.path / _RECEIPTS).glob("*.json")))
        return {receipt.target: receipt for receipt in found}

    def add_receipt(self, receipt: Receipt) -> None:
        """Remember a receipt; an older one of the same target is replaced."""
        _ReceiptFile.of(receipt).keep(self.path / _RECEIPTS / f"{receipt.target}.json")

    def proven(self) -> dict[str, Any] | None:
        """The mark of the drill that proved this epoch, if one did."""
        data = read_if_there(self.path / _PROVEN)
        try:
            document = {} if data is None else json.loads(data)
            if not isinstance(document, dict):
                raise ValueError("it is not a JSON object")
            if "at" in document:
                parse_stamp(str(document["at"]))
        except (ValueError, RecursionError) as error:
            raise _damaged(self.path / _PROVEN, error) from error
        return None if data is None else document

    def check(self) -> None:
        """Read what a damage may hide in.

        Raises:
            LocalFilesProblem: A file cannot be read, or is damaged.
        """
        self.receipts()
        self.proven()

    def mark_proven(self, mark: dict[str, Any]) -> None:
        """Remember that a drill proved this epoch; the sealed record is dropped from the host after it."""
        files.replace(self.path / _PROVEN, (json.dumps(mark, indent=2, sort_keys=True) + "\n").encode())
        with suppress(FileNotFoundError):
            (self.path / _RECORD).unlink()


class Journal:
    """All epochs of one key that this host knows.

    Args:
        root: The key's state directory, ``<state>/<FINGERPRINT>``.
        without: Epochs that are passed over.
    """

    def __init__(self, root: Path, without: Collection[str] = ()) -> None:
        self.root = root
        self._entries = root / "journal"
        self._without = without

    def entries(self) -> list[JournalEntry]:
        """The epochs, oldest first. Nothing is changed: what a kill left is :meth:`sweep`'s to remove."""
        return [
            JournalEntry(epoch=path.name, path=path)
            for path in self._paths()
            if is_epoch(path.name) and path.name not in self._without and path.is_dir()
        ]

    def damaged(self) -> dict[str, OrgkeyError]:
        """What of it cannot be used, with the reason: by epoch, or by "" where none can be read."""
        listed = isolated(self.entries, "this host's journal")
        if isinstance(listed, OrgkeyError):
            return {"": listed}
        read = {entry.epoch: isolated(entry.check, "this host's journal") for entry in listed}
        return {epoch: error for epoch, error in read.items() if isinstance(error, OrgkeyError)}

    def sound(self) -> Journal | None:
        """The same without what is damaged: of those epochs no more is known here than on another host."""
        damaged = self.damaged()
        return None if "" in damaged else Journal(self.root, damaged)

    def sweep(self) -> None:
        """Remove what killed runs left; only under the :func:`lock`, since another run may be at work."""
        for path in self._paths():
            if path.name.startswith("."):  # of begin()
                shutil.rmtree(path, ignore_errors=True)
            elif (path / _PROVEN).exists():  # of mark_proven()
                (path / _RECORD).unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        with files.os_errors(f"cannot use {self._entries}", hint=HINT):
            try:
                return sorted(self._entries.iterdir())
            except FileNotFoundError:
                return []

    def entry(self, epoch: str) -> JournalEntry | None:
        """One epoch, if this host knows it."""
        path = self._entries / epoch
        return JournalEntry(epoch, path) if epoch not in self._without and path.is_dir() else None

    def version(self, epoch: str, target: str) -> str | None:
        """Which version of an epoch a target has confirmed."""
        entry = self.entry(epoch)
        receipt = entry.receipts().get(target) if entry else None
        return receipt.version if receipt else None

    def begin(self, epoch: str, data: bytes | None) -> JournalEntry:
        """Start an epoch: it exists with its record, or not at all.

        Args:
            epoch: Its name.
            data: The sealed record; ``None`` for an epoch that was found complete at its targets.

        Raises:
            LocalFilesProblem: The state directory cannot be written.
        """
        files.private_directory(self.root)
        files.private_directory(self._entries)
        draft = self._entries / f".{epoch}.{os.getpid()}"
        final = self._entries / epoch
        cannot = f"cannot write the journal in {self._entries}"
        hint = "check free space and permissions, or name another place with --state-dir"
        with files.os_errors(cannot, hint=hint):
            try:
                shutil.rmtree(draft, ignore_errors=True)
                (draft / _RECEIPTS).mkdir(parents=True, mode=0o700)
                if data is not None:
                    files.write_new(draft / _RECORD, data)
                files.fsync_directory(draft)
                draft.rename(final)
                files.fsync_directory(self._entries)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
        return JournalEntry(epoch=epoch, path=final)


@contextmanager
def lock(root: Path) -> Iterator[None]:
    """Hold the key's lock on this host; what killed runs left in the journal is removed first.

    Raises:
        Locked: Another run holds it.
    """
    with locked(root / "lock", "another run works on this key on this host"):
        Journal(root).sweep()
        yield


class _ReceiptFile(StateFile):
    """A receipt as its file has it."""

    target: str
    kind: str
    domain: str
    location: str
    version: str | None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    retain_until: Moment | None
    slot: str | None

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        return cls(**asdict(receipt) | {"sha256": receipt.sha256.hex})


def _read_receipt(path: Path) -> Receipt:
    try:
        kept = _ReceiptFile.load(path)
        assert kept is not None
        return Receipt(**vars(kept) | {"sha256": Digest("sha256", kept.sha256)})
    except ValueError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> LocalFilesProblem:
    reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
    return LocalFilesProblem(
        f"cannot use {path}: {reason}",
        hint="move it away and run this again: what it said is rebuilt from the targets, and by a drill",
    )
