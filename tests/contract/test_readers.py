"""One suite for all that reads backups: this machine, a folder of tickets, Dask's workers."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, DeadlinePassed, OrgkeyError, UsageProblem
from pipeline.core.secret import Secret
from pipeline.sources.backups import read_backup
from pipeline.sources.backups.crew import dispatch_client
from pipeline.sources.backups.crew.answer import Answer
from pipeline.sources.backups.crew.crew_key import CrewKey, public_bytes
from pipeline.sources.backups.crew.folder_readers import FolderReaders
from pipeline.sources.backups.crew.read_ticket import read_ticket
from pipeline.sources.backups.crew.readers import Crew
from pipeline.sources.backups.engine import NO_EXPECTATIONS, Reading, SessionKey
from pipeline.sources.backups.sources import BackupFile
from pipeline.sources.backups.worker_client import WorkerClient
from pipeline.workflows.backups.crew_readings import (
    Carry,
    CrewReading,
    CrewRequest,
    Errand,
    enter,
    issue,
    read_by_crew,
)
from pipeline.workflows.backups.local_readers import LocalReaders
from tests.support import message_writer as writer
from tests.support.commandline import ROOT
from tests.support.dask_crew import HONEST, DaskCrew, LocalDaskCrew

SESSION = SessionKey(9, Secret(bytes(range(32))))
KEY = CrewKey.generate()
COUNT = 4
SECONDS = 60.0


def carried(crew: Crew) -> Carry:
    """What a configuration makes of it."""

    def carry(tickets: Mapping[str, str], deadline: Deadline) -> Iterator[tuple[str, str | OrgkeyError]]:
        return dispatch_client.carried(replace(crew, seconds=deadline.left()), tickets, deadline)

    return carry


def own(tickets: Mapping[str, str], _: Deadline) -> Iterator[tuple[str, str | OrgkeyError]]:
    """This machine."""
    with WorkerClient() as reader:
        for known, line in tickets.items():
            yield known, read_ticket(line, KEY, reader)


def serve(folder: Path, over: threading.Event) -> None:
    """What an Indexed Job does in a folder, once for each number."""
    with WorkerClient() as reader:
        for number in range(COUNT):
            ticket = folder / "tickets" / f"{number}.json"
            while not ticket.exists():
                if over.wait(0.02):
                    return
            answer = folder / "answers" / f"{number}.json"
            new = answer.with_suffix(".new")
            new.write_text(read_ticket(ticket.read_text(), KEY, reader) + "\n")
            new.replace(answer)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCrew]:
    folder = tmp_path_factory.mktemp("dask")
    (folder / "crew.key").write_bytes(KEY.pem())
    with DaskCrew(folder) as crew:
        crew.worker(HONEST, "--crew-key-file", "crew.key")
        crew.worker(HONEST, "--crew-key-file", "crew.key")
        yield crew


@pytest.fixture(params=["local", "folder", "dask"])
def carry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Carry]:
    if request.param == "local":
        yield own
    elif request.param == "dask":
        yield carried(request.getfixturevalue("dask").reached())
    else:
        folder, over = tmp_path / "folder", threading.Event()
        folder.mkdir()
        server = threading.Thread(target=serve, args=(folder, over))
        server.start()
        try:
            yield carried(Crew("folder", SECONDS, folder=str(folder)))
        finally:
            over.set()
            server.join()
        assert not list(folder.rglob("*.json"))


@pytest.fixture
def errands(tmp_path: Path) -> list[Errand]:
    made = []
    for number in range(COUNT):
        path = tmp_path / f"{number}.pgp"
        content = writer.literal(bytes([number + 1]) * 100_000)
        path.write_bytes(writer.message(writer.protected(content, SESSION.key.reveal())))
        made.append(errand(path))
    return made


def errand(path: Path) -> Errand:
    source = BackupFile(path)
    place = source.place()
    assert place is not None
    return Errand(source, place, read_backup.header_of(source), SESSION, NO_EXPECTATIONS)


def own_readings(errands: list[Errand]) -> list[Reading]:
    """What this machine finds."""
    with WorkerClient() as reader:
        return [
            read_backup.read(item.source, item.header, SESSION, reader, deadline=Deadline(SECONDS))
            for item in errands
        ]


def read(
    carry: Carry, errands: list[Errand], seconds: float = SECONDS, warned: Sequence[str] = ()
) -> list[CrewReading]:
    warnings: list[str] = []
    request = CrewRequest(public_bytes(KEY.public), carry)
    with LocalReaders(1) as readers:
        found = read_by_crew(request, errands, readers, "auto", Deadline(seconds), warn=warnings.append)
    assert warnings == list(warned)
    return found


def codes(found: list[CrewReading]) -> list[Code]:
    return [read_backup.verdict(item.found.outcome)[0] for item in found]


def test_each_finds_what_this_machine_finds(carry: Carry, errands: list[Errand]) -> None:
    found = read(carry, errands)
    assert [item.found for item in found] == own_readings(errands)
    assert [item.worker for item in found].count(None) == 1


def test_a_cluster_of_one_two_and_four_processes_finds_the_same(
    errands: list[Errand], tmp_path: Path
) -> None:
    (tmp_path / "crew.key").write_bytes(KEY.pem())
    own = own_readings(errands)
    with LocalDaskCrew(tmp_path) as crew:
        for count in (1, 2, 4):
            crew.scale(count)
            found = read(carried(crew.reached()), errands)
            assert [item.found for item in found] == own


def test_an_altered_backup_is_an_answer_and_the_others_are_read(
    carry: Carry, errands: list[Errand], tmp_path: Path
) -> None:
    path = tmp_path / "1.pgp"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    errands[1] = errand(path)
    assert codes(read(carry, errands)) == [Code.OK, Code.INTEGRITY, Code.OK, Code.OK]


def test_a_ticket_for_other_bytes_is_not_read(carry: Carry, errands: list[Errand], tmp_path: Path) -> None:
    (tmp_path / "2.pgp").write_bytes(b"other bytes")
    (tmp_path / "3.pgp").unlink()
    assert codes(read(carry, errands)) == [Code.OK, Code.OK, Code.CONFLICT, Code.LOCAL_FILES]


def test_a_ticket_that_was_pointed_elsewhere_does_not_open(carry: Carry, errands: list[Errand]) -> None:
    issued = issue(errands, public_bytes(KEY.public), SECONDS, "auto")
    lines = {known: item.line.replace("/0.pgp", "/1.pgp") for known, item in issued.items()}
    found = enter(issued, carry(lines, Deadline(SECONDS)), pytest.fail)
    assert codes([found[number] for number in range(COUNT)]) == [Code.USAGE, *[Code.OK] * (COUNT - 1)]


def test_a_folder_that_nobody_serves_is_given_up_and_left_clean(
    errands: list[Errand], tmp_path: Path
) -> None:
    found = read(carried(Crew("folder", 1.0, folder=str(tmp_path))), errands, seconds=1.0)
    assert codes(found) == [Code.DEADLINE] * COUNT
    assert not list(tmp_path.rglob("*.json"))


def test_what_stands_in_a_folder_for_an_answer_is_no_result(errands: list[Errand], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def carry(tickets: Mapping[str, str], deadline: Deadline) -> Iterator[tuple[str, str | OrgkeyError]]:
        over = threading.Event()

        def write() -> None:
            while not (folder / "tickets" / f"{COUNT - 1}.json").exists():
                over.wait(0.02)
            for number, text in enumerate(("", "\x80\x04cposix\nsystem\n", "{}", "x" * 400_000)):
                (folder / "answers" / f"{number}.json").write_text(text)

        thread = threading.Thread(target=write)
        thread.start()
        yield from carried(Crew("folder", SECONDS, folder=str(folder)))(tickets, deadline)
        thread.join()

    assert not any(item.worker for item in read(carry, errands))
    assert Code.OK not in codes(read(lambda *_: iter(()), errands))


DISPATCH = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from pipeline.sources.backups.crew.crew_key import CrewKey
from pipeline.sources.backups.crew.read_ticket import read_ticket
from pipeline.sources.backups.worker_client import WorkerClient
sys.stdin.readline()
tickets = dict(json.loads(line) for line in sys.stdin)
first = next(iter(tickets))
with WorkerClient() as reader:
    answer = read_ticket(tickets[first], CrewKey.load(Path("KEY")), reader)
def say(**said):
    document = {{"answer": None, "id": None, "lost": None}} | said
    print(json.dumps(document, separators=(",", ":"), sort_keys=True), flush=True)
"""
REPLAY = "an answer was refused: its ticket has an answer already"
UNKNOWN = "an answer was refused: there is no such ticket"
BROKEN_IN, LOST = [Code.INTEGRITY] * 3, [Code.UNREACHABLE] * 3


