"""What is published beside the program: bill of materials, sums, provenance, signatures."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from pipeline.evidence.statement import STATEMENT
from tests.support import leftovers
from tools import make_sbom
from tools.packages.build import digest
from tools.release import make

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_bill_of_materials_is_what_the_lock_file_says() -> None:
    text = make_sbom.SBOM.read_text(encoding="utf-8")
    assert text == make_sbom.render(), "run: make generate"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_the_bill_of_materials_names_what_is_installed_and_what_each_part_needs() -> None:
    document = json.loads(make_sbom.SBOM.read_text(encoding="utf-8"))
    parts = {part["name"]: part for part in document["components"]}
    for name, part in parts.items():
        if name not in make_sbom._NOT_ON_EACH:
            assert part["version"] == metadata.version(name)
        assert part["licenses"], name
    own = document["metadata"]["component"]
    assert {script["name"] for script in own["components"]} == {"openpgp", "fflate"}
    needs = {one["ref"]: set(one.get("dependsOn", ())) for one in document["dependencies"]}
    reached, todo = set(), {own["bom-ref"]}
    while todo:
        name = todo.pop()
        reached.add(name)
        todo |= needs[name] - reached
    assert reached - {own["bom-ref"]} == set(parts), "something is locked that nothing needs"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of gpg with a key that signs."""
    made = leftovers.directory("release-")
    monkeypatch.setenv("GNUPGHOME", str(made))
    words = ["--passphrase", "", "--quick-generate-key", "Release of a test", "ed25519", "sign"]
    subprocess.run(["gpg", "--batch", "--quiet", *words], check=True, timeout=60)
    yield made
    subprocess.run(["gpgconf", "--kill", "all"], check=True, timeout=60)


def test_sums_provenance_and_signatures_hold_for_what_is_published(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    for name in ("a.whl", "a.tar.gz", "sbom.cdx.json"):
        (folder / name).write_text(name)
    make.describe(folder, make.predicate(COMMIT, "1"))
    make.sign(folder, "")
    assert "not signed" in capsys.readouterr().err
    assert not list(folder.glob("*.asc"))

    listed = subprocess.run(
        ["gpg", "--batch", "--list-keys", "--with-colons"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    fingerprint = re.findall(r"^fpr:+(\w+):", listed.stdout, re.MULTILINE)[0]
    make.sign(folder, fingerprint)
    told = json.loads((folder / "provenance.json").read_bytes())
    assert (told["_type"], told["predicateType"]) == (STATEMENT, "https://slsa.dev/provenance/v1")
    assert {one["name"]: one["digest"]["sha256"] for one in told["subject"]} == {
        name: digest(folder / name) for name in ("a.whl", "a.tar.gz", "sbom.cdx.json")
    }
    source, *tools = told["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": COMMIT}
    assert any(one["uri"].startswith("pkg:pypi/hatchling@") for one in tools)

    def ends(*words: str) -> int:
        return subprocess.run(words, cwd=folder, capture_output=True, check=False, timeout=60).returncode

    for name in make.SIGNED:
        assert ends("gpg", "--verify", f"{name}.asc", name) == 0
    assert ends("sha256sum", "--check", "--strict", make.SUMS) == 0
    assert {line.split()[1] for line in (folder / make.SUMS).read_text().splitlines()} == {
        path.name for path in folder.iterdir() if path.suffix != ".asc" and path.name != make.SUMS
    }
    (folder / "a.whl").write_text("another")
    assert ends("sha256sum", "--check", "--strict", make.SUMS) == 1
    (folder / make.SUMS).write_text((folder / make.SUMS).read_text().replace("a", "b"))
    assert ends("gpg", "--verify", f"{make.SUMS}.asc", make.SUMS) == 1
