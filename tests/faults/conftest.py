"""Scenes for faults."""

from __future__ import annotations

import fcntl
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from pipeline.record import verify
from tests.faults import cluster as clusters
from tests.faults.replacing import Before, adopt, with_people
from tests.faults.scene import Scene
from tests.support import leftovers
from tests.support.balancer import in_front_of

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

RECORDINGS = 5


def port_of(stack: Stack, member: str) -> int:
    """The port of a stack's member; it stays over a restart."""
    port = urlsplit(stack.endpoint(member)).port
    assert port is not None
    return port


def set_up(stack: Stack, directory: Path) -> Scene:
    """A scene with a place of its own on a stack."""
    from tests.conftest import Place

    name = uuid.uuid4().hex[:12]
    (directory / "out").mkdir()
    return Scene(Place(stack, f"records/{name}", f"orgkey/{name}"), directory)


def traced_once(name: str, trace: Callable[[], list[str]]) -> list[str]:
    """What the first worker of a run that asks has traced, and the others read."""
    path = leftovers.run_directory() / f"{name}.json"
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if not (text := file.read()):
            text = json.dumps(trace())
            file.write(text)
    found: list[str] = json.loads(text)
    return found


def calls_of(
    stack: Stack,
    folders: pytest.TempPathFactory,
    member: str,
    port: Callable[[], int | None],
    cluster: clusters.Cluster | None = None,
) -> list[str]:
    """The requests of a clean escrow, in an order that every run has.

    It counts only where no server failed: a failure is asked again, and makes one request more.

    Args:
        stack: Where the record goes.
        folders: Makes the scene's directory.
        member: Whose requests: ``vault`` or ``s3``.
        port: Where it serves.
        cluster: What serves in place of the stack's Vault.
    """
    for _ in range(RECORDINGS):
        if cluster is not None:
            cluster.await_whole()
        with in_front_of(port) as balancer, set_up(stack, folders.mktemp("traced")) as scene:
            clusters.reroute(scene, cluster, **{member: balancer.url})
            ended = scene.run(scene.escrow())
            if not balancer.failures:
                assert ended.code == 0, ended
                return balancer.calls()
    raise AssertionError("a server failed in each recording")


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
    """The points of a clean escrow, sorted."""

    def trace() -> list[str]:
        with set_up(stack, tmp_path_factory.mktemp("traced")) as scene:
            ended = scene.run(scene.escrow())
            assert ended.code == 0, ended
            scene.check_whole()
            return scene.points()

    return traced_once("escrow", trace)


@pytest.fixture(scope="session")
def before(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    """The epoch that every test rotates, made once by each worker."""
    with with_people(set_up(stack, tmp_path_factory.mktemp("before"))) as scene:
        ended = scene.run(scene.escrow())
        assert ended.code == 0, ended
        (copies,) = scene.stored().values()
        context = scene.context()
        record = verify.verify_record(
            copies["vault"], context.fingerprint, deadline=context.deadline, now=context.clock.now()
        )
        yield Before(record, scene.state)


@pytest.fixture
def replacing(scene: Scene, before: Before) -> Scene:
    """A scene with that epoch."""
    adopt(with_people(scene), before)
    return scene


@pytest.fixture(scope="module")
def one_cluster() -> Iterator[clusters.Cluster]:
    """Three OpenBao servers for a module's tests: idle, they take a twentieth of a processor."""
    with clusters.running() as made:
        yield made


@pytest.fixture
def cluster(one_cluster: clusters.Cluster) -> clusters.Cluster:
    """The cluster, with all its servers running, unsealed and voting."""
    one_cluster.await_whole()
    return one_cluster


@pytest.fixture(scope="module")
def vault_calls(
    stack: Stack, one_cluster: clusters.Cluster, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """The requests to Vault of a clean escrow."""
    return traced_once(
        "calls-vault",
        lambda: calls_of(stack, tmp_path_factory, "vault", one_cluster.active_port, one_cluster),
    )


@pytest.fixture
def restarting_stack(breakable_stack: Stack) -> Stack:
    """A stack whose S3 is killed and started again."""
    return breakable_stack


@pytest.fixture(scope="session")
def s3_calls(shared_breakable_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The requests to S3 of a clean escrow."""
    stack = shared_breakable_stack
    return traced_once(
        "calls-s3", lambda: calls_of(stack, tmp_path_factory, "s3", lambda: port_of(stack, "s3"))
    )
