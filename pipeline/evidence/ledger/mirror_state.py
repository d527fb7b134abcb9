"""What this host remembers of each mirror of the ledger: ``<state>/<FINGERPRINT>/mirrors/<name>.json``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline.core import files
from pipeline.core.digest import Digest
from pipeline.core.state_files import StateFile, locked
from pipeline.evidence.ledger.entry import START, Head


@dataclass(frozen=True)
class Confirmed:
    """What a mirror has confirmed.

    Attributes:
        head: The last entry up to which it holds this host's chain.
        problem: What is wrong with it, in words; it is not written to until that is settled.
    """

    head: Head = START
    problem: str | None = None


class _MirrorFile(StateFile):
    SCHEMA = "orgkey.ledger-mirror/1"
    host: str
    sequence: Annotated[int, Field(ge=0)]
    sha256: str
    problem: str | None


class MirrorState:
    """What is remembered of each mirror of one key.

    Args:
        root: The key's state directory.
    """

    def __init__(self, root: Path) -> None:
        self.directory = root / "mirrors"

    def file(self, name: str) -> Path:
        """The file about one mirror."""
        return self.directory / f"{name}.json"

    def of(self, name: str, host: str) -> Confirmed:
        """What a mirror has confirmed of a host's chain.

        Nothing, where that is of another host-id, or the file is gone or damaged: the mirror is asked again.

        Raises:
            LocalFilesProblem: The file cannot be read.
        """
        try:
            told = _MirrorFile.load(self.file(name))
        except ValueError:
            return Confirmed()
        if told is None or told.host != host:
            return Confirmed()
        return Confirmed(Head(told.sequence, Digest("sha256", told.sha256)), told.problem)

    def keep(self, name: str, host: str, confirmed: Confirmed) -> None:
        """Remember it.

        Raises:
            LocalFilesProblem: The disk refuses.
        """
        files.private_directory(self.directory.parent)
        number, digest = confirmed.head.sequence, confirmed.head.digest.hex
        told = _MirrorFile(host=host, sequence=number, sha256=digest, problem=confirmed.problem)
        told.keep(self.file(name))

    def lock(self, seconds: float, sleep: Callable[[float], None]) -> AbstractContextManager[None]:
        """Have the ledger and its mirrors for oneself, among the runs of this host.

        Args:
            seconds: How long to wait for another run.
            sleep: Waits.

        Raises:
            Locked: Another run still has it.
            LocalFilesProblem: The disk refuses.
        """
        files.private_directory(self.directory.parent)
        busy = "another run on this host writes to the ledger and its mirrors"
        return locked(self.directory / "lock", busy, seconds=seconds, sleep=sleep)
