"""What every test gets: a clean environment, no way out of this host, and the real servers of the stack."""

from __future__ import annotations

import gc
import ipaddress
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import forkserver, kms_server, leftovers, shared_botocore

if TYPE_CHECKING:
    from pipeline.devstack.outside import Outside
    from tests.support.local_stack import Stack

AMBIENT = ("VAULT_", "BAO_", "AWS_", "ORGKEY_", "GNUPG", "XDG_")
# One stack for the whole run: the controller names its directory, workers of pytest-xdist inherit it.
RUN_DIRECTORY = "ORGKEY_TESTS_RUN_DIRECTORY"
# The same examples in every run, however slow the machine is.
settings.register_profile(
    "orgkey", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("orgkey")
FAILED = pytest.StashKey[bool]()
LONG = (
    "tests/runbooks/", "tests/e2e/test_fleet_logins.py", "tests/e2e/test_kit.py", "tests/e2e/test_lab.py",
    "tests/e2e/test_verify_html.py",
)  # fmt: skip
"""Tests of which one takes ten seconds and more."""
_run_directory: Path | None = None
_cache: str = ""
_outside: Outside | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Choose the run's directory, and keep what the environment says of servers before it is cleaned."""
    from pipeline.devstack import processes
    from pipeline.devstack.outside import Outside
    from pipeline.devstack.programs import cache_root

    global _run_directory, _cache, _outside
    _cache, _outside = str(cache_root()), Outside.from_environment()
    forkserver.fork_children()
    kms_server.use()
    shared_botocore.use()
    if hasattr(config, "workerinput"):
        _run_directory = Path(os.environ[RUN_DIRECTORY])
        leftovers.join(_run_directory)
        # Each worker draws ports of its own: between the choice and the start another one might take them.
        worker, count = int(config.workerinput["workerid"][2:]), config.workerinput["workercount"]
        processes.PORTS = processes.PORTS[worker::count]
        config.args = _beginning_elsewhere(config.args, worker, count)
    else:
        _run_directory = leftovers.begin()
        os.environ[RUN_DIRECTORY] = str(_run_directory)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for no garbage meanwhile, which would take a third of the time: what is made stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Look for garbage between tests alone: that saves a twentieth, and no finalizer runs inside a test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def _beginning_elsewhere(named: list[str], worker: int, count: int) -> list[str]:
    """The files of tests, in another order for each worker, which finds compiled what others have read."""
    given = [(path, path.rglob("test_*.py") if path.is_dir() else ()) for path in map(Path, named)]
    files = [file for path, below in given for file in map(str, sorted(below) or [path])]
    first = len(files) * worker // count
    return files[first:] + files[:first]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have one order in all workers; first what takes longest alone, while the others still have work."""
    items.sort(key=lambda item: (not item.nodeid.startswith(LONG), item.path))


def pytest_unconfigure(config: pytest.Config) -> None:
    """The controller, last to leave, stops the stack that its workers shared, and what else still runs."""
    forkserver.end()
    if hasattr(config, "workerinput") or _run_directory is None:
        return
    leftovers.sweep(_run_directory)
    os.environ.pop(RUN_DIRECTORY, None)


def _no_skips(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI", "").lower() not in ("", "0", "false") and report.skipped:
        if hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"in CI a skip is a failure: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:  # the value sent in is the report
    report = yield
    _no_skips(report)  # type: ignore[arg-type]  # pluggy sends what the inner hooks returned
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed  # type: ignore[attr-defined]  # as above
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    _no_skips(report)  # type: ignore[arg-type]  # as above
    return report


def _loopback(address: object) -> bool:
    host = address[0] if isinstance(address, tuple) else None
    if not isinstance(host, str):
        return True  # AF_UNIX, netlink: not a network
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def _this_host_only() -> Iterator[None]:
    """Break every connection that would leave this host, however deep it is made."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        real = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any, real: Callable[..., Any] = real) -> Any:
            if not _loopback(address):
                # Not an OSError: the code under test would take that for a server that is down.
                pytest.fail(f"a test tried to reach {address!r}")
            return real(self, address)

        patch.setattr(socket.socket, name, guarded)
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def _errors_have_words() -> Iterator[None]:
    """Refuse an error on purpose that does not say what happened, or has no text for what to do."""
    from pipeline.core.errors import OrgkeyError

    real = OrgkeyError.__init__

    def worded(self: OrgkeyError, message: str, *, hint: str) -> None:
        words: tuple[object, object] = (message, hint)
        if not message or not all(isinstance(word, str) for word in words):
            # Not an exception that the code under test would take for a defect of something else.
            pytest.fail(f"{type(self).__name__} without words: {words}")
        real(self, message, hint=hint)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OrgkeyError, "__init__", worded)
        yield


