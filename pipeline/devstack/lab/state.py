"""What the stand-in server remembers: a directory with one document and key files, no secret in the clear."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from pipeline.core import files
from pipeline.core.clock import Clock
from pipeline.core.errors import LocalFilesProblem, UsageProblem

DOCUMENT: Final = "server.json"
"""The document's name, in the directory and in backups."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class User(_Frozen):
    """A user whose key the server made and signed."""

    fingerprint: str
    name: str
    mail: str

    @property
    def user_id(self) -> str:
        """The OpenPGP user id."""
        return f"{self.name} <{self.mail}>"


class OrganizationCertificateEntry(_Frozen):
    """An Organization Certificate; its packets are hexadecimal digits."""

    number: int
    subject: str
    not_after: str
    packets: str


class BackupSchedule(_Frozen):
    """When the next backup is due, where it goes, and how it is made."""

    days: float
    to: Path
    next: datetime
    how: dict[str, Any]


class LabData(_Frozen):
    """The document."""

    domain: str
    algorithm: str
    days: int
    id: str
    fingerprint: str = ""
    renew_days: int = 31
    live: bool = False
    offset_seconds: float = 0.0
    users: tuple[User, ...] = ()
    certificates: tuple[OrganizationCertificateEntry, ...] = ()
    schedule: BackupSchedule | None = None


class LabState:
    """The stand-in server's directory.

    Args:
        directory: Where it is.
        clock: Real time; the server's own is moved against it.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.directory = directory
        self.file = directory / DOCUMENT
        self.keys = directory / "keys"
        self._clock = clock

    def create(self) -> None:
        """Make the directory; the document has another name until :meth:`finish`.

        Raises:
            LocalFilesProblem: Something is there.
        """
        if self.directory.exists() and any(self.directory.iterdir()):
            raise LocalFilesProblem(
                f"{self.directory} is not empty", hint="name a new directory with --dir, or remove that one"
            )
        for path in (self.directory, self.keys, self.keys / "users", self.directory / "backups"):
            files.private_directory(path)
        self.file = self.directory / "unfinished.json"

    def finish(self) -> None:
        """Say that all of it was made."""
        self.file = self.file.replace(self.directory / DOCUMENT)
        files.fsync_directory(self.directory)

    @property
    def data(self) -> LabData:
        """The document, as it is now.

        Raises:
            UsageProblem: There is no stand-in server here.
            LocalFilesProblem: The document is damaged.
        """
        try:
            return LabData.model_validate_json(self.file.read_bytes())
        except FileNotFoundError:
            raise UsageProblem(
                f"there is no stand-in server in {self.directory}",
                hint="begin with `orgkey lab setup DOMAIN`",
            ) from None
        except ValueError as error:
            raise LocalFilesProblem(
                f"{self.file} is damaged", hint="set up another stand-in server"
            ) from error

    def write(self, data: LabData) -> None:
        """Write the document."""
        files.replace(self.file, data.model_dump_json().encode())

    def change(self, **changes: Any) -> None:
        """Change some of it."""
        self.write(self.data.model_copy(update=changes))

    def now(self) -> datetime:
        """The server's own time."""
        return self._clock.now() + timedelta(seconds=self.data.offset_seconds)
