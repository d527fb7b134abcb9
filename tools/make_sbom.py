"""Writes ``sbom.cdx.json``: what a full install consists of (CycloneDX). Run: ``python -m tools.make_sbom``.

The packages are those of ``requirements-production.lock`` on Linux, with what each needs and its licence as
its metadata has them; beside them what lies inside the wheel itself: two scripts of the auditors' page. No
time and no place stands in it: the same lock file gives the same bytes.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline import __version__

ROOT = Path(__file__).parents[1]
SBOM = ROOT / "sbom.cdx.json"
LOCK = ROOT / "requirements-production.lock"
NOTICE = ROOT / "pipeline" / "report" / "offline" / "NOTICE.txt"
NAME = "orgkey-escrow"
EXTRAS = ("notify", "pdf")
"""What the lock file has besides the program's own needs."""
PYTHONS = ("3.11", "3.12", "3.13")
_PIN = re.compile(r"^([\w.-]+)==(\S+?)(?: ; (.+?))? \\$", re.MULTILINE)
_SCRIPT = re.compile(r'npm package "(\w+)" ([\d.]+), with the SHA-256\n(\w{64})')
_SCRIPT_LICENSES = {"openpgp": "LGPL-3.0-or-later", "fflate": "MIT"}
_NOT_ON_EACH = {"standard-imghdr": "PSF-2.0"}
"""Licences of what only some of the supported Pythons need: it is not installed here on the others."""


def locked() -> dict[str, str]:
    """Versions by name of what the lock file has for Linux, on any supported Python."""
    found: dict[str, str] = {}
    for name, version, marker in _PIN.findall(LOCK.read_text(encoding="utf-8")):
        if _applies(Requirement(f"{name} ; {marker}" if marker else name)):
            found[canonicalize_name(name)] = version
    return found


def render() -> str:
    """The document."""
    pins = locked()
    parts = {name: _package(name, version) for name, version in pins.items()}
    own = Component(
        name=NAME,
        version=__version__,
        type=ComponentType.APPLICATION,
        bom_ref=NAME,
        purl=PackageURL("pypi", None, NAME, __version__),
        supplier=OrganizationalEntity(name="the orgkey-escrow contributors"),
        licenses=[LicenseFactory().make_with_id("Apache-2.0")],
        components=[
            _script(name, version, digest)
            for name, version, digest in _SCRIPT.findall(NOTICE.read_text(encoding="utf-8"))
        ],
    )
    bom = Bom(
        metadata=BomMetaData(component=own),
        components=parts.values(),
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, f"{__version__} {sorted(pins.items())}"),
    )
    for component, extras in ((own, EXTRAS), *((part, _extras(name)) for name, part in parts.items())):
        bom.register_dependency(component, [parts[name] for name in _needs(component.name, extras, parts)])
    document = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    del document["metadata"]["timestamp"]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _package(name: str, version: str) -> Component:
    return Component(
        name=name,
        version=version,
        bom_ref=name,
        purl=PackageURL("pypi", None, name, version),
        licenses=[LicenseFactory().make_from_string(_license(name))],
        scope=ComponentScope.REQUIRED,
    )


def _script(name: str, version: str, digest: str) -> Component:
    return Component(
        name=name,
        version=version,
        bom_ref=f"npm:{name}",
        purl=PackageURL("npm", None, name, version),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        licenses=[LicenseFactory().make_from_string(_SCRIPT_LICENSES[name])],
    )


def _license(name: str) -> str:
    if name in _NOT_ON_EACH:
        return _NOT_ON_EACH[name]
    told = metadata.metadata(name)
    classified = [
        text.rpartition(" :: ")[2]
        for text in told.get_all("Classifier") or ()
        if text.startswith("License ::")
    ]
    # The whole text of a licence is not its name.
    written = [text for text in told.get_all("License") or () if 0 < len(text.strip()) < 60]
    return str([*(told.get_all("License-Expression") or ()), *written, *classified][0])


def _extras(name: str) -> tuple[str, ...]:
    """Which extras of a package the program asks for."""
    return tuple(
        extra
        for line in metadata.requires(NAME) or ()
        if canonicalize_name((one := Requirement(line)).name) == name
        for extra in sorted(one.extras)
    )


def _needs(name: str, extras: tuple[str, ...], parts: Mapping[str, Component]) -> list[str]:
    if name in _NOT_ON_EACH:
        return []
    wanted = (Requirement(line) for line in metadata.requires(name) or ())
    return sorted(
        {key for one in wanted if (key := canonicalize_name(one.name)) in parts and _applies(one, *extras)}
    )


def _applies(wanted: Requirement, *extras: str) -> bool:
    host = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    host["platform_python_implementation"] = "CPython"
    return wanted.marker is None or any(
        wanted.marker.evaluate(
            {**host, "extra": extra, "python_version": python, "python_full_version": f"{python}.0"}
        )
        for extra in ("", *extras)
        for python in PYTHONS
    )


if __name__ == "__main__":
    SBOM.write_text(render(), encoding="utf-8")
