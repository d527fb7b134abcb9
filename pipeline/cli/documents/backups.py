"""Documents of the server's backups: the commands of `backups`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.core.documents import Document, Part, at
from pipeline.core.errors import Code


class BackupItem(Part):
    """One backup, and the escrowed key that opens it.

    Attributes:
        source: Where it is.
        bytes: How large it is; null where that is not known.
        key_ids: Key ids of its recipients.
        fingerprint: Of the escrowed key that opens it; null where none does.
        epoch: The newest authentic epoch of that key, or null.
        proven: Whether that epoch is proven, or null.
        problem: Why it is not known, or null.
    """

    source: str = at("source.name")
    bytes: int | None = at("source.size")
    key_ids: tuple[str, ...]
    fingerprint: str | None = at("key.fingerprint")
    epoch: str | None = at("key.epoch.name")
    proven: bool | None = at("key.proven")
    problem: str | None

    @classmethod
    def all(cls, backups: Any) -> tuple[BackupItem, ...]:
        """The same for several of :class:`pipeline.workflows.backups.map.Backup`."""
        return tuple(cls.of(item, key_ids=tuple(item.head.key_ids) if item.head else ()) for item in backups)


class BackupsMapDocument(Document, printed_by="orgkey backups map"):
    """Which escrowed key opens which backup.

    Attributes:
        backups: One for each backup; those that no escrowed key opens come first.
        exit_code: How the run ended; 40 when no escrowed key opens one of them.
    """

    backups: tuple[BackupItem, ...]
    exit_code: Code


class VerifiedBackupItem(Part):
    """One backup that was read.

    Attributes:
        source: Where it is.
        ok: Whether it is whole, and holds something.
        bytes: How large it is; null where that is not known.
        sha256: Of all its stored bytes; null where they could not be read.
        modified: When it was written, as its place says; null where that is not known.
        content_bytes: The same after decompression, or null.
        container: ``tar``, ``tar.gz``, ``gzip`` or ``bytes``; null where it could not be read.
        entries: How many the archive has, or null.
        compression: ``none``, ``zip``, ``zlib``, ``bzip2``; null where gpg did not say.
        integrity: ``mdc``, ``aead``; ``none``: no alteration would be noticed, and ``ok`` is false.
        engine: ``orgkey`` or ``gnupg``; null where it could not be read.
        origin: ``signed by FINGERPRINT`` where a signature inside proves it; else ``unproven``: anybody who
            has the public key could have made it.
        history: ``new``; ``same``: these bytes were verified before; ``replaced``: other bytes lie under a
            name that was verified; ``shrunk``; ``older`` than its date says; null where not all bytes could
            be read.
        worker: What the machine of a crew that read it calls itself; null where this machine has.
        fingerprint: Of the key that opened it, or null.
        epoch: Of the key that opened it, or null.
        seconds: How long that took.
        problem: What is wrong, or null.
        hint: What to do where it could not be read to its end, or null.
        exit_code: The exit code that it stands for.
    """

    source: str = at("source.name")
    ok: bool
    bytes: int | None = at("source.size")
    sha256: str | None = at("recorded.sha256")
    modified: str | None = at("recorded.modified")
    content_bytes: int | None = at("reading.found.size")
    container: str | None = at("reading.found.container")
    entries: int | None = at("reading.found.entries")
    compression: str | None = at("reading.compression")
    integrity: str | None = at("reading.integrity")
    origin: str
    history: str | None = at("recorded.history")
    engine: str | None = at("reading.engine")
    worker: str | None = at("recorded.worker")
    fingerprint: str | None = at("key.fingerprint")
    epoch: str | None = at("key.epoch.name")
    seconds: float
    problem: str | None
    hint: str | None
    exit_code: Code = at("code")


class BackupsVerifyDocument(Document, schema="orgkey.backups-verify/1", printed_by="orgkey backups verify"):
    """Which backups the escrowed keys open, and whether they are whole.

    Attributes:
        backups: One for each backup that was read, in the order in which they were named.
        left: How many are there and were not to be read in this run.
        exit_code: How the run ended.
    """

    backups: tuple[VerifiedBackupItem, ...]
    left: int
    exit_code: Code


class CrewInitDocument(Document, printed_by="orgkey backups crew init"):
    """The key of a crew was made.

    Attributes:
        file: Where it is; only the crew's machines may have it.
        crew_key: Its public half, in Base64: what tickets are sealed to.
    """

    file: Path
    crew_key: str

    def lines(self) -> list[str]:
        """What a person reads."""
        return [
            f"the crew's key is in {self.file}: take it to the crew's machines, and nowhere else",
            f"its public half, to which tickets are sealed: {self.crew_key}",
        ]