@pytest.fixture(autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the user's: no setting of Vault, AWS or ours, no proxy, an empty home."""
    before = dict(os.environ)
    # Not numbered: for a number, pytest reads the names of all that it has made before.
    home = Path(tempfile.mkdtemp(prefix="home", dir=tmp_path_factory.getbasetemp()))
    for name in list(os.environ):
        if name.startswith(AMBIENT) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(
        HOME=str(home),
        XDG_CONFIG_HOME=str(home / "config"),
        XDG_STATE_HOME=str(home / "state"),
        XDG_CACHE_HOME=str(home / "cache"),
        XDG_DATA_HOME=str(home / "data"),
        AWS_EC2_METADATA_DISABLED="true",
        ORGKEY_STACK_CACHE=_cache,  # built once for all runs, so it is the user's own
    )
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The stack that all tests share: use places of your own on it (``place``), and leave it running."""
    from pipeline.devstack.progress import reporter
    from tests.support.local_stack import Stack

    assert _run_directory is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORGKEY_STACK_CACHE", _cache)
        made = Stack(_run_directory / "stack", report=reporter())
        made.up()  # safe to repeat: each worker says it, the first one starts it
    return made


@pytest.fixture(scope="session")
def kustomize() -> Path:
    """The program that builds Kubernetes manifests; built once, beside the servers."""
    from pipeline.devstack.build import ensure
    from pipeline.devstack.progress import reporter
    from tools.build import KUSTOMIZE

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORGKEY_STACK_CACHE", _cache)
        return ensure(KUSTOMIZE, reporter())


@pytest.fixture
def make_stack() -> Iterator[Callable[[], Stack]]:
    """Start further stacks (a second each), for tests that stop, pause or seal servers."""
    from tests.support.local_stack import Stack

    with ExitStack() as made:

        def make() -> Stack:
            directory = leftovers.directory("own-")
            made.callback(shutil.rmtree, directory, ignore_errors=True)
            stack = Stack(directory / "stack")
            made.callback(stack.down, wipe=True)
            stack.up()
            return stack

        yield make


@pytest.fixture
def own_stack(make_stack: Callable[[], Stack]) -> Stack:
    """A stack for this test alone: break it as you like."""
    return make_stack()


@pytest.fixture(scope="session")
def shared_breakable_stack() -> Iterator[Stack]:
    """The stack behind ``breakable_stack``, for fixtures of the session; started once by each worker."""
    from tests.support.local_stack import Stack

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORGKEY_STACK_CACHE", _cache)
        directory = leftovers.directory("breakable-")
        made = Stack(directory / "stack", outside=_outside)
        try:
            made.up()
            yield made
        finally:
            made.down(wipe=True)
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def breakable_stack(shared_breakable_stack: Stack, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack to stop, pause or seal servers of: use a place of your own on it; it is mended after each test.

    One that is to lose its keys or rights, or its data, is ``own_stack``.
    """
    yield shared_breakable_stack
    if request.node.stash.get(FAILED, False):  # nobody knows how it was left
        shared_breakable_stack.down(wipe=True)
    shared_breakable_stack.up()


@dataclass(frozen=True, slots=True)
class Place:
    """A corner of a stack that no other test touches.

    Attributes:
        stack: The stack.
        kv_prefix: Where its records lie in Vault's KV.
        s3_prefix: Where its records lie in the bucket.
    """

    stack: Stack
    kv_prefix: str
    s3_prefix: str

    def config(self, fingerprint: str | None = None) -> str:
        """The text of an orgkey.toml for it."""
        from pipeline.devstack.configfile import render

        return render(self.stack, fingerprint=fingerprint, kv_prefix=self.kv_prefix, s3_prefix=self.s3_prefix)

    def write_config(self, path: Path, fingerprint: str | None = None, *, more: str = "") -> Path:
        """Write that text to a file, 0600; ``more`` is added at its end."""
        path.write_text(self.config(fingerprint) + more)
        path.chmod(0o600)
        return path


@pytest.fixture
def fresh_place() -> Callable[[Stack], Place]:
    """Make places of one's own on any stack."""

    def make(stack: Stack) -> Place:
        name = uuid.uuid4().hex[:12]
        return Place(stack, f"records/{name}", f"orgkey/{name}")

    return make


@pytest.fixture
def place(stack: Stack, fresh_place: Callable[[Stack], Place]) -> Place:
    """A place of this test's own on the shared stack."""
    return fresh_place(stack)


@pytest.fixture
def stack_config(place: Place, tmp_path: Path) -> Path:
    """An orgkey.toml, without a pin, for a place of this test's own on the shared stack."""
    return place.write_config(tmp_path / "orgkey.toml")
