"""The witness's signature is checked by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipeline.core.secret import Secret
from pipeline.custody.shares import witness

RAW = Secret(bytes(range(32)))
RECORD = "0123456789abcdef" * 2


def test_openssl_accepts_the_signature(tmp_path: Path) -> None:
    (tmp_path / "pub.pem").write_text(witness.public_pem(RAW, RECORD))
    (tmp_path / "data").write_bytes(b"certificate")
    (tmp_path / "sig").write_bytes(witness.sign(RAW, RECORD, b"certificate"))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "pub.pem", "-rawin"]
    command += ["-in", "data", "-sigfile", "sig"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr
    (tmp_path / "data").write_bytes(b"another")
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert result.returncode != 0
