"""A world for each test, and one record that many may look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.authentic import Record
from tests.unit.core.inmemory import World


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
