"""The recovery kit: a sheet for each custodian, a folder for the safe; nothing is secret in the clear."""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline import config as settings
from pipeline.archive.run import KeyScope
from pipeline.core import files
from pipeline.core.clock import stamp
from pipeline.core.digest import sha256
from pipeline.core.errors import LocalFilesProblem
from pipeline.evidence.ledger.events import KitEvent
from pipeline.record.recovery_guide import CHECK_TEXT
from pipeline.record.tar import PUBLIC, RECOVERY
from pipeline.record.verify import Record
from pipeline.workflows.checkin import Seat, seats
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
        UsageProblem: There is no such epoch.
    """
    if out.exists() or out.is_symlink():
        raise LocalFilesProblem(f"{out} exists already", hint="nothing is overwritten; name another folder")
    record = scope.archive("driller").catalog().record(epoch)
    try:
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot write into {out.parent}: {error.strerror or error}",
            hint="name another folder with --out",
        ) from error
    try:
        wheels = _safe(record, draft / "safe", with_bundle=with_bundle)
        sheets = _custodians(scope, record, draft / "custodians", paper)
        made = {
            str(path.relative_to(draft)): sha256(path.read_bytes()).hex
            for path in sorted(draft.rglob("*"))
            if path.is_file()
        }
        draft.rename(out)
        files.fsync_directory(out.parent)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise LocalFilesProblem(
            f"cannot write {out}: {error.strerror or error}", hint="check permissions and free space"
        ) from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
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
    _write(folder / RECORD_FILE, record.data)
    _write(folder / "public.asc", record.members[PUBLIC])
    _write(folder / "RECOVERY.txt", record.members[RECOVERY])
    _write(folder / "README.txt", _readme(record, with_bundle=with_bundle).encode())
    listed = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = "".join(f"{sha256(path.read_bytes()).hex}  {path.relative_to(folder)}\n" for path in listed)
    _write(folder / "SHA256SUMS", sums.encode())
    return len(wheels)


def _readme(record: Record, *, with_bundle: bool) -> str:
    text = f"""\
RECOVERY KIT, FOR THE SAFE
==========================

  Org Key     {record.fingerprint}
  epoch       {record.epoch}
  record id   {record.manifest.record_id}

record.tar is one copy of the stored record. It holds the Organization Key, encrypted: with the
shares of one custody path it gives the key back. RECOVERY.txt is the record's own description of
every path, with commands that need tar, gpg and shamir only.

Check the files:

    $ sha256sum --check SHA256SUMS

Compare the fingerprint above with one that you know from elsewhere before you trust anything here.
Then check the record, in bash, in an empty directory on a memory-backed file system, and before you
open its RECOVERY.txt. Go on only after AUTHENTIC; RECOVERY.txt goes on with its step 2:

    $ RECORD={Path("/media/kit/safe") / RECORD_FILE}
    $ FINGERPRINT={record.fingerprint}
{CHECK_TEXT}
"""
    if not with_bundle:
        return text
    return text + f"""
The program is in wheels/, with all that it needs, for Python {platform.python_version()} on
{platform.system()} {platform.machine()} ({platform.libc_ver()[0] or "no glibc"}).
It installs without network:

    $ python3 -m venv orgkey
    $ orgkey/bin/pip install --no-index --find-links wheels {bundle.NAME}=={__version__}

Then, in this directory, with the custodians at the machine (their shares are asked for one at a time):

    $ orgkey/bin/orgkey restore --record record.tar --fingerprint {record.fingerprint} \\
        --via PATH --out keypair.asc

PATH is one of: {", ".join(path.name for path in record.manifest.custody.paths)}
"""  # fmt: skip


# -- the custodians --------------------------------------------------------------------------------------


def _custodians(scope: KeyScope, record: Record, folder: Path, paper: str) -> tuple[Sheet, ...]:
    folder.mkdir(mode=0o700)
    people: dict[str, list[Seat]] = {}
    for seat in seats(record):
        if seat.kind == "openpgp":
            people.setdefault(seat.share.label, []).append(seat)
    return tuple(_custodian(scope, record, mine, folder, paper) for mine in people.values())


def _custodian(scope: KeyScope, record: Record, mine: list[Seat], folder: Path, paper: str) -> Sheet:
    from pipeline.printing import pdf

    first = mine[0]
    slug = re.sub(r"[^a-z0-9]+", "-", first.name.partition("<")[0].lower()).strip("-")[:30]
    own = folder / f"{first.share.label[-8:]}-{slug or 'custodian'}"
    own.mkdir(mode=0o700)
    for seat in mine:
        _write(own / _file(seat), record.members[seat.share.member])
    data = _sheet(scope, record, mine, paper)
    _write(own / "sheet.pdf", pdf.render("custodian", data, at=record.manifest.created))
    _write(own / "sheet.txt", _text(data).encode())
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
        "organization": _line(str(user_ids[0])),
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
        if isinstance(holder, settings.OpenpgpHolderConfig)
        for member in holder.members
    }
    found: dict[str, dict[str, str]] = {}
    for seat in seats(record):
        if seat.kind == "openpgp":
            member = known.get(seat.share.label)
            contact = member.contact if member else ""
            name = _line(seat.name)
            found[seat.share.label] = {
                "name": name.partition(" <")[0],
                "contact": _line(contact) or name.partition(" <")[2].removesuffix(">"),
                "short": seat.share.label[-16:],
            }
    return list(found.values())


def _text(data: Mapping[str, Any]) -> str:
    """The sheet's commands and facts, for copying."""
    lines = [
        "RECOVERY KIT OF A CUSTODIAN",
        f"{data['name']}, certificate {data['certificate']}",
        "",
        f"Org Key    {data['fingerprint_spaced']}",
        f"           {' '.join(data['words'])}",
        f"epoch      {data['epoch']}",
        f"record id  {data['record_id']}",
        "",
        "The sheet (sheet.pdf) says what this is and what never to do. Its commands, for copying:",
    ]
    for share in data["shares"]:
        lines += [
            "",
            f"Path {share['path']}: {share['needs']}; share {share['index']}, file {share['file']}",
            "",
            "Read it, in a ceremony only:",
            f"    $ {share['read']}",
            "Check it, without showing it:",
            f"    $ {share['check']}",
            "Send it, encrypted, to an operator whose certificate you have compared by telephone:",
            f"    $ {share['send']}",
        ]
    lines += ["", "Answer a check-in:", "    $ orgkey custody check --challenge FILE", "", "Whom to call:"]
    lines += [f"  {person['name']}, {person['contact']}, {person['short']}" for person in data["people"]]
    return "\n".join([*lines, ""])


def _line(text: str) -> str:
    """Foreign text as one printable line."""
    return "".join(char if char.isprintable() else "?" for char in text)[:200]


def _write(path: Path, data: bytes) -> None:
    files.write_new(path, data)
