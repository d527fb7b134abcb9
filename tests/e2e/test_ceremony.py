"""Ceremonies through the command line: shares one at a time, wrong ones named, nothing kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.core.secret import Secret
from pipeline.record.verify import Record
from tests.e2e.test_custody_rotate import last_event, record_at
from tests.support import people
from tests.support.commandline import Desk, converse, end_gpg, environment, gpg, next_second, orgkey
from tests.support.people import FINGERPRINTS

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

MIXED = '[path.mixed]\nneeds = ["vault", { holder = "custodians", threshold = 2 }]\n'


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    certificates = people.folder(tmp_path / "certificates", people.NAMES)
    return Desk(place, tmp_path, disk=True, more=people.tables(certificates) + MIXED)


@pytest.fixture
def record(desk: Desk) -> Record:
    return record_at(desk, desk.escrow("--no-drill")["epoch"])


def brought(desk: Desk, words: dict[str, Secret]) -> list[str]:
    """The options that bring shares, each in a file of its owner's name."""
    given = []
    for name, secret in words.items():
        given += ["--share", str(desk.write(f"share-{name}", secret.reveal()))]
    return given


def of(record: Record, *names: str, path: str = "custodians") -> dict[str, Secret]:
    return {name: people.words(name, record, path) for name in names}


def refused(desk: Desk, code: int, *words: str) -> tuple[str, str]:
    """A restore that is refused; no file is written."""
    out = desk.folder / "never.asc"
    run = desk.run(
        *("restore", "--out", str(out), "--new-passphrase-file", str(desk.new_passphrase_file)),
        *words,
        expect=code,
    )
    assert not out.exists()
    return run.error


# -- which share is wrong ----------------------------------------------------------------------------


def test_a_flipped_word_is_named_and_no_key_is_written(desk: Desk, record: Record) -> None:
    words = people.mistyped(people.words("bob", record).text().split(), 7)
    shares = of(record, "alice", "carol") | {"bob": Secret(" ".join(words))}
    happened, hint = refused(desk, 32, "--via", "custodians", *brought(desk, shares))
    assert happened == f"the share in {desk.folder / 'share-bob'} is damaged: its checksum does not fit"
    assert "bring it again" in hint


def test_a_share_of_another_path_is_named(desk: Desk, record: Record) -> None:
    shares = of(record, "alice", "bob") | of(record, "carol", path="mixed")
    happened, hint = refused(desk, 32, "--via", "custodians", *brought(desk, shares))
    assert "share-carol belongs to path mixed, holder custodians, share 3, not to path custodians" in happened
    assert "--via mixed" in hint


def test_a_share_of_another_epoch_is_named_with_it(desk: Desk, record: Record) -> None:
    desk.ask("drill")
    next_second(record.epoch)
    newer = record_at(desk, desk.ask("custody", "rotate", "--reason", "yearly")["epoch"])
    shares = of(newer, "alice", "bob") | of(record, "carol")
    happened, hint = refused(desk, 32, "--via", "custodians", *brought(desk, shares))
    assert f"share-carol is of another epoch, {record.epoch} (path custodians" in happened
    assert f"--epoch {record.epoch}" in hint
    # Offline, with the record alone, the other epoch is not known: but the share is not called damaged.
    file = desk.at_disk.file(desk.slot(newer.epoch))
    happened, _ = refused(
        desk,
        32,
        *("--record", str(file), "--fingerprint", desk.fingerprint, "--via", "custodians"),
        *brought(desk, shares),
    )
    assert "share-carol is whole, but does not belong to" in happened


def test_a_duplicate_is_named_and_counts_once(desk: Desk, record: Record) -> None:
    shares = of(record, "alice", "bob") | {"again": people.words("alice", record)}
    happened, hint = refused(desk, 31, "--via", "custodians", *brought(desk, shares))
    assert "2 of the 3 shares needed of holder custodians are there" in happened
    assert f"share-again is the same as the share in {desk.folder / 'share-alice'}, Alice" in happened
    assert "Carol Custodian" in hint
    assert "Bob Custodian" not in hint


