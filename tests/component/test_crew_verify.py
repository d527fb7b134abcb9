"""`orgkey backups verify` with a crew: what is entered, and from whom."""

from __future__ import annotations

import hmac
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, OrgkeyError
from pipeline.evidence.ledger import drill_history
from pipeline.evidence.ledger.backup_history import BackupHistory
from pipeline.openpgp.gnupg.driver import GnuPG
from pipeline.sources.backups.crew.answer import Answer
from pipeline.sources.backups.crew.crew_key import CrewKey, public_bytes
from pipeline.sources.backups.crew.read_ticket import read_ticket
from pipeline.sources.backups.crew.ticket import Ticket
from pipeline.sources.backups.crew.ticket_place import canonical
from pipeline.sources.backups.engine import Reading
from pipeline.sources.backups.sources import BackupFile, BackupSource
from pipeline.sources.backups.worker_client import WorkerClient
from pipeline.workflows.backups.crew_readings import CrewRequest
from pipeline.workflows.backups.verify import VerifyOutcome, VerifyRequest, verify_backups
from tests.support import unwatched
from tests.support.inmemory import MemoryHolder, World, unlocked

KEY = CrewKey.generate()
COUNT = 4


class Crew:
    """Two machines that read in this process; what they do with an answer may be changed."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []

    def answered(self, ticket: Ticket, line: str) -> str:
        """What goes back."""
        return line

    def carry(
        self, tickets: Mapping[str, str], deadline: Deadline
    ) -> Iterator[tuple[str, str | OrgkeyError]]:
        """See :data:`pipeline.workflows.backups.crew_readings.Carry`."""
        with WorkerClient() as reader:
            for number, (known, line) in enumerate(tickets.items()):
                self.tickets.append(ticket := Ticket.of(line))
                yield known, self.answered(ticket, read_ticket(line, KEY, reader, f"w{number % 2}"))


@pytest.fixture
def sources(world: World, tmp_path: Path) -> list[BackupSource]:
    world.store(world.mint())
    made: list[BackupSource] = []
    with GnuPG(Deadline(120)) as gpg:
        gpg.import_keys(unlocked().public, {unlocked().fingerprint: False})
        for number in range(COUNT):
            path = tmp_path / f"{number}.pgp"
            path.write_bytes(gpg.encrypt(b"a backup" * (number + 1), unlocked().fingerprint))
            made.append(BackupFile(path))
    return made


def verified(world: World, sources: list[BackupSource], crew: Crew, percent: float = 5) -> VerifyOutcome:
    request = CrewRequest(public_bytes(KEY.public), crew.carry, percent)
    return verify_backups(world.context, unwatched.request(sources, crew=request))


def test_what_a_crew_reads_is_entered_as_its_word(world: World, sources: list[BackupSource]) -> None:
    own = verify_backups(world.context, unwatched.request(sources))
    found = verified(world, sources, Crew())
    assert (own.code, found.code) == (Code.OK, Code.OK)
    assert [item.reading for item in found.backups] == [item.reading for item in own.backups]
    workers = [item.recorded.worker for item in found.backups]
    assert workers.count(None) == 1  # it was read again
    assert {item.recorded.history for item in found.backups} == {"same"}
    entered = drill_history.read(world.context.ledger.each()).backups[-1]
    assert workers == [item.worker for item in entered[1].backups]
    assert all(item.recorded.worker is None for item in verified(world, sources, Crew(), 100).backups)


def test_a_newer_epoch_is_tried_where_the_proven_one_opens_no_more(
    world: World, sources: list[BackupSource]
) -> None:
    """A holder's key was lost, another host has made new shares, and this one has not drilled since."""
    (old,) = world.context.archive("driller").catalog().records()
    world.context.journal.begin(old.epoch, None).mark_proven({"record_sha256": old.sha256.hex})
    before = verify_backups(world.context, unwatched.request(sources[:1]))
    world.holders["vault"] = MemoryHolder("vault")
    new = world.store(world.mint(later=5))
    after = verify_backups(world.context, unwatched.request(sources[:1]))
    assert [item.backups[0].recorded.epoch for item in (before, after)] == [old.epoch, new.epoch]
    assert (before.code, after.code) == (Code.OK, Code.OK)


