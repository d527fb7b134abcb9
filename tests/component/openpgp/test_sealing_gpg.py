"""What a record's original is sealed with opens with gpg alone, and to nothing but its passphrase."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator

import pytest

from pipeline.core.errors import IntegrityProblem
from pipeline.core.secret import Secret
from pipeline.openpgp.key.sealing import seal, unseal
from tests.support import leftovers
from tests.support.commandline import end_gpg, gpg

PASSPHRASE = "ab" * 32
Opened = subprocess.CompletedProcess[bytes]


@pytest.fixture
def by_gpg() -> Iterator[Callable[..., Opened]]:
    home = leftovers.directory("sg-", memory=True)

    def opened(message: bytes, passphrase: str = PASSPHRASE) -> Opened:
        word = home / "word"
        word.write_text(passphrase)
        return gpg(
            home, "--status-fd", "2", "--passphrase-file", str(word), "--decrypt", stdin=message, check=False
        )

    yield opened
    end_gpg(home)


@pytest.mark.parametrize("size", [0, 1, 100, 191, 8_300, 100_000])
def test_gpg_and_this_program_open_it(size: int, by_gpg: Callable[..., Opened]) -> None:
    data = secrets.token_bytes(size)
    message = seal(data, Secret(PASSPHRASE.encode()))
    assert unseal(message, Secret(PASSPHRASE.encode())) == data
    done = by_gpg(message)
    assert (done.returncode, done.stdout) == (0, data), done.stderr.decode()
    assert b"DECRYPTION_OKAY" in done.stderr
    assert b"GOODMDC" in done.stderr


def test_no_two_messages_are_alike() -> None:
    one, other = (seal(b"data", Secret(PASSPHRASE.encode())) for _ in range(2))
    assert one != other
    assert data_of(one) != data_of(other)


def data_of(message: bytes) -> bytes:
    """What is encrypted, after the packet that says how the passphrase becomes a key (2 and 13 octets)."""
    return message[15:]


def test_another_passphrase_opens_it_nowhere(by_gpg: Callable[..., Opened]) -> None:
    message = seal(b"data", Secret(PASSPHRASE.encode()))
    with pytest.raises(IntegrityProblem):
        unseal(message, Secret(b"cd" * 32))
    assert by_gpg(message, "cd" * 32).returncode != 0


def test_a_changed_byte_is_found(by_gpg: Callable[..., Opened]) -> None:
    message = bytearray(seal(b"data" * 20, Secret(PASSPHRASE.encode())))
    message[-30] ^= 1
    with pytest.raises(IntegrityProblem):
        unseal(bytes(message), Secret(PASSPHRASE.encode()))
    assert by_gpg(bytes(message)).returncode != 0


def test_what_sequoia_wrote_in_earlier_records_still_opens() -> None:
    import pysequoia

    message = bytes(pysequoia.encrypt(b"data", recipients=[], passwords=[PASSPHRASE], armor=False))
    assert unseal(message, Secret(PASSPHRASE.encode())) == b"data"
