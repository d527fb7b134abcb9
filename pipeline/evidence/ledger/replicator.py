"""Writes this host's chain here, then at the mirrors, and copies the chains of other hosts from them.

An entry is kept here first. A mirror that cannot be reached costs one call in a run; its entries wait, and
the next run pushes them. Only this host writes its chain: where a mirror has another entry under a number,
another state directory has the same host-id (a restored backup, a cloned machine), and this host's chain
gets a new host-id. See ADR 30.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from pipeline.core.clock import Clock, Deadline, parse_stamp
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, Conflict, IntegrityProblem, Interrupted, OrgkeyError, UsageProblem
from pipeline.core.isolation import isolated
from pipeline.core.reporter import Reporter
from pipeline.core.retry import Retrier
from pipeline.evidence.ledger import entry as entries
from pipeline.evidence.ledger.entry import START, Head, Malformed
from pipeline.evidence.ledger.mirror_state import Confirmed, MirrorState
from pipeline.evidence.ledger.store import Chain, Ledger
from pipeline.storage.ledger_mirror import Mirror

T = TypeVar("T")
MOST_HOSTS: Final = 64
"""Other hosts whose chains are copied at most: who writes to a mirror must not fill this host's disk."""
MOST: Final = 100_000
"""Entries of theirs that are copied at most in a run."""
MOST_BYTES: Final = 256 * 1024 * 1024
"""Bytes of them."""
_PATIENCE: Final = 300.0
"""Seconds that a run waits for another one of this host: none works on the ledger for that long."""


@dataclass
class _Place:
    """One mirror, or place for heads, in this run."""

    mirror: Mirror
    of_heads: bool
    checked: bool = False
    out: bool = False


@dataclass
class _Budget:
    """How much of other hosts' chains may still be copied in this run."""

    entries: int
    bytes: int
    hosts: set[str] = field(default_factory=set)


class _Taken(Exception):
    """Another entry has this host's number at a mirror."""

    def __init__(self, place: _Place, number: int) -> None:
        super().__init__(number)
        self.place = place
        self.number = number