def test_a_lie_fails_the_run_and_names_its_machine_and_takes_nothing_from_what_was_read_here(
    world: World, sources: list[BackupSource]
) -> None:
    class Liar(Crew):
        def answered(self, ticket: Ticket, line: str) -> str:
            said = Answer.read(line)
            if said.worker != "w1":
                return line
            lie = Reading(said.reading().outcome, "0" * 64)
            return Answer.of(said.id, said.worker, 0.1, lie, ticket.unseal(KEY).mac_key).line()

    found = verified(world, sources, Liar(), 100)
    assert found.code is Code.INTEGRITY
    assert all(item.ok and item.recorded.ok and item.recorded.worker is None for item in found.backups)
    assert [item.lied for item in found.backups] == [False, True] * 2
    assert str(found.backups[1].problem).startswith("w1 said of it what this machine does not find")
    assert found.backups[1].recorded.problem == found.backups[1].problem


@pytest.mark.parametrize("newest", [2**52, -(2**52), 253402300800, -5])
def test_a_date_of_no_calendar_fails_alone(
    world: World, sources: list[BackupSource], newest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random.SystemRandom, "sample", lambda _, answered, count: answered[:count])

    class Liar(Crew):
        def answered(self, ticket: Ticket, line: str) -> str:
            said = json.loads(line)
            if not ticket.open.name.endswith("3.pgp"):
                return line
            said["result"]["found"]["newest"] = newest
            del said["mac"]
            mac = hmac.digest(ticket.unseal(KEY).mac_key.reveal(), canonical(said), "sha256").hex()
            return canonical(said | {"mac": mac}).decode()

    found = verified(world, sources, Liar())
    assert [item.code for item in found.backups] == [Code.OK] * 3 + [Code.INTEGRITY]
    assert str(found.backups[3].problem).startswith("what came back is not an answer")


def test_an_upload_after_the_answer_is_not_called_a_lie(world: World, sources: list[BackupSource]) -> None:
    paths = [source.path for source in sources]

    class Upload(Crew):
        def answered(self, ticket: Ticket, line: str) -> str:
            for path in paths:
                if path is not None and path.name == ticket.open.name.rpartition("/")[2]:
                    path.write_bytes(b"\0" * 100)
            return line

    found = verified(world, sources, Upload(), 100)
    assert {item.code for item in found.backups} == {Code.CONFLICT}
    assert all("was changed after the crew had read it" in str(item.problem) for item in found.backups)


def test_what_no_machine_answers_for_has_failed(world: World, sources: list[BackupSource]) -> None:
    class Silent(Crew):
        def carry(self, *_: object) -> Iterator[tuple[str, str | OrgkeyError]]:
            return iter(())

    found = verified(world, sources, Silent())
    assert {item.code for item in found.backups} == {Code.UNREACHABLE}
    assert not any(item.ok for item in found.backups)


@pytest.mark.parametrize("mac", ["0" * 64, None])
def test_what_nobody_has_said_takes_no_proof_back(
    world: World, sources: list[BackupSource], mac: str | None
) -> None:
    class Forger(Crew):
        def answered(self, ticket: Ticket, line: str) -> str:
            error = {"code": 23, "message": "it was altered", "hint": "take another"}
            told = json.loads(line) | {"mac": mac, "result": None, "sha256": None, "error": error}
            return canonical(told).decode()

    assert verify_backups(world.context, unwatched.request(sources)).code is Code.OK
    found = verified(world, sources, Forger())
    assert found.code is Code.INTEGRITY
    assert {item.code for item in found.backups} == {Code.INTEGRITY}
    entered = drill_history.read(world.context.ledger.each()).backups
    history = BackupHistory.of(entered, ())
    assert all(history.verified(item.location, item.state) for item in sources)


def test_progress_is_told_while_answers_come_in(world: World, sources: list[BackupSource]) -> None:
    told: list[int] = []

    class Progress:
        def add(self, count: int) -> None:
            told.append(count)

        def next(self) -> None:
            pass

    class Watched(Crew):
        def carry(
            self, tickets: Mapping[str, str], deadline: Deadline
        ) -> Iterator[tuple[str, str | OrgkeyError]]:
            for number, item in enumerate(super().carry(tickets, deadline)):
                assert len(told) == number
                yield item

    crew = CrewRequest(public_bytes(KEY.public), Watched().carry)
    verify_backups(world.context, VerifyRequest(sources, crew=crew, watch=lambda _: Progress()))
    assert told == [source.size for source in sources]
