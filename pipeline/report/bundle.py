"""The bundle: a report with everything that it rests on, in a folder or a zip, verifiable with four tools.

It holds the renderings, the ledger and the certificates byte for byte, the key's public part, the digests of
all files in ``SHA256SUMS``, and a page that says how to verify it. Files are read one after the other.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Final, Protocol

from pipeline.core import files
from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import LocalFilesProblem
from pipeline.evidence.ledger.store import HOST, NAME
from pipeline.evidence.ledger.verify import FORKS
from pipeline.report import verify_page
from pipeline.report.model import Report

_FORKED: Final = re.compile(r"[0-9]{9,18}-[0-9a-f]{16}\.json", re.ASCII)
_NAME: Final = re.compile(r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+)?", re.ASCII)
_OLDEST: Final = 1980
"""Zip knows no year before."""


@dataclass(frozen=True)
class Parts:
    """What goes into a bundle beside its manifest and its page.

    Attributes:
        ledger: The ledger's folder; every host's chain is taken whole, byte for byte.
        certificates: The certificates' folder; likewise.
        public: The pinned key's public part, in ASCII armor; ``None`` where nothing authentic is stored.
        renderings: The other files by their names in the bundle, for example ``report.html``.
    """

    ledger: Path
    certificates: Path
    public: bytes | None
    renderings: Mapping[str, bytes]


def renderings(report: Report, posture: bytes | None) -> dict[str, bytes]:
    """Every rendering of a report, by its name in a bundle.

    Args:
        report: The report, its controls computed.
        posture: The posture's document, where there is one.
    """
    from pipeline.report import model
    from pipeline.report.formats import csv, html, oscal, pdf

    found = {
        "report.html": html.render(report),
        "report.pdf": pdf.render(report),
        "report.json": model.render(report),
        "report.oscal.json": oscal.render(report),
        **{f"csv/{name}": data for name, data in csv.tables(report).items()},
    }
    return found if posture is None else found | {"posture.json": posture}


def write(path: Path, report: Report, parts: Parts) -> Digest:
    """Write a bundle, whole or not at all.

    Args:
        path: A new folder, or a new file whose name ends in ``.zip``.
        report: The report.
        parts: What goes in.

    Returns:
        The digest of its ``SHA256SUMS``, which stands for all of it.

    Raises:
        LocalFilesProblem: Something is there already, a file cannot be read, or the disk refuses.
    """
    if path.exists() or path.is_symlink():
        raise _exists(path)
    if path.suffix.lower() == ".zip":
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
            digest = _fill(_Zip(archive, report), report, parts)
        files.write_new(path, memory.getvalue(), mode=0o644)
        return digest
    return _folder(path, report, parts)


class _Sink(Protocol):
    def put(self, name: str, data: bytes) -> None:
        """Keep one file."""
        ...


class _Zip:
    """A zip whose bytes follow from its files and the report's time."""

    def __init__(self, archive: zipfile.ZipFile, report: Report) -> None:
        self._archive = archive
        at = report.generated.astimezone(UTC)
        self._time = (max(at.year, _OLDEST), at.month, at.day, at.hour, at.minute, at.second)

    def put(self, name: str, data: bytes) -> None:
        entry = zipfile.ZipInfo(name, self._time)
        entry.create_system = 3
        entry.external_attr = 0o100644 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        self._archive.writestr(entry, data)


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, data: bytes) -> None:
        file = self._root / name
        for folder in reversed([above for above in file.parents if above.is_relative_to(self._root)]):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)  # whatever the umask: it is made to be handed on
        with file.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        file.chmod(0o644)


def _folder(path: Path, report: Report, parts: Parts) -> Digest:
    """Fill a folder beside the place, then rename it; a rename never replaces what holds something."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.orgkey-tmp")
    try:
        temporary.mkdir()
        try:
            digest = _fill(_Folder(temporary), report, parts)
            if path.exists():
                raise _exists(path)
            temporary.rename(path)
            files.fsync_directory(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot write {path}: {error.strerror or error}",
            hint="check the directory's permissions and the free space",
        ) from error
    return digest


def _fill(sink: _Sink, report: Report, parts: Parts) -> Digest:
    """Put every file in its place, in the order of their names; the manifest comes last."""
    sources = _sources(parts)
    sources[verify_page.NAME] = verify_page.render(report, [*sources, verify_page.NAME])
    sums = []
    for name, source in sorted(sources.items()):
        data = _read(source) if isinstance(source, Path) else source
        sink.put(name, data)
        sums.append(f"{sha256(data).hex}  {name}\n")
    manifest = "".join(sums).encode()
    sink.put(verify_page.SUMS, manifest)
    return sha256(manifest)


def _sources(parts: Parts) -> dict[str, bytes | Path]:
    """Every file by its name. The ledger is listed last: no certificate names an entry that is not there."""
    found: dict[str, bytes | Path] = {}
    for name, data in parts.renderings.items():
        reserved = name in (verify_page.NAME, verify_page.SUMS, "public.asc")
        if reserved or name.startswith(("ledger/", "certificates/")) or not _NAME.fullmatch(name):
            raise ValueError(f"not a name for a rendering: {name}")
        found[name] = data
    if parts.public is not None:
        found["public.asc"] = parts.public
    for file in _listed(parts.certificates):
        if _NAME.fullmatch(file.name):
            found[f"certificates/{file.name}"] = file
    for folder in (parts.ledger, *_folders(parts.ledger)):
        form = _FORKED if folder.name == FORKS else NAME
        for file in _listed(folder):
            if form.fullmatch(file.name):
                found[f"ledger/{file.relative_to(parts.ledger)}"] = file
    return found


def _listed(folder: Path) -> Iterator[Path]:
    try:
        if folder.is_dir():
            yield from sorted(file for file in folder.iterdir() if file.is_file())
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot read {folder}: {error.strerror or error}", hint="check its permissions"
        ) from error


def _folders(ledger: Path) -> list[Path]:
    """The folder of each host, and what version 0.1 kept of forks."""
    if not ledger.is_dir():
        return []
    return sorted(
        path
        for path in ledger.iterdir()
        if path.is_dir() and (HOST.fullmatch(path.name) or path.name == FORKS)
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot read {path}: {error.strerror or error}", hint="check its permissions and its disk"
        ) from error


def _exists(path: Path) -> LocalFilesProblem:
    return LocalFilesProblem(
        f"{path} exists already", hint="nothing is ever overwritten; choose another name or move it away"
    )
