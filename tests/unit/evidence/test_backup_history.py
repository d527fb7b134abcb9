"""What the ledger tells of backups: a claim is about bytes, and what happens to them is named."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.core.clock import stamp
from pipeline.core.errors import Code, UsageProblem
from pipeline.evidence.ledger.backup_history import BackupHistory, Judged
from pipeline.evidence.ledger.events import BackupRead, BackupsVerifyEvent
from pipeline.evidence.ledger.store import LedgerEntry
from pipeline.workflows.backups.selection import BackupPart
from tests.support.ledger_entries import an_entry

START = datetime(2026, 1, 1, 2, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


@dataclass
class Stored:
    """A backup as it lies in its place."""

    name: str
    content: str
    made: float
    dated: float
    size: int = 1000
    whole: bool = True

    @property
    def state(self) -> str:
        return f"{self.content}:{self.size}:{self.dated}"


@dataclass
class Host:
    """A host that verifies, with its ledger."""

    known: frozenset[str] = frozenset()
    same_name: bool = False
    entered: list[tuple[LedgerEntry, BackupsVerifyEvent]] = field(default_factory=list)

    @property
    def history(self) -> BackupHistory:
        return BackupHistory.of(self.entered, self.known)

    def verify(self, at: float, *stored: Stored) -> list[Judged | None]:
        """Read them, the oldest first, as the workflow does; and enter it."""
        past, reads, judged = self.history, [], []
        for item in sorted(stored, key=lambda item: item.dated):
            read = BackupRead(
                source=item.name, location=item.name, place="nightly", ok=item.whole, size=item.size,
                code=0 if item.whole else int(Code.INTEGRITY), sha256=f"{item.content}/{item.size}",
                problem=None if item.whole else "it is cut off",
                modified=stamp(day(item.dated)), state=item.state,
                newest=stamp(day(item.made)), entries=10,
            )  # fmt: skip
            found = past.judge(read, max_shrink_percent=50, same_name=self.same_name)
            if found:
                read = read.model_copy(update={"history": found.history, "history_text": found.text})
            past.add(read)
            reads.append(read)
            judged.append(found)
        digest, number = "0" * 64, len(self.entered) + 1
        entry = LedgerEntry("h", True, number, day(at), "backups-verify", "r", {}, digest, {})
        self.entered.append((entry, BackupsVerifyEvent(code=0, backups=tuple(reads))))
        return judged

    def proven(self, item: Stored) -> bool:
        """Whether what lies there now counts as read to its end."""
        return self.history.verified(item.name, item.state) is not None


def forged(place: list[Stored], at: int) -> tuple[Stored, str]:
    """Anybody with the public key makes one; only a signature would tell."""
    return Stored("forged", "forged", place[-1].made + 1, place[-1].dated + 1), "new"


def replaced(place: list[Stored], at: int) -> tuple[Stored, str]:
    place[at] = replace(place[at], content="another", dated=place[at].dated + 0.01)
    return place[at], "replaced"


def truncated(place: list[Stored], at: int) -> tuple[Stored, str]:
    place[at] = replace(place[at], size=place[at].size // 2, whole=False)
    return place[at], "replaced"


def fails(place: list[Stored], at: int) -> tuple[Stored, str]:
    place[at] = replace(place[at], whole=False)
    return place[at], "same"


def shrunk(place: list[Stored], at: int) -> tuple[Stored, str]:
    last = place[-1]
    return Stored("99.pgp", "next", last.made + 1, last.dated + 1, size=last.size // 3), "shrunk"


def aged(place: list[Stored], at: int) -> tuple[Stored, str]:
    last = place[-1]
    return Stored("99.pgp", "next", last.made - 0.5, last.dated + 1), "older"


def dated_anew(place: list[Stored], at: int) -> tuple[Stored, str]:
    at = min(at, len(place) - 2)
    place[at] = replace(place[at], dated=place[-1].dated + 0.5)
    return place[at], "older"


def put_back(place: list[Stored], at: int) -> tuple[Stored, str]:
    at = min(at, len(place) - 2)
    return replace(place[at], name="again", dated=place[-1].dated + 0.5), "older"


def renamed(place: list[Stored], at: int) -> tuple[Stored, str]:
    return replace(place.pop(at), name="renamed"), "same"


def added(place: list[Stored], at: int) -> tuple[Stored, str]:
    last = place[-1]
    return Stored("99.pgp", "next", last.made + 1, last.dated + 1, size=last.size + 5), "new"


KINDS = (forged, replaced, truncated, fails, shrunk, aged, dated_anew, put_back, renamed, added)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_happens_to_a_backup_is_named(kind: Callable[[list[Stored], int], tuple[Stored, str]]) -> None:
    for seed in range(100):
        draw = random.Random(seed)  # noqa: S311 - no secret
        place = [
            Stored(f"{number}.pgp", f"c{number}", number, number + 0.1, size=draw.randint(900, 1100))
            for number in range(draw.randint(3, 12))
        ]
        host = Host()
        for number in range(1, len(place) + 1):
            read = draw.sample(place[:number], draw.randint(1, number))
            host.verify(number, *read)
        assert {one and one.history for one in host.verify(20, *place)} <= {"new", "same"}
        assert all(host.proven(item) for item in place)

        item, history = kind(place, draw.randrange(len(place)))
        assert host.proven(item) is (kind is fails), "not what was read, until it is read again"
        (found,) = host.verify(21, item)
        assert found is not None
        assert (found.history, bool(found.text)) == (history, history not in ("new", "same"))
        assert host.proven(item) is item.whole
        others = [one for one in place if one is not item]
        assert {one and one.history for one in host.verify(22, *others)} <= {"same"}
        # Once more: nothing becomes usual by being seen twice.
        (again,) = host.verify(23, item)
        assert again is not None
        assert again.history == (history if history != "new" else "same")
        # Somebody has looked at it.
        known = Host(frozenset({f"{item.content}/{item.size}"}), entered=host.entered)
        (told,) = known.verify(24, item)
        assert told is not None
        assert told.history == "same"


def test_a_server_that_writes_under_one_name_is_compared_with_its_last() -> None:
    host = Host(same_name=True)
    days = [Stored("backup.pgp", f"c{number}", number, number, size=1000) for number in range(5)]
    assert [host.verify(item.dated, item)[0] for item in days] == [Judged("new")] * 5
    (found,) = host.verify(6, replace(days[1], dated=6))
    assert found is not None
    assert found.history == "older"
    (found,) = host.verify(7, Stored("backup.pgp", "c9", 9, 9, size=10))
    assert found is not None
    assert found.history == "shrunk"


def test_a_small_one_of_another_series_is_not_shrunk() -> None:
    host = Host()
    host.verify(1, Stored("full-1.pgp", "f", 1, 1, size=1000))
    assert host.verify(2, Stored("part-2.pgp", "p", 2, 2, size=10)) == [Judged("new")]
    (found,) = host.verify(3, Stored("full-3.pgp", "g", 3, 3, size=10))
    assert found is not None
    assert found.history == "shrunk"


def test_what_cannot_be_read_says_nothing_and_takes_nothing_back() -> None:
    host, item = Host(), Stored("a", "c", 0, 0)
    host.verify(1, item)
    gone = BackupRead(source="a", location="a", place="nightly", ok=False, code=int(Code.UNREACHABLE))
    assert host.history.judge(gone, max_shrink_percent=50, same_name=False) is None
    entry, _ = host.entered[0]
    host.entered.append((entry, BackupsVerifyEvent(code=20, backups=(gone,))))
    assert host.proven(item)


def test_one_that_is_still_being_written_is_no_failure() -> None:
    host, item = Host(), Stored("a", "c", 0, 0)
    host.verify(1, item)
    written = BackupRead(source="a", location="a", place="nightly", ok=False, code=int(Code.DEGRADED))
    entry, _ = host.entered[0]
    host.entered.append((entry, BackupsVerifyEvent(code=24, backups=(written,))))
    assert host.proven(item)
    incomplete = written.model_copy(update={"container": "tar"})
    host.entered.append((entry, BackupsVerifyEvent(code=24, backups=(incomplete,))))
    assert not host.proven(item)


def test_an_entry_of_0_1_binds_its_claim_to_no_bytes() -> None:
    host = Host()
    host.verify(1)
    host.entered[0] = (host.entered[0][0], BackupsVerifyEvent(backups=(BackupRead(source="a", ok=True),)))
    assert host.history.last("a") is not None
    assert host.history.verified("a", None) is None


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_parts_hold_each_backup_once(count: int) -> None:
    names = [f"/srv/{number}.pgp" for number in range(200)]
    held = [
        [name for name in names if BackupPart(number, count).holds(name)] for number in range(1, count + 1)
    ]
    assert sorted(name for part in held for name in part) == sorted(names)
    assert all(held)


def test_the_part_that_waits_longest_is_next() -> None:
    host = Host()
    host.verify(1)
    entry, _ = host.entered[0]
    for at, number in enumerate((1, 3, 2)):
        turn = replace(entry, at=day(at))
        host.entered.append((turn, BackupsVerifyEvent(backups=(), part=f"{number}/4")))
    assert host.history.next_part(4) == 4
    host.entered.append((replace(entry, at=day(9)), BackupsVerifyEvent(backups=(), part="4/4")))
    assert host.history.next_part(4) == 1
    assert host.history.next_part(5) == 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "x/4", "next", "1/2/3", "-1/4", ""])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem, match="is not a part"):
        BackupPart.of(text)


def test_a_later_failure_takes_a_claim_back_though_the_clock_was_set_back() -> None:
    """In one chain its order is that of time."""
    good = BackupRead(source="b", location="b", ok=True, sha256="0", state="s")
    bad = BackupRead(source="b", location="b", ok=False, code=int(Code.INTEGRITY), state="s")
    entered = [
        (an_entry(1, day(400)), BackupsVerifyEvent(backups=(good,))),
        (an_entry(2, day(2)), BackupsVerifyEvent(backups=(bad,))),
    ]
    assert BackupHistory.of(entered, ()).verified("b", "s") is None
    before = replace(entered[1][0], host="0.1")
    assert BackupHistory.of([entered[0], (before, entered[1][1])], ()).verified("b", "s") is not None
