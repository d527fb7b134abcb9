"""Files that are whole or absent, and private places for what must not last."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from pipeline.core import signals
from pipeline.core.errors import LocalFilesProblem, OrgkeyError
from pipeline.core.text import shell_word

NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
"""How a file system says that it has no hard links."""
_TEMPORARY: Final = re.compile(r"\..+\.[0-9a-f]{12}\.orgkey-tmp")


@contextmanager
def os_errors(what: str, *, hint: str = "check the path and its permissions") -> Iterator[None]:
    """Turn an error of the operating system, raised in the block, into one that says what failed.

    Args:
        what: What failed: ``cannot read /some/file``.
        hint: What to do about it.

    Raises:
        LocalFilesProblem: The operating system refused.
    """
    try:
        yield
    except OSError as error:
        raise LocalFilesProblem(f"{what}: {error.strerror or error}", hint=hint) from error


def fsync_directory(path: Path) -> None:
    """Make the directory's entries survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def open_regular(path: Path, *, follow: bool = True) -> Iterator[BinaryIO | None]:
    """Open a regular file for reading; a pipe or a device in its place is not waited for.

    Args:
        path: The file.
        follow: Whether a symbolic link is followed.

    Yields:
        The file; ``None`` where something else lies there.

    Raises:
        OSError: It cannot be opened.
    """
    # O_NONBLOCK: opening a named pipe would wait for a writer.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    handle = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        yield None
        return
    with os.fdopen(handle, "rb") as stream:
        yield stream


def read_regular(path: Path, limit: int, *, follow: bool = True) -> bytes | None:
    """Read a regular file; see :func:`open_regular`.

    Args:
        path: The file.
        limit: The most bytes that are wanted; one more is read, so that a larger file shows.
        follow: Whether a symbolic link is followed.

    Returns:
        Its bytes; ``None`` where something else lies there.

    Raises:
        OSError: It cannot be opened or read.
    """
    with open_regular(path, follow=follow) as stream:
        return stream.read(limit + 1) if stream is not None else None


def read_named(path: Path, limit: int, kind: type[OrgkeyError] = LocalFilesProblem) -> bytes:
    """Read a file that the operator names, up to one byte over a limit.

    Args:
        path: The file, or a pipe.
        limit: The most bytes that are wanted.
        kind: What is raised where it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(limit + 1)
    except OSError as error:
        raise kind(
            f"cannot read {path}: {error.strerror or error}", hint="check the path and its permissions"
        ) from error


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a new file: temporary file, fsync, link into place, fsync the directory.

    Args:
        path: Where the file is to appear; its directory exists.
        data: The whole content.
        mode: Permission bits of the file.

    Raises:
        LocalFilesProblem: Something is there already, or the disk refuses.
    """
    _write(path, data, mode=mode, replace=False)


def replace(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Like :func:`write_new`, but an older file of that name is replaced at once.

    Raises:
        LocalFilesProblem: The disk refuses.
    """
    _write(path, data, mode=mode, replace=True)


def _write(path: Path, data: bytes, *, mode: int, replace: bool) -> None:
    try:
        # A signal between two of these steps would leave the temporary file behind.
        with signals.held():
            _write_through(path, data, mode=mode, replace=replace)
    except FileExistsError:
        raise taken(path) from None
    except OSError as error:
        raise _refused(path, error) from error


def _write_through(path: Path, data: bytes, *, mode: int, replace: bool) -> None:
    sweep(path.parent)
    temporary, stream = _temporary(path, mode)
    try:
        with stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
            if replace:
                temporary.replace(path)
            else:
                _appear(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    fsync_directory(path.parent)


def _appear(temporary: Path, path: Path) -> None:
    """Give a file its name where nothing has it: link() refuses where rename() would overwrite."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # FAT and many shares have no hard links: the name is taken first, then the file put over it.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            temporary.replace(path)
        except OSError:
            path.unlink()
            raise


def taken(path: Path) -> LocalFilesProblem:
    """What is said where something new was to appear, and there is something."""
    return LocalFilesProblem(
        f"{path} exists already", hint="nothing is ever overwritten; choose another name or move it away"
    )


def check_folder(path: Path) -> None:
    """See that a folder is there, for files that will be made in it.

    Raises:
        LocalFilesProblem: It is not.
    """
    if not path.is_dir():
        raise LocalFilesProblem(f"{path} is not a folder", hint="make it first, or name another one")


def check_new(path: Path, room: int = 4096) -> None:
    """See that a new file or folder can be made: before the work whose result is to go there.

    Something is written beside it and removed.

    Args:
        path: Where it is to appear.
        room: How many bytes it needs at least.

    Raises:
        LocalFilesProblem: Something is there, if only a link that leads nowhere; or the disk refuses.
    """
    if os.path.lexists(path):
        raise taken(path)
    try:
        with signals.held():
            temporary, stream = _temporary(path, 0o600)
            try:
                with stream:
                    stream.write(bytes(room))
                    stream.flush()
                    os.fsync(stream.fileno())
            finally:
                temporary.unlink()
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> LocalFilesProblem:
    missing = isinstance(error, FileNotFoundError)
    return LocalFilesProblem(
        f"cannot write {path}: {error.strerror or error}",
        hint=f"make the directory {path.parent} first"
        if missing
        else "check the directory's permissions and the free space",
    )


def _temporary(path: Path, mode: int) -> tuple[Path, BinaryIO]:
    """Make a temporary file beside ``path``, locked for as long as it is open; see :func:`sweep`."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.orgkey-tmp")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return temporary, os.fdopen(handle, "wb")
        os.close(handle)  # swept by another run between its making and its lock


def sweep(directory: Path) -> None:
    """Remove the temporary files that killed runs left in a directory; those in use are locked."""
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    for name in names:
        with suppress(OSError):
            handle = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                status = os.fstat(handle)
                if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    (directory / name).unlink()
            finally:
                os.close(handle)


def expanded(path: Path) -> Path:
    """A path with the home that its ``~`` or ``~user`` stands for.

    Raises:
        LocalFilesProblem: There is no such user.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise LocalFilesProblem(
            f"{path} names the home of a user who is not known here", hint="write the path in full"
        ) from None


def private_directory(path: Path) -> Path:
    """Make sure that ``path`` is a directory which only its owner can enter.

    Raises:
        LocalFilesProblem: It cannot be made, belongs to somebody else, or others can write to it.
    """
    with os_errors(
        f"cannot use the directory {path}", hint="check its permissions, or name another with --state-dir"
    ):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise LocalFilesProblem(
            f"the directory {path} can be written by others",
            hint=f"chmod 700 {shell_word(path)}, and make this user its owner",
        )
    return path


def memory_root() -> Path:
    """The directory under which secrets may rest for a moment: memory-backed where there is one.

    ``/dev/shm`` is also short, which the socket of a gpg agent needs.
    """
    for candidate in (Path("/dev/shm"), Path(f"/run/user/{os.geteuid()}")):  # noqa: S108 - made private below
        if candidate.is_dir() and os.access(candidate, os.W_OK | os.X_OK):
            return candidate
    return Path(tempfile.gettempdir())


def in_memory(path: Path) -> bool | None:
    """Whether what lies there is in memory alone, and gone when it is removed; ``None`` where nothing tells.

    Args:
        path: A file or folder that exists.
    """
    try:
        device = path.stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for mount in mounts:
        fields = mount.split()
        if len(fields) > 2 and fields[2] == wanted and "-" in fields:
            return fields[fields.index("-") + 1] in ("tmpfs", "ramfs")
    return None