@pytest.mark.parametrize(
    ("does", "expected", "warned"),
    [
        ("say(id=first, answer=answer)\nsay(id=first, answer=answer)", [Code.OK, *BROKEN_IN], [REPLAY]),
        ("say(id='f' * 32, answer=answer)", [Code.INTEGRITY, *BROKEN_IN], [UNKNOWN]),
        ("say(id=list(tickets)[1], answer=answer)", [Code.UNREACHABLE, Code.INTEGRITY, *LOST[1:]], []),
        ("say(id=first, answer=answer)\nprint('no line of dispatch')", [Code.OK, *BROKEN_IN], []),
        ("say(id=first, answer='x' * (2 << 20))", [Code.UNREACHABLE, *LOST], []),
        ("say(id=first, answer=answer)", [Code.OK, *LOST], []),
    ],
    ids=["replayed", "unknown", "for another ticket", "no JSON", "too long", "ended"],
)
def test_a_dispatch_that_is_not_ours_gets_nothing_counted_but_true_answers(
    does: str,
    expected: list[Code],
    warned: list[str],
    errands: list[Errand],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "crew.key").write_bytes(KEY.pem())
    script = DISPATCH.replace("KEY", str(tmp_path / "crew.key")) + does
    monkeypatch.setattr("pipeline.core.process.isolated", lambda *_: [sys.executable, "-c", script])
    monkeypatch.setattr("random.SystemRandom.sample", lambda *_: [])
    assert codes(read(carried(Crew("folder", SECONDS)), errands, warned=warned)) == expected


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[DaskCrew]:
    folder = tmp_path / "crew"
    folder.mkdir()
    (folder / "crew.key").write_bytes(KEY.pem())
    with DaskCrew(folder) as crew:
        yield crew


