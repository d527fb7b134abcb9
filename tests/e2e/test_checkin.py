"""Check-ins through the command line: operator and custodians, each with what they have."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.custodian import Custodian, at_own_machine
from tests.e2e.test_custody_rotate import last_event, record_at
from tests.support import people
from tests.support.commandline import Desk, converse, end_gpg, next_second
from tests.support.people import FINGERPRINTS

if TYPE_CHECKING:
    from tests.conftest import Place


@pytest.fixture
def bob() -> Iterator[Custodian]:
    with at_own_machine("bob") as custodian:
        yield custodian


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    certificates = people.folder(tmp_path / "certificates", people.NAMES)
    tables = people.tables(certificates) + (
        '[path.mixed]\nneeds = ["vault", { holder = "custodians", threshold = 2 }]\n'
    )
    desk = Desk(place, tmp_path, disk=True, more=tables)
    (tmp_path / "mail").mkdir()
    return desk


@pytest.fixture
def epoch(desk: Desk) -> str:
    made: str = desk.escrow("--no-drill")["epoch"]
    return made


def challenge(desk: Desk, name: str, *words: str) -> Path:
    """What the operator mails to a custodian."""
    made = desk.ask(
        "custody", "challenge", "--custodian", FINGERPRINTS[name], "--out", str(desk.folder / "mail"), *words
    )
    return Path(made["challenges"][0]["file"])


def standing(desk: Desk, name: str) -> list[dict[str, Any]]:
    """What status says of a custodian's shares."""
    listed = desk.ask("status", expect=None)["custodians"]
    return [item for item in listed if item["custodian"] == FINGERPRINTS[name]]


def test_a_custodian_checks_in_with_the_share_of_the_challenge(
    desk: Desk, epoch: str, bob: Custodian
) -> None:
    mail = challenge(desk, "bob")
    assert [item["pending"] for item in standing(desk, "bob")] == [True, True]
    shown = bob.check(mail)
    assert "give the operator this, and nothing else" in shown.out
    codes = bob.codes(mail)
    assert len(codes) == 2, "one for each path"
    assert all(code in shown.out for code in codes), "the same code each time it is asked"

    done = desk.ask("custody", "confirm", codes[0].lower(), codes[1].replace("-", " ").replace(" ", ""))
    assert {item["path"] for item in done["confirmed"]} == {"custodians", "mixed"}
    assert {item["name"] for item in done["confirmed"]} == {"Bob Custodian (test) <bob@custodians.example>"}
    for item in standing(desk, "bob"):
        assert (item["overdue"], item["pending"]) == (False, False)
        assert item["last_check_in"] is not None
    assert [item["last_check_in"] for item in standing(desk, "alice")] == [None, None]
    event = last_event(desk)
    assert event["event"] == "check-in"
    assert event["details"]["custodian"] == FINGERPRINTS["bob"]
    text = desk.run("status").out
    assert "last check-in" in text
    assert epoch in text


def test_a_code_counts_once(desk: Desk, epoch: str, bob: Custodian) -> None:
    mail = challenge(desk, "bob")
    pending = desk.state / desk.fingerprint / "checkins"
    shutil.copytree(pending, desk.folder / "kept")
    code, _ = bob.codes(mail)
    desk.run("custody", "confirm", code, expect=0)
    for _ in range(2):
        happened, hint = desk.run("custody", "confirm", code, expect=32).error
        assert "was accepted at" in happened
        assert "each code counts once" in hint
        assert last_event(desk)["event"] == "check-in-refused"
        shutil.rmtree(pending)  # put back what was pending: the ledger knows better
        shutil.copytree(desk.folder / "kept", pending)
    again = bob.codes(challenge(desk, "bob"))
    assert code not in again, "a new challenge asks for another code"
    desk.run("custody", "confirm", *again, expect=0)


