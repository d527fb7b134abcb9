"""Scenes for faults."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.scene import Scene

if TYPE_CHECKING:
    from pipeline.devstack.stack import Stack


def set_up(stack: Stack, directory: Path) -> Scene:
    """A scene with a place of its own on a stack."""
    from tests.conftest import Place

    name = uuid.uuid4().hex[:12]
    (directory / "out").mkdir()
    return Scene(Place(stack, f"records/{name}", f"orgkey/{name}"), directory)


@pytest.fixture
def make_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Stack], Scene]]:
    """Set up scenes on any stack."""
    with ExitStack() as made:
        yield lambda stack: made.enter_context(set_up(stack, tmp_path_factory.mktemp("scene")))


@pytest.fixture
def scene(make_scene: Callable[[Stack], Scene], stack: Stack) -> Scene:
    """A scene on the shared stack."""
    return make_scene(stack)


@pytest.fixture(scope="session")
def clean_points(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The points of a clean escrow, traced once by each worker; sorted, so that all have the same list."""
    with set_up(stack, tmp_path_factory.mktemp("traced")) as scene:
        ended = scene.run(scene.escrow())
        assert ended.code == 0, ended
        scene.check_whole()
        return scene.points()
