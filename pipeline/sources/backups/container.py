"""What a backup holds: a tar archive, a gzip'd one, or some bytes; listed to its end, never unpacked.

No name and no suffix is believed: the first bytes tell (a tar header has a checksum, gzip a mark).
"""

from __future__ import annotations

import fnmatch
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.sources.backups.byte_stream import cut_off
from pipeline.sources.backups.content import decompress, decompressor
from pipeline.sources.backups.framing import damaged

BLOCK: Final = 512
_GZIP: Final = b"\x1f\x8b\x08"
_LONGEST_EXTENSION: Final = 1 << 20
"""A pax header or a long name above this is not believed, in bytes."""
_LONGEST_SIZE: Final = 20
"""Decimal digits of an entry's length."""
_TOMORROW: Final = 86400.0
"""A time of an entry this far ahead, in seconds, is a wrong clock's: it says nothing of the archive's age."""


@dataclass(frozen=True)
class ContentSummary:
    """What a backup held.

    Attributes:
        container: ``tar``, ``tar.gz``, ``gzip`` (some gzip'd bytes) or ``bytes``.
        entries: How many entries the archive lists; ``None`` where there is no archive.
        size: Bytes of the message's content.
        newest: The latest time of an entry, in seconds since 1970; ``None`` where none has one.
        missing: The patterns that no entry has a name for.
    """

    container: str
    entries: int | None
    size: int
    newest: int | None = None
    missing: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether there is no byte, or an archive without an entry."""
        return self.size == 0 or self.entries == 0


class Contents:
    """Takes a backup's content piece by piece, and says in the end what it was.

    Args:
        expected: Patterns, as a shell has them; each has to fit the name of an entry.
        packed: Whether gzip'd data is looked into. One layer is: within it another is just bytes, however
            many there are.
    """

    def __init__(self, expected: Sequence[str] = (), *, packed: bool = True) -> None:
        self.size = 0
        self._packed = packed
        self._names = _Names(expected)
        self._start = b""
        self._inner: _Tar | _Gzip | _Bytes | None = None

    def feed(self, piece: memoryview | bytes) -> None:
        """Take the next piece.

        Raises:
            IntegrityProblem: The archive is damaged.
        """
        self.size += len(piece)
        if self._inner is None:
            self._start += bytes(piece)
            if len(self._start) < BLOCK:
                return
            self._choose()
        else:
            self._inner.feed(memoryview(piece))

    def finish(self) -> ContentSummary:
        """Judge the end.

        Raises:
            IntegrityProblem: The archive has no end.
        """
        if self._inner is None:
            self._choose()
        assert self._inner is not None
        self._inner.finish()
        names = self._names
        return ContentSummary(
            self._inner.name, self._inner.entries, self.size, names.newest, tuple(names.missing)
        )

    def _choose(self) -> None:
        if self._packed and self._start.startswith(_GZIP):
            self._inner = _Gzip(self._names)
        else:
            self._inner = _Tar(self._names) if _is_tar(self._start) else _Bytes()
        start, self._start = self._start, b""
        self._inner.feed(memoryview(start))


def _is_tar(start: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(start[:BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


class _Names:
    """What is kept of the entries: which patterns none has fitted yet, and their latest time."""

    def __init__(self, expected: Sequence[str]) -> None:
        self.missing = list(expected)
        self.newest: int | None = None
        self._until = time.time() + _TOMORROW

    def add(self, name: str, at: float) -> None:
        name = name.removeprefix("./").rstrip("/")
        self.missing = [one for one in self.missing if not fnmatch.fnmatchcase(name, one)]
        if 0 < at < self._until:
            self.newest = max(self.newest or 0, int(at))


class _Bytes:
    """Some bytes; where all of them are zeros, the end of an archive without an entry."""

    def __init__(self) -> None:
        self._zeros: bool | None = None

    @property
    def name(self) -> str:
        return "tar" if self._zeros else "bytes"

    @property
    def entries(self) -> int | None:
        return 0 if self._zeros else None

    def feed(self, piece: memoryview) -> None:
        if self._zeros is not False and piece:
            self._zeros = not bytes(piece).strip(b"\0")

    def finish(self) -> None:
        pass


class _Gzip:
    """One or several gzip members (RFC 1952), with an archive or bytes inside."""

    def __init__(self, names: _Names) -> None:
        self._engine = decompressor("gzip")
        self._inside = Contents(packed=False)
        self._inside._names = names
        self._padding = False

    @property
    def name(self) -> str:
        inner = self._inside._inner
        return "tar.gz" if inner is not None and inner.name == "tar" else "gzip"

    @property
    def entries(self) -> int | None:
        inner = self._inside._inner
        return (inner.entries if self._inside.size else 0) if inner is not None else None

    def feed(self, piece: memoryview) -> None:
        data: memoryview | bytes = piece
        while data or not (self._engine.eof or self._engine.needs_input):
            if self._engine.eof:
                data = self._next(data)
                continue
            out = decompress(self._engine, data)
            if out:
                self._inside.feed(out)
            data = self._engine.unused_data if self._engine.eof else b""

    def _next(self, data: memoryview | bytes) -> bytes:
        rest = bytes(data).lstrip(b"\0")
        if rest and (self._padding or len(rest) != len(data)):
            raise damaged("something follows the gzip data")
        if not rest:
            self._padding = True  # a tape's block is filled with zeros
            return b""
        self._engine = decompressor("gzip")
        return rest

    def finish(self) -> None:
        if not self._engine.eof:
            raise cut_off("its gzip data goes on")
        self._inside.finish()


class _Tar:
    """Headers of a tar archive (POSIX pax, GNU, old), read as they come by; contents are skipped.

    The reading of a header is the standard library's. What is kept here is where the next one begins,
    which the library knows only where it can read by itself.
    """

    name = "tar"

    def __init__(self, names: _Names) -> None:
        self.entries: int | None = 0
        self._names = names
        self._skip = 0
        self._block = bytearray()
        self._extension: bytearray | None = None
        self._extension_left = 0
        self._long_name = False
        self._path: str | None = None
        self._pax_size: int | None = None
        self._sparse: int | None = None
        self._ended = False

    def feed(self, piece: memoryview) -> None:
        at = 0
        while at < len(piece) and not self._ended:
            if self._skip:
                step = min(self._skip, len(piece) - at)
                self._skip -= step
            elif self._extension is not None:
                step = min(self._extension_left, len(piece) - at)
                self._extension += piece[at : at + step]
                self._extension_left -= step
                if not self._extension_left:
                    self._extended()
            else:
                step = min(BLOCK - len(self._block), len(piece) - at)
                self._block += piece[at : at + step]
                if len(self._block) == BLOCK:
                    block, self._block = bytes(self._block), bytearray()
                    self._header(block)
            at += step

    def finish(self) -> None:
        if not self._ended:
            raise cut_off("the archive inside does not list to its end")

    def _header(self, block: bytes) -> None:
        if self._sparse is not None:  # GNU's map of a sparse file goes on
            if not block[504]:
                self._skip, self._sparse = self._sparse, None
            return
        if not block.strip(b"\0"):
            self._ended = True
            return
        try:
            entry: Any = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise damaged(f"the archive inside is damaged after {self.entries} entries ({error})") from None
        size = entry.size
        if size < 0:  # GNU's binary numbers have a sign, and a step back would never end
            raise damaged("the archive inside has an entry of negative length")
        if entry.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE):
            if size > _LONGEST_EXTENSION:
                raise damaged("the archive inside has an extended header of unlikely length")
            if size:
                self._extension, self._extension_left = bytearray(), _padded(size)
            return
        if entry.type == tarfile.GNUTYPE_LONGNAME and 0 < size <= _LONGEST_EXTENSION:
            self._extension, self._extension_left, self._long_name = bytearray(), _padded(size), True
            return
        if entry.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            self._skip = _padded(size)
            return
        assert self.entries is not None
        self.entries += 1
        self._names.add(self._path or entry.name, entry.mtime)
        self._path = None
        if self._pax_size is not None:
            size, self._pax_size = self._pax_size, None
        has_data = entry.isreg() or entry.type not in tarfile.SUPPORTED_TYPES
        length = _padded(size) if has_data else 0
        if entry.type == tarfile.GNUTYPE_SPARSE and block[482]:
            self._sparse = length
        else:
            self._skip = length

    def _extended(self) -> None:
        """Read what counts of an extended header: ``size`` (above 8 GiB) and ``path`` of the next entry."""
        data, self._extension = bytes(self._extension or b""), None
        if self._long_name:
            self._long_name, self._path = False, _text(data.partition(b"\0")[0])
            return
        at = 0
        while at < len(data) and data[at : at + 1].isdigit():
            length, _, _ = data[at : at + 20].partition(b" ")
            if not length.isdigit() or not int(length):
                return
            keyword, _, value = data[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
            if keyword == b"size" and value.isdigit():
                if len(value) > _LONGEST_SIZE:
                    raise damaged("the archive inside has an entry of unlikely length")
                self._pax_size = int(value)
            elif keyword == b"path":
                self._path = _text(value)
            at += int(length)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
