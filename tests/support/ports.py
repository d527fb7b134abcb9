"""Ports for servers that a test starts itself."""

from __future__ import annotations

from pipeline.devstack import processes


def distinct_ports(count: int) -> list[int]:
    """So many free loopback ports, no two of them the same."""
    found: set[int] = set()
    while len(found) < count:
        found.add(processes.free_port())
    return list(found)
