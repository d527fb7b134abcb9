"""What a report's bundle holds, and one of a real escrow."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.report import bundle as bundles
from pipeline.report.controls.assess import assess
from pipeline.report.model import Report
from tests.support.commandline import Desk

if TYPE_CHECKING:
    from tests.conftest import Place

STEM = "20260105T090000Z-4b078819-drilled-20260601T060000Z-aabbcc"
INDENT = "    "


@dataclass(frozen=True)
class Made:
    """A bundle of a real escrow.

    Attributes:
        data: The zip.
        report: What it is of.
        record: The record's own bytes, as a target's administrator has them.
        fingerprint: The key's.
    """

    data: bytes
    report: Report
    record: bytes
    fingerprint: str


_made: list[Made] = []


def made_once(place: Place, folder: Path) -> Made:
    """Made once in this process: an escrow with its drill, and one more with a verifier's nonce."""
    if not _made:
        desk = Desk(place, folder)
        epoch = desk.escrow()["epoch"]
        desk.ask("drill", "--nonce", "auditor-4711")
        _made.append(
            Made(
                *bundle_of(desk),
                desk.at_vault.target("driller").get(desk.slot(epoch)),
                desk.fingerprint,
            )
        )
    return _made[0]


def bundle_of(desk: Desk) -> tuple[bytes, Report]:
    from pipeline.cli.command import Invocation
    from pipeline.report.build import build

    call = Invocation(desk.config, desk.state, quiet=True)
    found = build(call.context())
    report = replace(found.report, controls=assess(found.report))
    root = desk.state / desk.fingerprint
    parts = bundles.Parts(
        root / "ledger", root / "certificates", found.public, bundles.renderings(report, found.posture)
    )
    path = desk.folder / "bundle.zip"
    bundles.write(path, report, parts)
    return path.read_bytes(), report


def unpack(data: bytes, path: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        # Programs take an entry that is shorter than the zip says, if its bytes are right; the page does not.
        assert all(len(archive.read(entry)) == entry.file_size for entry in archive.infolist())
        archive.extractall(path)
    return path


def blocks(page: Path) -> list[str]:
    """The commands of the page: runs of lines that begin with four spaces."""
    found: list[list[str]] = [[]]
    for line in page.read_text().splitlines():
        if line.startswith(INDENT):
            found[-1].append(line.removeprefix(INDENT))
        elif found[-1]:
            found.append([])
    return ["\n".join(lines) for lines in found if lines]


def files_of(data: bytes) -> dict[str, bytes]:
    """The files of a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def names(path: Path) -> dict[str, bytes]:
    if path.suffix == ".zip":
        return files_of(path.read_bytes())
    return {
        file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }
