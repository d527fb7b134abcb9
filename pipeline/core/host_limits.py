"""What this host lacks: memory, room, descriptors, processes. It says nothing of a key or a copy.

Recognised where it stops some work (:func:`exhaustion`), and asked for where that is known beforehand
(:func:`require_room` and its like).
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipeline.core.errors import LocalFilesProblem

_EXHAUSTED: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EROFS}
)
"""What the system says when it has no room, memory, descriptors or processes left; EAGAIN is fork's."""
EXHAUSTION: Final = tuple(os.strerror(number) for number in sorted(_EXHAUSTED))
"""The same as other programs print it."""
_UNLOADED: Final = ("failed to map segment", *EXHAUSTION)
"""What the loader says of a library that finds no memory or descriptor."""
_ADDRESS_SPACE: Final = 1 << 30
"""Bytes of address space, of which little is memory: each thread reserves 8 MiB, and malloc 64 MiB."""
_EXHAUSTED_HINT: Final = (
    "free memory or space (df -h /dev/shm), or raise the limits on open files, processes and memory "
    "(ulimit -a); then run the same command again"
)


def exhaustion(error: BaseException, what: str) -> LocalFilesProblem | None:
    """Recognise that this host lacks memory, room, descriptors or processes: that says nothing of a key.

    Args:
        error: What was raised.
        what: What was being done, for the message.

    Returns:
        The problem to raise instead; none where the host is not to blame.
    """
    text = ""
    if isinstance(error, MemoryError):
        text = "no memory is left"
    elif isinstance(error, OSError) and error.errno in _EXHAUSTED:
        text = error.strerror or str(error)
    elif isinstance(error, RuntimeError) and str(error).startswith("can't start new thread"):
        text = "no thread can be started"
    elif isinstance(error, ImportError) and any(reason in str(error) for reason in _UNLOADED):
        text = f"a part of this program cannot be loaded ({error.name or error.path or 'unnamed'})"
    return no_room(what, text) if text else None


@contextmanager
def own_trouble(what: str) -> Iterator[None]:
    """Turn trouble of this host, raised in the block, into the error that says so; see :func:`exhaustion`.

    Args:
        what: What is being done, for the message.

    Raises:
        LocalFilesProblem: The host has run out of something.
    """
    try:
        yield
    except Exception as error:
        trouble = exhaustion(error, what)
        if trouble is None:
            raise
        raise trouble from error


def no_room(what: str, why: str) -> LocalFilesProblem:
    """The error for a host that lacks something for a piece of work.

    Args:
        what: What could not be done.
        why: What is lacking.
    """
    return LocalFilesProblem(f"this host cannot {what}: {why}", hint=_EXHAUSTED_HINT)


def require_room(path: Path, size: int, what: str) -> None:
    """Ask for room before it is needed.

    Args:
        path: A directory.
        size: Bytes that must be free there.
        what: What they are for, for the message.

    Raises:
        LocalFilesProblem: There is less.
    """
    try:
        status = os.statvfs(path)
    except OSError as error:
        raise no_room(what, f"{path}: {error.strerror or error}") from error
    if status.f_bavail * status.f_frsize < size or (status.f_files and status.f_favail < 64):
        raise no_room(what, f"{path} has no room left, {size // 1024} KiB are needed")


def require_descriptors(count: int, what: str) -> None:
    """Make sure that so many more files can be opened; the soft limit is raised where that is allowed.

    Args:
        count: How many.
        what: What they are for, for the message.

    Raises:
        LocalFilesProblem: Fewer can.
    """
    try:
        wanted = len(os.listdir("/proc/self/fd")) + count  # noqa: PTH208 - one descriptor less
    except OSError:
        wanted = count
    if (most := _raise_limit(resource.RLIMIT_NOFILE, wanted)) is not None:
        raise no_room(what, f"it may open {most} files at most, {wanted} are needed")


def require_address_space() -> None:
    """Make sure that a limit of the address space leaves room for threads and libraries.

    Where there is less, libraries abort and threads die before they begin.

    Raises:
        LocalFilesProblem: It does not.
    """
    if (most := _raise_limit(resource.RLIMIT_AS, _ADDRESS_SPACE, as_far_as_allowed=True)) is not None:
        raise LocalFilesProblem(
            f"the address space is limited to {most >> 20} MiB, {_ADDRESS_SPACE >> 20} MiB are needed",
            hint="raise the limit (ulimit -v); systemd's MemoryMax, which limits memory itself, may be lower",
        )


def _raise_limit(kind: int, wanted: int, *, as_far_as_allowed: bool = False) -> int | None:
    """Raise a soft limit where it is too low; the hard limit where that is too low itself."""
    soft, hard = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return hard
    resource.setrlimit(kind, (hard if as_far_as_allowed else wanted, hard))
    return None
