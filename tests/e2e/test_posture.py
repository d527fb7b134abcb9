"""`orgkey custody posture`: from the configuration, what is stored, and what servers say."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import people
from tests.support.commandline import Desk, next_second
from tests.support.people import FINGERPRINTS

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

MIXED = '[path.mixed]\nneeds = ["vault", { holder = "custodians", threshold = 2 }]\n'


def custodian(name: str) -> str:
    return f"custodian {FINGERPRINTS[name]}"


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    certificates = people.folder(tmp_path / "certificates", people.NAMES)
    return Desk(place, tmp_path, disk=True, more=people.tables(certificates) + MIXED)


def test_before_the_first_escrow_the_configuration_is_computed(desk: Desk) -> None:
    found = desk.ask("custody", "posture")
    assert ["aws-admins", "vault-admins"] in found["reconstruct"]
    assert [custodian("bob"), custodian("alice"), "vault-admins"] in found["reconstruct"]
    assert found["single_points"] == {"reconstruct": [], "loss": []}
    assert (found["epochs"], found["lingering"]) == ([], [])
    assert len(found["hosts"]) == 1
    assert "live drill credentials" in found["hosts"][0]


def test_machines_alone_have_single_losses(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path)
    desk.escrow()
    found = desk.ask("custody", "posture")
    assert found["reconstruct"] == [["aws-admins", "vault-admins"]]
    assert {"holder vault", "holder aws", "party vault-admins"} <= set(found["single_points"]["loss"])
    assert ["holder vault"] in found["fatal_losses"]


def test_an_older_epoch_lingers_with_whom_it_opens_to_and_until_when(desk: Desk) -> None:
    old = desk.escrow()["epoch"]
    next_second(old)
    desk.edit(FINGERPRINTS["bob"], FINGERPRINTS["frank"])
    before = desk.ask("custody", "posture")
    assert [custodian("bob"), custodian("erin"), "vault-admins"] in before["reconstruct"], (
        "stored, not configured"
    )
    assert custodian("frank") in {name for item in before["configured"]["reconstruct"] for name in item}
    swap = ("--remove", FINGERPRINTS["bob"], "--add", FINGERPRINTS["frank"])
    desk.ask("custody", "rotate", "--reason", "Bob left", *swap)

    found = desk.ask("custody", "posture")
    (lingering,) = found["lingering"]
    assert lingering["epoch"] == old
    assert lingering["until"] is not None, "the copy in the bucket is locked"
    assert all(custodian("bob") in who for who in lingering["who"])
    assert [custodian("bob"), custodian("erin"), "vault-admins"] in lingering["who"]
    assert [custodian("bob"), custodian("erin"), "vault-admins"] in found["reconstruct"]
    assert {custodian("erin"), custodian("frank"), "vault-admins"} in map(set, found["reconstruct"])
    text = desk.run("custody", "posture").out
    assert "opened as well by" in text
    assert "only a regenerated Org Key ends that" in text


def test_a_copy_that_is_gone_does_not_count(desk: Desk) -> None:
    epoch = desk.escrow("--no-drill")["epoch"]
    assert "storage-admins" in {
        name for item in desk.ask("custody", "posture")["reconstruct"] for name in item
    }
    desk.at_disk.file(desk.slot(epoch)).unlink()
    assert "storage-admins" not in {
        name for item in desk.ask("custody", "posture")["reconstruct"] for name in item
    }


def test_a_target_that_cannot_be_read_is_said_to_be_unknown(
    breakable_stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path
) -> None:
    desk = Desk(fresh_place(breakable_stack), tmp_path, disk=True)
    desk.escrow("--no-drill")
    breakable_stack.stop_member("s3")
    desk.edit("copies = 2", "copies = 2\ncall_seconds = 5\ndeadline_seconds = 60")
    found = desk.ask("custody", "posture", expect=24)
    assert any(text.startswith("target s3:") for text in found["unknown"])
    assert "NOT KNOWN:" in desk.run("custody", "posture", expect=24).out


def test_one_server_under_two_names_is_one_party(desk: Desk) -> None:
    text = desk.config.read_text()
    target = text.index("[target.vault]")
    changed = text[:target] + text[target:].replace('["vault-admins"]', '["storage-team"]', 1)
    desk.config.write_text(changed)
    found = desk.ask("custody", "posture")
    assert any("which have no party in common" in fact for fact in found["facts"])
    runs = [name for item in found["reconstruct"] for name in item if name.startswith("whoever runs http")]
    assert runs


def test_one_place_under_two_names_is_one_copy(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path)
    written = desk.config.read_text()
    for kind in ("vault", "s3"):
        start = written.index(f"[target.{kind}]")
        table = written[start : written.index("\n\n", start)].replace(
            f"[target.{kind}]", f"[target.other-{kind}]"
        )
        table = re.sub(r'domain = ".*"', f'domain = "other-{kind}"', table)
        desk.edit("[holder.vault]\n", table.replace("127.0.0.1", "localhost") + "\n\n[holder.vault]\n")
    done = desk.escrow("--no-drill", expect=24)
    good = {one["target"]: one["verified"] for one in done["copies"]}
    assert good == {"vault": True, "s3": True, "other-vault": False, "other-s3": False}


def test_exports_in_an_inboxs_done_folder_are_listed(desk: Desk) -> None:
    inbox = desk.folder / "inbox"
    inbox.mkdir(mode=0o700)
    desk.config.write_text(
        desk.config.read_text() + f'\n[source]\nkind = "inbox"\npath = "{inbox}"\n'
        f'passphrase_file = "{desk.passphrase_file}"\n'
    )
    export = inbox / "export.asc"
    export.write_bytes(desk.export.read_bytes())
    desk.ask("escrow")
    (lingering,) = desk.ask("custody", "posture")["lingering"]
    assert (lingering["epoch"], lingering["until"]) == (None, None)
    assert f"whoever reads {inbox}/done" in lingering["who"][0][0]
    assert lingering["what"] == f"1 export in {inbox}/done"  # the note beside it is none


def test_the_picture_is_whole_and_takes_no_markup_from_names(desk: Desk) -> None:
    desk.edit(
        f'"{FINGERPRINTS["bob"]}"',
        f'{{ fingerprint = "{FINGERPRINTS["bob"]}", name = "<script>&\\"Bob\\" </svg>" }}',
    )
    desk.escrow("--no-drill")
    out = desk.folder / "posture.svg"
    desk.run("custody", "posture", "--svg", str(out), expect=0)
    root = ElementTree.fromstring(out.read_text())
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "text", "line"}
    words = " ".join(element.text or "" for element in root.iter())
    assert '<script>&"Bob"' in words
    for expected in ("path custodians", "any 3 of 5: custodians", "holder vault", "target disk", "OR", "AND"):
        assert expected in words
    assert "http" not in out.read_text().replace("http://www.w3.org/2000/svg", "")
    desk.run("custody", "posture", "--svg", str(out), expect=3)
