"""S3 is killed at each request of an escrow, before it and after it, and started again."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from pipeline.devstack import processes
from tests.faults.cluster import reroute
from tests.faults.conftest import port_of
from tests.faults.scene import Scene
from tests.faults.test_kill_leader import LATER, complete
from tests.support.balancer import When, in_front_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.local_stack import Stack

CALLS = 8
"""How many requests to S3 a clean escrow makes. Whoever adds one changes this number, and has it swept."""


def kill(stack: Stack) -> None:
    """End versitygw at once, as a power cut would."""
    process = stack.state.members["s3"].process
    assert process
    processes.send(process, signal.SIGKILL)
    processes.stop(process)


def test_the_number_of_calls(s3_calls: list[str]) -> None:
    assert len(s3_calls) == CALLS, "\n".join(s3_calls)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(CALLS))
def test_killed_and_back_after_a_moment(
    number: int,
    when: When,
    s3_calls: list[str],
    restarting_stack: Stack,
    make_scene: Callable[[Stack], Scene],
) -> None:
    """The address refuses connections meanwhile: there is no balancer that answers in its place."""
    at, stack, scene = s3_calls[number], restarting_stack, make_scene(restarting_stack)
    back = threading.Timer(0.5, stack.start_member, ("s3",))

    def disaster() -> None:
        kill(stack)
        back.start()

    with in_front_of(lambda: port_of(stack, "s3")) as balancer:
        reroute(scene, None, s3=balancer.url)
        balancer.strike(at, when, disaster)
        ended = scene.run(scene.escrow())
        assert balancer.struck, at
        back.join()
        complete(ended, scene, at)


@pytest.mark.parametrize("number", range(CALLS))
def test_killed_and_back_only_after_the_run(
    number: int, s3_calls: list[str], restarting_stack: Stack, make_scene: Callable[[Stack], Scene]
) -> None:
    at, stack, scene = s3_calls[number], restarting_stack, make_scene(restarting_stack)
    with in_front_of(lambda: port_of(stack, "s3")) as balancer:
        reroute(scene, None, s3=balancer.url)
        balancer.strike(at, "before", lambda: kill(stack))
        ended = scene.run(scene.escrow())
        assert balancer.struck, at
        assert ended.code in LATER, "nothing is called complete while a target is down"
        stack.start_member("s3")
        complete(ended, scene, at)
