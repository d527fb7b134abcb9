"""The posture in words and as a document: for `custody posture`, and for reports."""

from __future__ import annotations

from typing import Any

from pipeline.core.clock import stamp
from pipeline.core.text import counted, printable, who_alone
from pipeline.posture.analysis import LISTED, TRUTH, Exposure, until_text
from pipeline.posture.model import Answer, listed


def document(found: Exposure) -> dict[str, Any]:
    """The document `orgkey.custody-posture/1`."""
    now = found.now
    return {
        "schema": "orgkey.custody-posture/1",
        "reconstruct": _sets(now.reconstruct),
        "fatal_losses": _sets(now.fatal_losses),
        "groups": {
            "reconstruct": _groups(now.reconstruct),
            "fatal_losses": _groups(now.fatal_losses),
        },
        "single_points": {"reconstruct": now.reconstruct.singles(), "loss": now.fatal_losses.singles()},
        "configured": {
            "reconstruct": _sets(found.configured.reconstruct),
            "fatal_losses": _sets(found.configured.fatal_losses),
        },
        "lingering": [
            {
                "epoch": item.epoch,
                "who": _sets(item.who),
                "until": stamp(item.until) if item.until else None,
                "what": item.what,
            }
            for item in found.lingering
        ],
        "hosts": list(found.hosts),
        "epochs": [
            {"epoch": epoch.name, "fingerprint": epoch.fingerprint, "state": str(epoch.state)}
            for epoch in found.epochs
        ],
        "facts": list(found.facts),
        "unknown": list(found.unknown),
        "names": dict(found.names),
        "truth": TRUTH,
        "exit_code": int(found.code),
    }


def _sets(answer: Answer) -> list[list[str]] | None:
    return listed(answer.sets()) if answer.count() <= LISTED else None


def _groups(answer: Answer) -> list[list[dict[str, Any]]]:
    return [[{"count": count, "of": list(names)} for count, names in line] for line in answer.lines()]


class Text:
    """Words for people: short names, and one legend for the groups that the answers speak of."""

    def __init__(self, found: Exposure) -> None:
        self._found = found
        self._groups: dict[tuple[str, ...], str] = {}
        self._people: set[str] = set()

    def answer(self, answer: Answer, joint: str) -> list[str]:
        """Each minimal need on a line."""
        lines = [
            f" {joint} ".join(self._part(count, names) for count, names in sorted(line, reverse=True))
            for line in answer.lines()
        ]
        return [f"  {line}" for line in lines]

    def name(self, party: str) -> str:
        """A party; a custodian by name, with the end of the fingerprint."""
        named = self._found.names.get(party)
        if named:
            self._people.add(party)
            return f"{printable(named).partition(' <')[0]} {party[-8:]}"
        return printable(party)

    def legend(self) -> list[str]:
        """What the groups and short names stand for."""
        shown = []
        for members, called in self._groups.items():
            shown.append(f"  {called}: {', '.join(self.name(member) for member in members)}")
        people = sorted(self._people, key=self.name)
        shown += [f"  {printable(self._found.names[party])}: {party.partition(' ')[2]}" for party in people]
        return ["", "people:", *shown] if shown else []

    def _part(self, count: int, names: tuple[str, ...]) -> str:
        if len(names) == 1:
            return self.name(names[0])
        if not names[0].startswith("custodian "):
            return f"{names[0]} (the same: {', '.join(names[1:])})"  # names of one loss
        called = self._groups.setdefault(names, f"group {len(self._groups) + 1}")
        return f"any {count} of {called}" if count < len(names) else f"all of {called}"


def lines(found: Exposure) -> list[str]:
    """What a person reads."""
    now, text = found.now, Text(found)
    if found.stored:
        shown = [
            f"computed from {counted(len(found.epochs), 'stored epoch')}, the configuration and the servers"
        ]
    else:
        shown = [found.basis]
    shown += ["", "who can reconstruct the key (each line is enough):", *text.answer(now.reconstruct, "and")]
    shown += [f"  {printable(host)}, alone" for host in found.hosts]
    shown += ["", "losses that make every restore impossible (each line is enough):"]
    shown += text.answer(now.fatal_losses, "and")
    alone, loss = now.reconstruct.singles(), now.fatal_losses.singles()
    shown += ["", "single points:"]
    shown.append("  reconstructs alone: " + who_alone([text.name(name) for name in alone], found.hosts))
    shown.append("  fatal alone: " + (", ".join(text.name(name) for name in loss) or "nothing"))
    if found.configured.reconstruct.lines() != now.reconstruct.lines():
        shown += ["", "the configured plan alone:", *text.answer(found.configured.reconstruct, "and")]
    shown += ["", "what lingers:"]
    for item in found.lingering:
        shown.append(f"  {item.epoch or 'exports'}: {item.what}; can be deleted {until_text(item.until)}")
        shown += [f"    opened as well by{line[1:]}" for line in text.answer(item.who, "and")]
    shown.append(f"  {TRUTH}")
    shown += text.legend()
    for title, told in (("what servers say:", found.facts), ("NOT KNOWN:", found.unknown)):
        shown += ["", title, *(f"  {printable(line)}" for line in told)] if told else []
    return shown
