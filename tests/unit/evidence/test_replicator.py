"""One chain for each host, and its mirrors: what waits, other hosts, lost and restored state, tampering."""

from __future__ import annotations

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
from pipeline.evidence.ledger import entry as entries
from pipeline.evidence.ledger import replicator
from pipeline.evidence.ledger.entry import START, Head
from pipeline.evidence.ledger.mirror_state import Confirmed, MirrorState
from pipeline.evidence.ledger.replicator import Replicator
from pipeline.evidence.ledger.store import Chain, Ledger
from pipeline.storage.ledger_mirror import Mirror
from tests.support.inmemory import MemoryMirror, denied, unreachable
from tests.support.reporter import Lines

KEY = "A" * 40
NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)
FALSE = "ffffffffffffffff"


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
    def id(self) -> str:
        return self.ledger.host

    @property
    def state(self) -> MirrorState:
        return MirrorState(self.root)

    def run(self) -> Replicator:
        self.lines.clear()
        mirrors: dict[str, Mirror] = {mirror.name: mirror for mirror in self.mirrors}
        heads: dict[str, Mirror] = {head.name: head for head in self.heads}
        return Replicator(
            self.ledger, self.state, mirrors, heads,
            deadline=Deadline(60), call_seconds=5, clock=SystemClock(), reporter=self.lines,
        )  # fmt: skip

    def add(self, *numbers: int) -> None:
        """A run that writes these entries."""
        run = self.run()
        for number in numbers:
            run.append("test", {"number": number}, now=NOW, run=self.root.name)

    def sync(self) -> None:
        self.run().sync(now=NOW, run=self.root.name)

    def own(self) -> list[int]:
        """What this host's chain says."""
        return [entry.details["number"] for entry in self.ledger.own().each() if entry.event == "test"]

    def told(self) -> set[tuple[str, int]]:
        """Who wrote what, in all chains; nothing is told twice."""
        found = [(item.run, item.details["number"]) for item in self.ledger.each() if item.event == "test"]
        assert len(found) == len(set(found))
        return set(found)

    def events(self) -> list[str]:
        return [entry.event for entry in self.ledger.own().each()]

    def confirmed(self, name: str) -> int:
        return self.state.of(name, self.id).head.sequence


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


def at(mirror: MemoryMirror, host: str) -> list[bytes]:
    """A host's chain as a mirror of honest hosts has it."""
    return [data for _, (data,) in sorted(mirror.chains.get(host, {}).items())]


def here(host: Host) -> list[bytes]:
    chain = host.ledger.own()
    return [chain.read(number) for number in range(1, chain.head().sequence + 1)]


def both(*told: tuple[str, int]) -> set[tuple[str, int]]:
    return set(told)


# -- one host --------------------------------------------------------------------------------------


def test_an_entry_is_here_at_every_mirror_and_its_head_where_heads_are(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror, heads: MemoryMirror
) -> None:
    host = make("one")
    host.add(1, 2, 3)
    assert at(a, host.id) == at(b, host.id) == here(host)
    assert len(here(host)) == 3
    told = [entries.parse_head(data) for data in at(heads, host.id)]
    assert [head.sequence for head in told if head] == [1, 2, 3]
    assert told[-1] == host.ledger.head()
    assert host.lines == []
    assert [host.confirmed(name) for name in ("a", "b", "heads")] == [3, 3, 3]


@pytest.mark.parametrize("failure", [unreachable(), denied()])
def test_a_mirror_that_fails_costs_one_call_and_gets_its_entries_later(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror, failure: Any
) -> None:
    host = make("one")
    host.add(1)
    a.failure, a.calls = failure, []
    host.add(2, 3, 4)
    assert len(a.calls) == 1
    (line,) = host.lines
    assert line.startswith("warning: the ledger is not mirrored to a in this run")
    assert (len(at(a, host.id)), len(at(b, host.id))) == (1, 4)
    assert (host.confirmed("a"), host.confirmed("b")) == (1, 4)
    a.failure = None
    host.add(5)
    assert at(a, host.id) == at(b, host.id) == here(host)
    assert host.lines == []


