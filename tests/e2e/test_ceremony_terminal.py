"""A ceremony offline at a terminal: what is typed or pasted never shows, however it arrives."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.custody.shares import passphrase
from pipeline.record.verify import Record
from pipeline.unseal.unseal import recover_passphrase
from tests.e2e.leaks import Sampler, Searcher
from tests.support import people
from tests.support.commandline import NEW_PASSPHRASE, converse, environment, orgkey
from tests.support.withpeople import people_world

MENU = b"[q]uit"
TYPED = b"words of the share"
NAMES = ("alice", "bob", "carol")


@dataclass(frozen=True)
class Offline:
    """A machine with nothing but one record: no configuration, no state, no server."""

    folder: Path
    record: Record

    @property
    def words(self) -> list[str]:
        return [
            *("restore", "--record", "record.tar", "--fingerprint", self.record.fingerprint),
            *("--out", "key.asc", "--new-passphrase-file", "new", "--via", "custodians"),
        ]

    def share(self, name: str) -> bytes:
        return people.words(name, self.record).reveal()

    def talk(self, answers: list[tuple[bytes, bytes]], *more: str) -> tuple[int, str]:
        return converse(self.folder, [*self.words, *more], answers, env=environment(self.folder))

    @property
    def restored(self) -> bool:
        return (self.folder / "key.asc").exists()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return people_world(tmp_path_factory.mktemp("offline")).mint()


@pytest.fixture
def offline(record: Record, tmp_path: Path) -> Offline:
    folder = tmp_path / "offline"
    folder.mkdir()
    (folder / "record.tar").write_bytes(record.data)
    (folder / "new").write_bytes(NEW_PASSPHRASE + b"\n")
    (folder / "new").chmod(0o600)
    return Offline(folder, record)


def lines_of(words: bytes, each: int = 6) -> list[bytes]:
    """A sheet with numbers before the words, some of them on each line."""
    numbered = [b"%d. %s" % (number, word) for number, word in enumerate(words.split(), 1)]
    return [b" ".join(numbered[start : start + each]) for start in range(0, len(numbered), each)]


def runs_of(words: bytes, shown: str) -> list[str]:
    """Four words of a share in a row, with or without numbers between them, on the screen."""
    text = " ".join(re.findall(r"[a-z]+", shown))
    share = words.decode().split()
    phrases = (" ".join(share[start : start + 4]) for start in range(len(share) - 3))
    return [phrase for phrase in phrases if phrase in text]


def test_a_sheet_that_is_pasted_at_once_is_one_share(offline: Offline) -> None:
    answers = [
        pair for name in NAMES for pair in ((MENU, b"w"), (TYPED, b"\n".join(lines_of(offline.share(name)))))
    ]
    code, shown = offline.talk(answers)
    assert (code, offline.restored) == (0, True), shown
    assert [runs_of(offline.share(name), shown) for name in NAMES] == [[], [], []]


def test_a_sheet_that_arrives_line_by_line_never_shows(offline: Offline) -> None:
    first, *rest = lines_of(offline.share("alice"))
    slow = [(b"of 33 words", line) for line in rest]
    quick = [(MENU, offline.share(name)) for name in NAMES[1:]]
    code, shown = offline.talk([(MENU, b"w"), (TYPED, first), *slow, *quick])
    assert (code, offline.restored) == (0, True), shown
    assert [runs_of(offline.share(name), shown) for name in NAMES] == [[], [], []]


def test_words_that_are_pasted_at_the_menu_are_a_share_and_never_show(offline: Offline) -> None:
    several = b"\n".join(offline.share(name) for name in NAMES)
    code, shown = offline.talk([(MENU, several)])
    assert (code, offline.restored) == (0, True), shown
    assert shown.count("accepted: ") == 3
    assert [runs_of(offline.share(name), shown) for name in NAMES] == [[], [], []]


def test_a_share_that_ends_early_is_refused_and_the_ceremony_goes_on(offline: Offline) -> None:
    short = offline.share("alice").rpartition(b" ")[0]
    answers = [(MENU, b"w"), (TYPED, short), (b"32 of 33 words", b""), (MENU, b"q")]
    code, shown = offline.talk(answers)
    assert (code, offline.restored) == (31, False)
    assert "not accepted: the share that was typed is damaged: words are missing" in shown


@pytest.mark.parametrize(("typed", "ends"), [(b"\x03", 130), (b"\x04", 31)])
def test_an_interrupt_or_the_end_of_input_keeps_nothing(offline: Offline, typed: bytes, ends: int) -> None:
    before = {path for path in offline.folder.rglob("*") if path.is_file()}
    code, shown = offline.talk([(MENU, b"w"), (TYPED, offline.share("alice")), (MENU, typed)])
    assert code == ends, shown
    assert {path for path in offline.folder.rglob("*") if path.is_file()} == before


def test_shares_from_descriptors(offline: Offline) -> None:
    ends = [os.pipe() for _ in NAMES]
    for name, (_, write) in zip(NAMES, ends, strict=True):
        threading.Thread(target=_deliver, args=(write, offline.share(name))).start()
    given = [word for read, _ in ends for word in ("--share-fd", str(read))]
    run = orgkey(offline.folder, *offline.words, *given, pass_fds=[read for read, _ in ends], expect=0)
    for read, _ in ends:
        os.close(read)
    assert "opened by path custodians" in run.out
    happened, _ = orgkey(offline.folder, *offline.words[:-4], "--out", "no.asc", "--share-fd", "99").error
    assert "cannot read descriptor 99" in happened


def _deliver(handle: int, data: bytes) -> None:
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)


@pytest.fixture
def custodian(tmp_path: Path) -> Iterator[Path]:
    from tests.support.commandline import end_gpg, gpg

    home = tmp_path / "carols"
    gpg(home, "--import", stdin=people.secret_key("carol"))
    yield home
    end_gpg(home)


def test_no_word_of_a_ceremony_is_anywhere_afterwards(
    offline: Offline, custodian: Path, tmp_path: Path
) -> None:
    """At the loudest, with a share typed, one from a file, one decrypted here, and one that is damaged."""
    given = tmp_path / "given"
    given.write_bytes(offline.share("bob"))
    given.chmod(0o600)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    damaged = " ".join(people.mistyped(offline.share("alice").decode().split(), 0)).encode()
    env = environment(offline.folder) | {"GNUPGHOME": str(custodian), "TMPDIR": str(temporary)}
    answers = [
        *((MENU, b"w"), (TYPED, damaged)),
        *((MENU, b"w"), (TYPED, offline.share("alice"))),
        *((MENU, b"d"), (b"Whose", b"3")),
    ]
    sampler = Sampler((temporary,))
    with sampler:
        words = [*offline.words, "--share", str(given), "-vvv"]
        # A ceremony may be over before a busy machine has looked twice: so at each question, too.
        code, shown = converse(offline.folder, words, answers, env=env, meanwhile=sampler.look)
    assert code == 0, shown
    assert "accepted: Carol Custodian" in shown
    raw = recover_passphrase(
        offline.record, "custodians", {}, [people.words(name, offline.record) for name in NAMES]
    )
    secrets = {f"share of {name}": offline.share(name) for name in NAMES} | {
        "damaged share": damaged,
        "escrow passphrase": raw.reveal(),
        "escrow passphrase, written": passphrase.written(raw).reveal(),
        "new passphrase": NEW_PASSPHRASE,
    }
    searcher = Searcher(secrets)
    assert sampler.rounds > len(answers)
    assert sampler.leaks(searcher) == set()
    assert searcher.search(shown.encode(), "the terminal") == set()
    kept = [offline.folder, temporary, custodian, Path("/dev/shm")]
    assert searcher.search_files(kept, but=[offline.folder / "new"]) == set()
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


def test_the_answer_to_the_next_question_may_follow_on_the_line(
    offline: Offline, custodian: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "bob").write_bytes(offline.share("bob"))
    env = environment(offline.folder) | {"GNUPGHOME": str(custodian), "HOME": str(home)}
    answers = [(MENU, b"d 9"), (MENU, b"D 3"), (MENU, b"f ~/bob"), (MENU, b"w " + offline.share("alice"))]
    code, shown = converse(offline.folder, offline.words, answers, env=env)
    assert (code, offline.restored) == (0, True), shown
    assert "this number is not a custodian of the list" in shown
    assert "is not in the list" not in shown


def test_the_search_for_words_would_find_them(offline: Offline) -> None:
    words = offline.share("alice")
    assert runs_of(words, f"x {words.decode()} y")
    assert runs_of(words, b"\r\n".join(lines_of(words)).decode())
