"""The bundle: a report with everything that it rests on, in a folder or a zip, verifiable with four tools.

It holds the renderings, the ledger and the certificates byte for byte, the key's public part, the digests of
all files in ``SHA256SUMS``, a page that says how to verify it, and one that does it in a browser.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipeline.core import files
from pipeline.core.digest import Digest, sha256
from pipeline.evidence.ledger.store import NAME, listed
from pipeline.evidence.ledger.verify import FORKS
from pipeline.report import verify_page
from pipeline.report.model import Report
from pipeline.report.offline import page as offline
from pipeline.storage.ledger_mirror import HOST

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
    files.check_new(path)
    contents = _contents(report, parts)
    if path.suffix.lower() == ".zip":
        files.write_new(path, _zipped(contents, report.generated.astimezone(UTC)), mode=0o644)
    else:
        _write_folder(path, contents)
    return sha256(contents[verify_page.SUMS])


def _contents(report: Report, parts: Parts) -> dict[str, bytes]:
    """Every file by its name, in the order of the names; the manifest comes last.

    The ledger is read behind the certificates: none names an entry that is not there.
    """
    found = dict(parts.renderings)
    for name in found:
        reserved = name in (verify_page.NAME, verify_page.SUMS, offline.NAME, "public.asc")
        if reserved or name.startswith(("ledger/", "certificates/")) or not _NAME.fullmatch(name):
            raise ValueError(f"not a name for a rendering: {name}")
    if parts.public is not None:
        found["public.asc"] = parts.public
    for file in listed(parts.certificates):
        if _NAME.fullmatch(file.name):
            found |= _read(file, f"certificates/{file.name}")
    for folder in (parts.ledger, *filter(_of_ledger, listed(parts.ledger))):
        form = _FORKED if folder.name == FORKS else NAME
        for file in listed(folder):
            if form.fullmatch(file.name):
                found |= _read(file, f"ledger/{file.relative_to(parts.ledger)}")
    found[offline.NAME] = offline.render()
    found[verify_page.NAME] = verify_page.render(report, [*found, verify_page.NAME])
    found = dict(sorted(found.items()))
    sums = "".join(f"{sha256(data).hex}  {name}\n" for name, data in found.items())
    return found | {verify_page.SUMS: sums.encode()}


def _of_ledger(path: Path) -> bool:
    """Whether it is the folder of a host, or what version 0.1 kept of forks."""
    return path.is_dir() and (HOST.fullmatch(path.name) is not None or path.name == FORKS)


def _read(path: Path, name: str) -> dict[str, bytes]:
    if not path.is_file():
        return {}
    with files.os_errors(f"cannot read {path}", hint="check its permissions and its disk"):
        return {name: path.read_bytes()}


def _zipped(contents: Mapping[str, bytes], at: datetime) -> bytes:
    """A zip whose bytes follow from its files and the report's time."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, (max(at.year, _OLDEST), *at.timetuple()[1:6]))
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return memory.getvalue()


def _write_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Fill a folder beside the place, then rename it; a rename never replaces what holds something."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.orgkey-tmp")
    with files.os_errors(f"cannot write {path}", hint="check the directory's permissions and the free space"):
        temporary.mkdir()
        try:
            for name, data in contents.items():
                file = temporary / name
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("xb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                file.chmod(0o644)  # whatever the umask: it is made to be handed on
            for folder in (temporary, *filter(Path.is_dir, temporary.rglob("*"))):
                folder.chmod(0o755)
            if path.exists():
                raise files.taken(path)
            temporary.rename(path)
            files.fsync_directory(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
