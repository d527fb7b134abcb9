"""The recovery kit: a sheet for each custodian, a folder for the safe; nothing is secret in the clear."""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.archive.run import KeyScope
from pipeline.config.holders import OpenpgpHolderConfig
from pipeline.core import files
from pipeline.core.clock import stamp
from pipeline.core.digest import sha256
from pipeline.core.templates import filled
from pipeline.core.text import one_line
from pipeline.evidence.ledger.events import KitEvent
from pipeline.record.recovery_guide import CHECK_TEXT
from pipeline.record.tar import PUBLIC, RECOVERY
from pipeline.record.verify import Record
from pipeline.workflows.checkin import Seat, by_custodian, seats
from pipeline.workflows.kit import wheels as bundle

RECORD_FILE = "record.tar"


@dataclass(frozen=True)
class Sheet:
    """One custodian's part of a kit.

    Attributes:
        custodian: Fingerprint of the certificate.
        name: What the custodian is called.
        folder: Its folder, below the kit.
        paths: The custody paths on which the custodian has a share.
    """

    custodian: str
    name: str
    folder: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Kit:
    """A kit that was made.

    Attributes:
        epoch: The epoch that it is for.
        out: Its folder.
        sheets: The custodians' parts.
        files: SHA-256 of every file, by its name below the folder.
        wheels: How many wheels the offline bundle has; 0 without one.
    """

    epoch: str
    out: Path
    sheets: tuple[Sheet, ...]
    files: Mapping[str, str]
    wheels: int


def make(
    scope: KeyScope, out: Path, *, epoch: str | None = None, with_bundle: bool = True, paper: str = "a4"
) -> Kit:
    """Make the kit of one epoch from its stored copies.

    Args:
        scope: The run; the driller's logins read, and nothing is opened.
        out: The new folder.
        epoch: The epoch's name; the latest when ``None``.
        with_bundle: Whether the safe's folder gets this program.
        paper: ``a4`` or ``us-letter``.

    Raises:
        LocalFilesProblem: Something is there already, or cannot be written.
        ProgramMissing: Sheets cannot be set here.
        UsageProblem: There is no such epoch.
    """
    from pipeline.printing import pdf

    files.check_new(out)
    pdf.demand_typst()
    scope.require_room()
    catalog = scope.archive("driller").catalog()
    record = catalog.record(epoch)
    if epoch is None:
        for line in catalog.passed_over(record.epoch, known_false=scope.config.policy.known_false):
            scope.reporter.warn(line)
    with files.os_errors(f"cannot write into {out.parent}", hint="name another folder with --out"):
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    cannot = files.os_errors(f"cannot write {out}", hint="check permissions and free space")
    with ExitStack() as undo, cannot:
        undo.callback(shutil.rmtree, draft, ignore_errors=True)  # nothing, once it has its name
        wheels = _safe(record, draft / "safe", with_bundle=with_bundle)
        sheets = _custodians(scope, record, draft / "custodians", paper)
        made = {
            str(path.relative_to(draft)): sha256(path.read_bytes()).hex
            for path in sorted(draft.rglob("*"))
            if path.is_file()
        }
        draft.rename(out)
        files.fsync_directory(out.parent)
    custodians = tuple(sheet.custodian for sheet in sheets)
    scope.record_event(KitEvent(epoch=record.epoch, custodians=custodians, wheels=wheels))
    return Kit(record.epoch, out, sheets, made, wheels)


# -- the safe ----------------------------------------------------------------------------------------


def _safe(record: Record, folder: Path, *, with_bundle: bool) -> int:
    """The record, how to recover from it, and what with; returns how many wheels."""
    folder.mkdir(mode=0o700)
    wheels: list[Path] = []
    if with_bundle:
        (folder / "wheels").mkdir()
        wheels = bundle.write(folder / "wheels")
    files.write_new(folder / RECORD_FILE, record.data)
    files.write_new(folder / "public.asc", record.members[PUBLIC])
    files.write_new(folder / "RECOVERY.txt", record.members[RECOVERY])
    program = f"{bundle.NAME}=={__version__}" if with_bundle else ""
    readme = filled(
        __package__, "safe.txt.j2", record=record, check=CHECK_TEXT, program=program, platform=platform
    )
    files.write_new(folder / "README.txt", readme.encode())
    listed = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = "".join(f"{sha256(path.read_bytes()).hex}  {path.relative_to(folder)}\n" for path in listed)
    files.write_new(folder / "SHA256SUMS", sums.encode())
    return len(wheels)