def test_a_login_that_is_not_there_yet_is_not_warned_of_before_the_first_entry(
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
    assert at(a, host.id) == at(b, host.id) == here(host)


def test_many_entries_wait_and_are_pushed(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror
) -> None:
    host = make("one")
    a.failure = b.failure = unreachable()
    host.add(*range(200))
    a.failure = b.failure = None
    host.sync()
    assert len(at(a, host.id)) == 200
    assert at(a, host.id) == at(b, host.id)


def test_a_lost_answer_is_found_out_by_the_next_run(make: Callable[..., Host], a: MemoryMirror) -> None:
    host = make("one")
    a.lost_answers = 1
    host.add(1)
    assert host.confirmed("a") == 0
    host.add(2)
    assert (host.confirmed("a"), len(at(a, host.id))) == (2, 2)
    assert host.events() == ["test", "test"]


def test_an_entry_that_a_mirror_did_not_lock_waits_until_it_is_locked(
    make: Callable[..., Host], a: MemoryMirror
) -> None:
    host = make("one")
    a.locks = False
    for number in (1, 2):  # the second run finds the first one's entry there
        host.add(number)
        assert host.confirmed("a") == 0
        assert any("entries wait: a did not lock it" in line for line in host.lines)
    a.locks = True
    host.sync()
    assert host.confirmed("a") == 2
    assert host.lines == []


# -- several hosts ---------------------------------------------------------------------------------


def test_two_hosts_each_keep_a_chain_and_know_the_other_s(make: Callable[..., Host], a: MemoryMirror) -> None:
    one, two = make("one"), make("two")
    runs = {host: host.run() for host in (one, two)}
    for number in range(1, 4):
        for host, run in runs.items():
            run.append("test", {"number": number}, now=NOW, run=host.root.name)
    for host in (one, two):
        host.sync()
        assert host.own() == [1, 2, 3]
        assert at(a, host.id) == here(host)
        assert host.told() == {(name, number) for name in ("one", "two") for number in (1, 2, 3)}
    assert [chain.own for chain in one.ledger.chains()] == [True, False]
    assert [entry.own for entry in one.ledger.each()] == [True] * 3 + [False] * 3


def test_a_host_that_reaches_nothing_writes_on_and_nothing_has_to_give_way(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror, heads: MemoryMirror
) -> None:
    one, two = make("one"), make("two")
    one.add(1)
    two.sync()
    for mirror in (a, b, heads):
        mirror.failure = unreachable()
    two.add(2, 3)
    kept = here(two)
    for mirror in (a, b, heads):
        mirror.failure = None
    one.add(2, 3, 4)
    two.add(5)
    assert here(two)[:2] == kept
    assert two.events() == ["test"] * 3
    assert two.told() == both(*(("one", n) for n in (1, 2, 3, 4)), *(("two", n) for n in (2, 3, 5)))


def test_a_lost_state_directory_begins_another_chain_says_so_and_knows_the_old_one(
    make: Callable[..., Host], a: MemoryMirror
) -> None:
    host = make("one")
    host.add(1, 2, 3)
    before, lost = host.id, here(host)
    shutil.rmtree(host.root)
    host.add(4)
    assert host.id != before
    assert host.own() == [4]
    assert any(f"its entries are the chain {host.id}, beside 1" in line for line in host.lines)
    assert "ledger: 3 entries of other hosts copied from mirror a" in host.lines
    assert host.told() == both(*(("one", number) for number in (1, 2, 3, 4)))
    assert at(a, before) == lost


# -- the same host-id twice ------------------------------------------------------------------------


def restored(host: Host, folder: Path) -> Path:
    """A backup of the state directory, taken now."""
    return Path(shutil.copytree(host.root, folder))


def put_back(host: Host, backup: Path) -> None:
    shutil.rmtree(host.root)
    shutil.copytree(backup, host.root)


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_restored_state_directory_gets_another_host_id_and_nothing_is_lost(
    make: Callable[..., Host], a: MemoryMirror, tmp_path: Path, forgotten: bool
) -> None:
    host = make("one")
    host.add(1, 2)
    backup = restored(host, tmp_path / "backup")
    host.add(3, 4)
    before, whole = host.id, here(host)
    put_back(host, backup)
    if forgotten:
        shutil.rmtree(host.root / "mirrors")
    host.add(5)
    assert host.id != before
    (line,) = [line for line in host.lines if "restored or copied" in line]
    assert before in line
    assert host.id in line
    assert host.events() == ["test", "test", "test", "host-renamed"]
    assert host.own() == [1, 2, 5]
    assert at(a, before) == whole, "what the mirror had is untouched"
    assert at(a, host.id) == here(host)
    assert host.told() == both(*(("one", number) for number in range(1, 6)))
    host.sync()
    assert host.lines == []


def test_a_ledger_that_has_lost_its_end_gets_another_host_id(
    make: Callable[..., Host], a: MemoryMirror
) -> None:
    host = make("one")
    host.add(1, 2, 3)
    before = host.id
    (host.ledger.own().folder / "000000003.json").unlink()
    host.sync()
    assert host.id != before
    assert host.events() == ["test", "test", "host-renamed"]
    host.sync()
    assert host.told() == both(*(("one", number) for number in (1, 2, 3)))
    assert len(at(a, before)) == 3


def test_a_ledger_that_has_lost_all_gets_another_host_id_and_takes_no_other_chain_for_its_own(
    make: Callable[..., Host], a: MemoryMirror
) -> None:
    host = make("one")
    host.add(1, 2, 3)
    before = host.id
    shutil.rmtree(host.ledger.own().folder)
    host.sync()
    assert host.id != before
    assert host.events() == ["host-renamed"]
    host.add(4)
    host.sync()
    assert host.own() == [4]
    assert host.told() == both(*(("one", number) for number in (1, 2, 3, 4)))
    assert len(at(a, before)) == 3


def test_what_others_wrote_under_the_old_host_id_is_not_taken_while_it_is_replaced(
    make: Callable[..., Host], tmp_path: Path
) -> None:
    host = make("one")
    host.add(1, 2)
    backup = restored(host, tmp_path / "backup")
    host.add(3, 4)
    put_back(host, backup)
    # Killed before the folder has its new name.
    (host.ledger.directory / "host-id").write_text(f"{FALSE} {host.id}\n")
    host.sync()
    assert host.own() == [1, 2]
    assert host.told() == both(*(("one", number) for number in (1, 2, 3, 4)))


def test_two_copies_of_one_machine_part_and_what_waited_is_kept(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror, heads: MemoryMirror, tmp_path: Path
) -> None:
    one = make("one")
    one.add(1)
    twin = make("twin")
    restored(one, twin.root)
    for mirror in (a, b, heads):
        mirror.failure = unreachable()
    twin.add(2, 3)
    waiting = here(twin)
    for mirror in (a, b, heads):
        mirror.failure = None
    one.add(2)
    twin.add(4)
    assert one.id != twin.id
    assert here(twin)[:3] == waiting
    assert twin.own() == [1, 2, 3, 4]
    assert at(a, twin.id) == at(b, twin.id) == here(twin)
    assert at(a, one.id) == here(one)
    one.sync()
    assert one.told() == both(("one", 1), ("one", 2), ("twin", 2), ("twin", 3), ("twin", 4))


@pytest.mark.parametrize("step", ["add", "begin", "rename", "keep", "put"])
def test_a_kill_between_the_steps_loses_nothing(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror, heads: MemoryMirror, step: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The n-th call of one step dies, before it and after it, while a host-id is replaced."""
    owner = {"add": Chain, "begin": Ledger, "rename": Path, "keep": MirrorState, "put": MemoryMirror}[step]
    for fatal in range(2, 80):
        for place in (a, b, heads):
            place.chains.clear()
        host = make(f"one{fatal}")
        host.add(1, 2)
        backup = restored(host, tmp_path / f"backup{fatal}")
        host.add(3)
        put_back(host, backup)
        real, calls = getattr(owner, step), [0]

        def dying(*args: Any, real: Any = real, calls: list[int] = calls, fatal: int = fatal) -> Any:
            calls[0] += 1
            if calls[0] == fatal // 2 and fatal % 2:
                raise KeyboardInterrupt
            try:
                return real(*args)
            finally:
                if calls[0] == fatal // 2:
                    raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(owner, step, dying)
            try:
                host.add(4)
                died = False
            except KeyboardInterrupt:
                died = True
        host.add(5)
        host.sync()
        name = host.root.name
        told = {item for item in host.told() if item != (name, 4)}
        assert told == both(*((name, number) for number in (1, 2, 3, 5)))
        assert at(a, host.id) == at(b, host.id) == here(host)
        assert (host.confirmed("a"), host.confirmed("heads")) == (len(here(host)),) * 2
        if not died:
            assert fatal > 2
            return
    pytest.fail("it never gets through")


@pytest.mark.parametrize("text", ["", "x", "0123", "0" * 16 + " " + "1" * 16 + " x", "é", "0" * 70])
def test_a_malformed_host_id_is_named(make: Callable[..., Host], text: str) -> None:
    host = make("one")
    host.add(1)
    (host.root / "ledger" / "host-id").write_text(text)
    with pytest.raises(LocalFilesProblem, match="host-id is malformed"):
        host.add(2)


# -- a hostile writer at a mirror ------------------------------------------------------------------


def test_a_number_that_garbage_has_taken_stops_nothing(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror
) -> None:
    host = make("one")
    host.add(1)
    before = host.id
    for mirror in (a, b):
        mirror.chains[before][2] = [b"garbage"]
    host.add(2, 3)
    assert host.id != before
    assert host.own() == [1, 2, 3]
    assert at(a, host.id) == at(b, host.id) == here(host)
    new = make("two")
    new.sync()
    assert new.told() == both(*(("one", number) for number in (1, 2, 3)))


def test_a_newer_version_over_an_entry_is_not_taken_for_it(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror
) -> None:
    host = make("one")
    host.add(1, 2)
    false = entries.write(host.ledger.own().at(1), KEY, "test", {"number": 66}, now=NOW, run="liar")
    for mirror in (a, b):
        mirror.chains[host.id][2].append(false)
    host.add(3)
    new = make("two")
    new.sync()
    assert new.told() == host.told() == both(*(("one", number) for number in (1, 2, 3)))


def false_chain(count: int, key: str = KEY) -> dict[int, list[bytes]]:
    before, found = START, {}
    for number in range(1, count + 1):
        data = entries.write(before, key, "drill", {"results": 7}, now=NOW, run="liar")
        before, found[number] = Head(number, sha256(data)), [data]
    return found


def test_an_invented_host_is_told_and_never_taken_for_this_one(
    make: Callable[..., Host], a: MemoryMirror
) -> None:
    a.chains[FALSE] = false_chain(3)
    host = make("one")
    host.add(1)
    assert host.own() == [1]
    assert [(item.host, item.own) for item in host.ledger.each()] == [(host.id, True), *[(FALSE, False)] * 3]


def test_a_chain_of_another_key_is_not_copied(make: Callable[..., Host], a: MemoryMirror) -> None:
    a.chains[FALSE] = false_chain(2, "B" * 40)
    host = make("one")
    host.sync()
    assert list(host.ledger.each()) == []
    assert "does not continue its chain, and is left alone" in host.lines[0]


@pytest.mark.parametrize(("limit", "value"), [("MOST", 4), ("MOST_BYTES", 1000), ("MOST_HOSTS", 1)])
def test_a_mirror_does_not_fill_the_disk(
    make: Callable[..., Host], a: MemoryMirror, limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = make("two", a)
    known.add(1)
    host = make("one", a)
    host.sync()
    known.add(2)
    a.chains["0" * 16] = false_chain(9)
    monkeypatch.setattr(replicator, limit, value)
    host.add(1)
    assert any("find out who could write to it" in line for line in host.lines)
    assert ("two", 2) in {(item.run, item.details.get("number")) for item in host.ledger.each()}
    assert len(list(host.ledger.each())) < 12
    assert host.confirmed("a") == 1


# -- tampering -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["rewritten", "gone"])
def test_a_rewritten_mirror_is_not_written_to(make: Callable[..., Host], a: MemoryMirror, how: str) -> None:
    host = make("one")
    host.add(1, 2)
    chain = a.chains[host.id]
    genuine = chain[2]
    false = entries.write(host.ledger.own().at(1), KEY, "test", {"number": 66}, now=NOW, run="liar")
    chain[2] = [false] if how == "rewritten" else []
    for number in (3, 4):
        host.add(number)
        (line,) = host.lines
        assert "entry 2, which was confirmed, is" in line
    assert host.own() == [1, 2, 3, 4]
    assert host.events().count("mirror-failed") == 1
    assert "entry 2" in str(host.state.of("a", host.id).problem)
    chain[2] = genuine
    host.add(5)
    assert host.state.of("a", host.id).problem is None
    assert at(a, host.id) == here(host)


def test_a_local_ledger_that_was_rewritten_is_not_pushed(make: Callable[..., Host], a: MemoryMirror) -> None:
    host = make("one")
    host.add(1, 2)
    chain = host.ledger.own()
    (chain.folder / "000000002.json").write_bytes(
        entries.write(chain.at(1), KEY, "test", {"number": 66}, now=NOW, run="liar")
    )
    host.add(3)
    assert "one of the two was rewritten" in host.lines[0]
    assert sorted(a.chains[host.id]) == [1, 2]


def test_another_head_for_the_same_entry_is_another_host(
    make: Callable[..., Host], heads: MemoryMirror
) -> None:
    host = make("one")
    host.add(1)
    before = host.id
    heads.chains[before][2] = [b'{"schema":"orgkey.ledger-head/1","sequence":2,"sha256":"00"}']
    host.add(2)
    assert host.id != before
    assert host.events() == ["test", "test", "host-renamed"]
    assert host.confirmed("heads") == 3


# -- limits ----------------------------------------------------------------------------------------


def test_a_mirror_that_always_conflicts_ends(
    make: Callable[..., Host], a: MemoryMirror, b: MemoryMirror
) -> None:
    def never(host: str, number: int, data: bytes, made: datetime) -> None:
        raise Conflict("taken", hint="look")

    a.put = never  # type: ignore[method-assign]
    host = make("one")
    host.add(1, 2)
    assert host.own() == [1, 2]
    assert at(b, host.id) == here(host)


def test_a_disk_that_refuses_is_a_failure(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    host = make("one")
    host.add(1)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.link", refuse)
        with pytest.raises(LocalFilesProblem):
            host.add(2)
    host.add(3)
    assert host.own() == [1, 3]


def test_a_disk_that_has_no_room_for_other_hosts_chains_keeps_its_own(
    make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = make("one"), make("two")
    one.add(1)
    real = files.write_new

    def refuse(path: Path, data: bytes, *, mode: int = 0o600) -> None:
        if one.id in str(path):
            raise LocalFilesProblem("no room", hint="make room")
        real(path, data, mode=mode)

    monkeypatch.setattr(files, "write_new", refuse)
    two.add(1)
    assert two.own() == [1]
    assert any("no room" in line for line in two.lines)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema":"x"}', b"[" * 100_000])
def test_a_damaged_memory_of_a_mirror_is_made_anew(
    make: Callable[..., Host], a: MemoryMirror, damage: bytes
) -> None:
    host = make("one")
    host.add(1, 2)
    host.state.file("a").write_bytes(damage)
    host.add(3)
    assert host.confirmed("a") == 3
    assert at(a, host.id) == here(host)


def test_what_a_mirror_confirmed_of_another_host_id_says_nothing(make: Callable[..., Host]) -> None:
    host = make("one")
    host.add(1)
    host.state.keep("a", FALSE, Confirmed(Head(9, sha256(b"x"))))
    assert host.state.of("a", host.id) == Confirmed()
