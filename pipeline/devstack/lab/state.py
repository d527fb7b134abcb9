"""What the stand-in server remembers: one directory with a database and files, no secret in the clear."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pipeline.core import files
from pipeline.core.clock import Clock, stamp
from pipeline.core.errors import LocalFilesProblem, UsageProblem

_SCHEMA: Final = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE users (fingerprint TEXT PRIMARY KEY, name TEXT NOT NULL, mail TEXT UNIQUE NOT NULL,
                    at TEXT NOT NULL);
CREATE TABLE certificates (number INTEGER PRIMARY KEY, subject TEXT NOT NULL, not_after TEXT NOT NULL,
                           packets BLOB NOT NULL);
CREATE TABLE events (at TEXT NOT NULL, what TEXT NOT NULL);
CREATE TABLE backups (at TEXT NOT NULL, path TEXT NOT NULL, bytes INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class User:
    """A user whose key the server made and signed.

    Attributes:
        fingerprint: Of the user's key.
        name: The person's.
        mail: The address.
    """

    fingerprint: str
    name: str
    mail: str

    @property
    def user_id(self) -> str:
        """The OpenPGP user id."""
        return f"{self.name} <{self.mail}>"


class LabState:
    """The stand-in server's directory.

    Args:
        directory: Where it is.
        clock: Real time; the server's own is moved against it.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.directory = directory
        self.clock = clock

    @property
    def database(self) -> Path:
        """The database."""
        return self.directory / "server.sqlite"

    @property
    def keys(self) -> Path:
        """Where keys lie."""
        return self.directory / "keys"

    @property
    def exists(self) -> bool:
        """Whether the Setup Assistant has run here."""
        return self.database.exists()

    def create(self) -> None:
        """Make the directory.

        Raises:
            LocalFilesProblem: Something is there.
        """
        if self.directory.exists() and any(self.directory.iterdir()):
            raise LocalFilesProblem(
                f"{self.directory} is not empty", hint="name a new directory with --dir, or remove that one"
            )
        for path in (self.directory, self.keys, self.keys / "users", self.directory / "backups"):
            files.private_directory(path)
        with self._connection() as database:
            database.executescript(_SCHEMA)
        self.database.chmod(0o600)

    def adopt(self, database: bytes) -> None:
        """Take a backup's database in the place of an empty one."""
        files.replace(self.database, database)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.database, timeout=10)
        try:
            with database:
                yield database
        finally:
            database.close()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database.

        Raises:
            UsageProblem: There is no stand-in server here.
        """
        if not self.exists:
            raise UsageProblem(
                f"there is no stand-in server in {self.directory}",
                hint="begin with `orgkey lab setup DOMAIN`",
            )
        with self._connection() as database:
            return database.execute(query, values).fetchall()

    def copy(self) -> bytes:
        """A consistent copy of the database."""
        with self._connection() as database:
            return bytes(database.serialize())

    def get(self, name: str) -> Any:
        """A setting; ``None`` where it is not set."""
        found = self.rows("SELECT value FROM settings WHERE name = ?", name)
        return json.loads(found[0][0]) if found else None

    def put(self, name: str, value: Any) -> None:
        """Change a setting."""
        self.rows("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, json.dumps(value))

    def note(self, what: str) -> None:
        """Write down what happened."""
        self.rows("INSERT INTO events VALUES (?, ?)", stamp(self.now()), what)

    def now(self) -> datetime:
        """The server's own time."""
        return self.clock.now() + timedelta(seconds=self.get("offset_seconds") or 0.0)

    def users(self) -> list[User]:
        """All users, by address."""
        return [User(*row) for row in self.rows("SELECT fingerprint, name, mail FROM users ORDER BY mail")]
