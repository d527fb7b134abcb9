"""Unit tests start no process: what needs one is a test of a component."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

STARTS = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
    }
)
_refused = False


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if _refused and event in STARTS:
        # Not an OSError: the code under test would take that for a program that is missing.
        pytest.fail(f"a unit test started a process: {event} {arguments[:2]}")


sys.addaudithook(_refuse)


@pytest.fixture(autouse=True)
def _no_process() -> Iterator[None]:
    global _refused
    _refused = True
    yield
    _refused = False
