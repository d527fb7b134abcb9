"""An offline bundle of this program: wheels of it and of all that it needs, made from what is installed.

A recovery kit must work on a machine without network, with exactly the code that was tested. So the wheels
are packed again from the installed files (PyPA's specifications of recorded installs and of wheels), not
downloaded. They fit the same Python and platform as this installation.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from pipeline.core.errors import LocalFilesProblem
from pipeline.core.files import os_errors

NAME: Final = "orgkey-escrow"
_SKIPPED: Final = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""Zip's earliest time: the same files give the same bytes."""


def write(folder: Path) -> list[Path]:
    """Write the wheels.

    Args:
        folder: An existing, empty folder.

    Returns:
        The files, by name.

    Raises:
        LocalFilesProblem: Something that is needed is not installed as it should be.
    """
    return sorted(_pack(one, folder) for one in closure())


def closure() -> list[metadata.Distribution]:
    """This program's distribution and all that it requires here, extras for the lab and developers left out.

    Raises:
        LocalFilesProblem: Something is not installed.
    """
    from packaging.requirements import Requirement

    found: dict[str, metadata.Distribution] = {}
    wanted: list[tuple[str, frozenset[str]]] = [(NAME, frozenset())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        name, extras = item = wanted.pop()
        if item in seen:
            continue
        seen.add(item)
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key not in found:
            try:
                found[key] = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                raise LocalFilesProblem(
                    f"{name} is not installed, and a bundle without it would not work",
                    hint="install orgkey-escrow again, or leave the bundle out with --no-bundle",
                ) from None
        for text in found[key].requires or ():
            need = Requirement(text)
            chosen = extras or {""}
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in chosen):
                wanted.append((need.name, frozenset(need.extras)))
    return [found[key] for key in sorted(found)]


def _pack(one: metadata.Distribution, folder: Path) -> Path:
    """Write one distribution as a wheel."""
    name = re.sub(r"[-_.]+", "_", one.metadata["Name"])
    info = f"{name}-{one.version}.dist-info"
    members = dict(sorted(_members(one, info)))
    path = folder / f"{name}-{one.version}-{_tags(members[f'{info}/WHEEL'])}.whl"
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    for member, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow((member, f"sha256={digest}", len(data)))
    rows.writerow((f"{info}/RECORD", "", ""))
    members[f"{info}/RECORD"] = record.getvalue().encode()
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            entry = zipfile.ZipInfo(member, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            # The lowest level: half of the time, and a fourteenth more bytes.
            archive.writestr(entry, data, compresslevel=1)
    return path


def _members(one: metadata.Distribution, info: str) -> Iterator[tuple[str, bytes]]:
    """The files of a wheel, by name."""
    editable = '"editable": true' in (one.read_text("direct_url.json") or "").replace('":true', '": true')
    for file in one.files or ():
        parts = file.parts
        if ".." in parts or "__pycache__" in parts or file.suffix == ".pyc" or file.name in _SKIPPED:
            continue  # entry points are scripts that installing makes anew
        if parts[0].endswith(".dist-info"):
            yield "/".join((info, *parts[1:])), _read(Path(str(file.locate())))
        elif not editable:
            yield "/".join(parts), _read(Path(str(file.locate())))
    if editable:
        yield from _checkout()


def _checkout() -> Iterator[tuple[str, bytes]]:
    """This program's own files where it runs from a checkout, as its wheel has them."""
    from pipeline.core.resources import docs_path, infra_path

    package = Path(__file__).resolve().parents[2]
    roots = ((package, "pipeline"), (infra_path(), "pipeline/_infra"), (docs_path(), "pipeline/_docs"))
    for root, prefix in roots:
        for path in sorted(root.rglob("*")):
            inner = path.relative_to(root)
            if path.is_file() and "__pycache__" not in inner.parts and path.suffix != ".pyc":
                yield f"{prefix}/{inner.as_posix()}", _read(path)


def _tags(wheel: bytes) -> str:
    """The compressed tag set of the file's name, from the WHEEL file's own tags."""
    tags = re.findall(r"^Tag: *(\S+)-(\S+)-(\S+) *$", wheel.decode(), re.MULTILINE)
    if not tags:
        raise LocalFilesProblem(
            "an installed wheel has no tags", hint="leave the bundle out with --no-bundle"
        )
    return "-".join(".".join(dict.fromkeys(column)) for column in zip(*tags, strict=True))


def _read(path: Path) -> bytes:
    hint = "install orgkey-escrow again, or leave the bundle out with --no-bundle"
    with os_errors(f"cannot read {path}", hint=hint):
        return path.read_bytes()
