"""Vault wiped, then AWS gone, then both with custodians left: the remaining path restores."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_custody_rotate import record_at
from tests.support import people
from tests.support.commandline import Desk, environment, orgkey

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

PATHS = """
[path.vault-and-people]
needs = ["vault", { holder = "custodians", threshold = 2 }]
[path.aws-and-people]
needs = ["aws", { holder = "custodians", threshold = 2 }]
"""


@pytest.mark.timeout(300)
def test_whatever_is_lost_the_remaining_path_restores(
    own_stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path
) -> None:
    certificates = people.folder(tmp_path / "certificates")
    desk = Desk(
        fresh_place(own_stack),
        tmp_path,
        disk=True,
        more=people.tables(certificates) + PATHS,
    )
    desk.edit("copies = 2", "copies = 2\ncall_seconds = 2")
    epoch = desk.escrow()["epoch"]
    record = record_at(desk, epoch)

    def shares(path: str, *names: str) -> list[str]:
        files = [desk.write(f"{path}-{name}", people.words(name, record, path).reveal()) for name in names]
        return [word for file in files for word in ("--share", str(file))]

    assert desk.restore(name="before.asc")["via"] == "unattended"

    # Vault is wiped: every entry and the Transit key are gone for good.
    root = own_stack.vault("root")
    root.secrets.kv.v2.delete_metadata_and_all_versions(
        f"{desk.place.kv_prefix}/{desk.fingerprint}/{epoch}", mount_point="orgkey"
    )
    root.secrets.transit.update_key_configuration("orgkey-escrow", deletion_allowed=True)
    root.secrets.transit.delete_key("orgkey-escrow")
    run = desk.run(
        *("restore", "--out", str(tmp_path / "no.asc")),
        *("--new-passphrase-file", str(desk.new_passphrase_file)),
    )
    assert run.code != 0
    assert "--via" in run.error[1], "it says which people could help"
    done = desk.restore(*shares("aws-and-people", "alice", "erin"), name="without-vault.asc")
    assert (done["via"], done["from"]) == ("aws-and-people", "s3")

    # AWS is gone, too: bucket and KMS do not answer any more. Nor does Vault.
    for member in ("s3", "kms", "vault"):
        own_stack.stop_member(member)
    assert desk.run(
        *("restore", "--out", str(tmp_path / "no.asc")),
        *("--new-passphrase-file", str(desk.new_passphrase_file)),
        *shares("aws-and-people", "alice", "erin"),
    ).code in (20, 25)
    done = desk.restore(*shares("custodians", "bob", "carol", "dave"), name="people.asc")
    assert (done["via"], done["from"]) == ("custodians", "disk")

    # The host is lost as well: one copy on a disk, three people, a new machine.
    new = tmp_path / "new-machine"
    new.mkdir()
    orgkey(
        new,
        *("restore", "--record", str(desk.at_disk.file(desk.slot(epoch))), "--fingerprint", desk.fingerprint),
        *("--out", "key.asc", "--new-passphrase-file", str(desk.new_passphrase_file)),
        *shares("custodians", "alice", "carol", "erin"),
        env=environment(new),
        expect=0,
    )
    assert not (tmp_path / "no.asc").exists()
    for name in ("before.asc", "without-vault.asc", "people.asc", "new-machine/key.asc"):
        shown = subprocess.run(
            ["gpg", "--batch", "--with-colons", "--show-keys", str(tmp_path / name)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=environment(tmp_path),
        ).stdout
        assert f"fpr:::::::::{desk.fingerprint}:" in shown
        assert "\nsec:" in f"\n{shown}"
