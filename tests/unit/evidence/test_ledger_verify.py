"""Verifying a copied ledger: what the chain shows, what only an anchor shows, what is said of the rest."""

from __future__ import annotations

import gc
import json
import os
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.digest import sha256
from pipeline.core.errors import IntegrityProblem, LocalFilesProblem
from pipeline.evidence import anchors
from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger.drill_history import read
from pipeline.evidence.ledger.events import event_of
from pipeline.evidence.ledger.store import Chain, Ledger
from pipeline.evidence.ledger.verify import Claim, VerifiedChain, verify
from tests.support.inmemory import MemoryMirror

KEY = "A" * 40
NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)
COUNT = 6
HOST = "0123456789abcdef"


def sole(folder: Path, claims: Iterable[Claim] = ()) -> VerifiedChain:
    """What is found of the only chain in a folder."""
    (found,) = verify(folder, claims).chains
    return found


def fill(root: Path, count: int = COUNT, run: str = "r") -> Ledger:
    ledger = Ledger(root, KEY)
    for number in range(1, count + 1):
        ledger.append("noted", {"number": number, "name": "Jürgen", "seconds": 0.25}, now=NOW, run=run)
    return ledger


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("original")).own().folder


@contextmanager
def copied(original: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(original, Path(folder) / HOST))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / HOST))


def entry(number: int) -> str:
    return f"{number:09d}.json"


def head_of(folder: Path, number: int) -> Claim:
    return anchors.head(f"{number}:{sha256((folder / entry(number)).read_bytes()).hex}")


def rewrite(path: Path, **changes: object) -> None:
    path.write_bytes(rfc8785.dumps(json.loads(path.read_bytes()) | changes))


def test_a_sound_ledger_without_an_anchor_is_never_called_complete(folder: Path) -> None:
    found = sole(folder)
    assert (found.ok, found.entries, found.head.sequence) == (True, COUNT, COUNT)
    assert (found.anchored_to, found.unauthenticated, found.first_bad) == (0, COUNT, None)
    assert {found.head.digest.hex} == digests(folder, COUNT)


@pytest.mark.parametrize("number", range(1, COUNT + 1))
def test_an_anchor_vouches_for_all_before_it(folder: Path, number: int) -> None:
    found = sole(folder, [head_of(folder, number)])
    assert (found.ok, found.anchored_to, found.unauthenticated) == (True, number, COUNT - number)
    assert found.anchored_by == f"the head {number}"


# -- any one byte ----------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_one_byte_of_an_entry_that_another_follows_is_found_and_named(
    original: Path, data: st.DataObject
) -> None:
    number = data.draw(st.integers(1, COUNT - 1))
    with copied(original) as folder:
        change_one_byte(folder / entry(number), data)
        found = sole(folder)
        # The last but one and the last vouch for each other only: either may have been changed.
        assert found.first_bad == number, found


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_one_byte_of_the_last_entry_is_found_with_an_anchor_and_the_limit_said_without(
    original: Path, data: st.DataObject
) -> None:
    with copied(original) as folder:
        claim = head_of(folder, COUNT)
        change_one_byte(folder / entry(COUNT), data)
        anchored, alone = sole(folder, [claim]), sole(folder)
        assert anchored.first_bad == COUNT
        if alone.ok:
            assert alone.unauthenticated == COUNT
        else:
            assert alone.first_bad in (COUNT - 1, COUNT)


def change_one_byte(path: Path, data: st.DataObject) -> None:
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    path.write_bytes(bytes(content))


