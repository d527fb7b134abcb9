"""What a host runs out of: memory, descriptors, threads, room. No verdict on what was being looked at."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from pipeline.errors import LocalFilesProblem

_DISK = "free some room there, then run the same command again"
_LIMITS = "raise this service's or shell's limit (`ulimit -a` shows them), then run the same command again"
_ERRNOS = {
    errno.ENOSPC: ("no space is left on a disk that it needs", _DISK),
    errno.EDQUOT: ("the disk quota is used up", _DISK),
    errno.EROFS: ("a file system that it writes to is read-only", "mount it writable, or name another place"),
    errno.EMFILE: ("it may not open more files", _LIMITS),
    errno.ENFILE: ("it may not open more files", _LIMITS),
    errno.ENOMEM: ("there is not enough memory", _LIMITS),
}
# How the loader, the interpreter and OpenSSL say it where no error number is kept.
_TEXTS = {
    "failed to map segment": errno.ENOMEM,
    "cannot allocate memory": errno.ENOMEM,
    "can't start new thread": errno.ENOMEM,
    "can't allocate": errno.ENOMEM,
    "too many open files": errno.EMFILE,
    "no space left on device": errno.ENOSPC,
}


def of(error: BaseException) -> LocalFilesProblem | None:
    """Say what this host has run out of, where that is why ``error`` was raised.

    Args:
        error: What nobody foresaw; what it was raised from is looked at, too.
    """
    for each in _chain(error):
        number = _number(each)
        if number is not None:
            happened, hint = _ERRNOS[number]
            return LocalFilesProblem(f"this host cannot go on: {happened}", hint=hint)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int | None:
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return error.errno
    if isinstance(error, OSError | ImportError | RuntimeError):
        text = str(error).lower()
        return next((number for words, number in _TEXTS.items() if words in text), None)
    return None
