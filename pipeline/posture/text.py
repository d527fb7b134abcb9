"""The posture in words and as a document: for `custody posture`, and for reports."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.text import counted, printable, who_alone
from pipeline.posture.analysis import TRUTH, Exposure, until_text
from pipeline.posture.model import PartySets


class PostureText:
    """Words for people: short names, and one legend for the groups that the answers speak of."""

    def __init__(self, found: Exposure) -> None:
        self._found = found
        self._groups: dict[tuple[str, ...], str] = {}
        self._people: set[str] = set()

    def answer(self, answer: PartySets) -> list[str]:
        """Each minimal need on a line."""
        return [
            " and ".join(self._part(count, names) for count, names in sorted(line, reverse=True))
            for line in answer.lines()
        ]

    def name(self, party: str) -> str:
        """A party; a custodian by name, with the end of the fingerprint."""
        named = self._found.names.get(party)
        if named:
            self._people.add(party)
            return f"{printable(named).partition(' <')[0]} {party[-8:]}"
        return printable(party)

    def legend(self) -> list[str]:
        """What the groups and short names stand for."""
        groups = [
            f"{group}: {', '.join(sorted(self.name(member) for member in members))}"
            for members, group in self._groups.items()
        ]
        people = sorted(self._people, key=self.name)
        return groups + [f"{printable(self._found.names[it])}: {it.partition(' ')[2]}" for it in people]

    def _part(self, count: int, names: tuple[str, ...]) -> str:
        if len(names) == 1:
            return self.name(names[0])
        if not names[0].startswith("custodian "):
            return f"{names[0]} (the same: {', '.join(names[1:])})"  # names of one loss
        number = len(self._groups) + 1
        called = self._groups.setdefault(
            names, f"{len(names)} custodians" + (f" (group {number})" if number > 1 else "")
        )
        return f"any {count} of {called}" if count < len(names) else f"all {called}"


def lines(found: Exposure) -> list[str]:
    """What a person reads."""
    now, text = found.now, PostureText(found)
    alone = [text.name(name) for name in now.reconstruct.singles()]
    fatal = [text.name(name) for name in now.fatal_losses.singles()]
    stored = counted(len(found.epochs), "stored epoch")
    shown = [f"computed from {stored}, the configuration and the servers" if found.stored else found.basis]

    def section(title: str, items: Iterable[str]) -> None:
        shown.extend(["", title, *(f"  {item}" for item in items)])

    hosts = [f"{printable(host)}, alone" for host in found.hosts]
    section("who can reconstruct the key (each line is enough):", [*text.answer(now.reconstruct), *hosts])
    whose = (
        " of the key, or of a former one," if len({epoch.fingerprint for epoch in found.epochs}) > 1 else ""
    )
    fatal_lines = text.answer(now.fatal_losses)
    section(f"losses that make every restore{whose} impossible (each line is enough):", fatal_lines)
    if found.configured.reconstruct.lines() != now.reconstruct.lines():
        section("the configured plan alone:", text.answer(found.configured.reconstruct))
    lingering = []
    for item in found.lingering:
        lingering.append(f"{item.epoch or 'exports'}: {item.what}; can be deleted {until_text(item.until)}")
        lingering += [f"  opened as well by {line}" for line in text.answer(item.who)]
    section("what lingers:", [*lingering, TRUTH])
    people = text.legend()
    for title, items in (
        ("people:", people),
        ("what servers say:", map(printable, found.facts)),
        ("NOT KNOWN:", map(printable, found.unknown)),
    ):
        if items := list(items):
            section(title, items)
    points = [
        f"reconstructs alone: {who_alone(alone, found.hosts)}",
        f"fatal alone: {', '.join(fatal) or 'nothing'}",
    ]
    section("single points:", points)  # last: that is what stays above the prompt
    return shown
