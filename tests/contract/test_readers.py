"""One suite for all that reads backups: this machine, a folder of tickets, Dask's workers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.secret import Secret
from pipeline.sources.backups import read_backup
from pipeline.sources.backups.crew import dispatch_client
from pipeline.sources.backups.crew.crew_key import CrewKey, public_bytes
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
from tests.support import message_writer as writer
from tests.support.dask_crew import HONEST, DaskCrew

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
        content = writer.literal(bytes([number]) * 100_000)
        path.write_bytes(writer.message(writer.protected(content, SESSION.key.reveal())))
        made.append(errand(path))
    return made


def errand(path: Path) -> Errand:
    source = BackupFile(path)
    header = read_backup.header_of(source)

    def again() -> Reading:
        with WorkerClient() as reader:
            return read_backup.read(source, header, SESSION, reader, deadline=Deadline(SECONDS))

    place = source.place()
    assert place is not None
    return Errand(source.name, place, header, SESSION, NO_EXPECTATIONS, again)


def read(carry: Carry, errands: list[Errand], seconds: float = SECONDS) -> list[CrewReading]:
    warnings: list[str] = []
    request = CrewRequest(public_bytes(KEY.public), carry)
    found = read_by_crew(request, errands, "auto", Deadline(seconds), warnings.append)
    assert not warnings
    return found


def codes(found: list[CrewReading]) -> list[Code]:
    return [read_backup.verdict(item.found.outcome)[0] for item in found]


def test_each_finds_what_this_machine_finds(carry: Carry, errands: list[Errand]) -> None:
    found = read(carry, errands)
    assert [item.found for item in found] == [errand.again() for errand in errands]
    assert [item.worker for item in found].count(None) == 1


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


def test_a_worker_without_the_crews_key_does_not_join(scheduler: DaskCrew) -> None:
    assert scheduler.worker(HONEST, "--crew-key-file", "member.key").wait(timeout=SECONDS) == 2


def test_what_ends_every_worker_is_unread(errands: list[Errand], tmp_path: Path) -> None:
    with DaskCrew(tmp_path, failures=0) as crew:
        crew.hostile("killed", "def answer(line):\n    __import__('os')._exit(1)\n")
        found = read(carried(crew.reached()), errands[:1], 30.0)
    assert codes(found) == [Code.UNREACHABLE]
    assert "ended before it had read it" in str(found[0].found.outcome)


PICKLE = """
class Evil:
    def __reduce__(self):
        return (__import__("os").system, (f"touch {FOLDER}/ran-in-$PPID",))
"""


@pytest.mark.parametrize(
    "answer",
    [
        "def answer(line):\n    return __import__('result').Evil()\n",
        "def answer(line):\n    raise Exception(__import__('result').Evil())\n",
    ],
    ids=["result", "exception"],
)
def test_an_object_of_a_worker_is_never_made_here(
    answer: str, scheduler: DaskCrew, errands: list[Errand]
) -> None:
    body = f"FOLDER = {str(scheduler.folder)!r}\n{PICKLE}\n{answer}"
    worker = scheduler.hostile("result", body)
    found = read(carried(scheduler.reached()), errands, 30.0)
    assert set(codes(found)) <= {Code.INTEGRITY, Code.UNREACHABLE}
    ran = {path.name for path in scheduler.folder.glob("ran-in-*")}
    assert ran <= {f"ran-in-{worker.pid}"}


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