def test_a_code_that_was_not_asked_for_is_refused(desk: Desk, epoch: str, bob: Custodian) -> None:
    first = challenge(desk, "bob").read_bytes()
    mail = challenge(desk, "bob")
    assert mail.read_bytes() == first, "an open challenge stays the same"
    early = bob.codes(mail)
    mail = challenge(desk, "bob", "--new")
    happened, _ = desk.run("custody", "confirm", early[0], expect=32).error
    assert "is asked for" in happened
    desk.run("custody", "confirm", *bob.codes(mail), expect=0)


def test_a_lost_state_asks_again(desk: Desk, epoch: str, bob: Custodian) -> None:
    codes = bob.codes(challenge(desk, "bob"))
    shutil.rmtree(desk.state)
    happened, hint = desk.run("custody", "confirm", codes[0], expect=32).error
    assert "no code of it is asked for here" in happened
    assert "orgkey custody challenge" in hint


@pytest.mark.parametrize("code", ["0000-0000-0000-0000", "not a code"])
def test_what_is_no_code_of_anybody_is_refused(desk: Desk, epoch: str, code: str) -> None:
    run = desk.run("custody", "confirm", code, expect=None)
    assert run.code in (2, 32)
    assert run.error


def test_codes_and_shares_of_an_older_epoch_are_named(desk: Desk, epoch: str, bob: Custodian) -> None:
    mail = challenge(desk, "bob")
    codes = bob.codes(mail)
    old = record_at(desk, epoch)
    desk.ask("drill")
    next_second(epoch)
    newer = desk.ask("custody", "rotate", "--reason", "yearly")["epoch"]
    happened, _ = desk.run("custody", "confirm", codes[0], expect=32).error
    assert f"of the older epoch {epoch}" in happened
    mail = challenge(desk, "bob")
    assert newer in mail.name
    share = bob.folder / "share.asc"
    share.write_bytes(
        next(
            old.members[item.member]
            for item in old.manifest.custody.path("custodians").shares
            if item.label == FINGERPRINTS["bob"]
        )
    )
    happened, hint = bob.check(mail, "--share", str(share), expect=32).error
    assert f"is of the older epoch {epoch} (path custodians, holder custodians, share 2)" in happened
    assert hint


def test_shares_from_files_and_typed(desk: Desk, epoch: str, bob: Custodian, tmp_path: Path) -> None:
    mail = challenge(desk, "bob")
    words = people.words("bob", record_at(desk, epoch))
    kept = bob.folder / "words"
    kept.write_bytes(words.reveal())
    expected = bob.codes(mail)
    assert bob.codes(mail, "--share", str(kept)) == expected[:1]
    code, shown = converse(
        bob.folder,
        ["custody", "check", "--challenge", str(mail), "--words"],
        [(b"words of your share", words.reveal())],
        env=bob.env,
    )
    assert (code, expected[0] in shown) == (0, True)
    assert words.text() not in shown, "typed unseen"

    kept.write_text(" ".join(people.mistyped(words.text().split(), 0)))
    happened, _ = bob.check(mail, "--share", str(kept), expect=32).error
    assert happened == f"the share in {kept} is damaged: its checksum does not fit"
    kept.write_bytes(people.words("carol", record_at(desk, epoch)).reveal())
    assert "not one that Bob" in bob.check(mail, "--share", str(kept), expect=32).error[0]


def test_without_the_custodians_key_nothing_is_answered(desk: Desk, epoch: str, tmp_path: Path) -> None:
    mail = challenge(desk, "alice")
    stranger = Custodian("stranger", tmp_path / "strangers")
    stranger.folder.mkdir()
    (stranger.folder / "gnupg").mkdir(mode=0o700)
    try:
        happened, hint = stranger.check(mail, expect=31).error
    finally:
        end_gpg(stranger.folder / "gnupg")
    assert "gpg cannot open the share of path custodians" in happened
    assert "key or card" in hint