def test_a_certificate_of_another_authority_reaches_no_scheduler(
    dask: DaskCrew, errands: list[Errand]
) -> None:
    assert codes(read(carried(dask.reached(foreign=True)), errands, 8.0)) == [Code.UNREACHABLE] * COUNT


def test_a_worker_with_a_certificate_of_another_authority_does_not_join(
    scheduler: DaskCrew, errands: list[Errand]
) -> None:
    scheduler.worker(HONEST, "--crew-key-file", "crew.key", foreign=True)
    found = read(carried(scheduler.reached()), errands, 6.0)
    assert codes(found) == [Code.UNREACHABLE] * COUNT
    assert "has no workers" in str(found[0].found.outcome)


LIAR = """
from dataclasses import replace
from pathlib import Path
from pipeline.sources.backups.crew.answer import Answer
from pipeline.sources.backups.crew.crew_key import CrewKey
from pipeline.sources.backups.crew.read_ticket import read_ticket
from pipeline.sources.backups.crew.ticket import Ticket
from pipeline.sources.backups.worker_client import WorkerClient
KEY, SAID = CrewKey.load(Path("crew.key")), []
def honest(line):
    with WorkerClient() as reader:
        return read_ticket(line, KEY, reader, "liar")
def lie(line):
    said = Answer.read(honest(line))
    lie = replace(said.reading(), sha256="0" * 64)
    return Answer.of(said.id, "liar", 0.1, lie, Ticket.of(line).unseal(KEY).mac_key).line()
def replay(line):
    SAID.append(honest(line))
    return SAID[0]
"""


def test_a_worker_that_lies_is_named(scheduler: DaskCrew, errands: list[Errand]) -> None:
    scheduler.hostile("liar", LIAR + "def answer(line):\n    return __import__('liar').lie(line)\n")
    found = read(carried(scheduler.reached()), errands)
    assert codes(found) == [Code.OK] * COUNT, "each was read again here"
    assert all("liar said of it what this machine does not find" in str(item.lie) for item in found)


def test_a_worker_that_says_the_same_again_has_said_it_once(
    scheduler: DaskCrew, errands: list[Errand]
) -> None:
    scheduler.hostile("liar", LIAR + "def answer(line):\n    return __import__('liar').replay(line)\n")
    assert sorted(codes(read(carried(scheduler.reached()), errands))) == [Code.OK, *[Code.INTEGRITY] * 3]


def test_a_worker_without_the_crews_key_does_not_join(scheduler: DaskCrew) -> None:
    assert scheduler.worker(HONEST, "--crew-key-file", "member.key").wait(timeout=SECONDS) == 2


def test_what_ends_every_worker_is_unread(errands: list[Errand], tmp_path: Path) -> None:
    with DaskCrew(tmp_path, failures=0) as crew:
        crew.hostile("killed", "def answer(line):\n    __import__('os')._exit(1)\n")
        found = read(carried(crew.reached()), errands[:1], 30.0)
    assert codes(found) == [Code.UNREACHABLE]
    assert "ended before it had read it" in str(found[0].found.outcome)


