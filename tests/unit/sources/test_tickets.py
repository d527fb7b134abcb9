"""Tickets and answers: what is accepted is what was made, to the last byte."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import (
    Code,
    Conflict,
    IntegrityProblem,
    Interrupted,
    OrgkeyError,
    UsageProblem,
    error_of,
)
from pipeline.core.secret import Secret
from pipeline.sources.backups.container import ContentSummary
from pipeline.sources.backups.crew.answer import REFUSALS, Answer
from pipeline.sources.backups.crew.crew_key import CrewKey, public_bytes
from pipeline.sources.backups.crew.ticket import OpenPart, Ticket
from pipeline.sources.backups.crew.ticket_place import SharedFile, StoredObject
from pipeline.sources.backups.engine import Reading, ReadResult, SessionKey

CREW = CrewKey.generate()
SESSION = SessionKey(9, Secret(bytes(range(32))))
RESULT = ReadResult(
    ContentSummary("tar", 3, 10240, 1790000000, ("*.sql",)), "zlib", "mdc", "orgkey", "A" * 40
)
ID = "0123456789abcdef" * 2


def part(**more: object) -> OpenPart:
    path = "/srv/backups/one.pgp"
    place = SharedFile.of(Path(path), "1:2:3")
    return OpenPart.model_validate(
        {
            "id": secrets.token_hex(16),
            "name": path,
            "place": place,
            "protection": "mdc",
            "offset": 271,
            "seconds": 60.0,
        }
        | more
    )


def issued(**more: object) -> tuple[Ticket, Secret]:
    return Ticket.issue(part(**more), SESSION, public_bytes(CREW.public))


TICKET, MAC = issued()
ANSWER = Answer.of(ID, "w1", 1.5, Reading(RESULT, "b" * 64), MAC)


def test_the_crew_opens_what_was_sealed_to_it() -> None:
    sealed = Ticket.of(TICKET.line()).unseal(CREW)
    assert sealed.session == SESSION
    assert sealed.mac_key == MAC


def test_a_ticket_shows_neither_key() -> None:
    carried = TICKET.line() + base64.b64decode(TICKET.sealed).hex()
    for secret in (SESSION.key, MAC):
        assert secret.reveal().hex() not in carried
        assert base64.b64encode(secret.reveal()).decode() not in carried
    sealed = TICKET.unseal(CREW)
    assert sealed.key not in repr(sealed)
    assert sealed.mac not in repr(sealed)


def test_another_crew_does_not_open_it() -> None:
    with pytest.raises(UsageProblem, match="another crew's key"):
        TICKET.unseal(CrewKey.generate())


@pytest.mark.parametrize(
    "changed",
    [
        {"place": SharedFile.of(Path("/etc/shadow"), "1:2:3")},
        {"place": SharedFile.of(Path("/srv/backups/one.pgp"), "1:2:4")},
        {"place": StoredObject(bucket="b", key="k", region="us-east-1", size=1, etag="e")},
        {"id": "f" * 32},
        {"protection": "none"},
        {"offset": 0},
        {"seconds": 61.0},
        {"entries": ("*",)},
        {"signers": ("QQ==",)},
        {"engine": "gpg"},
        {"name": "another"},
    ],
)
def test_a_ticket_that_is_pointed_at_something_else_does_not_open(changed: dict[str, object]) -> None:
    moved = TICKET.model_copy(update={"open": TICKET.open.model_copy(update=changed)})
    with pytest.raises(UsageProblem, match="does not open"):
        Ticket.of(moved.line()).unseal(CREW)


def _altered(line: str, at: int, char: str) -> str:
    at %= len(line)
    return line[:at] + char + line[at + 1 :]


@settings(max_examples=500)
@given(at=st.integers(0, 5000), char=st.characters(codec="utf-8"))
def test_no_altered_ticket_is_accepted(at: int, char: str) -> None:
    line = TICKET.line()
    other = _altered(line, at, char)
    if other.strip() == line:
        return
    with pytest.raises(UsageProblem):
        Ticket.of(other).unseal(CREW)


@settings(max_examples=500)
@given(at=st.integers(0, 5000), char=st.characters(codec="utf-8"))
def test_no_altered_answer_is_accepted(at: int, char: str) -> None:
    line = ANSWER.line()
    other = _altered(line, at, char)
    if other.strip() == line:
        return
    with pytest.raises(IntegrityProblem):
        Answer.read(other).check(MAC)


@settings(max_examples=300)
@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_what_is_not_an_answer_is_named(text: str) -> None:
    with pytest.raises(IntegrityProblem, match="not an answer"):
        Answer.read(text)
    with pytest.raises(UsageProblem, match="not a ticket"):
        Ticket.of(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 100_000, " " * (1 << 25)])
def test_a_deep_or_long_text_is_only_refused(text: str) -> None:
    with pytest.raises(IntegrityProblem):
        Answer.read(text)
    with pytest.raises(UsageProblem):
        Ticket.of(text)


def _answer_with(**changes: object) -> str:
    document = json.loads(ANSWER.line())
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = document
        for name in parents:
            inner = inner[name]
        inner[last] = value
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"seconds": "1.5"},
        {"seconds": -1},
        {"sha256": None},
        {"sha256": "B" * 64},
        {"mac": None},
        {"result": None},
        {"error": {"code": 23, "message": "m", "hint": "h"}},
        {"result": None, "error": {"code": 0, "message": "m", "hint": "h"}},
        {"result": None, "error": {"code": 130, "message": "m", "hint": "h"}},
        {"result": None, "error": {"code": True, "message": "m", "hint": "h"}},
        {"result": None, "error": {"code": 23, "message": "m" * 3000, "hint": "h"}},
        {"result__found__size": 1 << 60},
        {"result__found__size": True},
        {"result__found__entries": "3"},
        {"result__found__container": "zip"},
        {"result__integrity": "perfect"},
        {"result__engine": "another"},
        {"result__signed_by": "nobody"},
        {"result__engine": "gnupg", "result__signed_by": "A" * 40},
        {"result__more": 1},
        {"more": 1},
        {"worker": ""},
        {"worker": "w" * 1000},
        {"id": "x"},
    ],
)
def test_an_answer_with_a_value_that_none_has_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(IntegrityProblem, match="not an answer"):
        Answer.read(_answer_with(**changes))


def test_an_answer_says_again_what_was_found() -> None:
    again = Answer.read(ANSWER.line())
    again.check(MAC)
    assert again.reading() == Reading(RESULT, "b" * 64)


def test_an_answer_under_the_key_of_another_ticket_is_refused() -> None:
    with pytest.raises(IntegrityProblem, match="w1 was not made by a holder of its ticket"):
        ANSWER.check(issued()[1])


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_an_error_arrives_with_its_code(code: Code) -> None:
    line = Answer.of(ID, "w1", 0, Reading(error_of(code)("what happened", hint="what to do")), MAC).line()
    found = Answer.read(line).reading().outcome
    assert isinstance(found, OrgkeyError)
    assert (found.code, found.message, found.hint) == (code, "what happened", "what to do")


def test_an_error_that_is_not_of_a_backup_is_an_internal_one() -> None:
    line = Answer.of(ID, "w1", 0, Reading(Interrupted("x", hint="y")), MAC).line()
    assert json.loads(line)["error"]["code"] == Code.INTERNAL


def test_a_long_foreign_text_is_cut_and_made_harmless() -> None:
    line = Answer.of(ID, "w\x1b[31m", 0, Reading(Conflict("\x1b" + "m" * 9000, hint="h")), MAC).line()
    answer = Answer.read(line)
    assert "\x1b" not in answer.worker + answer.reading().outcome.message  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["one.pgp", "a b%20.pgp", "ä\n.pgp", "\udcff.pgp"])
def test_a_path_of_any_bytes_arrives(name: str) -> None:
    path = Path("/srv/backups") / name
    ticket, _ = Ticket.issue(part(place=SharedFile.of(path, "1:2:3")), SESSION, public_bytes(CREW.public))
    place = Ticket.of(ticket.line()).open.place
    assert isinstance(place, SharedFile)
    assert place.path == path


def test_a_key_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "crew.key").write_bytes(CREW.pem())
    assert CrewKey.load(tmp_path / "crew.key").public == CREW.public


@pytest.mark.parametrize(
    "content", [b"", b"x", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_not_a_crews_key_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "crew.key").write_bytes(content)
    with pytest.raises(UsageProblem, match="is not a crew's key"):
        CrewKey.load(tmp_path / "crew.key")


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "AAAA", "ä" * 44),
        pytest.param(CREW.public[:-1], id="shorter"),
        pytest.param(CREW.public + "\n", id="longer"),
    ],
)
def test_what_is_not_a_public_half_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="44 characters"):
        public_bytes(text)
