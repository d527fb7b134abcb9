"""The ledger on this host: a hash-chained log for each host, one file an entry.

``<state>/<FINGERPRINT>/ledger/<host-id>/<number>.json``; see :mod:`pipeline.evidence.ledger.entry` for an
entry. This host writes its own chain alone; the chains of other hosts are copies of what the mirrors have.
A file is created, never replaced. ``ledger/host-id`` names the own chain; a new state directory begins
another one. Entries of 0.1 lie in ``ledger/`` itself: they are read, and never continued.
"""

from __future__ import annotations

import errno
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pipeline.core import files
from pipeline.core.clock import parse_stamp
from pipeline.core.digest import sha256
from pipeline.core.errors import LedgerBroken, LocalFilesProblem
from pipeline.evidence.ledger import entry as entries
from pipeline.evidence.ledger.entry import START, Head, Malformed
from pipeline.storage.ledger_mirror import HOST, name_of

BEFORE_HOSTS: Final = "0.1"
"""What stands for the host-id of a ledger of 0.1, in which entries had none."""
NAME: Final = re.compile(r"[0-9]{9,18}\.json", re.ASCII)

_HOST_FILE: Final = "host-id"
_ATTEMPTS: Final = 50
_DISK: Final = "check its permissions and its disk"
_HINT: Final = "keep the folder as it is and find out who could write to it"


@dataclass(frozen=True)
class LedgerEntry:
    """One entry as it stands in a chain.

    Attributes:
        host: The host-id of its chain.
        own: Whether this host wrote it, or 0.1 did; other hosts' entries are told, and prove nothing alone.
        number: Its number in the chain.
        at: When it was written, by its own word.
        event: What happened.
        run: The correlation id of the run.
        details: What the event says of itself; it may have any form.
        digest: SHA-256 of its file.
        document: All of it.
    """

    host: str
    own: bool
    number: int
    at: datetime
    event: str
    run: str
    details: Mapping[str, Any]
    digest: str
    document: Mapping[str, Any]

    def without_details(self) -> LedgerEntry:
        """What names it; the details of many are large."""
        return replace(self, details={}, document={})

    @property
    def label(self) -> str:
        """What names it in a report: ``L7``; of another host with the beginning of its host-id."""
        own = self.own and self.host != BEFORE_HOSTS
        return f"L{self.number}" if own else f"L{self.number}-{self.host[:8]}"

    @property
    def place(self) -> str:
        """Where its file lies below ``ledger``."""
        name = name_of(self.number)
        return name if self.host == BEFORE_HOSTS else f"{self.host}/{name}"