def test_too_few_shares_are_counted_and_the_missing_named(desk: Desk, record: Record) -> None:
    happened, hint = refused(desk, 31, *brought(desk, of(record, "alice")))
    assert "1 of the 3 shares needed of holder custodians are there" in happened
    assert all(name.title() in hint for name in ("bob", "carol", "dave", "erin"))


# -- what opens it -------------------------------------------------------------------------------------


def test_the_path_is_known_by_the_shares(desk: Desk, record: Record) -> None:
    done = desk.restore(*brought(desk, of(record, "carol", "dave", "erin")))
    assert done["via"] == "custodians"
    assert done["participants"] == [FINGERPRINTS[name] for name in ("carol", "dave", "erin")]
    assert last_event(desk)["details"]["participants"] == done["participants"]
    mixed = of(record, "dave", "erin", path="mixed")
    assert desk.restore(*brought(desk, mixed), name="mixed.asc")["via"] == "mixed"


def test_words_over_many_lines_with_numbers_and_several_shares_in_a_file(desk: Desk, record: Record) -> None:
    words = people.words("alice", record).text().split()
    sheet = "\r\n".join(f"{number}. {word.upper()}" for number, word in enumerate(words, 1))
    both = "\n".join(item.text() for item in of(record, "bob", "carol").values()) + "\n"
    shares = {"sheet": Secret("\ufeff" + sheet), "both": Secret(both)}
    assert desk.restore(*brought(desk, shares))["via"] == "custodians"


def test_shares_from_standard_input(desk: Desk, record: Record) -> None:
    text = "\n".join(item.text() for item in of(record, "alice", "bob", "dave").values())
    assert desk.restore("--share", "-", stdin=text.encode())["via"] == "custodians"


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Path]:
    """A keyring of the operator's own, with Frank's key: he is not a custodian."""
    home = tmp_path / "operators"
    gpg(home, "--import", stdin=people.secret_key("frank"))
    yield home
    end_gpg(home)


def test_shares_that_custodians_sent_encrypted_to_the_operator(
    desk: Desk, record: Record, operator: Path
) -> None:
    given = []
    for name in ("alice", "bob", "carol"):
        sealed = gpg(
            operator,
            *("--trust-model", "always", "--armor", "--recipient", FINGERPRINTS["frank"], "--encrypt"),
            stdin=people.words(name, record).reveal(),
        ).stdout
        given += ["--share", str(desk.write(f"{name}.asc", sealed))]
    env = environment(desk.folder) | {"GNUPGHOME": str(operator)}
    assert desk.restore(*given, env=env)["via"] == "custodians"
    happened, hint = refused(desk, 31, *given)  # another's keyring
    assert "gpg cannot open the share in" in happened
    assert hint


def test_offline_with_a_record_and_people_alone(desk: Desk, record: Record, tmp_path: Path) -> None:
    """No configuration, no state, no server, an empty home: one directory copy and three people."""
    alone = tmp_path / "offline"
    alone.mkdir()
    shutil.copyfile(desk.at_disk.file(desk.slot(record.epoch)), alone / "record.tar")
    run = orgkey(
        alone,
        *("restore", "--record", "record.tar", "--fingerprint", desk.fingerprint, "--via", "custodians"),
        *("--out", "key.asc", "--new-passphrase-file", str(desk.new_passphrase_file)),
        *brought(desk, of(record, "bob", "dave", "erin")),
        expect=0,
    )
    assert "opened by path custodians" in run.out
    assert b"PRIVATE KEY BLOCK" in (alone / "key.asc").read_bytes()


# -- at a terminal ---------------------------------------------------------------------------------------


def talk(
    desk: Desk, answers: list[tuple[bytes, bytes]], *words: str, env: dict[str, str] | None = None
) -> tuple[int, str]:
    common = ("--config", str(desk.config), "--state-dir", str(desk.state))
    return converse(desk.folder, [*words, *common], answers, env=env or environment(desk.folder))


