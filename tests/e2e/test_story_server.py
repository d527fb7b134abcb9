"""The whole story on real servers: a server, its escrow, its end, and what comes back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_lab import Lab
from tests.support.commandline import orgkey

if TYPE_CHECKING:
    from tests.conftest import Place

NEW = b"what the operator chose for the restored key"


def test_a_server_is_lost_and_comes_back_whole(place: Place, tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    state = tmp_path / "state"
    lab.ask(
        "setup", "acme.example", "--algorithm", "rsa2048", "--ignition-passphrase-file", str(lab.ignition)
    )
    fingerprint = lab.ask("status")["fingerprint"]
    for name in ("Ada", "Grace"):
        lab.run("user", "add", name, f"{name.lower()}@acme.example")
    backups = tmp_path / "backups"
    backup = lab.ask("backup", "--content", "random", "--size", "5000000", "--to", str(backups))["path"]
    export = lab.export()

    config = place.write_config(
        tmp_path / "orgkey.toml", fingerprint, more=f'\n[backups.nightly]\nlocation = "{backups}"\n'
    )
    common = ("--config", str(config), "--state-dir", str(state), "--json")
    told = ("--export-passphrase-file", str(lab.passphrase))
    escrowed = orgkey(tmp_path, "escrow", str(export), *told, *common, expect=0).document
    assert escrowed["proven"]
    verified = orgkey(tmp_path, "backups", "verify", *common, expect=0).document["backups"]
    assert [(item["ok"], item["container"], item["entries"]) for item in verified] == [(True, "tar", 9)]

    # The server, its export and the host's passphrases are gone. What is left: the copies, and the backup.
    lab.run("reboot")
    shutil.rmtree(lab.dir)
    for path in (export, lab.passphrase, lab.ignition):
        path.unlink()

    new = lab.write("new-passphrase", NEW)
    for source in ("vault", "s3"):
        out = tmp_path / f"from-{source}.asc"
        words = ("--from", source, "--out", str(out), "--new-passphrase-file", str(new))
        assert orgkey(tmp_path, "restore", *words, *common, expect=0).document["from"] == source
        server = tmp_path / f"server-{source}"
        keypair = ("--keypair", str(out), "--export-passphrase-file", str(new))
        about = lab.ask("restore", backup, *keypair, dir=server)
        assert (about["fingerprint"], about["users"], about["ignition"]) == (fingerprint, 2, True)
        users = lab.ask("user", "list", dir=server)["users"]
        assert [user["signed"] for user in users] == [True, True]
        # It is switched on again, and nobody knows the ignition passphrase.
        lab.run("reboot", dir=server)
        assert lab.run("boot", dir=server, expect=2).error
        assert lab.ask("boot", *keypair, dir=server)["booted"] is True
        lab.run("user", "add", "Edith", "edith@acme.example", dir=server)
        assert [user["signed"] for user in lab.ask("user", "list", dir=server)["users"]] == [True] * 3
        lab.run("reboot", dir=server)


@pytest.mark.parametrize("count", [1, 2])
def test_organization_certificates_at_escrow(place: Place, tmp_path: Path, count: int) -> None:
    lab = Lab(tmp_path)
    lab.setup()
    for number in range(count):
        lab.run("certificate", "add", f"number {number}", "--days", "30")
    lab.run("time", "--advance", "40")
    export = lab.export()
    told = ("--export-passphrase-file", str(lab.passphrase), "--json")
    seen = orgkey(tmp_path, "inspect", str(export), *told, expect=17 if count > 1 else 0).document
    assert [item["subject"] for item in seen["organization_certificates"]] == [
        f"CN=number {number}" for number in range(count)
    ]
    assert all(item["not_after"] for item in seen["organization_certificates"])
    config = place.write_config(tmp_path / "orgkey.toml", lab.ask("status")["fingerprint"])
    common = ("--config", str(config), "--state-dir", str(tmp_path / "state"))
    refused = orgkey(tmp_path, "escrow", str(export), *told, *common)
    assert refused.code == (17 if count > 1 else 0)
    if count > 1:
        assert "certificates" in refused.document["error"]["hint"]
        done = orgkey(tmp_path, "escrow", str(export), "--accept", "certificates", *told, *common, expect=0)
        assert done.document["proven"]
    lab.run("reboot")
