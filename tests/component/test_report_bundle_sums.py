"""sha256sum checks a report's bundle."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from pipeline.evidence.ledger.store import Ledger
from pipeline.report import bundle
from pipeline.report.bundle import Parts
from tests.support.bundles import STEM, names
from tests.support.sample_report import NOW, good


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    ledger = Ledger(tmp_path / "state", good().key.fingerprint)
    for number in range(3):
        ledger.append("drill", {"number": number}, now=NOW, run="run")
    certificates = tmp_path / "state" / "certificates"
    certificates.mkdir()
    for ending in (".json", ".json.asc", ".json.sig", ".witness.pem"):
        (certificates / f"{STEM}{ending}").write_bytes(ending.encode())
    (certificates / ".half.json.0123456789ab.orgkey-tmp").write_bytes(b"half")
    return Parts(
        tmp_path / "state" / "ledger", certificates, b"public", {"report.json": b"{}", "csv/x.csv": b"x\r\n"}
    )


def test_folder_and_zip_hold_the_same_files_each_in_the_manifest(parts: Parts, tmp_path: Path) -> None:
    digests = [bundle.write(tmp_path / name, good(), parts) for name in ("one", "one.zip")]
    folder, packed = names(tmp_path / "one"), names(tmp_path / "one.zip")
    assert folder == packed
    assert digests[0] == digests[1]
    assert digests[0].hex == hashlib.sha256(folder["SHA256SUMS"]).hexdigest()
    assert len([name for name in folder if name.startswith("ledger/")]) == 3
    assert len([name for name in folder if name.startswith("certificates/")]) == 4
    listed = {line[66:]: line[:64] for line in folder["SHA256SUMS"].decode().splitlines()}
    assert listed == {
        name: hashlib.sha256(data).hexdigest() for name, data in folder.items() if name != "SHA256SUMS"
    }
    checked = subprocess.run(
        ["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "one", timeout=30, check=False
    )
    assert checked.returncode == 0
