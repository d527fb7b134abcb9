"""Keys of every form and maker: what `inspect` calls ok is proven, what most refuse is refused with a reason.

Two implementations work in this process or in one child for all; GnuPG, which costs several programs for each
key, is asked only where one of those takes no part.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Code
from pipeline.core.secret import Secret
from pipeline.openpgp import signing
from pipeline.openpgp.format import protection
from pipeline.openpgp.key import inspection, rewrap
from pipeline.openpgp.proofs import KeyProofs, Prestarted, prove
from pipeline.openpgp.proofs.gnupg_proof import GnuPGProver
from pipeline.openpgp.proofs.interface import Prover
from pipeline.openpgp.proofs.pgpy_proof import PgpyProver
from pipeline.openpgp.proofs.sequoia_proof import SequoiaProver
from tests.support.key_forms import FORMS, SOON, Sig, sub, uid
from tests.support.openpgp_writer import PASSPHRASE

MAKERS = Path(__file__).parents[2] / "assets" / "keys" / "makers"
REFUSED = {
    "flags-of-zero": (16, "cannot certify"),
    "certify-only-without-signing": (16, "cannot sign"),
    "expired": (15, "expired"),
    "expired-subkey": (15, "encrypt has expired"),
    "self-signature-expired": (16, "no genuine self-signature"),
    "every-user-id-revoked": (16, "no genuine self-signature"),
    "direct-key-signature-alone": (16, "every user id"),
    "md5": (16, "no genuine self-signature"),
    "no-issuer": (16, "do not name who made them"),
    "critical-unknown-subpacket": (16, "critical subpacket 60"),
    "critical-unknown-subpacket-on-subkey": (16, "critical subpacket 60"),
    "critical-private-subpacket": (16, "critical subpacket 101"),
    "critical-notation": (16, "critical notation policy@example.com"),
    "critical-additional-decryption-key": (16, "subpacket 10 (additional decryption key)"),
    "critical-aead-preferences": (16, "critical subpacket 39"),
    "critical-intended-recipient": (16, "critical subpacket 35"),
    "openpgpjs6-curve25519": (19, "unknown algorithm 27"),
}
# Only GnuPG has these: the rule is 24, named.
SINGLE = {"gnupg24-brainpoolp256", "gnupg22-dsa1024"}
EXPIRED = {
    "expired": FORMS["expired"],
    "expired-with-preferences-of-the-future": replace(
        FORMS["expired"], uids=[uid(Sig(flags=3, expires=SOON, extra=(sub(21, bytes([14, 8])),)))]
    ),
}
NAMES = [*FORMS, *sorted(path.stem for path in MAKERS.glob("*.asc"))]


class KeptPgpy(PgpyProver):
    """PGPy in a child that serves all tests of this module."""

    def close(self) -> None:
        """The module ends it."""


@pytest.fixture(scope="module")
def pgpy() -> Iterator[KeptPgpy]:
    child = Prestarted()
    yield KeptPgpy(child)
    child.close()


def export(name: str) -> bytes:
    return FORMS[name].export() if name in FORMS else (MAKERS / f"{name}.asc").read_bytes()


def proven(data: bytes, pgpy: KeptPgpy, *more: Prover, accept: AbstractSet[str] = frozenset()) -> KeyProofs:
    """What `escrow` does with an export: re-wrap it, sign with it, prove it."""
    now = datetime.now(UTC)
    key = rewrap.load(data, Secret(PASSPHRASE), pin=None, now=now, accept=frozenset(accept))
    phrase = Secret(secrets.token_hex(32))
    tsk = key.protect(phrase, s2k_count_octet=protection.ESCROW_COUNT_OCTET)
    rewrap.prove_rewrap(key, tsk, phrase, Secret(PASSPHRASE))
    signing.sign_detached(tsk, phrase, key.public, b"a manifest", deadline=Deadline(60), now=now)
    provers: list[Prover] = [pgpy, SequoiaProver(), *more]
    return prove(tsk, phrase, key.public, key.fingerprint, deadline=Deadline(60), now=now, provers=provers)


@pytest.mark.parametrize("name", NAMES)
def test_inspect_and_the_proofs_agree(name: str, pgpy: KeptPgpy) -> None:
    data = export(name)
    found = inspection.inspect(data, passphrase=Secret(PASSPHRASE), now=datetime.now(UTC))
    if name in REFUSED:
        code, reason = REFUSED[name]
        assert int(found.code) == code, found.problems
        assert any(reason in problem["message"] for problem in found.problems), found.problems
        return
    assert found.ok, found.problems
    proofs = proven(data, pgpy)
    if proofs.code is not Code.OK:
        assert any("takes no part" in note for note in proofs.notes)
        proofs = proven(data, pgpy, GnuPGProver())
    # Two agree on everything, so at most one of the three refuses what is called ok.
    assert proofs.code is (Code.DEGRADED if name in SINGLE else Code.OK), (proofs.problems, proofs.notes)


@pytest.mark.parametrize("name", ["expired", "expired-with-preferences-of-the-future"])
def test_an_expired_key_is_proven_with_a_copy_that_this_program_signs(name: str, pgpy: KeptPgpy) -> None:
    """Also one that PGPy does not read: Sequoia and GnuPG agree."""
    proofs = proven(EXPIRED[name].export(), pgpy, GnuPGProver(), accept={"expired"})
    assert proofs.code is Code.OK, (proofs.problems, proofs.notes)
    assert proofs.expired_public
    assert "sequoia" in proofs.results["sign"].by
