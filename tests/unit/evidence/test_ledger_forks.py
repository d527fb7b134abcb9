"""Verifying a ledger behind forks: what gave way counts where it stands again, and hides nothing."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rfc8785

from pipeline.core.digest import sha256
from pipeline.evidence import anchors
from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger.store import Ledger
from pipeline.evidence.ledger.verify import Claim, verify
from pipeline.report import past
from tests.support.inmemory import MemoryMirror

KEY = "A" * 40
NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)
COUNT = 6


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path, KEY)
    for number in range(1, COUNT + 1):
        made.append("noted", {"number": number}, now=NOW, run="r")
    return made


def claim(ledger: Ledger, number: int, what: str = "a certificate") -> Claim:
    return Claim(number, frozenset({ledger.at(number).digest.hex}), what)


def write_again(ledger: Ledger) -> None:
    for _, data, path in ledger.waiting():
        before = ledger.head()
        assert ledger.add(before.sequence + 1, chain.rechain(data, before))
        ledger.done_waiting(path)


def rewrite(ledger: Ledger, number: int, changes: dict[str, object], without: str = "") -> None:
    """Change an entry, or take a field away, and have all later ones follow it."""
    for each in range(number, ledger.head().sequence + 1):
        path = ledger.directory / f"{each:09d}.json"
        entry = json.loads(path.read_bytes()) | {"previous": ledger.at(each - 1).digest.hex}
        if each == number:
            entry = {name: value for name, value in (entry | changes).items() if name != without}
        path.chmod(0o600)
        path.write_bytes(rfc8785.dumps(entry))


def settle(ledger: Ledger, first: int = 4) -> None:
    """This host's entries from ``first`` on give way to another host's one, and are written again."""
    ledger.set_aside(first)
    ledger.append("noted", {"number": 100 + first}, now=NOW, run="other")
    write_again(ledger)


def test_an_anchor_to_an_entry_that_gave_way_holds_up_to_the_fork(ledger: Ledger) -> None:
    superseded = claim(ledger, 5)
    settle(ledger)
    found = verify(ledger.directory, [superseded])
    assert (found.ok, found.anchored_to, found.unauthenticated) == (True, 3, 4)
    assert any("stands as entry 6 now" in note for note in found.notes)
    assert verify(ledger.directory, [superseded, claim(ledger, 7)]).anchored_to == 7


def test_what_gave_way_twice_stands_all_the_same(ledger: Ledger) -> None:
    superseded = claim(ledger, 5)
    settle(ledger)
    settle(ledger)
    found = verify(ledger.directory, [superseded])
    assert (found.ok, found.anchored_to) == (True, 3)


def test_a_report_is_not_misled_by_an_anchor_that_gave_way(ledger: Ledger) -> None:
    claims = [claim(ledger, 5), claim(ledger, 3, "another")]
    settle(ledger)
    told = past.read(ledger)
    facts, notes = past.ledger_facts(told, ledger.directory, claims, 2)
    assert (facts.ok, facts.anchored_to, facts.waiting) == (True, 3, 2)
    assert any("gave way" in note for note in notes)
    shutil.rmtree(ledger.directory / "forks")
    assert not past.ledger_facts(told, ledger.directory, claims, 2)[0].ok


@pytest.mark.parametrize("how", ["no forks", "content changed", "one not written again"])
def test_an_anchor_that_gave_way_is_not_believed_without_proof(ledger: Ledger, how: str) -> None:
    superseded = claim(ledger, 5)
    settle(ledger)
    if how == "no forks":
        shutil.rmtree(ledger.directory / "forks")
    else:
        # What was written again as 5 is the one before the claimed entry, which became 6.
        number = 6 if how == "content changed" else 5
        without = "" if how == "content changed" else "rechained_from"
        rewrite(ledger, number, {"details": {"number": 66}}, without)
    found = verify(ledger.directory, [superseded])
    assert (found.ok, found.first_bad) == (False, 5)


def test_a_ledger_that_was_invented_behind_a_pretended_fork_is_found(ledger: Ledger) -> None:
    """All of it is laid aside, other entries take its place, and the claimed one alone is written again."""
    vouched = claim(ledger, COUNT)
    last = ledger.read(COUNT)
    ledger.set_aside(1)
    for number in range(1, COUNT):
        ledger.append("noted", {"number": number, "failed": False}, now=NOW, run="invented")
    before = ledger.head()
    assert ledger.add(before.sequence + 1, chain.rechain(last, before))
    for _, _, path in ledger.waiting():
        ledger.done_waiting(path)
    assert verify(ledger.directory).ok
    found = verify(ledger.directory, [vouched])
    assert not found.ok
    assert found.anchored_to == 0


# -- mirrors with several documents under one number -----------------------------------------------


def mirror_of(ledger: Ledger) -> MemoryMirror:
    made = MemoryMirror("m")
    for number in range(1, ledger.head().sequence + 1):
        made.put(number, ledger.read(number))
    return made


def test_what_a_rewritten_ledger_lays_beside_its_originals_is_no_anchor(ledger: Ledger) -> None:
    mirror = mirror_of(ledger)
    rewrite(ledger, 3, {"details": {"number": 33}})
    for number in range(3, COUNT + 1):
        mirror.put(number, ledger.read(number), beside=True)
    ledger.append("noted", {"number": 7}, now=NOW, run="r")
    mirror.put(7, ledger.read(7))
    found = verify(ledger.directory, anchors.entries(mirror, KEY))
    assert (found.anchored_to, found.unauthenticated) == (2, 5)
    (note,) = found.notes
    assert "mirror m has another entry 3 beside this one" in note


def test_what_gave_way_may_lie_beside(ledger: Ledger) -> None:
    """The loser of a fork writes its entries beside at the mirror that had them first."""
    mirror = mirror_of(ledger)
    settle(ledger)
    for number in range(4, ledger.head().sequence + 1):
        mirror.put(number, ledger.read(number), beside=True)
    found = verify(ledger.directory, anchors.entries(mirror, KEY))
    assert (found.ok, found.anchored_to, found.notes) == (True, 7, ())
    # The other host has no forks: the mirror's own documents tell what was written again.
    shutil.rmtree(ledger.directory / "forks")
    found = verify(ledger.directory, anchors.entries(mirror, KEY))
    assert (found.ok, found.anchored_to, found.notes) == (True, 7, ())


def test_a_place_for_heads_with_two_heads_for_one_entry_is_no_anchor(ledger: Ledger) -> None:
    place = MemoryMirror("heads")
    for number in (2, 4):
        place.put(number, chain.write_head(ledger.at(number), NOW))
    assert verify(ledger.directory, anchors.heads(place)).anchored_to == 4
    place.put(4, chain.write_head(chain.Head(4, sha256(b"another")), NOW), beside=True)
    found = verify(ledger.directory, anchors.heads(place))
    assert (found.ok, found.anchored_to) == (True, 2)
    assert "the head in heads has another entry 4" in found.notes[0]