def restoring(desk: Desk) -> list[str]:
    return [
        *("restore", "--via", "custodians", "--out", str(desk.folder / "key.asc")),
        *("--new-passphrase-file", str(desk.new_passphrase_file)),
    ]


MENU = b"[q]uit"
TYPED = b"words of the share"


def test_shares_arrive_one_at_a_time_and_bad_ones_do_not_end_it(desk: Desk, record: Record) -> None:
    alice, bob = (people.words(name, record).reveal() for name in ("alice", "bob"))
    wrong = people.words("carol", record, "mixed").reveal()
    carol = desk.write("carol", people.words("carol", record).reveal())
    code, shown = talk(
        desk,
        [
            *((MENU, b"w"), (TYPED, alice)),
            *((MENU, b"w"), (TYPED, wrong)),
            *((MENU, b"w"), (TYPED, alice)),
            *((MENU, b"w"), (TYPED, bob)),
            *((MENU, b"f"), (b"File", str(carol).encode())),
        ],
        *restoring(desk),
    )
    assert code == 0, shown
    assert "custodians: 0 of 3 needed are there" in shown
    assert "accepted: Alice Custodian (test) <alice@custodians.example>" in shown
    assert "not accepted: the share that was typed belongs to path mixed" in shown
    assert "was here already: Alice Custodian" in shown
    assert "that is enough" in shown
    assert (desk.folder / "key.asc").exists()
    for words in (alice, bob, wrong):
        assert words not in shown.encode(), "words are never shown"


def test_giving_up_is_31_with_the_count(desk: Desk, record: Record) -> None:
    words = people.words("alice", record).reveal()
    code, shown = talk(desk, [(MENU, b"w"), (TYPED, words), (MENU, b"q")], *restoring(desk))
    assert code == 31
    assert "1 of the 3 shares needed of holder custodians are there" in shown
    assert not (desk.folder / "key.asc").exists()


def test_a_share_is_decrypted_here_where_the_custodian_is_at_the_machine(
    desk: Desk, record: Record, tmp_path: Path
) -> None:
    home = tmp_path / "carols"
    try:
        gpg(home, "--import", stdin=people.secret_key("carol"))
        env = environment(desk.folder) | {"GNUPGHOME": str(home)}
        given = brought(desk, of(record, "alice", "bob"))
        code, shown = talk(
            desk,
            [(MENU, b"d"), (b"Whose", b"4"), (MENU, b"d"), (b"Whose", b"3")],
            *restoring(desk),
            *given,
            env=env,
        )
    finally:
        end_gpg(home)
    assert code == 0, shown
    assert "gpg cannot open the share of Dave Custodian" in shown, "his key is not here"
    assert "accepted: Carol Custodian" in shown


def test_another_operator_goes_on(desk: Desk, record: Record, operator: Path) -> None:
    """What was collected is handed over encrypted, and never lies anywhere in the clear."""
    certificate = desk.write("frank.asc", people.certificate("frank"))
    handed = desk.folder / "handover.asc"
    code, shown = talk(
        desk,
        [
            *((MENU, b"w"), (TYPED, people.words("alice", record).reveal())),
            *((MENU, b"w"), (TYPED, people.words("bob", record).reveal())),
            *((MENU, b"h"), (b"Certificate file", str(certificate).encode())),
            *((b"confirmed this fingerprint", b"y"), (b"New file", str(handed).encode())),
        ],
        *restoring(desk),
    )
    assert code == 31, shown
    assert "6D23 AE63 D175 E82E 6870  1602 FBD2 C8D0 B0E6 2934" in shown
    assert handed.stat().st_mode & 0o777 == 0o600
    assert b"BEGIN PGP MESSAGE" in handed.read_bytes()
    env = environment(desk.folder) | {"GNUPGHOME": str(operator)}
    third = brought(desk, of(record, "erin"))
    assert desk.restore("--share", str(handed), *third, env=env)["via"] == "custodians"


