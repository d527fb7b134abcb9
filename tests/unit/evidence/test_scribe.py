"""The ledger with mirrors: queues, other hosts, forks, lost state, tampering."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.core import files
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.digest import sha256
from pipeline.core.errors import Conflict, LocalFilesProblem, UsageProblem
from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger.entry import START
from pipeline.evidence.ledger.mirror_state import Memory
from pipeline.evidence.ledger.replicator import Scribe
from pipeline.evidence.ledger.store import Ledger
from pipeline.storage.ledger_mirror import Mirror
from tests.support.inmemory import MemoryMirror, denied, unreachable
from tests.support.reporter import Lines

KEY = "A" * 40
NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)


class Host:
    """One host: a state directory, and a new run whenever it is asked for."""

    def __init__(self, root: Path, mirrors: list[MemoryMirror], heads: list[MemoryMirror]) -> None:
        self.root = root
        self.mirrors = mirrors
        self.heads = heads
        self.lines = Lines()

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.root, KEY)

    @property
    def memory(self) -> Memory:
        return Memory(self.root)

    def run(self) -> Scribe:
        self.lines.clear()
        mirrors: dict[str, Mirror] = {mirror.name: mirror for mirror in self.mirrors}
        heads: dict[str, Mirror] = {head.name: head for head in self.heads}
        return Scribe(
            self.ledger, self.memory, mirrors, heads,
            deadline=Deadline(60), call_seconds=5, clock=SystemClock(), reporter=self.lines,
        )  # fmt: skip

    def add(self, *numbers: int) -> None:
        """A run that writes these entries."""
        run = self.run()
        for number in numbers:
            run.append("test", {"number": number}, now=NOW, run=self.root.name)

    def sync(self) -> None:
        self.run().sync(now=NOW, run=self.root.name)

    def told(self) -> list[tuple[str, int]]:
        """Who wrote what, in the chain's order."""
        return [
            (entry["run"], entry["details"].get("number", 0))
            for entry in self.ledger.entries()
            if entry["event"] == "test"
        ]

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.ledger.entries()]

    def confirmed(self, name: str) -> int:
        return self.memory.known(name).head.sequence


@pytest.fixture
def a() -> MemoryMirror:
    return MemoryMirror("a")


@pytest.fixture
def b() -> MemoryMirror:
    return MemoryMirror("b")


@pytest.fixture
def heads() -> MemoryMirror:
    return MemoryMirror("heads")


@pytest.fixture
def make(tmp_path: Path, a: MemoryMirror, b: MemoryMirror, heads: MemoryMirror) -> Callable[..., Host]:
    return lambda name, *mirrors: Host(tmp_path / name, list(mirrors) or [a, b], [heads])


def chain_of(mirror: MemoryMirror) -> list[dict[str, Any]]:
    """The one chain that a mirror of honest hosts holds."""
    before, found = START.digest.hex, []
    for number in sorted(mirror.entries):
        fits = [data for data in mirror.entries[number] if f'"previous":"{before}"'.encode() in data]
        found.append(chain.parse(fits[0], number, KEY))
        before = sha256(fits[0]).hex
    return found


def same_everywhere(*hosts: Host) -> None:
    for host in hosts:
        host.sync()
    for host in hosts:
        host.sync()
    assert len({json.dumps(host.ledger.entries()) for host in hosts}) == 1
    for host in hosts:
        held = {
            sha256(data).hex
            for data in (host.ledger.read(n) for n in range(1, host.ledger.head().sequence + 1))
        }
        for mirror in host.mirrors:
            assert held <= {sha256(data).hex for many in mirror.entries.values() for data in many}


def test_an_entry_is_at_every_mirror_and_its_head_at_the_places_for_heads(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror, heads: MemoryMirror
) -> None:
    host = make("one")
    host.add(1, 2)
    assert [entry["details"] for entry in host.ledger.entries()] == [{"number": 1}, {"number": 2}]
    for number in (1, 2):
        assert a.entries[number] == b.entries[number] == [host.ledger.read(number)]
        head = chain.parse_head(heads.entries[number][0])
        assert head == host.ledger.at(number)
    assert (host.confirmed("a"), host.confirmed("b"), host.confirmed("heads")) == (2, 2, 2)
    assert host.lines == []


@pytest.mark.parametrize("failure", [unreachable("a"), denied("a")])
def test_a_mirror_that_fails_costs_one_call_and_one_warning_and_gets_its_entries_later(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror, failure: Any
) -> None:
    host = make("one")
    host.add(1)
    a.failure, a.calls = failure, []
    host.add(2, 3, 4)
    assert len(a.calls) == 1
    assert [line for line in host.lines if "a" in line.split()] == [host.lines[0]]
    assert host.lines[0].startswith("warning: the ledger is not mirrored to a in this run")
    assert sorted(a.entries) == [1]
    assert sorted(b.entries) == [1, 2, 3, 4]
    assert (host.confirmed("a"), host.confirmed("b")) == (1, 4)
    a.failure = None
    host.add(5)
    assert a.entries == b.entries
    assert len(a.entries) == 5
    assert host.lines == []


