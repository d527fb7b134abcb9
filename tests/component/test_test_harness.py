"""The guards that every test runs under do guard."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]


def test_no_test_leaves_this_host() -> None:
    for address in (("192.0.2.1", 443), ("example.com", 443)):
        with socket.socket() as sock, pytest.raises(pytest.fail.Exception, match="tried to reach"):
            sock.connect(address)
    with socket.socket() as listener, socket.socket() as sock:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sock.connect(listener.getsockname())


def test_nothing_ambient_is_left() -> None:
    foreign = ("VAULT_", "BAO_", "AWS_PROFILE", "AWS_ACCESS", "ORGKEY_CONFIG", "GNUPGHOME")
    assert not [name for name in os.environ if name.startswith(foreign)]
    assert not any(Path(os.environ["HOME"]).iterdir())


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_a_skip_fails_in_ci(tmp_path: Path, ci: str, code: int) -> None:
    (tmp_path / "conftest.py").write_text((HERE / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text("import pytest\ndef test_it():\n    pytest.skip('no server')\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(HERE.parent)},
    )
    assert done.returncode == code, done.stdout
    if ci:
        assert "in CI a skip is a failure: Skipped: no server" in done.stdout