def test_every_byte_of_one_entry_changed_in_turn(original: Path) -> None:
    with copied(original) as folder:
        path = folder / entry(3)
        content = path.read_bytes()
        for place in range(len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert sole(folder).first_bad == 3, place


# -- entries removed, moved, repeated --------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(first=st.integers(1, COUNT), second=st.integers(1, COUNT))
def test_removed_swapped_and_repeated(original: Path, first: int, second: int) -> None:
    with copied(original) as folder:
        one, other = folder / entry(first), folder / entry(second)
        left, right = one.read_bytes(), other.read_bytes()
        if first != second:
            one.write_bytes(right)
            other.write_bytes(left)
            assert sole(folder).first_bad == min(first, second)
            one.write_bytes(right)
            other.write_bytes(right)
            assert sole(folder).first_bad == first
            one.write_bytes(left)
            other.write_bytes(right)
        one.unlink()
        found = sole(folder)
        assert found.first_bad == (first if first < COUNT else None)
        assert found.entries == first - 1


@pytest.mark.parametrize("kept", range(COUNT))
def test_a_cut_tail_is_found_with_an_anchor_beyond_it_only(original: Path, kept: int) -> None:
    with copied(original) as folder:
        claims = [head_of(folder, number) for number in range(1, COUNT + 1)]
        for number in range(kept + 1, COUNT + 1):
            (folder / entry(number)).unlink()
        alone = sole(folder)
        assert (alone.ok, alone.unauthenticated) == (True, kept)
        for number, claim in enumerate(claims, 1):
            found = sole(folder, [claim])
            assert found.ok == (number <= kept)
            assert found.first_bad == (None if number <= kept else kept + 1)


def fork_in(folder: Path) -> None:
    """Entries 4 to 6 of another chain behind entry 3."""
    before = Chain(folder, KEY, HOST).at(3)
    for number in (4, 5, 6):
        data = chain.write(before, KEY, "noted", {"number": 100 + number}, now=NOW, run="x")
        (folder / entry(number)).write_bytes(data)
        before = chain.Head(number, sha256(data))


def all_anew(folder: Path) -> None:
    shutil.rmtree(folder)
    fill(folder.parent / "anew", COUNT + 2).own().folder.rename(folder)
    rewrite(folder / entry(1), run="x")
    for number in range(2, COUNT + 3):
        before = sha256((folder / entry(number - 1)).read_bytes()).hex
        rewrite(folder / entry(number), previous=before)


def renumbered(folder: Path) -> None:
    (folder / entry(3)).unlink()
    for number in (4, 5, 6):
        rewrite(folder / entry(number), sequence=number - 1)
        (folder / entry(number)).rename(folder / entry(number - 1))


def instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


HOW: dict[str, tuple[Callable[[Path], object], int]] = {
    "removed and renumbered": (renumbered, 3),
    "white space": (lambda at: (at / entry(6)).write_bytes((at / entry(6)).read_bytes() + b"\n"), 6),
    "keys in another order": (
        lambda at: (at / entry(6)).write_bytes(
            json.dumps(json.loads((at / entry(6)).read_bytes()), ensure_ascii=False).encode()
        ),
        6,
    ),
    "another number's form": (
        lambda at: (at / entry(6)).write_bytes((at / entry(6)).read_bytes().replace(b"0.25", b"2.5e-1")),
        6,
    ),
    "another key's": (lambda at: rewrite(at / entry(6), fingerprint="B" * 40), 6),
    "another schema": (lambda at: rewrite(at / entry(6), schema="orgkey.ledger/2"), 6),
    "one more field": (lambda at: rewrite(at / entry(6), more=1), 6),
    "no event": (lambda at: rewrite(at / entry(6), event=None), 6),
    "a date that is none": (lambda at: rewrite(at / entry(6), at="2026-02-30T00:00:00Z"), 6),
    "a truth for a number": (lambda at: rewrite(at / entry(1), sequence=True), 1),
    "emptied": (lambda at: (at / entry(4)).write_bytes(b""), 4),
    "nested too deep": (lambda at: (at / entry(4)).write_bytes(b"[" * 200_000), 4),
    "huge": (lambda at: os.truncate(at / entry(4), 1 << 40), 4),
    "many digits": (lambda at: (at / entry(4)).write_bytes(b'{"sequence":' + b"9" * 10_000 + b"}"), 4),
    "a link": (lambda at: instead(at / entry(4), lambda path: path.symlink_to(at / entry(3))), 4),
    "a pipe": (lambda at: instead(at / entry(4), os.mkfifo), 4),
    "a directory": (lambda at: instead(at / entry(4), Path.mkdir), 4),
}


@pytest.mark.parametrize("how", HOW)
def test_what_the_chain_alone_shows(folder: Path, how: str) -> None:
    change, first_bad = HOW[how]
    change(folder)
    found = sole(folder)
    assert (found.ok, found.first_bad, found.entries) == (False, first_bad, first_bad - 1)
    assert found.problem
    assert f"entry {first_bad}" in found.problem


def test_a_rewritten_branch_shows_with_an_anchor_only(folder: Path) -> None:
    claims = [head_of(folder, 2), head_of(folder, 5)]
    fork_in(folder)
    assert sole(folder).ok
    found = sole(folder, claims)
    assert (found.ok, found.first_bad, found.anchored_to) == (False, 5, 2)
    assert "or one since entry 2" in str(found.problem)


def test_a_ledger_that_was_written_anew_as_a_whole_shows_with_an_anchor_only(folder: Path) -> None:
    claim = head_of(folder, 4)
    all_anew(folder)
    assert sole(folder).ok
    assert sole(folder, [claim]).first_bad == 4


def test_which_of_the_last_two_was_changed_shows_with_an_anchor(folder: Path) -> None:
    last, before = head_of(folder, COUNT), head_of(folder, COUNT - 1)
    path = folder / entry(COUNT - 1)
    genuine = path.read_bytes()
    rewrite(path, run="x")
    assert "one of the two" in str(sole(folder).problem)
    assert sole(folder, [last]).first_bad == COUNT - 1
    path.write_bytes(genuine)
    rewrite(folder / entry(COUNT), previous="0" * 64)
    assert sole(folder, [before]).first_bad == COUNT


ODD = frozenset({"0" * 64})


def digests(folder: Path, number: int) -> frozenset[str]:
    return frozenset({sha256((folder / entry(number)).read_bytes()).hex})


def claimed(number: int, **more: Any) -> Callable[[Path], list[Claim]]:
    """What x says of an entry: what it is, where no digest is given."""
    return lambda at: [Claim(number, more.pop("digests", None) or digests(at, number), "x", **more)]


def beyond(number: int, after: int) -> Callable[[Path], list[Claim]]:
    return lambda at: [Claim(number, ODD, "x", follows=digests(at, after))]


def two_changes(at: Path) -> None:
    rewrite(at / entry(3), run="x")
    (at / entry(5)).write_bytes(b"{}")


ANOTHER = "1" * 64
SAID: dict[str, tuple[Callable[[Path], object], Callable[[Path], list[Claim]], int | None, str]] = {
    "of no entry": (bool, lambda at: [Claim(0, ODD, "x")], None, ""),
    "a hole at a mirror": (
        bool, lambda at: [Claim(3, frozenset(), "x")], 3, "entry 3 is not at x, which has later ones",
    ),
    "another one behind what is vouched for": (
        bool, lambda at: [head_of(at, 2), Claim(3, ODD, "x")], 3, "entry 3 was rewritten: x names another",
    ),
    "another one later": (
        bool,
        lambda at: [head_of(at, 2), Claim(4, ODD, "x")],
        4,
        "entry 4, or one since entry 2 was rewritten: x names another",
    ),
    "one more": (bool, beyond(COUNT + 1, COUNT), 7, "entry 7 is missing: x names entry 7"),
    "one more of another chain": (bool, beyond(COUNT + 1, COUNT - 1), None, ""),
    "a later one that follows nothing here": (bool, beyond(COUNT + 2, COUNT), None, ""),
    "a later one": (
        bool, lambda at: [Claim(COUNT + 2, ODD, "x")], 7, "entry 7 is missing: x names entry 8",
    ),
    "removed": (
        lambda at: (at / entry(1)).unlink(),
        claimed(6),
        1,
        "entry 1 is missing: the next one there is 000000002.json",
    ),
    "begins in the middle": (
        lambda at: rewrite(at / entry(1), previous=ANOTHER),
        claimed(6),
        1,
        "entry 1 follows another one: the beginning was removed",
    ),
    "changed": (
        lambda at: rewrite(at / entry(3), run="x"),
        lambda at: [],
        3,
        "entry 3 is another than the one that entry 4 follows",
    ),
    "follows another": (
        lambda at: rewrite(at / entry(4), previous=ANOTHER),
        lambda at: [],
        4,
        "entry 4 does not follow entry 3",
    ),
    "changed, and the next but one, too": (two_changes, lambda at: [], 4, "entry 4 does not follow entry 3"),
    "the last but one": (
        lambda at: rewrite(at / entry(5), run="x"),
        claimed(6, host="f" * 16),
        5,
        "entry 6 does not follow entry 5: one of the two was changed",
    ),
    "the last but one, as the last's witness says": (
        lambda at: rewrite(at / entry(5), run="x"),
        claimed(6, host=HOST),
        5,
        "entry 5 is another than the one that entry 6 follows",
    ),
    "the last but one, as its own witness says": (
        lambda at: rewrite(at / entry(5), run="x"),
        claimed(5),
        5,
        "entry 5 is another than the one that entry 6 follows",
    ),
    "the last, as the witness of the one before says": (
        lambda at: rewrite(at / entry(6), previous=ANOTHER),
        claimed(5),
        6,
        "entry 6 does not follow entry 5",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", SAID)
def test_what_is_wrong_is_said_of_the_entry_that_is(folder: Path, how: str) -> None:
    change, claims, first_bad, problem = SAID[how]
    told = claims(folder)
    change(folder)
    found = sole(folder, told)
    assert (found.first_bad, found.problem or "") == (first_bad, problem)


def test_of_two_that_vouch_for_the_same_entry_the_first_is_named(folder: Path) -> None:
    good = digests(folder, 4)
    assert sole(folder, [Claim(4, good, "one"), Claim(4, good, "two")]).anchored_by == "one"
    found = sole(folder, [Claim(4, good, "one"), Claim(4, ODD, "two")])
    assert (found.first_bad, found.anchored_to, found.unauthenticated) == (4, 3, 0)


def test_all_chains_are_of_the_key_that_is_meant(tmp_path: Path) -> None:
    ledger = fill(tmp_path / "one", 2)
    assert verify(ledger.directory, fingerprint=KEY).ok
    (other,) = verify(ledger.directory, fingerprint="B" * 40).chains
    assert (other.first_bad, other.problem) == (1, "entry 1 is of another key")
    stranger = Ledger(tmp_path / "two", "B" * 40)
    stranger.append("noted", {}, now=NOW, run="r")
    shutil.copytree(stranger.own().folder, ledger.directory / ("f" * 16))
    found = verify(ledger.directory)
    assert [chain.first_bad for chain in found.chains if chain.host == "f" * 16] == [1]
    assert (found.fingerprint, found.ok) == (KEY, False)


# -- a mirror as the anchor ------------------------------------------------------------------------


@pytest.fixture
def mirror(original: Path) -> MemoryMirror:
    made = MemoryMirror("m")
    for number in range(1, COUNT + 1):
        made.put(HOST, number, (original / entry(number)).read_bytes(), NOW)
    return made


def by(mirror: MemoryMirror, folder: Path) -> VerifiedChain:
    return sole(folder, anchors.entries(mirror, KEY))


def test_a_mirror_vouches_for_what_it_has(folder: Path, mirror: MemoryMirror) -> None:
    assert by(mirror, folder).anchored_to == COUNT
    del mirror.chains[HOST][COUNT]
    found = by(mirror, folder)
    assert (found.ok, found.anchored_to, found.unauthenticated) == (True, COUNT - 1, 1)
    mirror.chains[HOST][2].append(b"another version")
    assert by(mirror, folder).ok


def test_a_mirror_shows_a_cut_tail_a_rewritten_entry_and_its_own_hole(
    folder: Path, mirror: MemoryMirror
) -> None:
    (folder / entry(COUNT)).unlink()
    assert by(mirror, folder).first_bad == COUNT
    mirror.chains[HOST][COUNT] = [b"garbage"]
    assert by(mirror, folder).ok
    data = chain.write(Chain(folder, KEY, HOST).at(3), KEY, "x", {}, now=NOW, run="r")
    genuine, mirror.chains[HOST][4] = mirror.chains[HOST][4], [data]
    assert by(mirror, folder).first_bad == 4
    mirror.chains[HOST][4] = genuine
    del mirror.chains[HOST][2]
    found = by(mirror, folder)
    assert found.first_bad == 2
    assert "not at mirror m" in str(found.problem)


def test_a_number_says_nothing_of_how_many_there_are(folder: Path, mirror: MemoryMirror) -> None:
    mirror.chains[HOST][999_999_999] = [b"whatever"]
    told = list(anchors.entries(mirror, KEY))
    assert len(told) == COUNT + 2, "what is listed, and the beginning of the gap"
    assert by(mirror, folder).anchored_to == COUNT
    del mirror.chains[HOST][3], mirror.chains[HOST][4]
    assert next(claim.number for claim in anchors.entries(mirror, KEY) if not claim.digests) == 3
    assert by(mirror, folder).first_bad == 3


def test_a_mirror_of_too_many_entries_is_not_read(
    mirror: MemoryMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchors, "MOST", COUNT - 1)
    with pytest.raises(IntegrityProblem, match="more than"):
        list(anchors.entries(mirror, KEY))
    assert mirror.calls[-1] == "listing"


# -- folders ---------------------------------------------------------------------------------------


def test_the_folder_above_will_do_and_other_files_are_told(folder: Path) -> None:
    for name in ("notes.txt", "7.json", "0000000008.json", "²².json", "a\nb"):
        (folder / name).write_bytes(b"x")
    folder = folder.rename(folder.parent / "ledger")
    found = verify(folder.parent)
    assert (found.chains[0].entries, found.chains[0].host, found.folder) == (COUNT, "0.1", folder)
    assert found.notes[0].startswith("5 other files are left alone")
    assert "\n" not in found.notes[0]


def test_other_files_are_named_up_to_three_but_for_what_the_program_leaves(tmp_path: Path) -> None:
    folder = fill(tmp_path, 2).own().folder
    for name in ("host-id", ".000000003.json.orgkey-tmp"):
        (folder / name).write_bytes(b"x")
        (folder.parent / name).write_bytes(b"x")
    assert verify(folder.parent).notes == ()
    (folder / "000000000.json").write_bytes(b"x")
    (folder.parent / ".hidden").write_bytes(b"x")
    (folder.parent / "x.orgkey-tmp").write_bytes(b"x")
    names = f"'.hidden', '{folder.name}/000000000.json', 'x.orgkey-tmp'"
    told = verify(folder.parent).notes
    assert told == (f"3 other files are left alone: {names}",)
    (folder.parent / "y").write_bytes(b"x")
    told = verify(folder.parent).notes
    assert told == (f"4 other files are left alone: {names}, …",)


def test_no_folder_is_an_empty_ledger_where_that_is_allowed(tmp_path: Path) -> None:
    found = verify(tmp_path / "none", absent=True)
    assert (found.ok, found.chains, found.folder) == (True, (), tmp_path / "none")
    assert verify(fill(tmp_path, 2).directory, absent=True).chains[0].entries == 2
    missing = verify(tmp_path / "none", [Claim(2, ODD, "x"), Claim(3, ODD, "y")], absent=True)
    assert missing.problem == "x names an entry 2 that no host has here"


@pytest.mark.parametrize("how", ["missing", "a file", "a pipe", "something else"])
def test_what_is_no_ledger_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "x"
    if how == "a file":
        path.write_bytes(b"x")
    elif how == "a pipe":
        os.mkfifo(path)
    elif how == "something else":
        path.mkdir()
        (path / "notes.txt").write_bytes(b"x")
    with pytest.raises(LocalFilesProblem) as caught:
        verify(path)
    assert caught.value.hint


def written(folder: Path, count: int) -> chain.Head:
    """A ledger of so many entries, written without waiting for the disk."""
    folder.mkdir()
    before = chain.START
    details = {
        "epoch": "20260131T080000Z-0a1b2c3d",
        "proofs": {f"p{n}": {"ok": True, "s": 0.125} for n in range(20)},
    }
    text = chain.write(before, KEY, "noted", details, now=NOW, run="r").decode()
    assert text.count(before.digest.hex) == text.count('"sequence":1}') == 1
    for number in range(1, count + 1):
        own = text.replace(chain.START.digest.hex, before.digest.hex)
        data = own.replace('"sequence":1}', f'"sequence":{number}}}').encode()
        before = chain.Head(number, sha256(data))
        (folder / entry(before.sequence)).write_bytes(data)
    return before


def test_ten_thousand_entries_take_seconds(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    before = written(folder, 10_000)
    started = time.monotonic()
    found = sole(folder, [Claim(before.sequence, frozenset({before.digest.hex}), "the head")])
    took = time.monotonic() - started
    assert (found.ok, found.anchored_to) == (True, 10_000)
    assert took < 20, took
    print(f"10,000 entries: {took:.1f} s")


def test_ten_thousand_entries_take_little_memory(tmp_path: Path) -> None:
    """Measured by what each entry adds, since watching every allocation of so many takes long."""
    folders = {count: tmp_path / str(count) for count in (100, 1_100)}
    for count, folder in folders.items():
        written(folder, count)
    # The lower of two: what else the process does at that moment counts, too.
    few, many = (min(peak_of(folder) for _ in range(2)) for folder in folders.values())
    assert few + 9 * (many - few) < 16 * 1024 * 1024, (few, many)


def peak_of(folder: Path) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        sole(folder)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# -- several hosts, and the layout of 0.1 -----------------------------------------------------------


def test_each_chain_is_judged_by_itself(tmp_path: Path) -> None:
    ledgers = [fill(tmp_path / name, run=name) for name in ("one", "two")]
    folder = ledgers[0].directory
    shutil.copytree(ledgers[1].own().folder, folder / ledgers[1].host)
    whole = verify(folder)
    assert (whole.ok, [chain.entries for chain in whole.chains]) == (True, [COUNT, COUNT])
    head = ledgers[1].head()
    claim = Claim(head.sequence, frozenset({head.digest.hex}), "the head")
    told = {chain.host: chain for chain in verify(folder, [claim]).chains}
    assert told[ledgers[1].host].anchored_to == COUNT
    assert told[ledgers[0].host].anchored_to == 0
    rewrite(folder / ledgers[0].host / entry(2), run="x")
    broken = verify(folder, [claim])
    told = {chain.host: chain for chain in broken.chains}
    assert not broken.ok
    assert (told[ledgers[0].host].first_bad, told[ledgers[1].host].ok) == (2, True)


def test_what_no_chain_has_is_told_by_what_claims_it(tmp_path: Path) -> None:
    ledgers = [fill(tmp_path / name, 2, run=name) for name in ("one", "two")]
    folder = ledgers[0].directory
    shutil.copytree(ledgers[1].own().folder, folder / ledgers[1].host)
    head = verify(folder, [Claim(2, ODD, "the head 2")])
    assert (head.ok, head.problem) == (False, "the head 2 names an entry 2 that no host has here")
    asked = verify(folder, [Claim(2, ODD, "certificate C", host=HOST, asked=True)])
    assert not asked.ok
    mirror = verify(folder, [Claim(2, ODD, "mirror m", host=HOST)])
    assert mirror.ok
    assert mirror.notes == (
        f"mirror m has a chain of host {HOST}, which is not here: `orgkey ledger sync` copies it",
    )
    mine = verify(folder, [Claim(2, ODD, "mirror m", host=ledgers[0].host)])
    assert not mine.ok


def test_a_chain_that_was_renamed_is_vouched_for_by_its_digests(folder: Path) -> None:
    claim = head_of(folder, 4)
    named = Claim(4, claim.digests, "certificate C", host="f" * 16, asked=True)
    assert sole(folder, [named]).anchored_to == 4


GOLDEN = Path(__file__).parents[2] / "golden" / "ledger-0.1"


def test_a_ledger_of_0_1_verifies_and_an_entry_that_gave_way_is_said_to_have() -> None:
    found = sole(GOLDEN)
    assert (found.ok, found.host, found.entries) == (True, "0.1", 7)
    assert sole(GOLDEN, [head_of(GOLDEN, 7)]).anchored_to == 7
    (aside,) = GOLDEN.glob("forks/000000002-*.json")
    gave_way = verify(GOLDEN, [Claim(2, frozenset({sha256(aside.read_bytes()).hex}), "certificate C")])
    assert (gave_way.ok, gave_way.chains[0].anchored_to) == (True, 0)
    assert "gave way in a fork of 0.1" in gave_way.notes[0]
    assert not verify(GOLDEN, [Claim(2, frozenset({"0" * 64}), "certificate C")]).ok


def test_a_ledger_of_0_1_is_history_and_a_new_chain_lies_beside_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, KEY)
    shutil.copytree(GOLDEN, ledger.directory)
    assert (ledger.host, ledger.head().sequence) == ("", 0)
    before = [item.event for item in ledger.entries()]
    assert before[:1] == ["escrow"]
    ledger.append("drill-refused", {"message": "x"}, now=NOW, run="r")
    assert [chain.host for chain in ledger.chains()] == [ledger.host, "0.1"]
    assert all(item.own for item in ledger.each())
    assert len(ledger.entries()) == 8
    (aside,) = GOLDEN.glob("forks/000000002-*.json")
    found = verify(ledger.directory, [Claim(2, frozenset({sha256(aside.read_bytes()).hex}), "certificate C")])
    assert (found.ok, found.notes) == (
        True, ("entry 2, which certificate C names, gave way in a fork of 0.1",),
    )  # fmt: skip
    told = read(ledger.each())
    assert (told.known.epoch if told.known else "", len(told.check_ins)) == ("20260131T080000Z-0a1b2c3d", 1)
    assert {path.name for path in GOLDEN.iterdir()} <= {path.name for path in ledger.directory.iterdir()}


NEW = GOLDEN.with_name("ledger")


def test_the_golden_chains_of_several_hosts_verify_and_are_history(tmp_path: Path) -> None:
    """Of this host, which was restored from a backup; of its chain before; and of another host."""
    this, before = (NEW / "host-id").read_text().split()
    found = verify(NEW)
    assert (found.ok, found.fingerprint) == (True, KEY)
    chains = {chain.host: chain.entries for chain in found.chains}
    assert (len(chains), chains[this], chains[before]) == (3, 3, 2)
    shutil.copytree(NEW, tmp_path / "ledger")
    ledger = Ledger(tmp_path, KEY)
    told = sorted(ledger.each(), key=lambda item: (item.at, item.number))
    assert [item.event for item in told] == ["escrow", "verify", "repair", "check-in", "host-renamed"]
    assert [item.own for item in told] == [True, False, False, True, True]
    assert len(read(told).check_ins) == 1
    assert not any(event_of(item).failed for item in told if item.event != "host-renamed")
    ledger.append("drill-refused", {"message": "x"}, now=NOW, run="r")
    assert (ledger.host, ledger.head().sequence) == (this, 4)
