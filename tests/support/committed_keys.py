"""Keys for the tests of reading and re-wrapping."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.secret import Secret
from tests.support import openpgp_writer as writer

KEYS = Path(__file__).parents[1] / "assets" / "keys"


@pytest.fixture
def now() -> datetime:
    """A moment at which the committed keys are valid."""
    return datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def passphrase() -> Secret:
    """The committed keys' passphrase."""
    return Secret(writer.PASSPHRASE)


@pytest.fixture
def export() -> Callable[[str], bytes]:
    """A committed key's file."""
    return lambda name: (KEYS / f"{name}.asc").read_bytes()


@pytest.fixture
def packets() -> Callable[[str], list[writer.Packet]]:
    """The packets of a committed unprotected key."""
    return lambda name: writer.split(writer.dearmor((KEYS / f"{name}-unprotected.asc").read_text()))
