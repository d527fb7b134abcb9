"""Finds secrets where they must not be: in any spelling, in files, outputs, processes and stored objects."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

BY_HAND = "ORGKEY_TESTS_BY_HAND"
"""A variable of who sets logins by hand for commands of other tests; their processes are not looked at."""
SLICE = 24
"""Of a longer secret a middle part of this many bytes is looked for: whole or cut, it is a leak."""
LARGEST_FILE = 4 * 1024 * 1024


@dataclass(frozen=True)
class Leak:
    """A secret in a place where it must not be.

    Attributes:
        secret: Its name.
        spelling: How it is written there.
        where: The file, stream or process.
    """

    secret: str
    spelling: str
    where: str


class Searcher:
    """Knows secrets by name, and every spelling of them that is looked for.

    Args:
        secrets: Their bytes, by name.
    """

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._needles = {
            (name, spelling): needle
            for name, secret in secrets.items()
            for spelling, needle in spellings(secret)
        }

    def search(self, data: bytes, where: str) -> set[Leak]:
        """Look for all secrets in one place."""
        return {
            Leak(name, spelling, where)
            for (name, spelling), needle in self._needles.items()
            if needle in data
        }

    def search_files(self, roots: Iterable[Path], *, but: Iterable[Path] = ()) -> set[Leak]:
        """Look into all files below some directories, in their names too, but for those named."""
        left_out, found = {path.resolve() for path in but}, set()
        for path in _files(roots):
            if path.resolve() not in left_out:
                found |= self.search(os.fsencode(path), f"name of {path}")
                found |= self.search(_read(path), str(path))
        return found


def spellings(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """The forms of a secret: as it stands, normalised, in hexadecimal, base64 at any alignment, escaped."""
    forms = {"raw": secret}
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        pass
    else:
        forms["NFC"] = unicodedata.normalize("NFC", text).encode()
        forms["NFD"] = unicodedata.normalize("NFD", text).encode()
        forms["latin-1"] = text.encode("latin-1", "replace")
        forms["utf-16"] = text.encode("utf-16-le")
        forms["percent"] = quote(text, safe="").encode()
        forms["escaped"] = text.encode("unicode_escape")
        forms["json"] = json.dumps(text)[1:-1].encode()
    forms["repr"] = repr(secret)[2:-1].encode()
    for name, form in forms.items():
        yield name, form
        if name in ("percent", "escaped", "json", "repr"):
            continue
        part = _middle(form)
        yield f"{name}, part", part
        yield f"{name}, reversed", part[::-1]
        yield f"{name}, hexadecimal", part.hex().encode()
        yield f"{name}, HEXADECIMAL", part.hex().upper().encode()
        for shift in range(3):
            for kind, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
                # The characters that the secret shares with its neighbours are left out.
                first, last = -(-shift * 8 // 6), (shift + len(part)) * 8 // 6
                yield f"{name}, {kind} at {shift}", encode(bytes(shift) + part)[first:last]
    if not secret.isascii():
        yield "decimal", str(int.from_bytes(secret, "big")).encode()
        yield "decimal, little-endian", str(int.from_bytes(secret, "little")).encode()


def _middle(secret: bytes) -> bytes:
    start = max(0, (len(secret) - SLICE) // 2)
    return secret[start : start + SLICE]


def _files(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        if root.is_file():
            yield root
        for folder, _, names in os.walk(root):
            yield from (Path(folder) / name for name in names)


def _read(path: Path) -> bytes:
    """A regular file's bytes; nothing where it went away, or is a pipe or socket."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return b""
    with os.fdopen(handle, "rb") as stream:
        try:
            return stream.read(LARGEST_FILE) or b""
        except OSError:
            return b""


@dataclass
class Sampler:
    """Looks, while commands run, at the arguments and environments of all processes and at temporary files.

    A context manager; what it has seen is searched afterwards, so that sampling stays quick.

    Attributes:
        roots: Directories whose files are looked at.
        prefixes: In shared temporary directories, only entries that begin so.
        but: Except those that begin so.
        seen: What was seen: where it was, and the bytes.
    """

    roots: tuple[Path, ...]
    prefixes: tuple[str, ...] = ("orgkey",)
    # Whole stacks of other tests, which are searched elsewhere, and demos.
    but: tuple[str, ...] = (
        "orgkey-tests-",
        "orgkey-own-",
        "orgkey-demo.",
        "orgkey-tls-",
        "orgkey-cluster-",
        "orgkey-auditor-",
    )
    seen: dict[tuple[str, bytes], None] = field(default_factory=dict)
    rounds: int = 0
    _looks: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def leaks(self, searcher: Searcher) -> set[Leak]:
        """Search everything that was seen."""
        return {leak for where, data in self.seen for leak in searcher.search(data, where)}

    def look(self) -> None:
        """Look once at everything."""
        with self._looks:
            self._processes()
            for root in self._places():
                for path in _files([root]):
                    self._note(str(path), _read(path))
            self.rounds += 1

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            time.sleep(0.01)

    def _note(self, where: str, data: bytes) -> None:
        if data:
            self.seen[where, data] = None

    def _places(self) -> Iterator[Path]:
        yield from self.roots
        for shared in (Path("/tmp"), Path("/dev/shm")):
            if shared.is_dir():
                for path in shared.iterdir():
                    if path.name.startswith(self.prefixes) and not path.name.startswith(self.but):
                        yield path

    def _processes(self) -> None:
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                for part in ("cmdline", "environ"):
                    try:
                        data = Path(entry.path, part).read_bytes()
                    except OSError:
                        continue  # it ended, or is not ours to look at
                    if BY_HAND.encode() not in data:
                        self._note(f"{part} of process", data)
