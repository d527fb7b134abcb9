"""`orgkey backups read`: one ticket on a machine that has the crew's key, and nothing else."""

from __future__ import annotations

import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.core.secret import Secret
from pipeline.sources.backups import message_header
from pipeline.sources.backups.byte_stream import of_bytes
from pipeline.sources.backups.crew.answer import Answer
from pipeline.sources.backups.crew.crew_key import public_bytes
from pipeline.sources.backups.crew.ticket import OpenPart, Ticket
from pipeline.sources.backups.crew.ticket_place import SharedFile, StoredObject
from pipeline.sources.backups.engine import ReadResult, SessionKey
from pipeline.sources.backups.sources import BackupFile
from tests.support import message_writer as writer
from tests.support.commandline import Run, environment, orgkey
from tests.support.target_places import S3Place

if TYPE_CHECKING:
    from tests.conftest import Place

SESSION = SessionKey(9, Secret(bytes(range(32))))
CONTENT = 300_000
MESSAGE = writer.message(writer.protected(writer.literal(b"y" * CONTENT), SESSION.key.reveal()))


class Crew:
    """A machine of a crew, and the tickets for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        made = orgkey(folder, "backups", "crew", "init", "--output", "crew.key", "--json", expect=0)
        self.public = public_bytes(made.document["crew_key"])

    def ticket(self, place: SharedFile | StoredObject, **more: Any) -> Secret:
        """Write ``ticket.json``; returns what authenticates its answer."""
        header = message_header.read(of_bytes(MESSAGE))
        values = {"id": secrets.token_hex(16), "name": "one.pgp", "place": place, "seconds": 60.0}
        values |= {"protection": header.protection, "offset": header.offset} | more
        ticket, mac = Ticket.issue(OpenPart.model_validate(values), SESSION, self.public)
        (self.folder / "ticket.json").write_text(ticket.line() + "\n")
        return mac

    def read(self, expect: int, *words: str, **how: Any) -> Run:
        """Read the ticket."""
        words = words or ("--ticket", "ticket.json")
        return orgkey(
            self.folder, "backups", "read", "--crew-key-file", "crew.key", *words, expect=expect, **how
        )


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    return Crew(tmp_path)


@pytest.fixture
def backup(tmp_path: Path) -> SharedFile:
    path = tmp_path / "one.pgp"
    path.write_bytes(MESSAGE)
    return SharedFile.of(path, BackupFile(path).state or "")


def test_the_crews_key_is_its_owners_alone_and_never_replaced(crew: Crew) -> None:
    path = crew.folder / "crew.key"
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    orgkey(crew.folder, "backups", "crew", "init", "--output", "crew.key", expect=3)
    assert path.read_bytes() == before


def test_a_file_is_read_and_answered_for(crew: Crew, backup: SharedFile) -> None:
    mac = crew.ticket(backup)
    answer = Answer.read(crew.read(0).out)
    answer.check(mac)
    outcome = answer.reading().outcome
    assert isinstance(outcome, ReadResult)
    assert (outcome.found.size, outcome.integrity) == (CONTENT, "mdc")
    piped = crew.read(0, "--ticket", "-", stdin=(crew.folder / "ticket.json").read_bytes())
    Answer.read(piped.out).check(mac)
    crew.read(0, "--ticket", "ticket.json", "--output", "answer.json")
    Answer.read((crew.folder / "answer.json").read_text()).check(mac)


def test_no_configuration_is_looked_for(crew: Crew, backup: SharedFile) -> None:
    (crew.folder / "orgkey.toml").write_text("this is not a configuration")
    crew.ticket(backup)
    crew.read(0)


def test_an_altered_backup_is_an_answer_with_its_code(crew: Crew, backup: SharedFile) -> None:
    path = backup.path
    path.write_bytes(MESSAGE[:-1] + bytes([MESSAGE[-1] ^ 1]))
    mac = crew.ticket(SharedFile.of(path, BackupFile(path).state or ""))
    done = crew.read(23)
    Answer.read(done.out).check(mac)


def test_other_bytes_than_the_tickets_are_not_read(crew: Crew, backup: SharedFile) -> None:
    crew.ticket(backup)
    path = backup.path
    path.unlink()
    crew.read(3)
    path.write_bytes(MESSAGE + b"x")
    assert "was changed" in crew.read(22).err


def test_an_entry_that_is_missing_is_named(crew: Crew, backup: SharedFile) -> None:
    crew.ticket(backup, entries=("*.sql",))
    assert "*.sql" in crew.read(24).err


def test_without_an_integrity_code_it_is_not_verified(crew: Crew, tmp_path: Path) -> None:
    path = tmp_path / "plain.pgp"
    path.write_bytes(writer.message(writer.unprotected(writer.literal(b"y" * 1000), SESSION.key.reveal())))
    header = message_header.read(of_bytes(path.read_bytes()))
    crew.ticket(
        SharedFile.of(path, BackupFile(path).state or ""), protection=header.protection, offset=header.offset
    )
    assert "no integrity code" in crew.read(24).err


def test_a_ticket_of_another_crew_is_named(crew: Crew, backup: SharedFile, tmp_path: Path) -> None:
    crew.ticket(backup)
    (tmp_path / "other").mkdir()
    Crew(tmp_path / "other")
    done = crew.read(2, "--ticket", "ticket.json", "--crew-key-file", "other/crew.key")
    assert "another crew's key" in done.err
    assert Answer.read(done.out).mac is None


def test_an_object_is_read_with_the_machines_own_login(crew: Crew, place: Place) -> None:
    at = S3Place(place.stack, f"{place.s3_prefix}/backups")
    key = f"{at.prefix}/a b.pgp"
    put = at.client.put_object(Bucket=at.bucket, Key=key, Body=MESSAGE)
    stored = StoredObject(
        bucket=at.bucket, key=key, version=put.get("VersionId"), region="us-east-1",
        endpoint=place.stack.endpoint("s3"), path_style=True, size=len(MESSAGE), etag=put["ETag"],
    )  # fmt: skip
    mac = crew.ticket(stored)
    env = environment(
        crew.folder, AWS_SHARED_CREDENTIALS_FILE=str(place.stack.layout.aws_credentials("driller"))
    )
    answer = Answer.read(crew.read(0, env=env).out)
    answer.check(mac)
    assert answer.error is None
    crew.read(21)  # without a login
    crew.ticket(stored.model_copy(update={"endpoint": "http://127.0.0.1:1"}), seconds=2.0)
    later = crew.read(20, "--ticket", "ticket.json", "--output", "later.json", env=env)
    assert "a later try may find" in later.err
    assert not (crew.folder / "later.json").exists()
    crew.ticket(stored)
    crew.ticket(stored.model_copy(update={"version": "another"}))
    assert "is not what the ticket is for" in crew.read(22, env=env).err
    at.client.put_object(Bucket=at.bucket, Key=key, Body=MESSAGE + b"x")
    crew.ticket(stored)
    crew.read(22, env=env)