@dataclass(frozen=True)
class Chain:
    """The entries of one host.

    Args:
        folder: Where they lie.
        fingerprint: The key's.
        host: The host-id.
        own: Whether this host, or 0.1, wrote them.
    """

    folder: Path
    fingerprint: str
    host: str
    own: bool = False

    def head(self) -> Head:
        """The last entry and its digest.

        Raises:
            LedgerBroken: The last entry is not a file.
            LocalFilesProblem: It cannot be read.
        """
        return self.at(max((int(path.stem) for path in self._paths()), default=0))

    def at(self, number: int) -> Head:
        """The chain's end as it was behind this entry.

        Raises:
            LedgerBroken: The entry is not a file.
            LocalFilesProblem: It cannot be read.
        """
        return START if number == 0 else Head(number, sha256(self.read(number)))

    def read(self, number: int) -> bytes:
        """An entry's bytes.

        Raises:
            LedgerBroken: The entry is not a file.
            LocalFilesProblem: It cannot be read.
        """
        return read_entry(self.folder / name_of(number))

    def add(self, number: int, entry: bytes) -> bool:
        """Write an entry's file.

        Returns:
            Whether it is there now; ``False`` when another entry took the number.

        Raises:
            LocalFilesProblem: It cannot be written.
            LedgerBroken: Something that is not a file has its name.
        """
        for folder in (self.folder.parent.parent, self.folder.parent, self.folder):
            files.private_directory(folder)
        path = self.folder / name_of(number)
        try:
            files.write_new(path, entry)
        except LocalFilesProblem as error:
            if isinstance(error.__context__, FileExistsError):
                return read_entry(path) == entry
            raise
        return True

    def each(self) -> Iterator[LedgerEntry]:
        """Every entry, oldest first; the chain is checked as it is read.

        Raises:
            LedgerBroken: An entry is missing, was changed, or does not follow from the one before; those
                before it were sound.
            LocalFilesProblem: An entry cannot be read.
        """
        before = START.digest.hex
        for number, path in enumerate(sorted(self._paths(), key=lambda item: int(item.stem)), start=1):
            wanted = self.folder / name_of(number)
            if path != wanted:
                raise _broken(number, wanted, "is missing")
            data = read_entry(path)
            try:
                found = self.parse(number, data)
            except Malformed as error:
                raise _broken(number, path, str(error)) from None
            if found.document["previous"] != before:
                raise _broken(number, path, "does not follow from the one before")
            before = found.digest
            yield found

    def parse(self, number: int, data: bytes) -> LedgerEntry:
        """Read an entry of this chain.

        Raises:
            Malformed: It is not a sound entry of that number.
        """
        found = entries.parse(data, number, self.fingerprint)
        told = {name: found[name] for name in ("event", "run", "details")}
        at, digest = parse_stamp(found["at"]), sha256(data).hex
        return LedgerEntry(self.host, self.own, number=number, at=at, digest=digest, document=found, **told)

    def _paths(self) -> list[Path]:
        return [path for path in listed(self.folder) if NAME.fullmatch(path.name)]