def test_a_login_that_is_not_there_yet_is_no_warning_before_the_first_entry(
    make: Callable[..., Host], a: MemoryMirror
) -> None:
    host = make("one")
    missing = UsageProblem("the profile orgkey-writer is missing", hint="make it")
    a.failure = missing
    host.add(1)
    (said,) = host.lines
    assert said.startswith("ledger: entries wait for a until a run has the writer's logins: the profile")
    a.failure = None
    host.add(2)
    a.failure = missing
    host.add(3)
    assert host.lines[0].startswith("warning: the ledger is not mirrored to a in this run")


def test_all_mirrors_dead_lose_nothing(make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror) -> None:
    host = make("one")
    a.failure = b.failure = unreachable()
    host.add(1)
    host.add(2)
    a.failure = b.failure = None
    host.add(3)
    assert len(a.entries) == 3
    assert a.entries == b.entries


def test_two_hosts_keep_one_chain(make: Callable[..., Host], a: MemoryMirror) -> None:
    one, two = make("one"), make("two")
    for number in range(1, 5):
        one.add(number)
        two.add(number)
    one.sync()
    assert one.told() == [(who, number) for number in range(1, 5) for who in ("one", "two")]
    assert one.ledger.entries() == two.ledger.entries() == chain_of(a)
    assert "fork" not in one.events()


def test_two_runs_at_once_keep_one_chain(make: Callable[..., Host], a: MemoryMirror) -> None:
    """Both have looked at the mirror before either writes."""
    one, two = make("one"), make("two")
    runs = {host: host.run() for host in (one, two)}
    for number in range(1, 5):
        for host, run in runs.items():
            run.append("test", {"number": number}, now=NOW, run=host.root.name)
    same_everywhere(one, two)
    assert one.told() == [(who, number) for number in range(1, 5) for who in ("one", "two")]
    assert "fork" not in one.events()


def test_a_host_that_lost_its_state_continues_the_chain(make: Callable[..., Host], a: MemoryMirror) -> None:
    host = make("one")
    host.add(1, 2, 3)
    shutil.rmtree(host.root)
    host.add(4)
    assert host.told() == [("one", number) for number in (1, 2, 3, 4)]
    assert "ledger: 3 entries fetched from mirror a" in host.lines
    assert len(chain_of(a)) == 4


def test_a_host_that_lost_the_end_of_its_ledger_fetches_it(make: Callable[..., Host]) -> None:
    host = make("one")
    host.add(1, 2, 3)
    (host.root / "ledger" / "000000003.json").unlink()
    host.add(4)
    assert host.told() == [("one", number) for number in (1, 2, 3, 4)]


