"""Where backups lie: files, folders, standard input; a bucket in :mod:`pipeline.sources.backups.s3`."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import select
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pipeline.core.clock import Deadline
from pipeline.core.errors import LocalFilesProblem, OrgkeyError
from pipeline.core.files import os_errors
from pipeline.sources.backups.byte_stream import ByteStream, of_descriptor
from pipeline.sources.backups.message_header import LENGTH

if TYPE_CHECKING:
    from pipeline.sources.backups.crew.ticket_place import SharedFile, StoredObject

_LOOK_MILLISECONDS: Final = 200
"""How long a silent pipe is waited for at a time; in between, the run may be over."""
_NOTHING: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What the system says of a path that leads to nothing."""
_LOST: Final = "lost+found"
"""A file system's own folder, at its top, for root alone."""
_LIKE_AN_ESCAPE: Final = re.compile(rb"\\(?=x[0-9a-f]{2})")


class FileState(NamedTuple):
    """What tells that a file was changed.

    Attributes:
        inode: Its number.
        size: Its length in bytes.
        mtime_ns: When it was last changed, in nanoseconds since 1970.
        ctime_ns: The same of all that is known of it: who changes it can set the former back, and not this.
    """

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def __str__(self) -> str:
        return ":".join(map(repr, self))


def file_state(path: Path | None) -> FileState | None:
    """The state of a regular file; ``None`` where there is none."""
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    if status is None or not stat.S_ISREG(status.st_mode):
        return None
    return FileState(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class BackupSource(Protocol):
    """One backup, not opened yet.

    Attributes:
        name: What people call it.
        size: Its length in bytes; ``None`` where it cannot be known.
        again: Whether it can be opened more than once.
        path: Its file, which another process can open by itself; ``None`` for what is not a file.
        modified: When it was written, as its place says; ``None`` where that is not known.
        location: Where it lies: an absolute path, or an address; empty for what cannot be found again.
        state: What tells that other bytes lie there now; ``None`` where nothing does.
        facts: What the service says of the bytes, such as a version or checksums.
    """

    name: str
    location: str
    state: str | None
    facts: Mapping[str, str]
    size: int | None
    again: bool
    path: Path | None
    modified: datetime | None

    def start(self) -> bytes:
        """Its first :data:`~pipeline.sources.backups.message_header.LENGTH` bytes.

        Raises:
            OrgkeyError: It cannot be read.
        """
        ...

    def open(self) -> AbstractContextManager[ByteStream]:
        """Open it at its first byte.

        Raises:
            OrgkeyError: It cannot be read.
        """
        ...

    def place(self) -> SharedFile | StoredObject | None:
        """Where another machine finds it, and in which state; ``None`` where none can.

        Raises:
            OrgkeyError: The service does not tell.
        """
        ...


class BackupFile:
    """A file.

    Args:
        path: Where it is.
    """

    again = True

    def __init__(self, path: Path) -> None:
        self.name = called(path)
        self.location = called(path.absolute())
        self.size: int | None = None
        self.path: Path | None = path
        self.modified: datetime | None = None
        self.state: str | None = None
        self.facts: Mapping[str, str] = {}
        state = file_state(path)
        if state is not None:  # else opening it will say why
            self.size = state.size
            with suppress(ValueError, OverflowError):  # a year that no calendar has: its date is not known
                self.modified = datetime.fromtimestamp(state.mtime_ns / 1e9, UTC)
            self.state = str(state)

    def start(self) -> bytes:
        """See :meth:`BackupSource.start`."""
        with os_errors(f"cannot read {self.name}"), os.fdopen(opened(self._file), "rb") as stream:
            return stream.read(LENGTH)

    @contextmanager
    def open(self) -> Iterator[ByteStream]:
        """See :meth:`BackupSource.open`."""
        with os_errors(f"cannot read {self.name}"):
            stream = os.fdopen(opened(self._file), "rb", buffering=0)
        with stream:
            yield of_descriptor(stream.fileno(), self.name)

    def place(self) -> SharedFile | None:
        """See :meth:`BackupSource.place`."""
        from pipeline.sources.backups.crew.ticket_place import SharedFile

        return SharedFile.of(self._file, self.state) if self.state is not None else None

    @property
    def _file(self) -> Path:
        assert self.path is not None
        return self.path


class Unlisted:
    """A place or folder that cannot be listed: it stands among the backups, and is what cannot be read there.

    Args:
        name: Its path or address.
        error: Why it cannot be listed.
    """

    size: int | None = None
    again = False
    path: Path | None = None
    modified: datetime | None = None
    state: str | None = None
    facts: Mapping[str, str] = MappingProxyType({})

    def __init__(self, name: str, error: OrgkeyError) -> None:
        self.name = self.location = name
        self.error = error

    def start(self) -> bytes:
        """See :meth:`BackupSource.start`."""
        raise self.error

    def open(self) -> AbstractContextManager[ByteStream]:
        """See :meth:`BackupSource.open`."""
        raise self.error

    def place(self) -> None:
        """See :meth:`BackupSource.place`."""
        return


class BackupPipe:
    """Standard input, or a pipe that has a name: it can be read once.

    Whoever writes it may stop at any byte and stay. Neither the deadline nor a signal would be noticed in a
    call that reads, so it is asked first whether something is there.

    Args:
        deadline: How long it may keep the run waiting.
        name: What people call it.
        number: Its open descriptor.

    Raises:
        LocalFilesProblem: Standard input is closed.
    """

    size: int | None = None
    again = False
    path: Path | None = None
    modified: datetime | None = None
    location = ""
    state: str | None = None
    facts: Mapping[str, str] = MappingProxyType({})

    def __init__(self, deadline: Deadline, name: str = "standard input", number: int | None = None) -> None:
        self.name = name
        self._deadline = deadline
        if number is None:
            if sys.stdin is None:  # its starter has closed it
                raise LocalFilesProblem(
                    "standard input is closed", hint="pipe the backup into the command, or name a file"
                )
            number = sys.stdin.fileno()
        self._cursor = of_descriptor(number, name, self._wait)
        self._poll = select.poll()
        self._poll.register(number, select.POLLIN)

    def start(self) -> bytes:
        """See :meth:`BackupSource.start`."""
        return self._cursor.peek(LENGTH)

    def open(self) -> AbstractContextManager[ByteStream]:
        """See :meth:`BackupSource.open`."""
        self._deadline.renew()  # people may have taken their time with their shares since it was named
        return nullcontext(self._cursor)

    def place(self) -> None:
        """See :meth:`BackupSource.place`: who has the pipe reads it."""
        return

    def _wait(self) -> None:
        while not self._poll.poll(_LOOK_MILLISECONDS):
            self._deadline.check()


def local(place: Path, deadline: Deadline, ignore: Sequence[str] = ()) -> Sequence[BackupSource]:
    """The backups at a path: the file, or every file below a folder, in the order of their names.

    Args:
        place: A file or a folder. Hidden files are left out, since a copy in the making often is one.
        deadline: How long a pipe may keep the run waiting.
        ignore: Patterns (as a shell has them) of file names that are not backups.

    Returns:
        What is there; a folder below that cannot be listed as :class:`Unlisted`, in front.

    Raises:
        LocalFilesProblem: It cannot be looked at, or not be listed.
    """
    mode = _mode(place)
    if not stat.S_ISDIR(mode):
        return [_single(place, mode, deadline)]
    found: list[Path] = []
    closed: list[BackupSource] = []

    def failed(error: OSError) -> None:
        name = called(folder := Path(error.filename))
        problem = LocalFilesProblem(
            f"cannot list {name}: {error.strerror}", hint="check the path and its permissions"
        )
        if folder == place:
            raise problem from error
        closed.append(Unlisted(name, problem))

    for folder, below, names in os.walk(place, onerror=failed):
        below[:] = [name for name in below if not name.startswith(".") and name != _LOST]
        found += [Path(folder) / name for name in names if wanted(name, ignore)]
    return closed + [BackupFile(path) for path in sorted(found) if _may_be_file(path)]


def _mode(place: Path) -> int:
    """What kind of thing is there; 0 for nothing.

    Raises:
        LocalFilesProblem: It does not tell.
    """
    with os_errors(f"cannot look at {called(place)}"):
        try:
            return place.stat().st_mode
        except OSError as error:
            if error.errno in _NOTHING:
                return 0
            raise


def _may_be_file(path: Path) -> bool:
    """Whether it is a file; one that cannot be looked at is kept, so that it is named and not left out."""
    try:
        return stat.S_ISREG(_mode(path))
    except LocalFilesProblem:
        return True


def _single(place: Path, mode: int, deadline: Deadline) -> BackupSource:
    if stat.S_ISREG(mode) or not mode:
        return BackupFile(place)
    with os_errors(f"cannot read {called(place)}"):
        # A pipe, a shell's <(...) for example. Opening it would wait for whoever writes it.
        number = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(number, True)
        return BackupPipe(deadline, called(place), number)


def opened(path: Path) -> int:
    """Open a backup's file; a pipe that somebody put there since it was listed is not waited for.

    Returns:
        The descriptor.

    Raises:
        OSError: It cannot be opened.
        LocalFilesProblem: It is not a file any more.
    """
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise LocalFilesProblem(
            f"{called(path)} is not a file", hint="find out who can write where the backups lie"
        )
    return number


def called(path: Path) -> str:
    """A path as text that every document and log can hold: bytes that are not UTF-8 are escaped.

    No two paths are called alike: a backslash that looks like the beginning of an escape is escaped, too.
    """
    return _LIKE_AN_ESCAPE.sub(rb"\\x5c", os.fsencode(path)).decode(errors="backslashreplace")


def wanted(name: str, ignore: Sequence[str]) -> bool:
    """Whether a file of that name may be a backup."""
    return not name.startswith(".") and not any(fnmatch.fnmatchcase(name, pattern) for pattern in ignore)
