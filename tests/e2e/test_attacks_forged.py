"""False records: an attacker's own, with the victim's parts, and rightly signed ones with a wrong secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.record import tar
from tests.e2e import forgery
from tests.support import commandline
from tests.support.commandline import Desk, copies, fingerprint_of

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    return Desk(place, tmp_path, disk=True)


def test_false_records_with_a_later_time_are_never_the_latest(
    desk: Desk, stack: Stack, fresh_place: Callable[[Stack], Place]
) -> None:
    epoch, data = commandline.record_of(stack, fresh_place)
    desk.plant(epoch, data)
    attackers = commandline.record_of(stack, fresh_place, "nistp256")[1]
    # The attacker's own record, whole and rightly signed; the same with the victim's public key in it;
    # the victim's own record, moved into the future. All are signed by the attacker.
    public = tar.unpack(data)[tar.PUBLIC]
    false = {}
    for targets, (later, forged) in (
        (("vault", "s3", "disk"), forgery.later(attackers, "nistp256", years=1)),
        (("vault",), forgery.later(attackers, "nistp256", years=2, public=public)),
        (("s3", "disk"), forgery.later(data, "nistp256", years=3)),
    ):
        assert later > epoch
        desk.plant(later, forged, *targets)
        false[later] = targets

    # On a host without any memory, then on one that has drilled.
    assert desk.restore()["epoch"] == epoch
    assert {item["epoch"] for item in desk.ask("drill")["results"]} == {epoch}
    assert desk.restore(name="again.asc")["epoch"] == epoch
    status = desk.ask("status", expect=40)  # somebody could write there: the gate says so
    assert (status["epoch"], len(status["gate"]["broken"])) == (epoch, 3)
    seen = desk.ask("verify", expect=23)
    assert all(copy["ok"] for copy in copies(seen, epoch).values())
    for later, targets in false.items():
        for name, copy in copies(seen, later).items():
            assert copy["ok"] is False
            if name not in targets:
                continue
            assert "authentic" in copy["problem"] or "signature" in copy["problem"], copy
    every = desk.ask("drill", "--epoch", "all", expect=23)["results"]
    assert {item["epoch"] for item in every if item["passed"]} == {epoch}
    latest = max(false)
    assert desk.restore("--epoch", latest, name="false.asc", expect=23)["error"]["code"] == 23
    assert not (desk.folder / "false.asc").exists()
    # An escrow counts the true epoch, and a repair does not spread a false one.
    assert desk.escrow("--no-drill")["epoch"] == epoch
    desk.at_disk.file(desk.slot(latest)).unlink()
    desk.ask("repair", expect=23)
    assert not desk.at_disk.file(desk.slot(latest)).exists()


def test_a_former_org_keys_record_does_not_count_in_the_present_ones_place(
    desk: Desk, stack: Stack, fresh_place: Callable[[Stack], Place]
) -> None:
    """Whoever holds the secret of a former key can make a record of it that looks like the newest."""
    own, _ = record = commandline.record_of(stack, fresh_place)
    desk.plant(*record)
    former, data = forgery.later(commandline.record_of(stack, fresh_place, "nistp256")[1], "nistp256")
    desk.edit("[key]\n", f'[key]\nformer = ["{fingerprint_of("nistp256")}"]\n')
    desk.plant(former, data)

    assert desk.restore()["epoch"] == own  # on a host without any memory
    told = desk.ask("verify", expect=23)
    assert [copy["ok"] for copy in copies(told, former).values()] == [False] * 3
    assert all(desk.fingerprint in copy["problem"] for copy in copies(told, former).values())
    assert desk.ask("drill", expect=40)["results"][0]["epoch"] == own  # nothing is stored of the former key
    assert desk.escrow("--no-drill")["epoch"] == own
    desk.at_disk.file(desk.slot(former)).unlink()
    desk.ask("repair", expect=23)
    assert not desk.at_disk.file(desk.slot(former)).exists()


def test_a_false_record_alone_makes_nothing_look_escrowed(
    desk: Desk, stack: Stack, fresh_place: Callable[[Stack], Place]
) -> None:
    later, false = forgery.later(commandline.record_of(stack, fresh_place)[1], "nistp256")
    desk.plant(later, false)
    assert desk.ask("status", expect=40)["epoch"] is None
    made = desk.escrow()
    assert (made["already"], made["proven"]) == (False, True)
    assert made["epoch"] != later
    assert desk.ask("status", expect=40)["epoch"] == made["epoch"]
    assert desk.restore()["epoch"] == made["epoch"]


@pytest.mark.parametrize(
    ("key", "other", "whole"), [("rsa2048", "signing-subkey", False), ("rsa2048", "nistp256", True)]
)
def test_a_rightly_signed_record_with_another_secret_is_never_proven(
    key: str, other: str, whole: bool, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(place, tmp_path, key=key, disk=True)
    false = forgery.other_secret(desk, monkeypatch, whole=whole, other=other)
    desk.plant(false.epoch, false.data)
    # It is authentic: the Org Key signed it. Only a drill tells.
    assert desk.ask("verify")["exit_code"] == 0
    drilled = desk.ask("drill", expect=30)
    assert drilled["passed"] is False
    assert {item["copy"] for item in drilled["results"]} == {"vault", "s3", "disk"}
    assert all(item["exit_code"] == 30 for item in drilled["results"])
    assert desk.ask("list")["epochs"][0]["state"] == "complete"
    assert desk.ask("status", expect=40)["gate"]["ok"] is False
    told = desk.restore(expect=23)
    assert false.epoch in told["error"]["message"]
    assert not (tmp_path / "restored.asc").exists()


def test_an_older_proven_epoch_goes_before_a_newer_one_that_is_not(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(place, tmp_path, key="rsa2048", disk=True)
    good = desk.escrow()["epoch"]
    commandline.next_second(good)
    false = forgery.other_secret(desk, monkeypatch, whole=False, other="signing-subkey")
    desk.plant(false.epoch, false.data)
    assert false.epoch > good
    assert desk.restore()["epoch"] == good
    assert desk.ask("status")["epoch"] == good
    told = desk.restore("--epoch", false.epoch, name="false.asc", expect=23)
    assert "restored" not in told
    # A host that has drilled nothing takes the newest authentic one, says so, and names the way out.
    desk.state.rename(tmp_path / "put-away")
    fresh = desk.run("restore", "--out", "x.asc", "--new-passphrase-file", str(desk.new_passphrase_file))
    assert fresh.code == 23
    assert "no drill" in fresh.err
    assert desk.restore("--epoch", good, name="good.asc")["epoch"] == good
