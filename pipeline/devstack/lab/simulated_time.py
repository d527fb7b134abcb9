"""Simulated time of the stand-in server, and what the server does by itself meanwhile."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.clock import parse_stamp, stamp
from pipeline.devstack.lab import backup
from pipeline.devstack.lab.server import DAY, LabServer


def tick(server: LabServer) -> list[str]:
    """Do what is due at this moment: renew the Org Key, make a scheduled backup.

    Returns:
        What was done, in words.
    """
    done = ["the Org Key renewed itself"] if server.renew() else []
    now, schedule = server.state.now(), server.state.get("schedule")
    if schedule and now >= parse_stamp(schedule["next"]):
        made = backup.make(server, Path(schedule["to"]), **schedule["how"])
        server.state.put("schedule", schedule | {"next": stamp(now + schedule["days"] * DAY)})
        done.append(f"backup {made}")
    for what in done:
        server.state.note(what)
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
        server.state.put("offset_seconds", server.state.get("offset_seconds") + step * DAY.total_seconds())
        done += [f"{stamp(server.state.now())} {what}" for what in tick(server)]
    return done
