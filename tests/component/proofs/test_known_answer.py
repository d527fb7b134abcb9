"""An implementation that does not work on this host takes no part: a library's release is not a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pipeline.core import process
from pipeline.core.errors import Code
from pipeline.openpgp.proofs import known_answer, pgpy_child, sequoia_proof
from pipeline.openpgp.proofs.gnupg_proof import GnuPGProver
from pipeline.openpgp.proofs.pgpy_proof import PgpyProver
from pipeline.openpgp.proofs.sequoia_proof import SequoiaProver

if TYPE_CHECKING:
    from tests.component.proofs.conftest import Stored

    Keys = Callable[[str], Stored]

RETIRED = """
import warnings; warnings.simplefilter("ignore")
from cryptography.hazmat.primitives.ciphers import algorithms, modes
del algorithms.TripleDES, algorithms.Camellia, modes.CFB
"""
GONE = (
    RETIRED
    + """
from cryptography.hazmat.decrepit.ciphers import modes
del modes.CFB
"""
)


@pytest.fixture
def coming(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have children begin with some code, as if another release were installed there."""
    start = process.isolated

    def patch(code: str) -> None:
        def isolated(module: str, *arguments: str) -> list[str]:
            command = start(module, *arguments)
            at = command.index("-c") + 1
            return [*command[:at], code + command[at], *command[at + 1 :]]

        monkeypatch.setattr(process, "isolated", isolated)

    return patch


def test_pgpy_works_when_cryptography_has_dropped_the_old_names(
    stored: Keys, coming: Callable[[str], None]
) -> None:
    coming(RETIRED)
    proofs = stored("rsa2048-two-block").prove(provers=[PgpyProver(), SequoiaProver()])
    assert proofs.code is Code.OK, (proofs.problems, proofs.notes)
    assert "pgpy" in proofs.results["decrypt"].by


def test_pgpy_takes_no_part_when_they_are_gone_for_good(stored: Keys, coming: Callable[[str], None]) -> None:
    coming(GONE)
    proofs = stored("ed25519-two-block").prove(provers=[PgpyProver(), SequoiaProver(), GnuPGProver()])
    assert proofs.code is Code.OK, (proofs.problems, proofs.notes)
    assert proofs.results["sign"].by == ("sequoia", "gnupg")
    assert any(note.startswith("pgpy takes no part: it does not work here") for note in proofs.notes)


def test_the_names_are_there_where_pgpy_looks() -> None:
    import cryptography.hazmat.primitives.ciphers as place

    pgpy_child._restore_retired()
    assert hasattr(place.modes, "CFB")
    assert hasattr(place.algorithms, "TripleDES")
    assert hasattr(place.algorithms, "Camellia")


def test_an_implementation_that_computes_wrongly_takes_no_part(
    stored: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequoia_proof, "known_answer", _wrong())
    proofs = stored("ed25519-two-block").prove(provers=[SequoiaProver(), PgpyProver()])
    assert any(note.startswith("sequoia takes no part: it does not work here") for note in proofs.notes)
    assert proofs.code in (Code.OK, Code.DEGRADED)
    assert replace(proofs, single_ok=True).code is Code.OK


def _wrong() -> object:
    from types import SimpleNamespace

    names = ("SECRET", "PUBLIC", "MESSAGE", "SIGNATURE", "PASSPHRASE", "FINGERPRINT")
    other = {name: getattr(known_answer, name) for name in names}
    return SimpleNamespace(**other, ANSWER=known_answer.ANSWER + b"!")
