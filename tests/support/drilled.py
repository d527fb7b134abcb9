"""A world in which a drill has just passed, and what a report says of it."""

from __future__ import annotations

from pipeline.core.errors import Code
from pipeline.report.build import build
from pipeline.report.model import Report
from pipeline.workflows.drill import DrillRequest, drill
from tests.support.inmemory import World


def drilled(world: World, policy: str = "") -> World:
    """Give a world a policy and a complete epoch, drilled a moment ago."""
    world.policy = policy
    world.store(world.mint())
    assert drill(world.context, DrillRequest()).code is Code.OK
    return world


def report(world: World) -> Report:
    """Its report."""
    return build(world.context).report


def gaps(world: World) -> str:
    """What its report says is lacking."""
    return " | ".join(report(world).verdict.gaps)