def test_a_challenge_holds_nothing_secret(desk: Desk, epoch: str) -> None:
    data = challenge(desk, "bob").read_bytes()
    words = people.words("bob", record_at(desk, epoch)).text().split()
    text = json.loads(data)
    sealed = [share.pop("sealed") for share in text["shares"]]
    assert all(item.startswith("-----BEGIN PGP MESSAGE-----") for item in sealed)
    assert " ".join(words[:3]) not in json.dumps(text)
    assert challenge(desk, "bob").stat().st_mode & 0o777 == 0o644


def test_who_is_overdue_breaks_the_gate(desk: Desk, epoch: str, bob: Custodian) -> None:
    desk.ask("drill")
    desk.edit("[policy]", "[policy]\nmax_check_in_age_days = 0.00001")
    next_second(epoch)
    status = desk.ask("status", expect=40)
    assert {item["overdue"] for item in status["custodians"]} == {True}
    assert any("has never checked in" in rule for rule in status["gate"]["broken"])
    desk.edit("max_check_in_age_days = 0.00001", "max_check_in_age_days = 1")
    gate = desk.ask("status")["gate"]
    assert gate["ok"] is True
    (rule,) = (rule for rule in gate["rules"] if rule["name"] == "max_check_in_age_days")
    assert rule["text"] == "no custodian's check-in is overdue, policy.max_check_in_age_days is 1"


def test_names_of_nobody_are_refused_with_those_there_are(desk: Desk, epoch: str) -> None:
    run = desk.run("custody", "challenge", "--custodian", "Mallory", "--out", str(desk.folder), expect=2)
    assert "Mallory" in run.error[0]
    assert FINGERPRINTS["alice"] in run.error[1]


def test_status_says_which_epochs_follow_an_old_plan(desk: Desk, epoch: str) -> None:
    desk.ask("drill")
    desk.edit("threshold = 3", "threshold = 4")
    status = desk.ask("status", expect=40)
    assert [(item["epoch"], item["plan"]) for item in status["epochs"]] == [(epoch, "old")]
    assert any("orgkey custody rotate" in rule for rule in status["gate"]["broken"])
    next_second(epoch)
    newer = desk.ask("custody", "rotate", "--reason", "4 of 5", "--accept-custody-change")["epoch"]
    status = desk.ask("status")
    assert [(item["epoch"], item["plan"]) for item in status["epochs"]] == [
        (epoch, "old"),
        (newer, "current"),
    ]
    assert "another custody plan than the configuration's" in desk.run("status").out


def test_who_has_two_shares_on_one_path_answers_for_both(
    place: Place, tmp_path: Path, bob: Custodian
) -> None:
    """One person in two groups that a path needs: two shares, two codes, and each counts for its own."""
    certificates = people.folder(tmp_path / "certificates", people.NAMES)
    board = people.tables(certificates, members=("alice", "bob"), holder="board", path=None)
    owners = people.tables(certificates, members=("bob", "carol"), holder="owners", path=None)
    needs = ", ".join(f'{{ holder = "{name}", threshold = 2 }}' for name in ("board", "owners"))
    desk = Desk(place, tmp_path, more=f"{board}{owners}[path.people]\nneeds = [{needs}]\n")
    (tmp_path / "mail").mkdir()
    desk.escrow("--no-drill")
    mail = challenge(desk, "bob")
    done = bob.check(mail, "--json").document
    assert [(item["path"], item["holder"]) for item in done["answers"]] == [
        ("people", "board"),
        ("people", "owners"),
    ]
    shown = bob.check(mail).out
    assert all(f"of holder {name})" in shown for name in ("board", "owners"))
    codes = [item["code"] for item in done["answers"]]
    assert len(set(codes)) == 2
    first = desk.ask("custody", "confirm", codes[1])["confirmed"]
    assert [item["holder"] for item in first] == ["owners"]
    assert {item["holder"]: item["pending"] for item in standing(desk, "bob")} == {
        "board": True,
        "owners": False,
    }
    desk.run("custody", "confirm", codes[0], expect=0)
    assert {item["pending"] for item in standing(desk, "bob")} == {False}
