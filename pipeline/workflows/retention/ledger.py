"""Extend the retention of the ledger's entries at its mirrors, along with the records.

Only versions are extended whose bytes are those of this host's ledger: whoever may write to a mirror could
otherwise have anything locked there for years.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from pipeline.archive.run import KeyScope
from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import Code, OrgkeyError, first_of
from pipeline.core.isolation import isolated
from pipeline.storage.interface import LockMode, Retainer
from pipeline.storage.ledger_mirror import Mirror
from pipeline.workflows.retention.rules import Action, Fate, Request, configured_mode, decide, each, extend


@dataclass(frozen=True)
class Entry:
    """One stored version of one entry.

    Attributes:
        number: Which entry.
        handle: The version, as the mirror lists it.
        ours: Whether its bytes are those of this host's ledger; others are left alone, and are no failure
            here: `orgkey ledger verify --mirror` is what judges them.
        fate: What becomes of its retention.
    """

    number: int
    handle: str
    ours: bool = True
    fate: Fate = field(default_factory=Fate)


@dataclass(frozen=True)
class Mirrored:
    """The ledger at one mirror.

    Attributes:
        target: Where.
        entries: Every version there, of the entries that this host has.
        missing: How many entries of this host are not there.
        unknown: How many entries there this host has not, which are left alone.
        failure: Why nothing could be looked at.
    """

    target: str
    entries: tuple[Entry, ...] = ()
    missing: int = 0
    unknown: int = 0
    failure: OrgkeyError | None = None

    @property
    def counts(self) -> Mapping[Action, int]:
        """How many versions there are of each fate that there is."""
        found = Counter(item.fate.action for item in self.entries)
        return {action: found[action] for action in Action if action in found}

    @property
    def until(self) -> datetime | None:
        """The first end of a retention there, as it is or would be."""
        return min((item.fate.wanted.until for item in self.entries if item.fate.wanted), default=None)

    @property
    def problem(self) -> str | None:
        """What is wrong, in words."""
        if self.failure is not None:
            return self.failure.message
        told = []
        if wrong := [item for item in self.entries if item.fate.problem]:
            told.append(f"entry {wrong[0].number}: {wrong[0].fate.problem}")
            told += [f"{len(wrong) - 1} more like that"] if len(wrong) > 1 else []
        if self.missing:
            told.append(f"{self.missing} entries are not there: `orgkey ledger sync`")
        if self.unknown:
            told.append(f"{self.unknown} entries there are not in this host's ledger: `orgkey ledger sync`")
        return "; ".join(told) or None

    @property
    def code(self) -> Code:
        """Whether all entries are retained as asked."""
        if self.failure is not None:
            return self.failure.code
        waiting = [Code.DEGRADED] if self.missing or self.unknown else []
        return first_of([*(item.fate.code for item in self.entries), *waiting])


def plan(
    context: KeyScope, request: Request, retainers: Mapping[str, Retainer[str]], *, sync: bool
) -> tuple[Mirrored, ...]:
    """Find the entries, look at their retention, and decide.

    Args:
        context: The run.
        request: What is asked for.
        retainers: The mirrors that are asked for.
        sync: Whether the ledger and its mirrors are brought level first; else nothing is written.

    Raises:
        UsageProblem: It can only be had with another ``--mode``.
    """
    try:
        if sync and retainers:
            context.scribe.sync(now=context.clock.now(), run=context.run_id)
        ours = {head.sequence: head.digest for _, head in context.ledger.each()} if retainers else {}
    except OrgkeyError as error:
        return tuple(Mirrored(name, failure=error) for name in retainers)
    mirrors = context.backends("driller").patient_mirrors(context.fingerprint)
    found = []
    for name, retainer in retainers.items():
        seen = isolated(partial(_look, mirrors[name], ours), f"ledger mirror {name}")
        if isinstance(seen, OrgkeyError):
            found.append(Mirrored(name, failure=seen))
            continue
        found.append(_decided(seen, request, retainer, configured_mode(context.config, name)))
    return tuple(found)


def carry_out(
    context: KeyScope, planned: Collection[Mirrored], retainers: Mapping[str, Retainer[str]]
) -> tuple[Mirrored, ...]:
    """Do what was planned.

    Args:
        context: The run.
        planned: What :func:`plan` found.
        retainers: The mirrors.
    """

    def at(mirrored: Mirrored) -> Mirrored:
        retainer = retainers[mirrored.target]

        def one(item: Entry) -> Entry:
            return replace(item, fate=extend(retainer, item.handle, item.fate))

        done = replace(mirrored, entries=each(mirrored.entries, one))
        if extended := done.counts.get(Action.EXTENDED):
            context.reporter.progress(f"{done.target}: {extended} entries of the ledger are retained longer")
        if failed := done.counts.get(Action.FAILED):
            context.reporter.warn(f"{done.target}: {failed} entries of the ledger could not be extended")
        return done

    return tuple(at(item) for item in planned)


# -- inside --------------------------------------------------------------------------------------


def _look(mirror: Mirror, ours: Mapping[int, Digest]) -> Mirrored:
    """Read every version at a mirror, and tell this host's entries from others."""
    listing = mirror.listing(0)

    def judged(item: Entry) -> Entry:
        data = isolated(lambda: mirror.get(item.handle), f"ledger mirror {mirror.name}")
        if isinstance(data, OrgkeyError):
            return replace(item, fate=Fate().failed(data))
        return replace(item, ours=sha256(data) == ours[item.number])

    numbers = sorted(listing.keys() & ours.keys())
    entries = each([Entry(number, handle) for number in numbers for handle in listing[number]], judged)
    held = {item.number for item in entries if item.ours}
    return Mirrored(
        mirror.name,
        entries,
        missing=len(ours.keys() - held),
        unknown=len(listing.keys() - ours.keys()),
    )


def _decided(
    seen: Mirrored, request: Request, retainer: Retainer[str], configured: LockMode | None
) -> Mirrored:
    def one(item: Entry) -> Entry:
        if not item.ours:
            return item
        where = f"entry {item.number} of the ledger at {seen.target}"
        return replace(
            item,
            fate=decide(request, retainer, item.handle, item.fate, configured=configured, where=where),
        )

    return replace(seen, entries=each(seen.entries, one))
