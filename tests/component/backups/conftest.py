"""Readers of messages, and the programs that write them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.secret import Secret
from pipeline.sources.backups import engine, gpg_engine, message_header
from pipeline.sources.backups.byte_stream import ByteStream
from pipeline.sources.backups.container import Contents
from pipeline.sources.backups.content import unwrapped
from pipeline.sources.backups.engine import NO_EXPECTATIONS, Expectations, ReadResult, SessionKey
from pipeline.sources.backups.session_keys import SessionKeys
from tests.support import openpgp_writer
from tests.support.commandline import quick_agent

KEYS = Path(__file__).parents[2] / "assets" / "keys"


class Collecting(Contents):
    """Keeps what it is fed."""

    def __init__(self, expected: Sequence[str] = ()) -> None:
        super().__init__(expected)
        self.data = bytearray()

    def feed(self, piece: memoryview | bytes) -> None:
        """Take the next piece."""
        self.data += piece
        super().feed(piece)


def pieces(data: bytes, size: int) -> ByteStream:
    """A stream in pieces of one size."""
    parts = iter([data[at : at + size] for at in range(0, len(data), size)])
    return ByteStream(lambda: next(parts, b""))


def read(
    data: bytes,
    key: SessionKey,
    by: str = "orgkey",
    size: int = 1 << 20,
    deadline: Deadline | None = None,
    expected: Expectations = NO_EXPECTATIONS,
) -> tuple[ReadResult, bytes]:
    """Read a message with one of the engines; what it says, and the content."""
    until = deadline or Deadline(300)
    about = message_header.read(unwrapped(pieces(data, size), Deadline(300)))
    contents = Collecting(expected.entries)
    reader = engine.read if by == "orgkey" else gpg_engine.read
    result = reader(unwrapped(pieces(data, size), until), about, key, until, contents, expected)
    return result, bytes(contents.data)


class Gpg:
    """A gpg home with the public keys of the assets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("rsa2048", "ed25519", "nistp256"):
            self.run("--import", str(KEYS / f"{name}-unprotected.asc"))

    def run(self, *argv: str, stdin: bytes = b"") -> bytes:
        """Run gpg."""
        command = ["gpg", "--homedir", str(self.path), "--batch", "--yes", "--no-tty", "--quiet"]
        command += ["--trust-model", "always", "--pinentry-mode", "loopback", "--passphrase", ""]
        done = subprocess.run([*command, *argv], input=stdin, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def encrypt(self, data: bytes, *options: str, to: tuple[str, ...] = ("rsa2048",)) -> bytes:
        """Encrypt to keys of the assets."""
        recipients = [word for name in to for word in ("--recipient", fingerprint(name))]
        return self.run(*recipients, *options, "--encrypt", stdin=data)


def fingerprint(name: str) -> str:
    """Of a key of the assets."""
    packets = openpgp_writer.split(openpgp_writer.dearmor((KEYS / f"{name}-unprotected.asc").read_text()))
    return openpgp_writer.fingerprint(packets[0][1])


@pytest.fixture(scope="session")
def gpg() -> Iterator[Gpg]:
    """A gpg home, for writing messages."""
    with tempfile.TemporaryDirectory(prefix="bk-") as folder:
        try:
            yield Gpg(quick_agent(Path(folder)))
        finally:
            subprocess.run(
                ["gpgconf", "--homedir", folder, "--kill", "all"],
                timeout=30,
                check=False,
                capture_output=True,
            )


@pytest.fixture(scope="session")
def session_key() -> Iterator[Callable[[bytes, str], SessionKey | None]]:
    """Gets a message's session key with a key of the assets, as the program does."""
    openers: dict[str, SessionKeys] = {}

    def get(message: bytes, name: str) -> SessionKey | None:
        if name not in openers:
            openers[name] = SessionKeys(
                (KEYS / f"{name}-unprotected.asc").read_bytes(),
                Secret(b""),
                fingerprint(name),
                Deadline(3600),
            )
            openers[name].__enter__()
        return openers[name].session_key(
            message_header.read(unwrapped(pieces(message, 1 << 20), Deadline(300)))
        )

    try:
        yield get
    finally:
        for opener in openers.values():
            opener.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def _as_they_are(real_provers: None, full_stretching: None) -> None:
    """These tests are about the implementations themselves."""
