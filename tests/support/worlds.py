"""A world for each test, and one record that many may look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.openpgp.format import protection
from pipeline.record.verify import Record
from tests.support.inmemory import World
from tests.support.provers import use_quick


@pytest.fixture
def real_provers() -> None:
    """Asked for by a test that is about GnuPG, PGPy and Sequoia as they are."""


@pytest.fixture
def full_stretching() -> None:
    """Asked for by a test that is about how a chosen passphrase is stretched."""


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proofs are made in this process and passphrases hardly stretched, unless a test asks otherwise."""
    if "real_provers" not in request.fixturenames:
        use_quick(monkeypatch)
    if "full_stretching" not in request.fixturenames:
        monkeypatch.setattr(protection, "MAX_COUNT_OCTET", protection.ESCROW_COUNT_OCTET)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three targets, two holders, an empty state directory."""
    return World(tmp_path / "state")


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[[str], World]:
    """Further hosts: each has a state directory of its own."""
    return lambda name: World(tmp_path / name)


@pytest.fixture(scope="session")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """An authentic record, made once."""
    return World(tmp_path_factory.mktemp("genuine")).mint()
