"""Copies that were altered, cut, swapped, hidden or removed at a target are named; the others restore."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import commandline
from tests.support.commandline import Desk, copies

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

TARGETS = ("vault", "s3", "disk")
Alter = Callable[[Desk, str, bytes], None]


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    return Desk(place, tmp_path, disk=True)


@pytest.fixture
def stored(desk: Desk, stack: Stack, fresh_place: Callable[[Stack], Place]) -> tuple[str, bytes]:
    """A whole record at all three targets, without a receipt: its epoch, its bytes."""
    epoch, data = commandline.record_of(stack, fresh_place)
    desk.plant(epoch, data)
    return epoch, data


def flipped(data: bytes) -> bytes:
    """One bit of the sealed key."""
    at = data.index(b"-----BEGIN PGP PRIVATE KEY BLOCK-----") + 200
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def on_disk(desk: Desk, epoch: str, data: bytes) -> None:
    desk.plant(epoch, flipped(data), "disk")


def disk_cut(desk: Desk, epoch: str, data: bytes) -> None:
    desk.plant(epoch, data[: len(data) // 2], "disk")


def disk_longer(desk: Desk, epoch: str, data: bytes) -> None:
    desk.plant(epoch, data + b"\0" * 512, "disk")


def s3_on_top(desk: Desk, epoch: str, data: bytes) -> None:
    desk.plant(epoch, flipped(data), "s3")


def s3_cut_for_good(desk: Desk, epoch: str, data: bytes) -> None:
    """Root removes the true version, which no retention protects, and writes a shorter one."""
    named = {"Bucket": desk.at_s3.bucket, "Key": desk.at_s3.key(desk.slot(epoch))}
    for version in desk.at_s3.client.list_object_versions(Bucket=named["Bucket"], Prefix=named["Key"])[
        "Versions"
    ]:
        desk.at_s3.client.delete_object(
            **named, VersionId=version["VersionId"], BypassGovernanceRetention=True
        )
    desk.plant(epoch, data[:-10240], "s3")


def vault_on_top(desk: Desk, epoch: str, data: bytes) -> None:
    desk.plant(epoch, flipped(data), "vault")


def vault_made_anew(desk: Desk, epoch: str, data: bytes) -> None:
    """With the metadata deleted, the false entry is version 1, like the true one was."""
    path = desk.at_vault.path(desk.slot(epoch))
    desk.at_vault.kv.delete_metadata_and_all_versions(path, mount_point="orgkey")
    desk.plant(epoch, flipped(data), "vault")


def vault_field(desk: Desk, epoch: str, data: bytes) -> None:
    """The entry's own digest is adjusted to nothing: it is not a record any more."""
    path = desk.at_vault.path(desk.slot(epoch))
    desk.at_vault.kv.delete_metadata_and_all_versions(path, mount_point="orgkey")
    desk.at_vault.write(desk.slot(epoch), {"record": "!", "sha256": "0"})


