"""What these tests share: a server for each worker with room for many namespaces, and one behind TLS.

They are ended with the last test of this folder, since a server costs processor time also when nobody asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.teams import Team
from tests.support.browser import browser  # noqa: F401 - a fixture
from tests.support.secure_stack import SecureStack, secure_stack

if TYPE_CHECKING:
    from tests.support.local_stack import Stack


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    from tests.support.local_stack import Stack

    made = Stack(tmp_path_factory.mktemp("infra") / "stack")
    try:
        made.up()
        yield made
    finally:
        made.down(wipe=True)


@pytest.fixture
def team(server: Stack, tmp_path: Path) -> Team:
    return Team(server, tmp_path)


@pytest.fixture(scope="module")
def made(server: Stack, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """A namespace that is as planned; each test leaves it so."""
    team = Team(server, tmp_path_factory.mktemp("made"))
    team.apply()
    return team


@pytest.fixture(scope="package")
def secure() -> Iterator[SecureStack]:
    """Servers that are reached by TLS, good ones and bad ones."""
    with pytest.MonkeyPatch.context() as patch:
        from tests import conftest

        patch.setenv("ORGKEY_STACK_CACHE", conftest._cache)
        with secure_stack() as made:
            yield made
