"""What runs leave in the state directory for each other: small JSON files, and locks."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, PlainSerializer

from pipeline.core import files
from pipeline.core.clock import stamp
from pipeline.core.errors import Locked

Moment = Annotated[datetime, PlainSerializer(stamp)]
"""A moment as the documents have it."""
HINT: Final = "check its permissions and its disk, or name another place with --state-dir"
_PAUSE: Final = 0.05


class StateFile(BaseModel):
    """What one file says; nothing in it is secret. It appears whole or not at all."""

    model_config = ConfigDict(frozen=True, strict=True, populate_by_name=True)
    SCHEMA: ClassVar[str | None] = None

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Read a file; ``None`` where there is none.

        Raises:
            LocalFilesProblem: It cannot be read.
            ValueError: It is malformed.
        """
        data = read_if_there(path)
        return None if data is None else cls.parse(data)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`render` wrote.

        Raises:
            ValueError: It is malformed.
        """
        try:
            if json.loads(data).get("schema") != cls.SCHEMA:
                raise ValueError("it has another schema")
        except (AttributeError, RecursionError) as error:
            raise ValueError("it is malformed") from error
        return cls.model_validate_json(data)

    def render(self) -> bytes:
        """The file's content."""
        schema = {"schema": self.SCHEMA} if self.SCHEMA else {}
        document = schema | self.model_dump(mode="json", by_alias=True)
        return (json.dumps(document, sort_keys=True, indent=2) + "\n").encode()

    def keep(self, path: Path) -> None:
        """Write it, in place of an older one.

        Raises:
            LocalFilesProblem: The disk refuses.
        """
        files.private_directory(path.parent)
        files.replace(path, self.render())


def read_if_there(path: Path) -> bytes | None:
    """A file's bytes; ``None`` where there is none.

    Raises:
        LocalFilesProblem: It cannot be read.
    """
    with files.os_errors(f"cannot use {path}", hint=HINT):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


@contextmanager
def locked(
    path: Path, busy: str, *, seconds: float = 0.0, sleep: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold a lock among the runs of this host.

    Args:
        path: The lock's file.
        busy: What another run does that holds it.
        seconds: How long to wait for that.
        sleep: Waits.

    Raises:
        Locked: Another run still has it.
        LocalFilesProblem: The disk refuses.
    """
    files.private_directory(path.parent)
    with files.os_errors(f"cannot use {path}", hint=HINT):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        waited = 0.0
        while not _taken(handle):
            if waited >= seconds:
                raise Locked(busy, hint="wait for it to end, then run this again")
            sleep(_PAUSE)
            waited += _PAUSE
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