@pytest.mark.parametrize(
    "alterations",
    [
        {"disk": (on_disk, False), "s3": (s3_on_top, True), "vault": (vault_made_anew, False)},
        {"disk": (disk_cut, False), "s3": (s3_cut_for_good, False), "vault": (vault_on_top, True)},
        {"disk": (disk_longer, False), "vault": (vault_field, False)},
    ],
    ids=["changed", "cut", "malformed"],
)
def test_an_altered_copy_is_named_and_the_others_restore(
    alterations: dict[str, tuple[Alter, bool]],
    desk: Desk,
    stack: Stack,
    fresh_place: Callable[[Stack], Place],
) -> None:
    """Each target has its copy of another epoch altered; some keep the true bytes as an older version."""
    epochs = {}
    for number, (target, (alter, _)) in enumerate(alterations.items()):
        epochs[target], data = commandline.record_of(stack, fresh_place, number=number)
        desk.plant(epochs[target], data)
        alter(desk, epochs[target], data)

    seen = desk.ask("verify", expect=23)
    for target, (_, remains) in alterations.items():
        found = copies(seen, epochs[target])
        assert {name: copy["ok"] for name, copy in found.items()} == {
            name: name != target or remains for name in TARGETS
        }
        assert [name for name in TARGETS if found[name]["problem"]] == [target]
        words = ("--epoch", epochs[target])
        told = desk.restore(*words, "--from", target, name=f"from-{target}.asc", expect=0 if remains else 23)
        if not remains:
            assert target in told["error"]["message"]
            assert not (desk.folder / f"from-{target}.asc").exists()
            others = desk.restore(*words, name=f"instead-of-{target}.asc")
            assert (others["epoch"], others["from"] != target) == (epochs[target], True)

    # A repair puts the true bytes beside what it may not replace; where they are still there, it need not.
    # Behind a false version on top nothing can be repaired without deleting: that stays 23.
    left = 23 if any(remains for _, remains in alterations.values()) else 0
    fixed = desk.ask("repair", expect=left)["copies"]
    done = {(item["epoch"], item["target"]): item["action"] for item in fixed}
    assert done == {
        (epoch, name): "copied" if name == target and not alterations[target][1] else "kept"
        for target, epoch in epochs.items()
        for name in TARGETS
    }
    after = desk.ask("verify", expect=left)
    for target, epoch in epochs.items():
        assert all(copy["ok"] for copy in copies(after, epoch).values())
        assert copies(after, epoch)[target]["problem"], "what lies there is still told"
    target = next(target for target, (_, remains) in alterations.items() if not remains)
    assert desk.restore("--from", target, "--epoch", epochs[target], name="beside.asc")["from"] == target


def test_a_drill_and_the_gate_name_an_altered_copy(desk: Desk, stored: tuple[str, bytes]) -> None:
    epoch, data = stored
    on_disk(desk, epoch, data)
    s3_on_top(desk, epoch, data)
    drilled = desk.ask("drill", expect=23)
    results = {item["copy"]: item for item in drilled["results"]}
    assert {name: item["passed"] for name, item in results.items()} == {
        "vault": True,
        "s3": True,
        "disk": False,
    }
    assert results["disk"]["exit_code"] == 23
    assert results["disk"]["proofs"]["authentic"]["ok"] is False
    assert results["s3"]["exit_code"] == 23
    assert any("s3" in note for note in results["s3"]["notes"])
    gate = desk.ask("status", expect=23)["gate"]
    assert gate["ok"] is False
    assert any("disk" in rule for rule in gate["broken"])
    assert any("s3" in rule for rule in gate["broken"])


def test_copies_swapped_between_epochs_stand_in_the_wrong_place(
    desk: Desk, stored: tuple[str, bytes], stack: Stack, fresh_place: Callable[[Stack], Place]
) -> None:
    first, old = stored
    second, new = commandline.record_of(stack, fresh_place, number=1)
    desk.plant(second, new)
    desk.plant(first, new, "disk")
    desk.plant(second, old, "disk")
    seen = desk.ask("verify", expect=23)
    for epoch, other in ((first, second), (second, first)):
        found = copies(seen, epoch)
        assert {name: copy["ok"] for name, copy in found.items()} == {
            "vault": True,
            "s3": True,
            "disk": False,
        }
        assert other in found["disk"]["problem"]
        assert desk.restore("--epoch", epoch, name=f"{epoch}.asc")["from"] in ("vault", "s3")
    assert desk.restore()["epoch"] == second
    assert desk.restore("--from", "disk", name="disk.asc", expect=23)["error"]["code"] == 23
    desk.ask("repair")
    assert desk.ask("verify")["exit_code"] == 0


def test_a_delete_marker_hides_nothing(desk: Desk, stored: tuple[str, bytes]) -> None:
    epoch, _ = stored
    desk.at_s3.hide(desk.slot(epoch))
    copy = copies(desk.ask("list"), epoch)["s3"]
    assert copy["ok"]
    assert "hidden" in copy["problem"]
    version = copy["version"]
    assert desk.restore("--from", "s3")["from"] == "s3"
    assert desk.restore(
        "--from", "s3", "--epoch", epoch, "--version-id", version, name="version.asc"
    )["epoch"] == epoch  # fmt: skip
    said = desk.run("verify", expect=0)
    assert "hidden" in said.out
    again = desk.escrow("--no-drill")
    assert (again["already"], again["epoch"]) == (True, epoch)
    assert len(desk.stored_in_s3()) == 1, "a readable copy is not written twice"


