"""Writes the ledger where it is mirrored: create-only off this host first, then here.

An entry that a mirror already has under the next number is another host's, or this host's own that it was
killed before it kept: it is adopted, and the new one chained behind it. A mirror that cannot be reached
costs one call in a run; its entries wait, and the next run pushes them. See ADR 12.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from pipeline.core.clock import Clock, Deadline
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, Conflict, Interrupted, LedgerBroken, OrgkeyError, UsageProblem
from pipeline.core.isolation import isolated
from pipeline.core.reporter import Reporter
from pipeline.core.retry import Retrier
from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger.entry import START, Head
from pipeline.evidence.ledger.mirror_state import Known, Memory
from pipeline.evidence.ledger.mirror_sync import Follower
from pipeline.evidence.ledger.store import Ledger
from pipeline.storage.ledger_mirror import Mirror

T = TypeVar("T")
_ATTEMPTS: Final = 20
_PATIENCE: Final = 300.0
"""Seconds that a run waits for another one of this host: none works on the ledger for that long."""

Build = Callable[[Head], bytes]


class Scribe:
    """The ledger of one key in one run.

    Args:
        ledger: This host's.
        memory: What this host remembers of the mirrors.
        mirrors: Places for whole entries, in order: where two hosts wrote apart, the first of them decides
            whose entries keep their numbers.
        heads: Places for heads.
        deadline: The end of the run.
        call_seconds: Time for one call.
        clock: Where time comes from.
        reporter: Tells a person what happens.

    Attributes:
        failed: Mirrors that could not be asked in this run, with the error.
    """

    def __init__(
        self,
        ledger: Ledger,
        memory: Memory,
        mirrors: Mapping[str, Mirror],
        heads: Mapping[str, Mirror],
        *,
        deadline: Deadline,
        call_seconds: float,
        clock: Clock,
        reporter: Reporter,
    ) -> None:
        self._ledger = ledger
        self._memory = memory
        self._followers = [Follower(mirror, ledger, memory, self._settled) for mirror in mirrors.values()]
        self._heads = heads
        self._deadline = deadline
        self._call_seconds = call_seconds
        self._clock = clock
        self._reporter = reporter
        self.failed: dict[str, OrgkeyError] = {}
        self._out: set[str] = set()
        self._begun = False
        self._untold: list[tuple[str, dict[str, Any]]] = []
        self._guard = threading.RLock()

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
            LocalFilesProblem: It cannot be kept here. What mirrors refuse is no failure, it waits.
            LedgerBroken: What it is to be chained to is no file.
        """
        with self._guard, self._memory.lock(_PATIENCE, self._clock.sleep):
            self._begin(now, run)
            head = self._commit(
                lambda before: chain.write(before, self._ledger.fingerprint, event, details, now=now, run=run)
            )
            head = self._tell(now, run) or head
            self._publish(now)
            return self._tell(now, run) or head

    def catch_up(self, *, now: datetime, run: str) -> None:
        """Come level with the mirrors, as every run does before it writes; for who reads the ledger first.

        Args:
            now: The present time, for what has to be entered.
            run: The correlation id of the run.

        Raises:
            LocalFilesProblem, LedgerBroken: As for :meth:`append`.
        """
        with self._guard, self._memory.lock(_PATIENCE, self._clock.sleep):
            self._begin(now, run)
            self._tell(now, run)

    def sync(self, *, now: datetime, run: str) -> Head:
        """Fetch what the mirrors have, and push what waits, however long it takes within the deadline.

        Args:
            now: The present time, for what has to be entered.
            run: The correlation id of the run.

        Raises:
            LocalFilesProblem, LedgerBroken: As for :meth:`append`.
        """
        with self._guard, self._memory.lock(_PATIENCE, self._clock.sleep):
            self._begin(now, run, whole=True)
            self._publish(now, whole=True)
            self._tell(now, run)
            return self._ledger.head()

    # -- the beginning of a run ----------------------------------------------------------------------

    def _begin(self, now: datetime, run: str, *, whole: bool = False) -> None:
        """Once a run: come level with every mirror, in order, and finish what an earlier run began."""
        if self._begun:
            return
        self._begun = True
        for follower in self._followers:
            self._level(follower, whole=whole)
        self._write_again(now, run)

    def _level(self, follower: Follower, *, whole: bool = False) -> None:
        if follower.name in self._out:
            return
        begun, left = self._clock.monotonic(), self._deadline.left()

        def time_left(pushing: bool) -> bool:
            # What waits may wait longer; what is not fetched would make the next entry a fork.
            allowed = 2 * self._call_seconds if pushing else left / 2
            return whole or self._clock.monotonic() - begun < allowed

        for _ in range(_ATTEMPTS):
            before = self._ledger.head()
            outcome = self._asked(follower.name, partial(follower.level, time_left), again=whole)
            if isinstance(outcome, OrgkeyError):
                self._leave_out(follower.name, outcome)
                return
            if outcome.forked_at is None:
                break
            self._give_way(follower, outcome.forked_at)
        else:
            self._leave_out(follower.name, "it keeps changing")
            return
        if outcome.problem is not None:
            self._distrust(follower.name, outcome.problem)
        if not outcome.level:
            self._leave_out(follower.name, "there is no time left for what waits for it")
        if (adopted := self._ledger.head().sequence - before.sequence) > 0:
            self._reporter.progress(f"ledger: {adopted} entries fetched from mirror {follower.name}")
        for note in follower.notes:
            self._reporter.warn(f"ledger mirror {follower.name}: {note}")
        follower.notes.clear()

    def _settled(self, follower: Follower, number: int) -> bool:
        """Whether a mirror that goes before this one holds our entry of that number."""
        place = self._followers.index(follower)
        return any(
            self._memory.known(other.name).head.sequence >= number for other in self._followers[:place]
        )

    # -- one entry -----------------------------------------------------------------------------------

    def _commit(self, build: Build) -> Head:
        """Offer an entry to the mirrors, then keep it here."""
        occupied: set[str] = set()
        for _ in range(_ATTEMPTS):
            before = self._ledger.head()
            data = build(before)
            number = before.sequence + 1
            taken = self._offer(number, data, occupied)
            if taken is not None:
                self._level(taken)
                if self._ledger.head() == before:
                    occupied.add(taken.name)  # by something that does not continue the chain
                self._resume()
                continue
            if not self._ledger.add(number, data):
                continue  # a run without mirrors took the number: chain behind it
            head = Head(number, sha256(data))
            self._confirm(head)
            return head
        # Others write without pause, or a mirror says so: what is kept here waits like behind a dead one.
        for follower in self._followers:
            self._leave_out(follower.name, "it keeps changing")
        while True:
            before = self._ledger.head()
            data = build(before)
            if self._ledger.add(before.sequence + 1, data):
                return Head(before.sequence + 1, sha256(data))

    def _offer(self, number: int, data: bytes, occupied: set[str]) -> Follower | None:
        """Write an entry to all mirrors in reach; the first one of them says whether the number is free.

        Returns:
            The mirror at which another entry has the number.
        """
        self._written: list[str] = []
        for follower in self._followers:
            if follower.name in self._out or self._memory.known(follower.name).head.sequence != number - 1:
                continue
            beside = bool(self._written) or follower.name in occupied
            put = partial(follower.mirror.put, number, data, beside=beside)
            failed = self._asked(follower.name, put)
            if failed is None:
                self._written.append(follower.name)
            elif not isinstance(failed, Conflict):
                self._leave_out(follower.name, failed)
            elif not beside:
                return follower
            else:
                self._leave_out(follower.name, f"entry {number} and all places beside it are taken")
        return None

    def _confirm(self, head: Head) -> None:
        for name in self._written:
            self._memory.keep(name, Known(head))

    # -- forks -----------------------------------------------------------------------------------------

    def _give_way(self, follower: Follower, number: int) -> None:
        """Another host's entries keep the numbers: ours are kept aside, to be written again behind them."""
        ours = self._ledger.head().sequence - number + 1
        self._reporter.warn(
            f"the ledger forked at entry {number}: mirror {follower.name} has another host's. "
            f"{ours} entries of this host are kept in {self._ledger.directory / 'forks'} and written again "
            "behind it"
        )
        self._ledger.set_aside(number)
        base = self._ledger.head()
        for other in (*(one.name for one in self._followers), *self._heads):
            known = self._memory.known(other)
            if known.head.sequence > base.sequence:
                self._memory.keep(other, Known(base, known.problem))

    def _resume(self) -> None:
        """Have the entries that gave way while an entry was written told and written again afterwards."""
        if self._ledger.waiting():
            self._begun = False

    def _write_again(self, now: datetime, run: str) -> None:
        """Write the entries that gave way behind the adopted chain, each once, and enter the fork."""
        waiting = self._ledger.waiting()
        if not waiting:
            return
        done: set[str] = set()
        forks: set[str] = set()
        here: dict[int, str] = {}
        try:
            for entry, head in self._ledger.each():
                here[head.sequence] = head.digest.hex
                done.add(str(entry.get("rechained_from", {}).get("sha256")))
                told = entry["details"].get("superseded")
                if entry["event"] == "fork" and isinstance(told, list):  # a mirror's entry may say anything
                    forks |= set(map(str, told))
        except LedgerBroken as error:
            self._reporter.warn(f"{error.message}; entries that gave way in a fork are not written again")
            return
        lost = [
            (number, data, path) for number, data, path in waiting if here.get(number) != sha256(data).hex
        ]
        if lost and (ours := sha256(lost[0][1]).hex) not in forks:
            first = lost[0][0]
            details = {
                "sequence": first,
                "ours": ours,
                "theirs": here.get(first, ""),
                "superseded": [sha256(data).hex for _, data, _ in lost],
                "message": f"two hosts wrote entry {first}; this host's are written again behind the other's",
            }
            self._commit(
                lambda before: chain.write(
                    before, self._ledger.fingerprint, "fork", details, now=now, run=run
                )
            )
        for number, data, path in waiting:
            if here.get(number) == sha256(data).hex:
                continue  # the chain still has it: killed before it gave way
            if sha256(data).hex not in done:
                self._commit(lambda before, data=data: chain.rechain(data, before))  # type: ignore[misc]
            self._ledger.done_waiting(path)

    # -- heads, and what is wrong ----------------------------------------------------------------------

    def _publish(self, now: datetime, *, whole: bool = False) -> None:
        """Write the head to every place for heads, once no mirror in reach can take its number back."""
        head = self._ledger.head()
        vouched = max((self._memory.known(one.name).head.sequence for one in self._followers), default=None)
        if vouched is not None and vouched < head.sequence:
            if vouched == 0:
                return
            head = self._ledger.at(vouched)
        for name, place in self._heads.items():
            if name in self._out or self._memory.known(name).head.sequence >= head.sequence:
                continue
            put = partial(place.put, head.sequence, chain.write_head(head, now))
            failed = self._asked(name, put, again=whole)
            if failed is None:
                self._memory.keep(name, Known(head))
            elif isinstance(failed, Conflict):
                self._compare_head(name, place, head)
            else:
                self._leave_out(name, failed)

    def _compare_head(self, name: str, place: Mirror, head: Head) -> None:
        def same() -> bool:
            handles = place.listing(head.sequence - 1).get(head.sequence, ())
            return any(chain.parse_head(place.get(handle)) == head for handle in handles)

        answer = self._asked(name, same)
        if isinstance(answer, OrgkeyError):
            self._leave_out(name, answer)
            return
        if answer:
            self._memory.keep(name, Known(head))
            return
        self._distrust(
            name,
            f"it has another head for entry {head.sequence}: another host keeps a chain of its own, "
            "or one of the two was rewritten",
        )

    def _leave_out(self, name: str, why: str | OrgkeyError) -> None:
        if isinstance(why, OrgkeyError):
            self.failed.setdefault(name, why)
        if name in self._out:
            return
        self._out.add(name)
        told = why if isinstance(why, str) else why.message
        if isinstance(why, UsageProblem) and self._memory.known(name).head == START:
            # Before the first escrow a host need not have the writer's logins.
            self._reporter.progress(
                f"ledger: entries wait for {name} until a run has the writer's logins: {told}"
            )
        else:
            self._reporter.warn(f"the ledger is not mirrored to {name} in this run, entries wait: {told}")

    def _distrust(self, name: str, problem: str) -> None:
        """Say what is wrong with a mirror, in each run; enter it in the ledger once."""
        known = self._memory.known(name)
        if name not in self._out:
            self._out.add(name)
            self._reporter.warn(f"the ledger is not mirrored to {name}: {problem}")
        if known.problem != problem:
            self._memory.keep(name, Known(known.head, problem))
            self._untold.append(
                ("mirror-failed", {"mirror": name, "message": problem, "code": int(Code.LEDGER_BROKEN)})
            )

    def _tell(self, now: datetime, run: str) -> Head | None:
        head = None
        if not self._begun:
            self._begun = True
            self._write_again(now, run)
            head = self._ledger.head()
        while self._untold:
            event, details = self._untold.pop(0)
            head = self._commit(
                lambda before, event=event, details=details: chain.write(  # type: ignore[misc]
                    before, self._ledger.fingerprint, event, details, now=now, run=run
                )
            )
        return head

    def _asked(self, name: str, call: Callable[[], T], *, again: bool = False) -> T | OrgkeyError:
        """Ask one mirror, again where that may help and there is the time for it.

        A signal, too, leaves it out only: the entry of what was done is still kept here.
        """
        what = f"ledger mirror {name}"
        retrier = Retrier(self._deadline, clock=self._clock)
        try:
            return isolated((lambda: retrier.call(call, what)) if again else call, what)
        except Interrupted as error:
            return error
