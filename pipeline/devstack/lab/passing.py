"""Time that passes in the stand-in server, and what it does by itself meanwhile."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.clock import parse_stamp, stamp
from pipeline.devstack.lab import backup
from pipeline.devstack.lab.server import DAY, Server


def tick(server: Server) -> list[str]:
    """Do what is due at this moment: renew the Org Key, make a scheduled backup.

    Returns:
        What was done, in words.
    """
    told = ["the Org Key renewed itself"] if server.renew() else []
    now, schedule = server.state.now(), server.state.get("schedule")
    if schedule and now >= parse_stamp(schedule["next"]):
        made = backup.make(server, Path(schedule["to"]), **schedule["how"])
        server.state.put("schedule", schedule | {"next": stamp(now + schedule["days"] * DAY)})
        told.append(f"backup {made}")
    for what in told:
        server.state.note(what)
    return told


def advance(server: Server, days: float) -> list[str]:
    """Let time pass, day by day.

    Args:
        server: Whose.
        days: How many.

    Returns:
        What the server did meanwhile, in words.
    """
    told = []
    while days > 0:
        step = min(1.0, days)
        days -= step
        server.state.put("offset_seconds", server.state.get("offset_seconds") + step * DAY.total_seconds())
        told += [f"{stamp(server.state.now())} {what}" for what in tick(server)]
    return told
