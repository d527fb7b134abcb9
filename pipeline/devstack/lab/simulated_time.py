"""Simulated time of the stand-in server, and what the server does by itself meanwhile."""

from __future__ import annotations

from pipeline.core.clock import stamp
from pipeline.devstack.lab import backup
from pipeline.devstack.lab.server import DAY, LabServer


def tick(server: LabServer) -> list[str]:
    """Do what is due at this moment: renew the Org Key, make a scheduled backup.

    Returns:
        What was done, in words.
    """
    done = ["the Org Key renewed itself"] if server.renew() else []
    now, due = server.state.now(), server.state.data.schedule
    if due and now >= due.next:
        made = backup.make(server, due.to, **due.how)
        later = due.model_copy(update={"next": now + due.days * DAY})
        server.state.change(schedule=later)
        done.append(f"backup {made}")
    return done


def advance(server: LabServer, days: float) -> list[str]:
    """Let time pass, day by day.

    Args:
        server: Whose.
        days: How many.

    Returns:
        What the server did meanwhile, in words.
    """
    done = []
    while days > 0:
        step = min(1.0, days)
        days -= step
        passed = server.state.data.offset_seconds + step * DAY.total_seconds()
        server.state.change(offset_seconds=passed)
        done += [f"{stamp(server.state.now())} {what}" for what in tick(server)]
    return done