# -- drills and rotations --------------------------------------------------------------------------------


def test_a_drill_with_people_says_who_took_part_and_how_long_it_took(desk: Desk, record: Record) -> None:
    desk.ask("drill")
    given = brought(desk, of(record, "alice", "carol", "erin"))
    done = desk.ask("drill", "--via", "custodians", *given)
    assert done["passed"] is True
    who = [FINGERPRINTS[name] for name in ("alice", "carol", "erin")]
    for result in done["results"]:
        assert (result["path"], result["participants"], result["dual_control"]) == ("custodians", who, True)
        assert {"gather", "recover", "prove"} <= set(result["seconds"])
    details = last_event(desk)["details"]
    assert details["results"][0]["participants"] == who
    statement = json.loads(Path(done["certificate"]).read_bytes())
    assert FINGERPRINTS["carol"] in json.dumps(_details(statement))
    mark = json.loads((desk.journal / record.epoch / "proven.json").read_bytes())
    assert mark["paths"] == ["custodians", "unattended"], "what machines proved stays proven"
    shown = desk.run("drill", "--via", "custodians", *given, expect=0).out
    assert "two or more people took part" in shown


def _details(statement: dict[str, Any]) -> Any:
    import base64

    (configuration,) = statement["predicate"]["configuration"]
    return json.loads(base64.b64decode(configuration["content"]))


def test_a_drill_without_enough_people_is_not_held_and_is_remembered_as_that(
    desk: Desk, record: Record
) -> None:
    done = desk.ask("drill", "--via", "custodians", *brought(desk, of(record, "alice")), expect=31)
    assert (done["passed"], done["held"]) == (False, False)
    assert last_event(desk)["event"] == "drill-not-held"
    assert not (desk.journal / record.epoch / "proven.json").exists()


def test_a_drill_at_a_terminal_counts_the_humans(desk: Desk, record: Record) -> None:
    answers = [
        pair
        for name in ("alice", "bob", "dave")
        for pair in ((MENU, b"w"), (TYPED, people.words(name, record).reveal()))
    ]
    code, shown = talk(desk, answers, "drill", "--via", "custodians", "--from", "disk")
    assert code == 0, shown
    assert "drill passed" in shown
    assert "gather" in shown


def test_a_plan_of_people_alone_is_escrowed_and_drilled_as_a_ceremony(place: Place, tmp_path: Path) -> None:
    certificates = people.folder(tmp_path / "certificates")
    desk = Desk(place, tmp_path, disk=True, more=people.tables(certificates))
    desk.edit('[path.unattended]\nneeds = ["vault", "aws"]\n', "")
    run = desk.run(
        "escrow", str(desk.export), "--export-passphrase-file", str(desk.passphrase_file), expect=24
    )
    record = record_at(desk, desk.ask("list")["epochs"][0]["epoch"])
    assert f"`orgkey drill --epoch {record.epoch} --via custodians`" in run.err
    assert "name one with --via" in desk.run("drill", expect=2).error[1]
    desk.ask("drill", "--via", "custodians", *brought(desk, of(record, "alice", "bob", "carol")))
    assert desk.escrow()["proven"] is True


def test_on_a_mixed_path_nobody_is_asked_while_the_machine_does_not_open(
    breakable_stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path
) -> None:
    certificates = people.folder(tmp_path / "certificates")
    desk = Desk(fresh_place(breakable_stack), tmp_path, disk=True, more=people.tables(certificates) + MIXED)
    desk.escrow("--no-drill")
    breakable_stack.stop_member("vault")
    desk.edit("copies = 2", "copies = 2\ncall_seconds = 5\ndeadline_seconds = 60")
    words = [word if word != "custodians" else "mixed" for word in restoring(desk)]
    code, shown = talk(desk, [], *words, "--from", "disk")
    assert code in (20, 25), shown
    assert "[q]uit" not in shown, "no custodian came for nothing"