class Ledger:
    """All chains of one key that are on this host.

    Args:
        root: The key's state directory, ``<state>/<FINGERPRINT>``.
        fingerprint: The key's fingerprint, 40 upper-case hexadecimal digits.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.directory = root / "ledger"
        self.fingerprint = fingerprint
        self._root = root

    @property
    def host(self) -> str:
        """This host's host-id; empty before its first entry.

        Raises:
            LocalFilesProblem: The file that says it cannot be read.
        """
        return self._names()[0]

    def own(self) -> Chain:
        """The chain of this host; nothing is written.

        Raises:
            LocalFilesProblem: Its name cannot be read.
        """
        host, before = self._names()
        place = self.directory / (host or "new")
        if before and not place.is_dir():
            place = self.directory / before  # killed before the folder had its new name
        return Chain(place, self.fingerprint, host, own=True)

    def head(self) -> Head:
        """The end of this host's chain; as :meth:`Chain.head`."""
        return self.own().head()

    def append(self, event: str, details: Mapping[str, Any], *, now: datetime, run: str) -> Head:
        """Write one entry to this host's chain.

        Args:
            event: What happened, for example ``escrow`` or ``drill``.
            details: JSON values; never a secret.
            now: When.
            run: The correlation id of the run.

        Returns:
            The new head.

        Raises:
            LocalFilesProblem: The entry cannot be written. Evidence that cannot be kept is a failure.
            LedgerBroken: The entry before it is not a file.
        """
        self.begin()
        own = self.own()
        for _ in range(_ATTEMPTS):
            before = own.head()
            data = entries.write(before, self.fingerprint, event, details, now=now, run=run)
            if own.add(before.sequence + 1, data):
                return Head(before.sequence + 1, sha256(data))
        raise LocalFilesProblem(
            f"cannot find a free number in {own.folder}", hint="too many runs write to it at once"
        )

    def begin(self) -> str:
        """Make sure that this host's chain has a host-id, and its folder that name.

        Raises:
            LocalFilesProblem: The disk refuses.
        """
        host, before = self._names()
        if not host:
            files.private_directory(self._root)
            files.private_directory(self.directory)
            try:
                files.write_new(self.directory / _HOST_FILE, f"{secrets.token_hex(8)}\n".encode())
            except LocalFilesProblem as error:
                if not isinstance(error.__context__, FileExistsError):
                    raise
            return self.host
        with suppress(OSError):
            files.sweep(self.directory)  # a run that was killed while it made the host-id
        if before:
            # Then the former name is forgotten: what lies under it later is another host's.
            if not (self.directory / host).exists() and (self.directory / before).is_dir():
                with files.os_errors(f"cannot rename {self.directory / before}", hint=_DISK):
                    (self.directory / before).rename(self.directory / host)
                    files.fsync_directory(self.directory)
            files.replace(self.directory / _HOST_FILE, f"{host}\n".encode())
        return host

    def rename(self) -> str:
        """Give this host's chain another host-id, since another state directory writes under the same.

        Its entries stay what they are. Killed in between, :meth:`begin` finishes it.

        Returns:
            The new host-id.

        Raises:
            LocalFilesProblem: The disk refuses.
        """
        names = f"{secrets.token_hex(8)} {self.begin()}\n"
        files.replace(self.directory / _HOST_FILE, names.encode())
        return self.begin()

    def copy_of(self, host: str) -> Chain:
        """The chain of another host, as far as it was copied from the mirrors."""
        return Chain(self.directory / host, self.fingerprint, host)

    def chains(self) -> list[Chain]:
        """Every chain: this host's first, then that of 0.1, then those of other hosts.

        Raises:
            LocalFilesProblem: The folder cannot be read.
        """
        own, present = self.own(), listed(self.directory)
        old = Chain(self.directory, self.fingerprint, BEFORE_HOSTS, own=True)
        return [
            *([own] if own.folder in present else []),
            *([old] if any(NAME.fullmatch(path.name) for path in present) else []),
            *(
                self.copy_of(path.name)
                for path in sorted(present)
                if HOST.fullmatch(path.name) and path != own.folder and path.is_dir()
            ),
        ]

    def each(self) -> Iterator[LedgerEntry]:
        """Every entry of every chain, one chain after the other, each by itself; what is told twice, once.

        Raises:
            LedgerBroken: A chain does not hold; everything that is sound was given before.
            LocalFilesProblem: An entry cannot be read.
        """
        seen: set[str] = set()
        broken: LedgerBroken | None = None
        for chain in self.chains():
            try:
                for item in chain.each():
                    if item.digest not in seen:
                        seen.add(item.digest)
                        yield item
            except LedgerBroken as error:
                broken = broken or error
        if broken is not None:
            raise broken

    def entries(self) -> list[LedgerEntry]:
        """All of :meth:`each`, in order of time.

        Raises:
            LedgerBroken: A chain does not hold.
            LocalFilesProblem: An entry cannot be read.
        """
        return sorted(self.each(), key=lambda item: item.at)

    def _names(self) -> tuple[str, str]:
        """This host's host-id, and the one that it had before."""
        path = self.directory / _HOST_FILE
        with files.os_errors(f"cannot read {path}", hint=_DISK):
            try:
                data = files.read_regular(path, 64)
            except FileNotFoundError:
                return "", ""
        words = (data or b"").decode("ascii", errors="replace").split()
        if len(words) not in (1, 2) or not all(map(HOST.fullmatch, words)):
            raise LocalFilesProblem(
                f"{path} is malformed",
                hint="remove it: this host begins another chain, and the old one stays",
            )
        return words[0], words[1] if len(words) > 1 else ""


def read_entry(path: Path) -> bytes:
    """Read an entry's file, at most one byte more than an entry may have; links are not followed.

    Raises:
        LedgerBroken: It is not a file.
        LocalFilesProblem: It cannot be read.
    """
    data = None
    with files.os_errors(f"cannot read {path}", hint=_DISK):
        try:
            data = files.read_regular(path, entries.LARGEST, follow=False)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.ENXIO):
                raise
    if data is None:
        raise LedgerBroken(f"the ledger breaks at {path}, which is not a file", hint=_HINT)
    return data


def listed(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where it is not there.

    Raises:
        LocalFilesProblem: It cannot be read.
    """
    with files.os_errors(f"cannot read {folder}", hint=_DISK):
        return list(folder.iterdir()) if folder.is_dir() else []


def _broken(number: int, path: Path, why: str) -> LedgerBroken:
    return LedgerBroken(f"the ledger breaks at entry {number} ({path}): it {why}", hint=_HINT)