PICKLE = """
import os, pickle
import distributed.worker
from distributed.protocol import to_serialize
from distributed.protocol.serialize import Serialized
class Evil:
    def __reduce__(self):
        return os.system, (f"touch {FOLDER}/ran-in-$PPID",)
def report(exception):
    distributed.worker.error_message = lambda *_, **__: {
        "status": "error", "exception": exception, "traceback": None,
        "exception_text": "", "traceback_text": ""}
RAW = pickle.dumps(Evil())
HEADER = {"serializer": "dask", "type-serialized": RAW, "sub-header": {}, "num-sub-frames": 1,
          "split-num-sub-frames": (1,), "split-offsets": (0,), "frame-lengths": (1,), "writeable": (False,),
          "compression": (None,)}
"""


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("def answer(line):\n    return __import__('result').Evil()\n", Code.INTEGRITY),
        ("def answer(line):\n    raise Exception(__import__('result').Evil())\n", Code.UNREACHABLE),
        ("report(to_serialize(RAW))\ndef answer(line):\n    1 / 0\n", Code.UNREACHABLE),
        ("report(Serialized(HEADER, [b'x']))\ndef answer(line):\n    1 / 0\n", Code.INTEGRITY),
    ],
    ids=["result", "exception", "report", "stream"],
)
def test_an_object_of_a_worker_is_never_made_here(
    answer: str, code: Code, scheduler: DaskCrew, errands: list[Errand]
) -> None:
    body = f"FOLDER = {str(scheduler.folder)!r}\n{PICKLE}\n{answer}"
    worker = scheduler.hostile("result", body)
    assert codes(read(carried(scheduler.reached()), errands, 30.0)) == [code] * COUNT
    # The scheduler and the worker belong to whoever has a certificate of the cluster.
    ran = {path.name for path in scheduler.folder.glob("ran-in-*")}
    assert ran <= {f"ran-in-{worker.pid}", f"ran-in-{scheduler.scheduler.pid}"}


@pytest.mark.parametrize("end", ["scheduler", "worker"])
def test_a_machine_that_is_killed_ends_no_run_silently(
    end: str, scheduler: DaskCrew, errands: list[Errand], tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    body = (
        f"def answer(line):\n    open({str(begun)!r}, 'w').close()\n"
        "    __import__('threading').Event().wait()\n"
    )
    worker = scheduler.hostile("endless", body)

    def kill() -> None:
        while not begun.exists():
            threading.Event().wait(0.02)
        worker.kill()
        if end == "worker":
            scheduler.worker(HONEST, "--crew-key-file", "crew.key")
        else:
            scheduler.scheduler.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    found = read(carried(scheduler.reached()), errands, 30.0)
    killer.join()
    # What a lost worker had is done again by the next one.
    assert codes(found) == [Code.UNREACHABLE if end == "scheduler" else Code.OK] * COUNT


def test_runs_that_share_a_folder_have_it_by_turns(tmp_path: Path) -> None:
    first = FolderReaders(tmp_path, Deadline(SECONDS))
    first.submit("a", "ticket")
    with pytest.raises(DeadlinePassed):
        FolderReaders(tmp_path, Deadline(0.3))
    assert (tmp_path / "tickets" / "0.json").read_text() == "ticket\n"
    ended = threading.Timer(0.3, os.close, [first._lock])
    ended.start()
    FolderReaders(tmp_path, Deadline(SECONDS))
    ended.join()
    assert not list(tmp_path.rglob("*.json"))


def test_a_name_that_is_not_a_number_as_it_is_written_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    odd = tmp_path / "answers" / "00.json"
    odd.write_text("")
    readers = FolderReaders(tmp_path, Deadline(0.5))
    readers.submit("a", "ticket")
    ((known, came),) = readers.results()
    assert (known, isinstance(came, DeadlinePassed), odd.exists()) == ("a", True, True)


def test_an_answer_to_an_earlier_run_is_not_taken_for_this_one_s(tmp_path: Path) -> None:
    """Whoever has read for so long leaves it under a number that is another ticket's by then."""
    readers = FolderReaders(tmp_path, Deadline(SECONDS))
    mine, earlier = "1" * 32, "2" * 32
    place = tmp_path / "answers" / "0.json"
    found = Reading(UsageProblem("it", hint="see it"))
    late, own = (Answer.of(known, "w", 1.0, found, Secret(bytes(32))).line() for known in (earlier, mine))
    readers.submit(mine, "ticket")
    place.write_text(late)
    came = threading.Timer(0.5, lambda: place.write_text(own))
    came.start()
    assert list(readers.results()) == [(mine, own)]
    came.join()
