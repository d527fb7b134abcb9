"""The parts of a run; each gets a machine of its own, on the same servers."""

from __future__ import annotations

from collections.abc import Callable

from tools.machine import by_hand, confinement, jobs, package, role, shells, troubles
from tools.machine.estate import Estate
from tools.machine.nspawn import Machine


def units(machine: Machine, estate: Estate) -> None:
    """A host that is set up by hand."""
    by_hand.install(machine)
    by_hand.set_up(machine, estate)
    by_hand.enable(machine, estate)
    jobs.each(machine, estate)
    jobs.by_the_clock(machine, estate)
    jobs.two_servers(machine, estate)
    confinement.seen(machine)
    confinement.drop_ins(machine, estate)
    troubles.server_down(machine, estate)
    troubles.needs_a_person(machine, estate)
    shells.runbook(machine, estate)
    shells.rotation_and_reboot(machine, estate)
    confinement.no_secret_was_told(machine, estate)


PARTS: dict[str, Callable[[Machine, Estate], None]] = {
    "units": units, "ansible": role.run, "package": package.run,
}  # fmt: skip
