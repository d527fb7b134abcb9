"""Every runbook, executed from its first block to its last in the trouble that it is written for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runbooks.scene import PAGES, Scene
from tests.support.commandline import end_gpg, gpg, next_second
from tests.support.people import FINGERPRINTS

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def scene(place: Place, tmp_path: Path) -> Iterator[Scene]:
    """A scene on the shared stack."""
    made = Scene(place, tmp_path)
    yield made
    made.close()


@pytest.fixture
def own_scene(own_stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path) -> Iterator[Scene]:
    """A scene on servers that may be destroyed."""
    made = Scene(fresh_place(own_stack), tmp_path)
    yield made
    made.close()


def test_every_page_is_executed_here() -> None:
    told = Path(__file__).read_text()
    followed = set(re.findall(r'\.follow\(\s*"([\w-]+)"', told))
    assert followed == {path.stem for path in PAGES.glob("*.md")}
    index = (PAGES / "README.md").read_text()
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", index)) == followed - {"README"}


def test_the_index_describes_the_file_that_pages_begin_with(scene: Scene) -> None:
    scene.follow("README")
    set_up = (PAGES / "README.md").read_text().partition("## Before you need them")[2]
    described = re.findall(r"^(?:export )?([A-Z_]+)=", set_up, re.MULTILINE)
    written = re.findall(r"^(?:export )?([A-Z_]+)=", (scene.folder / "site.env").read_text(), re.MULTILINE)
    assert described == written


def test_the_server_is_lost(scene: Scene) -> None:
    scene.lose_server()
    scene.follow("lost-server")
    assert not scene.work.exists()
    assert scene.ask("status")["gate"]["ok"]


def test_the_server_is_upgraded(scene: Scene) -> None:
    def export() -> None:
        scene.exported("work/export.asc")
        scene.write("work/export-passphrase", scene.passphrase.read_bytes())

    def new_backup() -> None:
        scene.backup(scene.work / "server")

    scene.follow(
        "upgrade-day",
        {
            "the-keypair-is-exported": export,
            "the-last-backup-is-made": scene.backup,
            "the-old-machine-is-off": scene.lose_server,
            "the-new-server-makes-a-backup": new_backup,
        },
    )
    assert not scene.work.exists()
    assert len(scene.ask("backups", "map")["backups"]) == 3


def test_a_drill_has_failed(scene: Scene) -> None:
    kv, path = scene.place.stack.vault("root").secrets.kv.v2, f"{scene.place.kv_prefix}/{scene.fingerprint}"
    kv.delete_metadata_and_all_versions(f"{path}/{scene.epoch}", mount_point="orgkey")
    scene.ask("drill", expect=24)
    scene.follow("drill-failed")
    assert all(copy["ok"] for epoch in scene.ask("verify")["epochs"] for copy in epoch["copies"])


def test_the_ledger_is_broken(scene: Scene) -> None:
    ledger = scene.state / scene.fingerprint / "ledger"
    (host,) = (path for path in ledger.iterdir() if path.is_dir())
    before = {path.name: path.read_bytes() for path in host.glob("*.json")}
    (host / "000000001.json").write_bytes(before["000000001.json"].replace(b'"run"', b'"ran"'))
    scene.follow("ledger-broken")
    after = {path.name: path.read_bytes() for path in host.glob("*.json")}
    assert {name: after[name] for name in before} == before


def test_a_custodian_leaves(scene: Scene) -> None:
    bob, frank = FINGERPRINTS["bob"], FINGERPRINTS["frank"]

    def edit() -> None:
        scene.edit(bob, frank)
        next_second(scene.epoch)

    scene.follow("custodian-leaves", {"the-members-are-edited": edit})
    latest = scene.ask("status")["epoch"]
    labels = {share.label for share in scene.record(latest).manifest.custody.path("custodians").shares}
    assert frank in labels
    assert bob not in labels


def test_the_key_has_renewed_itself(scene: Scene) -> None:
    def save() -> None:
        home = scene.folder / "gnupg"
        try:  # by hand, since the stand-in's own time would have to be ahead of everybody's
            told = ("--passphrase-file", str(scene.passphrase))
            for _ in range(2):  # gpg takes the product's private block only once it knows the public one
                gpg(home, *told, "--import", str(scene.export), check=False)
            gpg(home, *told, "--quick-set-expire", scene.fingerprint, "2y")
            public = gpg(home, "--armor", "--export", scene.fingerprint).stdout
        finally:
            end_gpg(home)
        (scene.work / "live.asc").write_bytes(public)
        next_second(scene.epoch)

    scene.follow("key-renewed", {"the-public-key-is-saved": save})
    assert len(scene.ask("list")["epochs"]) == 2


def test_the_key_was_replaced(scene: Scene) -> None:
    scene.lab("reboot")
    shutil.rmtree(scene.server)
    old = scene.fingerprint

    def export() -> None:
        scene.lab("setup", "acme.example", "--algorithm", "ed25519")
        scene.exported("work/export.asc")
        scene.write("work/export-passphrase", scene.passphrase.read_bytes())

    def pin() -> None:
        new = scene.lab("status", "--json").document["fingerprint"]
        scene.edit(f'fingerprint = "{old}"', f'fingerprint = "{new}"\nformer = ["{old}"]')
        site = (scene.folder / "site.env").read_text()
        scene.write("site.env", site.replace(old, new).encode())
        scene.backup()

    scene.follow("key-replaced", {"the-keypair-is-exported": export, "the-key-is-pinned": pin})
    assert {item["fingerprint"] for item in scene.ask("backups", "map")["backups"]} > {old}


def test_vault_is_lost(own_scene: Scene) -> None:
    scene, stack = own_scene, own_scene.place.stack
    stack.stop_member("vault")
    shutil.rmtree(stack.layout.member("vault"))

    def build() -> None:
        stack.start_member("vault")  # initialised and unsealed, and nothing else
        scene.write(".vault-token", stack.layout.root_token.read_bytes())

    scene.follow(
        "lost-vault",
        {
            "custodians-send-words": lambda: scene.shares("alice", "carol", "erin"),
            "a-new-vault-is-there": build,
        },
    )
    assert scene.ask("status")["gate"]["ok"]


def test_the_aws_account_is_lost(own_scene: Scene) -> None:
    scene, stack = own_scene, own_scene.place.stack
    for name in ("s3", "kms"):
        stack.stop_member(name)
        shutil.rmtree(stack.layout.member(name))
    old = str(stack.state.kms_key)

    def build() -> None:
        for name in ("s3", "kms"):
            stack.start_member(name)
            stack.set_up_member(name)
        scene.edit(old, str(stack.state.kms_key))

    scene.follow(
        "lost-aws-account",
        {
            "custodians-send-words": lambda: scene.shares("bob", "carol", "dave"),
            "aws-is-set-up": build,
        },
    )
    assert scene.ask("status")["gate"]["ok"]
