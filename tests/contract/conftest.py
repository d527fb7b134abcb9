from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from pipeline.storage.interface import Slot
from tests.support.local_stack import Stack
from tests.support.target_places import DirectoryPlace, Place, S3Place, VaultPlace


@pytest.fixture
def contract_stack(breakable_stack: Stack) -> Stack:
    """One that may be broken: this suite seals, pauses and stops its servers."""
    return breakable_stack


@pytest.fixture
def prefix() -> str:
    return secrets.token_hex(6)


@pytest.fixture
def vault_place(contract_stack: Stack, prefix: str) -> VaultPlace:
    return VaultPlace(contract_stack, prefix)


@pytest.fixture
def s3_place(contract_stack: Stack, prefix: str) -> S3Place:
    return S3Place(contract_stack, prefix)


@pytest.fixture
def directory_place(tmp_path: Path) -> DirectoryPlace:
    top = tmp_path / "place"
    top.mkdir(mode=0o700)
    return DirectoryPlace(top)


@pytest.fixture(params=["directory", "vault", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture(params=["vault", "s3"])
def server_place(request: pytest.FixtureRequest) -> VaultPlace | S3Place:
    found: VaultPlace | S3Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def slot() -> Slot:
    return Slot(secrets.token_hex(20).upper(), f"20260131T080000Z-{secrets.token_hex(4)}")