@pytest.mark.parametrize("how", ["deleted", "destroyed", "gone"])
def test_what_vault_lost_is_brought_back(how: str, desk: Desk, stored: tuple[str, bytes]) -> None:
    epoch, _ = stored
    path, kv = desk.at_vault.path(desk.slot(epoch)), desk.at_vault.kv
    if how == "deleted":
        desk.at_vault.hide(desk.slot(epoch))
    elif how == "destroyed":
        kv.destroy_secret_versions(path, [1], mount_point="orgkey")
    else:
        kv.delete_metadata_and_all_versions(path, mount_point="orgkey")
    seen = desk.ask("verify", expect=24)
    copy = copies(seen, epoch)["vault"]
    assert copy["ok"] is False
    assert ("no copy" if how == "gone" else how) in copy["problem"]
    assert desk.restore()["epoch"] == epoch
    planned = {item["target"]: item["action"] for item in desk.ask("repair", "--dry-run")["copies"]}
    assert planned == {"vault": "would copy", "s3": "kept", "disk": "kept"}
    assert desk.ask("verify", expect=24)["exit_code"] == 24, "a dry run writes nothing"
    fixed = {item["target"]: item for item in desk.ask("repair")["copies"]}
    assert fixed["vault"]["action"] == "copied"
    assert desk.ask("verify")["exit_code"] == 0
    assert desk.restore("--from", "vault", name="vault.asc")["from"] == "vault"


def test_a_file_that_went_away_comes_back_read_only(desk: Desk, stored: tuple[str, bytes]) -> None:
    epoch, data = stored
    file = desk.at_disk.file(desk.slot(epoch))
    file.unlink()
    desk.ask("repair")
    assert file.read_bytes() == data
    assert stat.S_IMODE(file.stat().st_mode) == 0o400


def test_when_no_copy_is_good_nothing_pretends_to_be(desk: Desk, stored: tuple[str, bytes]) -> None:
    epoch, data = stored
    on_disk(desk, epoch, data)
    vault_made_anew(desk, epoch, data)
    s3_cut_for_good(desk, epoch, data)
    assert desk.restore(expect=23)["error"]["code"] == 23
    assert not (desk.folder / "restored.asc").exists()
    assert desk.run("drill", "--json").code == 23
    assert desk.run("repair", "--json").code == 23
    gate = desk.ask("status", expect=40)
    assert gate["gate"]["broken"][0].startswith(
        f"nothing authentic is stored for this key: no copy of epoch {epoch}"
    )
    assert [rule.partition(":")[0] for rule in gate["gate"]["broken"][1:]] == ["vault", "s3", "disk"]


def test_a_new_target_receives_the_same_bytes(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path)
    made = desk.escrow()
    desk.config.write_text(desk.config.read_text() + desk.disk_table)
    assert desk.run("status", "--json").code in (24, 40)
    assert copies(desk.ask("verify", expect=24), made["epoch"])["disk"]["ok"] is False
    again = desk.escrow()
    assert (again["already"], again["epoch"], again["record_id"]) == (True, made["epoch"], made["record_id"])
    assert {copy["target"]: copy["sha256"] for copy in again["copies"]} == dict.fromkeys(
        TARGETS, made["record_sha256"]
    )
    assert [path.name for path in desk.stored_on_disk()] == [f"{made['epoch']}.tar"]
    desk.ask("status")
    assert json.dumps(desk.ask("verify")).count('"ok": true') == 3


def test_repair_serves_a_new_target_too(desk: Desk, stored: tuple[str, bytes]) -> None:
    epoch, data = stored
    shelf = desk.folder / "shelf"
    shelf.mkdir()
    text = desk.disk_table.replace("target.disk", "target.shelf").replace(str(desk.disk), str(shelf))
    desk.config.write_text(desk.config.read_text() + text)
    fixed = {item["target"]: item["action"] for item in desk.ask("repair", "--epoch", "latest")["copies"]}
    assert fixed == {"vault": "kept", "s3": "kept", "disk": "kept", "shelf": "copied"}
    assert (shelf / desk.fingerprint / f"{epoch}.tar").read_bytes() == data
