"""Stored keypairs of every kind, as a drill gets them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.files import memory_root
from pipeline.core.secret import Secret
from pipeline.openpgp.format import protection
from pipeline.openpgp.gnupg.driver import GnuPG
from pipeline.openpgp.gnupg.home import agents_of, name_begins
from pipeline.openpgp.key import rewrap
from pipeline.openpgp.proofs import KeyProofs, prove
from tests.support.openpgp_writer import PASSPHRASE

ASSETS = Path(__file__).parents[2] / "assets" / "keys"


@dataclass(frozen=True)
class Stored:
    """A keypair under a fresh escrow passphrase, and its public part."""

    tsk: bytes
    public: bytes
    fingerprint: str
    passphrase: Secret

    def prove(self, **more: Any) -> KeyProofs:
        """Prove it, with defaults."""
        given: dict[str, Any] = {
            "tsk": self.tsk,
            "passphrase": self.passphrase,
            "public": self.public,
            "fingerprint": self.fingerprint,
            "deadline": Deadline(120),
            "now": datetime.now(UTC),
        }
        return prove(**given | more)


@cache
def wrapped(name: str) -> Stored:
    """Re-wrap one of the committed keys."""
    return _wrap((ASSETS / f"{name}.asc").read_bytes())


@cache
def weak() -> Stored:
    """A key whose self-signatures use SHA-1, as old servers made them."""
    with GnuPG(Deadline(120)) as gpg:
        options = ("--passphrase", "", "--cert-digest-algo", "SHA1")
        made = gpg.call(*options, "--quick-generate-key", "Old <old@example.com>", "rsa2048", "sign,cert")
        assert made.returncode == 0, made
        fingerprint = made.lines("KEY_CREATED")[0][1]
        added = gpg.call(*options, "--quick-add-key", fingerprint, "rsa2048", "encr")
        assert added.returncode == 0, added
        return _wrap(gpg.call("--passphrase", "", "--export-secret-keys").output)


def _wrap(data: bytes) -> Stored:
    opened = rewrap.unlock(data, Secret(PASSPHRASE))
    passphrase = Secret(secrets.token_hex(32))
    tsk = opened.protect(passphrase, s2k_count_octet=protection.ESCROW_COUNT_OCTET)
    return Stored(tsk, opened.public, opened.fingerprint, passphrase)


@pytest.fixture
def stored() -> Callable[[str], Stored]:
    """Re-wrapped keys by the name of their file, or ``weak``."""
    return lambda name: weak() if name == "weak" else wrapped(name)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """After every test, the failing ones included: no home and no agent of this program is left."""
    before = set(memory_root().glob(f"{name_begins(os.getpid())}*"))
    yield
    left = set(memory_root().glob(f"{name_begins(os.getpid())}*")) - before
    assert left == set(), left
    assert [agents_of(home) for home in left] == []


@pytest.fixture(autouse=True)
def _as_they_are(real_provers: None, full_stretching: None) -> None:
    """These tests are about the implementations themselves."""
