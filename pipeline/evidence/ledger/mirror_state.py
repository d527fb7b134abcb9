"""What this host remembers of each mirror of the ledger: ``<state>/<FINGERPRINT>/mirrors/<name>.json``."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.core import files
from pipeline.core.digest import Digest
from pipeline.core.errors import LocalFilesProblem, Locked
from pipeline.evidence.ledger.entry import START, Head

SCHEMA: Final = "orgkey.ledger-mirror/1"


@dataclass(frozen=True)
class Confirmed:
    """What a mirror has confirmed.

    Attributes:
        head: The last entry up to which it holds this host's chain.
        problem: What is wrong with it, in words; it is not written to until that is settled.
    """

    head: Head = START
    problem: str | None = None


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
            told = json.loads(self.file(name).read_bytes())
            head = Head(int(told["sequence"]), Digest("sha256", str(told["sha256"])))
            problem = told["problem"]
            known = (told["schema"], told["host"]) == (SCHEMA, host)
            if known and head.sequence >= 0 and isinstance(problem, str | None):
                return Confirmed(head, problem)
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        except OSError as error:
            raise LocalFilesProblem(
                f"cannot read {self.file(name)}: {error.strerror or error}", hint="check its permissions"
            ) from error
        return Confirmed()

    def keep(self, name: str, host: str, confirmed: Confirmed) -> None:
        """Remember it.

        Raises:
            LocalFilesProblem: The disk refuses.
        """
        files.private_directory(self.directory.parent)
        files.private_directory(self.directory)
        document = {
            "schema": SCHEMA,
            "host": host,
            "sequence": confirmed.head.sequence,
            "sha256": confirmed.head.digest.hex,
            "problem": confirmed.problem,
        }
        files.replace(self.file(name), json.dumps(document).encode())

    @contextmanager
    def lock(self, seconds: float, sleep: Callable[[float], None]) -> Iterator[None]:
        """Have the ledger and its mirrors for oneself, among the runs of this host.

        Args:
            seconds: How long to wait for another run.
            sleep: Waits.

        Raises:
            Locked: Another run still has it.
            LocalFilesProblem: The disk refuses.
        """
        files.private_directory(self.directory.parent)
        files.private_directory(self.directory)
        try:
            handle = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LocalFilesProblem(
                f"cannot open {self.directory / 'lock'}: {error.strerror or error}",
                hint="check its permissions",
            ) from error
        try:
            _take(handle, seconds, sleep)
            yield
        finally:
            os.close(handle)


def _take(handle: int, seconds: float, sleep: Callable[[float], None]) -> None:
    waited, pause = 0.0, 0.05
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waited >= seconds:
                raise Locked(
                    "another run on this host writes to the ledger and its mirrors",
                    hint="wait for it to end, then run this again",
                ) from None
            sleep(pause)
            waited += pause
        else:
            return
