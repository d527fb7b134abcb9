"""Extend the retention of the ledger's entries at its mirrors, along with the records.

Only versions are extended whose bytes are on this host: of its own chain, or of another host's, as far as it
was copied. Whoever may write to a mirror could otherwise have anything locked there for years.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from pipeline.archive.run import KeyScope
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, OrgkeyError, first_of
from pipeline.core.isolation import isolated
from pipeline.core.text import counted
from pipeline.storage.interface import LockMode, Retainer
from pipeline.storage.ledger_mirror import Mirror
from pipeline.workflows.retention.rules import Action, Fate, Request, configured_mode, decide, each, extend


@dataclass(frozen=True)
class MirroredEntry:
    """One stored version of one entry.

    Attributes:
        host: The host-id of its chain.
        number: Which entry.
        handle: The version, as the mirror lists it.
        fate: What becomes of its retention; where its bytes are others than on this host,
            `orgkey ledger verify --mirror` is what judges it.
    """

    host: str
    number: int
    handle: str
    fate: Fate = field(default_factory=Fate)


@dataclass(frozen=True)
class MirroredLedger:
    """The ledger at one mirror.

    Attributes:
        target: Where.
        entries: Every version there, of the entries that are on this host.
        missing: How many entries of this host's chain are not there.
        unknown: How many entries there are not on this host, which are left alone.
        failure: Why nothing could be looked at.
    """

    target: str
    entries: tuple[MirroredEntry, ...] = ()
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
            told.append(f"lacks {counted(self.missing, 'entry')}: `orgkey ledger sync`")
        if self.unknown:
            told.append(f"has {counted(self.unknown, 'entry')} that this host lacks: `orgkey ledger sync`")
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
) -> tuple[MirroredLedger, ...]:
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
            context.replicator.sync(now=context.clock.now(), run=context.run_id)
        # Chain by chain, not merged: what two chains have in common lies in both folders of a mirror.
        chains = context.ledger.chains() if retainers else []
        here = {(chain.host, item.number): item.digest for chain in chains for item in chain.each()}
        own = context.ledger.host
    except OrgkeyError as error:
        return tuple(MirroredLedger(name, failure=error) for name in retainers)
    mirrors = context.backends("driller").patient_mirrors(context.fingerprint)
    found = []
    for name, retainer in retainers.items():
        seen = isolated(partial(_look, mirrors[name], here, own), f"ledger mirror {name}")
        if isinstance(seen, OrgkeyError):
            found.append(MirroredLedger(name, failure=seen))
            continue
        found.append(_decided(seen, request, retainer, configured_mode(context.config, name)))
    return tuple(found)


def carry_out(
    context: KeyScope, planned: Collection[MirroredLedger], retainers: Mapping[str, Retainer[str]]
) -> tuple[MirroredLedger, ...]:
    """Do what was planned.

    Args:
        context: The run.
        planned: What :func:`plan` found.
        retainers: The mirrors.
    """

    def at(mirrored: MirroredLedger) -> MirroredLedger:
        retainer = retainers[mirrored.target]

        entries = each(mirrored.entries, lambda item: extend(retainer, item.handle, item.fate))
        done = replace(mirrored, entries=entries)
        for action, what in ((Action.EXTENDED, "retained longer"), (Action.FAILED, "could not be extended")):
            if count := done.counts.get(action):
                say = context.reporter.warn if action is Action.FAILED else context.reporter.progress
                say(f"{done.target}: {counted(count, 'entry')} of the ledger {what}")
        return done

    return tuple(at(item) for item in planned)


# -- inside --------------------------------------------------------------------------------------


def _look(mirror: Mirror, here: Mapping[tuple[str, int], str], own: str) -> MirroredLedger:
    """Read every version at a mirror, and tell the entries that are on this host from others."""
    listed = {
        (host, number): handles
        for host in mirror.hosts()
        for number, handles in mirror.listing(host, 0).items()
    }

    def judged(item: MirroredEntry) -> Fate:
        data = isolated(lambda: mirror.get(item.handle), f"ledger mirror {mirror.name}")
        if isinstance(data, OrgkeyError):
            return Fate().failed(data)
        return Fate(ours=sha256(data).hex == here[item.host, item.number])

    wanted = [
        MirroredEntry(*place, handle)
        for place in sorted(listed.keys() & here.keys())
        for handle in listed[place]
    ]
    entries = each(wanted, judged)
    held = {(item.host, item.number) for item in entries if item.fate.ours}
    return MirroredLedger(
        mirror.name,
        entries,
        missing=sum(place not in held for place in here if place[0] == own),
        unknown=len(listed.keys() - here.keys()),
    )


def _decided(
    seen: MirroredLedger, request: Request, retainer: Retainer[str], configured: LockMode | None
) -> MirroredLedger:
    def decided(item: MirroredEntry) -> Fate:
        where = f"entry {item.number} of the ledger at {seen.target}"
        return decide(request, retainer, item.handle, item.fate, configured=configured, where=where)

    return replace(seen, entries=each(seen.entries, decided))
