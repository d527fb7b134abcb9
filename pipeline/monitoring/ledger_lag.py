"""How far the ledger is mirrored: for `doctor`, `status` and reports."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.archive.run import KeyScope
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.finding import Finding, Level
from pipeline.core.isolation import isolated
from pipeline.core.text import counted
from pipeline.evidence.ledger.mirror_state import MirrorState
from pipeline.storage.ledger_mirror import Mirror


@dataclass(frozen=True)
class Pending:
    """What one mirror lacks, as this host remembers it.

    Attributes:
        name: The target's name.
        kind: ``entries`` for a mirror of whole entries, ``heads`` for a place for heads.
        confirmed: The last entry that the mirror has confirmed.
        waiting: How many entries it does not have yet.
        problem: What is wrong with it, in words; then nothing is written to it.
    """

    name: str
    kind: str
    confirmed: int
    waiting: int
    problem: str | None


def pending(context: KeyScope) -> tuple[Pending, ...]:
    """What waits for each mirror; empty without ``[ledger]``. Asks no server.

    Args:
        context: The run.

    Raises:
        LocalFilesProblem, LedgerBroken: The state cannot be read.
    """
    section = context.config.ledger
    places = [*((name, "entries") for name in section.mirrors), *((name, "heads") for name in section.heads)]
    if not places:
        return ()
    last, host, state = context.ledger.head().sequence, context.ledger.host, MirrorState(context.root)
    found = []
    for name, kind in places:
        known = state.of(name, host)
        waiting = max(last - known.head.sequence, 0)
        found.append(Pending(name, kind, known.head.sequence, waiting, known.problem))
    return tuple(found)


def waiting(context: KeyScope) -> int | None:
    """How many entries no mirror has yet; ``None`` where no mirror of whole entries is configured.

    Args:
        context: The run.

    Raises:
        LocalFilesProblem, LedgerBroken: The state cannot be read.
    """
    return min((item.waiting for item in pending(context) if item.kind == "entries"), default=None)


def findings(context: KeyScope) -> list[Finding]:
    """Ask every mirror whether it can be read, and say what is not yet there. Writes nothing.

    Args:
        context: The run.

    Raises:
        LocalFilesProblem, LedgerBroken: The state cannot be read.
    """
    known = {(item.name, item.kind): item for item in pending(context)}
    driller = context.backends("driller")
    found = []
    for kind, places in (
        ("entries", driller.mirrors(context.fingerprint)),
        ("heads", driller.heads(context.fingerprint)),
    ):
        for name, place in places.items():
            found.append(_finding(known[name, kind], place))
    return found


def _finding(item: Pending, place: Mirror) -> Finding:
    subject = f"ledger mirror {item.name}"
    if item.problem:
        hint = f"`orgkey ledger verify --mirror {item.name}` names the entry"
        return Finding(Level.FAIL, subject, item.problem, hint, Code.LEDGER_BROKEN)
    lacks = f"{counted(item.waiting, 'entry')} not yet mirrored"
    listed = isolated(place.hosts, subject)
    if isinstance(listed, OrgkeyError):
        return Finding(Level.WARN, subject, listed.message, f"{listed.hint}; {lacks}")
    if item.waiting and item.kind == "entries":
        return Finding(Level.WARN, subject, lacks, "`orgkey ledger sync` pushes them")
    return Finding(Level.OK, subject, f"reachable, has {item.kind} up to {item.confirmed}")