# -- the custodians --------------------------------------------------------------------------------------


def _custodians(scope: KeyScope, record: Record, folder: Path, paper: str) -> tuple[Sheet, ...]:
    folder.mkdir(mode=0o700)
    people = by_custodian(seat for seat in seats(record) if seat.kind == "openpgp")
    return tuple(_custodian(scope, record, mine, folder, paper) for mine in people.values())


def _custodian(scope: KeyScope, record: Record, mine: list[Seat], folder: Path, paper: str) -> Sheet:
    from pipeline.printing import pdf

    first = mine[0]
    slug = re.sub(r"[^a-z0-9]+", "-", first.name.partition("<")[0].lower()).strip("-")[:30]
    own = folder / f"{first.share.label[-8:]}-{slug or 'custodian'}"
    own.mkdir(mode=0o700)
    for seat in mine:
        files.write_new(own / _file(seat), record.members[seat.share.member])
    data = _sheet(scope, record, mine, paper)
    files.write_new(own / "sheet.pdf", pdf.render("custodian", data, at=record.manifest.created))
    files.write_new(own / "sheet.txt", filled(__package__, "sheet.txt.j2", **data).encode())
    return Sheet(
        first.share.label, first.name, f"custodians/{own.name}", tuple(seat.path.name for seat in mine)
    )


def _file(seat: Seat) -> str:
    same = sum(other.path.name == seat.path.name for other in seats(seat.record)) > len(
        seat.path.shares_of(seat.share.holder)
    )
    return f"{seat.path.name}-{seat.share.holder}.asc" if same else f"{seat.path.name}.asc"


def _sheet(scope: KeyScope, record: Record, mine: list[Seat], paper: str) -> dict[str, Any]:
    """The facts of one custodian's sheet."""
    from pipeline.printing import pdf, words

    first = mine[0]
    user_ids = record.manifest.key.get("user_ids") or ["(no user id)"]
    return {
        "paper": paper,
        "name": first.name,
        "certificate": pdf.spaced(first.share.label),
        "organization": one_line(str(user_ids[0])),
        "epoch": record.epoch,
        "record_id": record.manifest.record_id,
        "created": stamp(record.manifest.created),
        "fingerprint_spaced": pdf.spaced(record.fingerprint),
        "words": list(words.spoken(record.fingerprint)),
        "qr": pdf.qr(record.fingerprint),
        "shares": [_share(seat) for seat in mine],
        "people": _people(scope, record),
    }


def _share(seat: Seat) -> dict[str, Any]:
    file = shlex.quote(_file(seat))
    place = seat.place
    facts = (seat.share.salt, place.record_id, place.path, place.holder, str(place.index))
    needs = [
        need.holder if need.size == 1 else f"{need.threshold} of {need.size} {need.holder}"
        for need in seat.path.needs
    ]
    return {
        "path": seat.path.name,
        "needs": " and ".join(needs),
        "index": seat.share.index,
        "file": _file(seat),
        "read": f"gpg --decrypt {file}",
        "check": f"WORDS=$(gpg --quiet --decrypt {file}); printf '%s\\n' {shlex.join(facts)} \"$WORDS\" | "
        f"sha256sum | grep -q '^{seat.share.commitment}' && echo \"the share is right\"; unset WORDS",
        "send": f"gpg --quiet --decrypt {file} | gpg --armor --encrypt --recipient OPERATOR",
    }


def _people(scope: KeyScope, record: Record) -> list[dict[str, str]]:
    """Everybody in the custodians' groups, with what the configuration says of how to reach them."""
    known = {
        member.fingerprint: member
        for holder in scope.config.holder.values()
        if isinstance(holder, OpenpgpHolderConfig)
        for member in holder.members
    }
    found: dict[str, dict[str, str]] = {}
    for seat in seats(record):
        if seat.kind == "openpgp":
            member = known.get(seat.share.label)
            contact = member.contact if member else ""
            name = one_line(seat.name)
            found[seat.share.label] = {
                "name": name.partition(" <")[0],
                "contact": one_line(contact) or name.partition(" <")[2].removesuffix(">"),
                "short": seat.share.label[-16:],
            }
    return list(found.values())
