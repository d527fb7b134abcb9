"""`orgkey custody rotate` on real servers: new shares for the same key, who may change what, what stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.core.clock import Deadline
from pipeline.record import verify
from pipeline.record.verify import Record
from tests.support import people
from tests.support.commandline import Desk, next_second, orgkey
from tests.support.people import FINGERPRINTS

if TYPE_CHECKING:
    from tests.conftest import Place

LEFT = ("--reason", "Bob has left the company")


def record_at(desk: Desk, epoch: str) -> Record:
    """The record of an epoch, from the directory."""
    data = desk.at_disk.file(desk.slot(epoch)).read_bytes()
    return verify.verify_record(
        data, desk.fingerprint, deadline=Deadline(60), now=datetime.now(UTC), epoch=epoch
    )


def last_event(desk: Desk) -> dict[str, Any]:
    """The newest entry of the ledger."""
    entry = json.loads(max((desk.state / desk.fingerprint / "ledger").glob("*/*.json")).read_bytes())
    assert isinstance(entry, dict)
    return entry


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    """A workplace with five custodians, three of whom suffice."""
    certificates = people.folder(tmp_path / "certificates", people.NAMES)
    return Desk(place, tmp_path, disk=True, more=people.tables(certificates))


@pytest.fixture
def escrowed(desk: Desk) -> str:
    """The epoch of a first escrow."""
    epoch: str = desk.escrow()["epoch"]
    next_second(epoch)
    return epoch


def swap(desk: Desk, leaves: str, joins: str) -> None:
    """Change the configured members."""
    desk.edit(FINGERPRINTS[leaves], FINGERPRINTS[joins])


def test_a_custodian_leaves_and_another_joins(desk: Desk, escrowed: str) -> None:
    old = record_at(desk, escrowed)
    swap(desk, "bob", "frank")
    done = desk.ask(
        "custody", "rotate", "--remove", FINGERPRINTS["bob"], "--add", FINGERPRINTS["frank"], *LEFT
    )
    assert (done["schema"], done["supersedes"], done["proven"]) == ("orgkey.custody-rotate/1", escrowed, True)
    assert FINGERPRINTS["bob"] in done["custodians_before"]
    assert FINGERPRINTS["bob"] not in done["custodians_after"]
    new = record_at(desk, done["epoch"])
    assert new.manifest.supersedes is not None
    assert (new.manifest.supersedes.epoch, new.manifest.supersedes.sha256) == (escrowed, old.sha256.hex)
    assert (new.manifest.key_state, new.manifest.key) == (old.manifest.key_state, old.manifest.key)
    assert new.manifest.record_id != old.manifest.record_id
    assert new.manifest.custody.witness != old.manifest.custody.witness, "another escrow passphrase"

    event = last_event(desk)
    assert event["event"] == "rotate"
    assert event["details"]["reason"] == LEFT[1]
    assert event["details"]["custodians_before"] == done["custodians_before"]
    assert event["details"]["custodians_after"] == done["custodians_after"]

    states = {item["epoch"]: item["state"] for item in desk.ask("list")["epochs"]}
    assert states == {escrowed: "superseded", done["epoch"]: "proven"}
    assert desk.ask("status")["epoch"] == done["epoch"]
    again = desk.escrow()
    assert (again["epoch"], again["already"]) == (done["epoch"], True), "the same key under the same plan"

    for name in ("alice", "frank", "erin"):
        desk.write(name, people.words(name, new).reveal())
    shares = [word for name in ("alice", "frank", "erin") for word in ("--share", str(desk.folder / name))]
    assert desk.restore("--via", "custodians", *shares)["epoch"] == done["epoch"]
    original = desk.run("restore", "--original", "--out", str(desk.folder / "original"), expect=0)
    assert (desk.folder / "original").read_bytes() == desk.export.read_bytes(), original


def test_without_a_change_everybody_gets_a_new_share(desk: Desk, escrowed: str) -> None:
    before = record_at(desk, escrowed)
    done = desk.ask("custody", "rotate", "--reason", "yearly")
    after = record_at(desk, done["epoch"])
    assert done["changes"] == []
    for name in people.EVERYBODY:
        assert people.words(name, before) != people.words(name, after)


def test_a_host_that_only_drills_goes_on_to_the_new_epoch(desk: Desk, escrowed: str) -> None:
    elsewhere = ("--config", str(desk.config), "--state-dir", str(desk.folder / "elsewhere"), "--json")

    def drilled() -> set[str]:
        results = orgkey(desk.folder, "drill", *elsewhere, expect=0).document["results"]
        return {result["epoch"] for result in results}

    assert drilled() == {escrowed}
    new = desk.ask("custody", "rotate", "--reason", "yearly")["epoch"]
    assert drilled() == {escrowed, new}
    assert drilled() == {new}


def test_it_says_first_what_it_does_not_do(desk: Desk, escrowed: str) -> None:
    run = desk.run("custody", "rotate", "--reason", "yearly", "--quiet", expect=0)
    assert run.err.startswith("orgkey: warning: a rotation gives new shares to the same key"), escrowed
    assert "only regenerating the Org Key on the server ends that" in run.err


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--remove", FINGERPRINTS["bob"]),
        ("--add", FINGERPRINTS["frank"]),
        ("--remove", FINGERPRINTS["alice"], "--add", FINGERPRINTS["frank"]),
    ],
)
def test_a_custodian_list_that_the_operator_has_not_named_is_refused(
    desk: Desk, escrowed: str, given: tuple[str, ...]
) -> None:
    swap(desk, "bob", "frank")
    run = desk.run("custody", "rotate", *LEFT, *given, expect=40)
    happened, hint = run.error
    assert FINGERPRINTS["bob"] in happened
    assert FINGERPRINTS["frank"] in happened
    assert "--remove" in hint or "name exactly that change" in hint
    assert [item["epoch"] for item in desk.ask("list")["epochs"]] == [escrowed]
    assert last_event(desk)["event"] == "rotate-failed"


def test_a_change_that_the_configuration_does_not_make_is_refused(desk: Desk, escrowed: str) -> None:
    run = desk.run("custody", "rotate", *LEFT, "--remove", FINGERPRINTS["bob"], expect=40)
    assert "the configuration does not make the change" in run.error[0]
    assert [item["epoch"] for item in desk.ask("list")["epochs"]] == [escrowed]


def test_another_threshold_or_path_needs_to_be_accepted(desk: Desk, escrowed: str) -> None:
    desk.edit("threshold = 3", "threshold = 2")
    happened, hint = desk.run("custody", "rotate", "--reason", "smaller", expect=40).error
    assert "3 of 5 custodians becomes 2 of 5 custodians" in happened
    assert "--accept-custody-change" in hint
    done = desk.ask("custody", "rotate", "--reason", "smaller", "--accept-custody-change")
    assert record_at(desk, done["epoch"]).manifest.custody.path("custodians").needs[0].threshold == 2
    assert done["supersedes"] == escrowed


def test_a_further_token_of_a_custodian_opens_the_one_share_and_is_no_second_person(
    desk: Desk, escrowed: str
) -> None:
    alice, card = FINGERPRINTS["alice"], FINGERPRINTS["frank"]
    desk.edit(f'"{alice}"', f'{{ fingerprint = "{alice}", also = ["{card}"] }}')
    happened, hint = desk.run("custody", "rotate", "--reason", "second card", expect=40).error
    assert f"also_opened_by None becomes ['{alice}/{card}']" in happened
    assert "--accept-custody-change" in hint
    done = desk.ask("custody", "rotate", "--reason", "second card", "--accept-custody-change")
    assert done["supersedes"] == escrowed
    record = record_at(desk, done["epoch"])
    (share,) = (it for it in record.manifest.custody.path("custodians").shares if it.label == alice)
    desk.write("card", people.decrypt("frank", record.members[share.member]).reveal())
    for name in ("alice", "bob", "carol"):
        desk.write(name, people.words(name, record).reveal())

    def brought(*names: str) -> list[str]:
        return [word for name in names for word in ("--share", str(desk.folder / name))]

    twice = ("restore", "--via", "custodians", "--out", str(desk.folder / "never.asc"))
    passphrase = ("--new-passphrase-file", str(desk.new_passphrase_file))
    happened, _ = desk.run(*twice, *passphrase, *brought("alice", "card", "bob"), expect=31).error
    assert "is the same as" in happened
    assert desk.restore("--via", "custodians", *brought("card", "bob", "carol"))["epoch"] == done["epoch"]
    assert card not in str(desk.ask("custody", "posture")["reconstruct"])


def test_a_dry_run_says_what_would_happen_and_changes_nothing(desk: Desk, escrowed: str) -> None:
    swap(desk, "bob", "frank")
    refused = desk.ask("custody", "rotate", "--dry-run", expect=40)
    assert "custody plan is not the stored one" in refused["refused"]
    plan = desk.ask(
        "custody", "rotate", "--dry-run", "--remove", FINGERPRINTS["bob"], "--add", FINGERPRINTS["frank"]
    )
    assert (plan["supersedes"], plan["refused"]) == (escrowed, None)
    assert len(plan["changes"]) == 2
    assert [item["epoch"] for item in desk.ask("list")["epochs"]] == [escrowed]


def test_a_rotation_needs_a_reason(desk: Desk) -> None:
    assert "--reason" in desk.run("custody", "rotate", expect=2).error[1]


def test_custodians_open_the_old_epoch_when_the_machines_are_gone(desk: Desk, escrowed: str) -> None:
    old = record_at(desk, escrowed)
    for name in ("bob", "carol", "dave"):
        desk.write(name, people.words(name, old).reveal())
    shares = [word for name in ("bob", "carol", "dave") for word in ("--share", str(desk.folder / name))]
    done = desk.ask("custody", "rotate", "--reason", "yearly", "--via", "custodians", *shares)
    assert (done["supersedes"], done["proven"]) == (escrowed, True)
    desk.run("custody", "rotate", "--reason", "x", "--via", "custodians", *shares, expect=32)


def test_a_plan_of_people_alone_is_stored_and_not_proven(
    place: Place, tmp_path: Path, desk: Desk, escrowed: str
) -> None:
    desk.edit('[path.unattended]\nneeds = ["vault", "aws"]\n', "")
    done = desk.ask("custody", "rotate", "--reason", "no machines", "--accept-custody-change", expect=24)
    assert (done["proven"], done["drill"]) == (False, None)
    assert desk.ask("status", expect=40)["gate"]["ok"] is False
    shown = {item["epoch"]: item["state"] for item in desk.ask("list")["epochs"]}
    assert shown == {escrowed: "proven", done["epoch"]: "complete"}


def test_a_renewed_key_under_another_plan_needs_acceptance(
    place: Place, tmp_path: Path, desk: Desk, escrowed: str, renewed: Callable[[Desk], None]
) -> None:
    swap(desk, "bob", "frank")
    renewed(desk)
    run = desk.run(
        "escrow", str(desk.export), "--export-passphrase-file", str(desk.passphrase_file), expect=40
    )
    assert "--accept-custody-change" in run.error[1]
    assert FINGERPRINTS["frank"] in run.error[0]
    assert [item["epoch"] for item in desk.ask("list")["epochs"]] == [escrowed]
    done = desk.escrow("--accept-custody-change")
    labels = {
        share.label for share in record_at(desk, done["epoch"]).manifest.custody.path("custodians").shares
    }
    assert FINGERPRINTS["frank"] in labels


def test_the_same_key_under_another_plan_is_sent_to_rotate(desk: Desk, escrowed: str) -> None:
    swap(desk, "bob", "frank")
    for words in ((), ("--accept-custody-change",)):
        run = desk.run(
            *("escrow", str(desk.export), "--export-passphrase-file", str(desk.passphrase_file)),
            *words,
            expect=40,
        )
        assert "orgkey custody rotate" in run.error[1]
        assert escrowed in run.error[0]
        assert FINGERPRINTS["bob"] in run.error[0]


@pytest.fixture
def renewed() -> Callable[[Desk], None]:
    """Renew the key at the server: the same key with a newer self-signature, exported again."""

    def renew(desk: Desk) -> None:
        from tests.support.commandline import end_gpg, gpg
        from tests.support.openpgp_writer import PASSPHRASE

        home = desk.folder / "server"
        try:
            secret = desk.write("pw", PASSPHRASE)
            told = ("--passphrase-file", str(secret))
            gpg(home, *told, "--import", str(Path(__file__).parents[1] / "assets/keys/ed25519-single.asc"))
            gpg(home, *told, "--quick-set-expire", desk.fingerprint, "2y")
            done = gpg(home, *told, "--armor", "--export-secret-keys", desk.fingerprint)
        finally:
            end_gpg(home)
        desk.export.write_bytes(done.stdout)

    return renew


def test_a_rotation_right_behind_an_escrow_is_the_later_epoch(desk: Desk) -> None:
    """Epochs are ordered by whole seconds: two within one would have no order."""
    first = desk.escrow("--no-drill")["epoch"]
    second = desk.ask("custody", "rotate", "--reason", "at once")["epoch"]
    third = desk.ask("custody", "rotate", "--reason", "and again")["epoch"]
    assert first[:16] < second[:16] < third[:16]
    assert [item["epoch"] for item in desk.ask("list")["epochs"]] == [first, second, third]
    assert desk.ask("status")["epoch"] == third
