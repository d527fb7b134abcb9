"""gpg imports a re-wrapped key in one pass."""

from __future__ import annotations

import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.core.files import memory_root
from pipeline.openpgp.format import armor
from tests.support.commandline import quick_agent
from tests.support.rewrapping import NAMES, NEW, Export, loaded

# --- other programs read what is written ---


def gpg(home: Path, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["gpg", "--homedir", str(home), "--batch", "--no-tty", "--pinentry-mode", "loopback"]
    return subprocess.run([*command, *argv], input=stdin, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_gpg_imports_it_in_one_pass(name: str, export: Export, now: datetime) -> None:
    key = loaded(export, name, now)
    data = armor.armor(key.protect(NEW, s2k_count_octet=0xFF), "PRIVATE KEY BLOCK")
    with tempfile.TemporaryDirectory(prefix="t-", dir=memory_root()) as folder:
        home = quick_agent(Path(folder))
        try:
            done = gpg(home, "--import", stdin=data)
            assert done.returncode == 0, done.stderr.decode()
            listing = gpg(home, "--with-colons", "--list-secret-keys").stdout.decode().splitlines()
            rows = [line.split(":") for line in listing]
            kinds = [(row[0], row[14]) for row in rows if row[0] in ("sec", "ssb")]
            assert kinds == [("sec", "+"), ("ssb", "+")]
            assert key.fingerprint in [row[9] for row in rows if row[0] == "fpr"]
            word = home / "word"
            word.write_bytes(NEW.reveal())
            signed = gpg(home, "--passphrase-file", str(word), "--detach-sign", stdin=b"data")
            assert signed.returncode == 0, signed.stderr.decode()
        finally:
            subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], timeout=30, check=False)