@dataclass(eq=False)
class Replicator:
    """The ledger of one key in one run.

    Args:
        ledger: This host's.
        state: What this host remembers of the mirrors.
        mirrors: Places for whole entries.
        heads: Places for heads.
        deadline: The end of the run.
        call_seconds: Time for one call.
        clock: Where time comes from.
        reporter: Tells a person what happens.

    Attributes:
        failed: Mirrors that could not be asked in this run, with the error.
    """

    ledger: Ledger
    state: MirrorState
    mirrors: InitVar[Mapping[str, Mirror]]
    heads: InitVar[Mapping[str, Mirror]]
    _: KW_ONLY
    deadline: Deadline
    call_seconds: float
    clock: Clock
    reporter: Reporter
    failed: dict[str, OrgkeyError] = field(default_factory=dict, init=False)
    _copied: bool = field(default=False, init=False)
    _renamed: bool = field(default=False, init=False)
    _events: list[tuple[str, dict[str, Any]]] = field(default_factory=list, init=False)
    _guard: threading.RLock = field(default_factory=threading.RLock, init=False)

    def __post_init__(self, mirrors: Mapping[str, Mirror], heads: Mapping[str, Mirror]) -> None:
        self._places = [_Place(mirror, False) for mirror in mirrors.values()]
        self._places += [_Place(place, True) for place in heads.values()]

    def append(self, event: str, details: Mapping[str, Any], *, now: datetime, run: str) -> Head:
        """Write an entry here and at the mirrors.

        Args:
            event: What happened.
            details: JSON values; never a secret.
            now: When.
            run: The correlation id of the run.

        Returns:
            The new head.

        Raises:
            LocalFilesProblem: It cannot be kept here. What mirrors refuse is not a failure, it waits.
            LedgerBroken: The entry before it is not a file.
        """
        with self._guard, self.state.lock(_PATIENCE, self.clock.sleep):
            new = not self.ledger.host
            self.ledger.append(event, details, now=now, run=run)
            self._copy()
            others = len(self.ledger.chains()) - 1
            if new and others:
                self.reporter.progress(
                    f"ledger: this state directory is new: its entries are the chain {self.ledger.host}, "
                    f"beside {others} that were there before"
                )
            return self._push(now, run)

    def sync(self, *, now: datetime, run: str, whole: bool = True) -> Head:
        """Copy what the mirrors have of other hosts, and push what waits.

        Args:
            now: The present time, for what has to be entered.
            run: The correlation id of the run.
            whole: Whether it may take as long as the deadline allows; else as in every run that writes, for
                who reads the ledger first.

        Raises:
            LocalFilesProblem, LedgerBroken: As for :meth:`append`.
        """
        with self._guard, self.state.lock(_PATIENCE, self.clock.sleep):
            if self.ledger.host:
                self.ledger.begin()  # a killed run may have left this chain in the folder of its former name
            self._copy(whole=whole)
            return self._push(now, run, whole=whole)

    # -- this host's chain -----------------------------------------------------------------------------

    def _push(self, now: datetime, run: str, *, whole: bool = False) -> Head:
        """Push what waits to every mirror; under a new host-id where another host uses this one."""
        while True:
            try:
                for place in self._places:
                    if not place.out:
                        self._push_to(place, whole=whole)
            except _Taken as taken:
                self._begin_again(taken)
                self._copy(whole=whole)  # what the mirrors have under the host-id that it had
                continue
            if not self._events:
                return self.ledger.head()
            while self._events:
                event, details = self._events.pop(0)
                self.ledger.append(event, details, now=now, run=run)

    def _push_to(self, place: _Place, *, whole: bool) -> None:
        name, chain = place.mirror.name, self.ledger.own()
        head, known = chain.head(), self.state.of(name, chain.host).head
        if known.sequence > head.sequence:  # this host's chain has lost its end: its state was restored
            raise _Taken(place, head.sequence + 1)
        # A place for heads may be new: a lost Vault comes back empty, and gets the newest head.
        if not place.checked and known.sequence and not place.of_heads:
            problem = self._asked(name, partial(self._contradiction, place, chain), again=whole)
            if isinstance(problem, OrgkeyError):
                return self._leave_out(place, problem)
            if problem is not None:
                return self._distrust(place, problem)
        place.checked = True
        begun = self.clock.monotonic()
        first = max(known.sequence + 1, head.sequence if place.of_heads else 1)
        for number in range(first, head.sequence + 1):
            if not whole and self.clock.monotonic() - begun > 2 * self.call_seconds:
                return self._leave_out(place, "there is no time left to push what it lacks")
            done = self._asked(name, partial(self._put, place, chain, number), again=whole)
            if isinstance(done, Conflict):
                raise _Taken(place, number)
            if isinstance(done, OrgkeyError):
                return self._leave_out(place, done)
            self.state.keep(name, chain.host, Confirmed(done))
        return None

    @staticmethod
    def _put(place: _Place, chain: Chain, number: int) -> Head:
        data = chain.read(number)
        made = parse_stamp(entries.parse(data, number, chain.fingerprint)["at"])
        written = entries.write_head(number, data) if place.of_heads else data
        place.mirror.put(chain.host, number, written, made)
        return Head(number, sha256(data))

    def _contradiction(self, place: _Place, chain: Chain) -> str | None:
        """Once a run: what is wrong with what the place has confirmed before, in words."""
        known = self.state.of(place.mirror.name, chain.host)
        number = known.head.sequence
        if chain.at(number) != known.head:
            return (
                f"entry {number} of this host is another than the one that was mirrored: "
                "one of the two was rewritten"
            )
        handles = place.mirror.listing(chain.host, number - 1).get(number, ())
        if handles and self._shows(place, handles[0], known.head):
            if known.problem is not None:
                self.state.keep(place.mirror.name, chain.host, Confirmed(known.head))
            return None
        told = "is another there" if handles else "is gone"
        return (
            f"entry {number}, which was confirmed, {told}; find out who could write to it. "
            f"If that place is new, remove {self.state.file(place.mirror.name)}"
        )

    @staticmethod
    def _shows(place: _Place, handle: str, head: Head) -> bool:
        try:
            data = place.mirror.get(handle)
        except IntegrityProblem:
            return False
        return entries.parse_head(data) == head if place.of_heads else sha256(data) == head.digest

    def _begin_again(self, taken: _Taken) -> None:
        """Give this host's chain a new host-id: nothing that it has is lost, and nothing is written over."""
        name = taken.place.mirror.name
        if self._renamed:
            self._leave_out(taken.place, f"it has another entry {taken.number} under every host-id")
            return
        self._renamed = True
        self._copied = False
        before = self.ledger.host
        now = self.ledger.rename()
        message = (
            f"{name} has another entry {taken.number} of host {before}: its state directory was restored or "
            f"copied, or somebody else writes there; this host's chain is called {now} from now on"
        )
        self.reporter.warn(f"ledger: {message}")
        for place in self._places:
            place.checked = False
        self._events.append(
            ("host-renamed", {"host": now, "before": before, "mirror": name, "message": message})
        )

    # -- other hosts' chains ---------------------------------------------------------------------------

    def _copy(self, *, whole: bool = False) -> None:
        """Once a run: copy what the mirrors have of other hosts' chains."""
        if self._copied:
            return
        self._copied = True
        budget = _Budget(MOST, MOST_BYTES)
        for place in self._places:
            if place.of_heads or place.out:
                continue
            failed = self._asked(
                place.mirror.name, partial(self._copy_from, place.mirror, budget, whole=whole), again=whole
            )
            if failed is not None:
                self._leave_out(place, failed)

    def _copy_from(self, mirror: Mirror, budget: _Budget, *, whole: bool) -> None:
        begun, allowed = self.clock.monotonic(), self.deadline.left() / 2
        own, known = self.ledger.host, {chain.host for chain in self.ledger.chains()}
        copied = 0
        # Those that are known go first: who invents hosts must not crowd them out.
        for host in sorted(mirror.hosts(), key=lambda one: (one not in known, one)):
            if host == own:
                continue
            if host not in budget.hosts and len(budget.hosts) == MOST_HOSTS:
                self.reporter.warn(
                    f"ledger mirror {mirror.name} has the chains of more than {MOST_HOSTS} hosts: "
                    "find out who could write to it"
                )
                break
            budget.hosts.add(host)
            chain = self.ledger.copy_of(host)
            head = chain.head()
            listing = mirror.listing(host, head.sequence)
            while (data := self._next(mirror, chain, head, listing)) is not None:
                budget.entries -= 1
                budget.bytes -= len(data)
                if budget.entries < 0 or budget.bytes < 0:
                    self.reporter.warn(
                        f"ledger mirror {mirror.name}: more than {MOST} entries, or "
                        f"{MOST_BYTES >> 20} MiB, of other hosts are not copied in one run: "
                        "find out who could write to it"
                    )
                    return
                if not chain.add(head.sequence + 1, data):
                    return
                head = Head(head.sequence + 1, sha256(data))
                copied += 1
                if not whole and self.clock.monotonic() - begun > allowed:
                    return
            if beyond := [number for number in listing if number > head.sequence]:
                self.reporter.warn(
                    f"ledger mirror {mirror.name}: entry {min(beyond)} of host {host} does not "
                    "continue its chain, and is left alone"
                )
        if copied:
            self.reporter.progress(
                f"ledger: {copied} entries of other hosts copied from mirror {mirror.name}"
            )

    @staticmethod
    def _next(
        mirror: Mirror, chain: Chain, head: Head, listing: Mapping[int, tuple[str, ...]]
    ) -> bytes | None:
        """What continues a chain at a mirror: of several entries that do, the one that was there first."""
        number = head.sequence + 1
        for handle in listing.get(number, ()):
            try:
                data = mirror.get(handle)
                if entries.parse(data, number, chain.fingerprint)["previous"] == head.digest.hex:
                    return data
            except (IntegrityProblem, Malformed):
                continue
        return None

    # -- what is wrong ---------------------------------------------------------------------------------

    def _leave_out(self, place: _Place, why: str | OrgkeyError) -> None:
        name = place.mirror.name
        if isinstance(why, OrgkeyError):
            self.failed.setdefault(name, why)
        if place.out:
            return
        place.out = True
        told = why if isinstance(why, str) else why.message
        if isinstance(why, UsageProblem) and self.state.of(name, self.ledger.host).head == START:
            # Before the first escrow a host need not have the writer's logins.
            self.reporter.progress(
                f"ledger: entries wait for {name} until a run has the writer's logins: {told}"
            )
        else:
            self.reporter.warn(f"the ledger is not mirrored to {name} in this run, entries wait: {told}")

    def _distrust(self, place: _Place, problem: str) -> None:
        """Say what is wrong with a mirror, in each run; enter it in the ledger once."""
        name, host = place.mirror.name, self.ledger.host
        place.out = True
        self.reporter.warn(f"the ledger is not mirrored to {name}: {problem}")
        known = self.state.of(name, host)
        if known.problem != problem:
            self.state.keep(name, host, Confirmed(known.head, problem))
            self._events.append(
                ("mirror-failed", {"mirror": name, "message": problem, "code": int(Code.LEDGER_BROKEN)})
            )

    def _asked(self, name: str, call: Callable[[], T], *, again: bool = False) -> T | OrgkeyError:
        """Ask one mirror, again where that may help and there is the time for it.

        A signal, too, leaves it out only: the entry of what was done is still kept here.
        """
        what = f"ledger mirror {name}"
        retrier = Retrier(self.deadline, clock=self.clock)
        try:
            return isolated((lambda: retrier.call(call, what)) if again else call, what)
        except Interrupted as error:
            return error
