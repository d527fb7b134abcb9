"""`orgkey refresh` on real servers: a newer public part, the same secret and the same shares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.openpgp.format import armor
from pipeline.openpgp.key.compare import compare_public
from tests.e2e.test_custody_rotate import last_event, record_at
from tests.support import people
from tests.support.commandline import Desk, end_gpg, gpg, next_second
from tests.support.openpgp_writer import PASSPHRASE

if TYPE_CHECKING:
    from tests.conftest import Place

KEYS = Path(__file__).parents[1] / "assets/keys"


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    certificates = people.folder(tmp_path / "certificates")
    return Desk(place, tmp_path, disk=True, more=people.tables(certificates))


@pytest.fixture
def escrowed(desk: Desk) -> str:
    epoch: str = desk.escrow()["epoch"]
    next_second(epoch)
    return epoch


@pytest.fixture
def renewed(desk: Desk) -> Path:
    """The server's public key after it has renewed itself: the same key, a newer self-signature."""
    home = desk.folder / "server"
    try:
        told = ("--passphrase-file", str(desk.write("pw", PASSPHRASE)))
        gpg(home, *told, "--import", str(KEYS / "ed25519-single.asc"))
        gpg(home, *told, "--quick-set-expire", desk.fingerprint, "2y")
        public = gpg(home, "--armor", "--export", desk.fingerprint).stdout
    finally:
        end_gpg(home)
    return desk.write("live.asc", public)


def test_everything_secret_is_carried_over_and_the_public_part_is_newer(
    desk: Desk, escrowed: str, renewed: Path
) -> None:
    old = record_at(desk, escrowed)
    done = desk.ask("refresh", "--public", str(renewed))
    assert (done["schema"], done["refreshed"], done["proven"]) == ("orgkey.refresh/1", True, True)
    assert (done["supersedes"], done["record_id"]) == (escrowed, old.manifest.record_id)
    new = record_at(desk, done["epoch"])
    changed = {name for name in new.members if new.members[name] != old.members.get(name)}
    assert changed == {"RECOVERY.txt", "manifest.json", "manifest.json.asc", "public.asc"}
    assert new.manifest.custody == old.manifest.custody
    assert new.manifest.plan == old.manifest.plan
    assert new.manifest.key["protection"] == old.manifest.key["protection"], "the export's, not ours"
    assert new.manifest.key["expires"] != old.manifest.key["expires"]
    assert compare_public(new.public, renewed.read_bytes()) == "same"
    assert compare_public(old.public, new.public) == "renewed"

    # A share that was handed out before the refresh opens the new epoch.
    given = []
    for name in ("alice", "bob", "carol"):
        given += ["--share", str(desk.write(name, people.words(name, old).reveal()))]
    restored = desk.restore("--via", "custodians", "--epoch", done["epoch"], *given)
    assert restored["epoch"] == done["epoch"]
    key = armor.dearmor((desk.folder / "restored.asc").read_bytes())
    assert compare_public(renewed.read_bytes(), key) in ("same", "renewed")
    desk.run("restore", "--original", "--out", str(desk.folder / "original"), expect=0)
    assert (desk.folder / "original").read_bytes() == desk.export.read_bytes()
    assert last_event(desk)["event"] == "restore"
    states = {item["epoch"]: item["state"] for item in desk.ask("list")["epochs"]}
    assert states == {escrowed: "superseded", done["epoch"]: "proven"}


def test_status_asks_for_it_and_is_content_afterwards(desk: Desk, escrowed: str, renewed: Path) -> None:
    desk.edit("[key]", f'[key]\nlive = "{renewed}"')
    assert desk.ask("status", expect=40)["live"] == "renewed"
    desk.ask("refresh")
    after = desk.ask("status")
    assert (after["live"], after["gate"]["ok"]) == ("same", True)
    again = desk.ask("refresh")
    assert (again["refreshed"], again["epoch"]) == (False, None)
    assert len(desk.ask("list")["epochs"]) == 2


def test_a_refreshed_epoch_is_rotated_and_refreshed_like_any_other(
    desk: Desk, escrowed: str, renewed: Path
) -> None:
    first = desk.ask("refresh", "--public", str(renewed))["epoch"]
    rotated = desk.ask("custody", "rotate", "--reason", "yearly")
    assert (rotated["supersedes"], rotated["proven"]) == (first, True)
    assert desk.ask("refresh", "--public", str(renewed))["refreshed"] is False


def test_custodians_open_it_where_machines_do_not(desk: Desk, escrowed: str, renewed: Path) -> None:
    old = record_at(desk, escrowed)
    given = []
    for name in ("dave", "bob", "erin"):
        given += ["--share", str(desk.write(name, people.words(name, old).reveal()))]
    assert desk.ask("refresh", "--public", str(renewed), *given)["refreshed"] is True


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ((KEYS / "rsa2048-two-block.asc").read_bytes(), 14),
        (b"nonsense", 13),
        (b"", 13),
    ],
)
def test_another_key_or_none_is_never_taken(desk: Desk, escrowed: str, data: bytes, code: int) -> None:
    file = desk.write("other.asc", data)
    for words in ((), ("--dry-run",)):
        desk.run("refresh", "--public", str(file), *words, expect=code)
    assert [item["epoch"] for item in desk.ask("list")["epochs"]] == [escrowed]


def test_a_dry_run_changes_nothing_and_no_file_is_a_hint(desk: Desk, escrowed: str, renewed: Path) -> None:
    plan = desk.ask("refresh", "--dry-run", "--public", str(renewed))
    assert plan["supersedes"] == escrowed
    assert "newer public part" in plan["action"]
    assert "--public FILE" in desk.run("refresh", expect=2).error[1]
    desk.run("refresh", "--public", str(desk.folder / "none"), expect=3)
    assert [item["epoch"] for item in desk.ask("list")["epochs"]] == [escrowed]