def test_an_entry_whose_local_write_was_killed_is_fetched(
    make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make("one")
    host.add(1)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            host.add(2)
    assert host.told() == [("one", 1)]
    host.add(3)
    assert host.told() == [("one", 1), ("one", 2), ("one", 3)]


def test_a_lost_answer_is_found_out_by_the_next_run(make: Callable[..., Host], a: MemoryMirror) -> None:
    host = make("one")
    a.lost_answers = 1
    host.add(1)
    assert host.confirmed("a") == 0
    host.add(2)
    assert (host.confirmed("a"), len(a.entries[1])) == (2, 1)


def test_an_entry_that_a_mirror_did_not_lock_waits_until_it_is_locked(
    make: Callable[..., Host], a: MemoryMirror
) -> None:
    host = make("one")
    a.locks = False
    for number in (1, 2):  # the second run finds the first one's entry there
        host.add(number)
        assert host.confirmed("a") == 0
        assert any("entries wait: a did not lock it" in line for line in host.lines)
    host.sync()
    assert (host.confirmed("a"), len(a.entries)) == (0, 1)
    a.locks = True
    host.sync()
    assert (host.confirmed("a"), a.calls[-3:].count("confirm")) == (2, 1)
    assert host.lines == []


# -- forks -----------------------------------------------------------------------------------------


def fork(one: Host, two: Host, *mirrors: MemoryMirror) -> None:
    """Both hosts know entry 1; host two writes 2 and 3 while it reaches nothing, host one 2 to 4."""
    one.add(1)
    two.sync()
    for mirror in mirrors:
        mirror.failure = unreachable()
    two.add(2, 3)
    for mirror in mirrors:
        mirror.failure = None
    one.add(2, 3, 4)


def test_a_fork_is_seen_told_and_nothing_is_lost(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror, heads: MemoryMirror
) -> None:
    one, two = make("one"), make("two")
    fork(one, two, a, b, heads)
    before = [two.ledger.read(number) for number in (2, 3)]
    two.add(5)
    (line,) = [line for line in two.lines if "forked" in line]
    assert "forked at entry 2" in line
    assert "2 entries of this host are kept" in line
    assert two.events() == ["test"] * 4 + ["fork"] + ["test"] * 3
    assert two.told() == [("one", n) for n in (1, 2, 3, 4)] + [("two", n) for n in (2, 3, 5)]
    entries = two.ledger.entries()
    assert entries[4]["details"]["ours"] == sha256(before[0]).hex
    assert entries[4]["details"]["theirs"] == sha256(two.ledger.read(2)).hex
    for entry, data in zip(entries[5:7], before, strict=True):
        old = json.loads(data)
        assert entry["rechained_from"] == {"sequence": old["sequence"], "sha256": sha256(data).hex}
        assert entry["details"] == old["details"]
        kept = two.root / "ledger" / "forks" / f"{old['sequence']:09d}-{sha256(data).hex[:16]}.json"
        assert kept.read_bytes() == data
    assert two.ledger.waiting() == []
    same_everywhere(one, two)
    assert one.ledger.entries() == chain_of(a) == chain_of(b)
    assert [number for number, many in a.entries.items() if len(many) > 1] == []


STEPS = ("add", "set_aside", "done_waiting", "keep")


@pytest.mark.parametrize("step", STEPS)
def test_a_fork_survives_a_kill_at_any_step(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror, heads: MemoryMirror, step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The n-th call of one step dies, for every n until none does."""
    for fatal in range(1, 40):
        for place in (a, b, heads):
            place.entries.clear()
        one, two = make(f"one{fatal}"), make(f"two{fatal}")
        fork(one, two, a, b, heads)
        owner = Memory if step == "keep" else Ledger
        real, calls = getattr(owner, step), [0]

        def dying(*args: Any, real: Any = real, calls: list[int] = calls, fatal: int = fatal) -> Any:
            calls[0] += 1
            if calls[0] == fatal:
                raise KeyboardInterrupt
            return real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(owner, step, dying)
            try:
                two.add(5)
                died = False
            except KeyboardInterrupt:
                died = True
        two.add(6)
        same_everywhere(one, two)
        told = [item for item in two.told() if item != (two.root.name, 5)]
        assert told == [(one.root.name, n) for n in (1, 2, 3, 4)] + [(two.root.name, n) for n in (2, 3, 6)]
        assert two.events().count("fork") == 1
        assert two.ledger.waiting() == []
        if not died:
            return
    pytest.fail("it never gets through")


def test_a_removal_that_is_killed_between_two_entries_leaves_no_hole(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror, heads: MemoryMirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    one, two = make("one"), make("two")
    fork(one, two, a, b, heads)
    real, calls = files.fsync_directory, [0]

    def dying(path: Path) -> None:
        real(path)
        if path == two.ledger.directory and not (path / "000000003.json").exists():
            calls[0] += 1
            if calls[0] == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "fsync_directory", dying)
        with pytest.raises(KeyboardInterrupt):
            two.add(5)
    assert [entry["sequence"] for entry in two.ledger.entries()] == [1, 2]
    two.add(5)
    assert two.told() == [("one", n) for n in (1, 2, 3, 4)] + [("two", n) for n in (2, 3, 5)]


def test_two_hosts_that_each_reached_another_mirror_agree_in_the_end(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror, heads: MemoryMirror
) -> None:
    one, two = make("one"), make("two")
    one.add(1)
    two.sync()
    b.failure = unreachable()
    one.add(2, 3)
    b.failure, a.failure, heads.failure = None, unreachable(), unreachable()
    two.add(2, 3, 4)
    a.failure = heads.failure = None
    one.add(5)
    two.add(6)
    one.sync()
    same_everywhere(one, two)
    assert [item for item in one.told() if item[0] == "one"] == [("one", n) for n in (1, 2, 3, 5)]
    assert [item for item in one.told() if item[0] == "two"] == [("two", n) for n in (2, 3, 4, 6)]
    assert one.events().count("fork") == 1
    # The second mirror alone gives the whole chain back, although it holds the other one's beginning too.
    three = make("three", b)
    three.sync()
    assert three.ledger.entries() == one.ledger.entries()


def test_a_number_that_garbage_has_taken_stops_nothing(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror
) -> None:
    host = make("one")
    host.add(1)
    for mirror in (a, b):
        mirror.entries[2] = [b"garbage"]
        mirror.entries[3] = [json.dumps({"sequence": 3}).encode()]
    host.add(2, 3)
    host.add(4)
    assert host.told() == [("one", n) for n in (1, 2, 3, 4)]
    assert chain_of(a) == chain_of(b) == host.ledger.entries()
    new = make("two")
    new.sync()
    assert new.ledger.entries() == host.ledger.entries()


def test_a_newer_version_over_an_entry_is_not_taken_for_it(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror
) -> None:
    host = make("one")
    host.add(1, 2)
    false = chain.write(host.ledger.at(1), KEY, "test", {"number": 66}, now=NOW, run="liar")
    for mirror in (a, b):
        mirror.entries[2].append(false)
    host.add(3)
    new = make("two")
    new.sync()
    assert new.told() == host.told() == [("one", n) for n in (1, 2, 3)]


# -- tampering -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["rewritten", "gone"])
def test_a_rewritten_mirror_is_never_adopted(make: Callable[..., Host], a: MemoryMirror, how: str) -> None:
    host = make("one")
    host.add(1, 2)
    genuine = a.entries[2]
    false = chain.write(host.ledger.at(1), KEY, "test", {"number": 66}, now=NOW, run="liar")
    after = chain.write(chain.Head(2, sha256(false)), KEY, "test", {"number": 67}, now=NOW, run="liar")
    a.entries |= {2: [false] if how == "rewritten" else [], 3: [after]}
    for number in (3, 4):
        host.add(number)
        (line,) = host.lines
        assert "entry 2, which was confirmed, is" in line
    assert host.told() == [("one", n) for n in (1, 2, 3, 4)]
    assert host.events().count("mirror-failed") == 1
    problem = host.memory.known("a").problem
    assert problem is not None
    assert "entry 2" in problem
    a.entries = {1: a.entries[1], 2: genuine}
    host.add(5)
    assert host.memory.known("a").problem is None
    assert len(chain_of(a)) == host.ledger.head().sequence


def test_a_local_ledger_that_was_rewritten_is_not_pushed(make: Callable[..., Host], a: MemoryMirror) -> None:
    host = make("one")
    host.add(1, 2)
    path = host.root / "ledger" / "000000002.json"
    path.write_bytes(chain.write(host.ledger.at(1), KEY, "test", {"number": 66}, now=NOW, run="liar"))
    host.add(3)
    assert "one of the two was rewritten" in host.lines[0]
    assert sorted(a.entries) == [1, 2]


def test_another_head_for_the_same_entry_is_told(make: Callable[..., Host], heads: MemoryMirror) -> None:
    host = make("one")
    heads.entries[1] = [chain.write_head(chain.Head(1, sha256(b"x")), NOW)]
    host.add(1)
    assert "another head for entry 1" in host.lines[0]
    assert host.events() == ["test", "mirror-failed"]
    host.add(2)
    assert host.confirmed("heads") == 3


# -- limits ----------------------------------------------------------------------------------------


def test_a_mirror_that_always_conflicts_ends(make: Callable[..., Host], a: MemoryMirror) -> None:
    def never(number: int, data: bytes, *, beside: bool = False) -> None:
        raise Conflict("taken", hint="look")

    a.put = never  # type: ignore[method-assign]
    host = make("one")
    host.add(1, 2)
    assert host.told() == [("one", 1), ("one", 2)]


def test_a_disk_that_refuses_is_a_failure(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    host = make("one")
    host.add(1)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", refuse)
    with pytest.raises(LocalFilesProblem):
        host.add(2)


def test_many_entries_wait_and_are_pushed(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror
) -> None:
    host = make("one")
    a.failure = b.failure = unreachable()
    host.add(*range(200))
    a.failure = b.failure = None
    host.sync()
    assert len(chain_of(a)) == 200
    assert a.entries == b.entries


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema":"x"}', b"[" * 100_000])
def test_a_damaged_memory_of_a_mirror_is_made_anew(
    make: Callable[..., Host], a: MemoryMirror, damage: bytes
) -> None:
    host = make("one")
    host.add(1, 2)
    host.memory.file("a").write_bytes(damage)
    host.add(3)
    assert host.confirmed("a") == 3
    assert [len(many) for many in a.entries.values()] == [1, 1, 1]


@pytest.mark.parametrize("superseded", [5, None, "x", {"a": 1}, [7]])
def test_a_mirror_s_fork_entry_that_says_anything_stops_no_run(
    make: Callable[..., Host], a: MemoryMirror, superseded: object
) -> None:
    host = make("one", a)
    host.add(1)
    a.failure = unreachable("a")
    host.add(2)
    a.failure = None
    foreign = chain.write(host.ledger.at(1), KEY, "fork", {"superseded": superseded}, now=NOW, run="foreign")
    a.entries[2] = [foreign]
    host.add(3)
    assert host.told() == [("one", 1), ("one", 2), ("one", 3)]
    assert host.ledger.waiting() == []
