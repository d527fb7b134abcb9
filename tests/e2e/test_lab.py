"""The stand-in server by hand: each behaviour that the vendor's articles document, and each refusal."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import forkserver
from tests.support.commandline import Run, end_gpg, environment, gpg, orgkey
from tests.support.leftovers import directory

FAULTY = Path(__file__).parents[1] / "support" / "faulty.py"
PASSPHRASE = b"correct horse battery staple"


class Lab:
    """A stand-in server in a directory of its own, and the files that a person would have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dir = folder / "server"
        self.passphrase = self.write("passphrase", PASSPHRASE)
        self.ignition = self.write("ignition", b"open sesame")

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    def run(self, *words: str, expect: int = 0, dir: Path | None = None) -> Run:  # noqa: A002
        return orgkey(self.folder, "lab", *words, "--dir", str(dir or self.dir), expect=expect)

    def ask(self, *words: str, expect: int = 0, dir: Path | None = None) -> dict[str, Any]:  # noqa: A002
        document = self.run(*words, "--json", expect=expect, dir=dir).document
        assert document["schema"].startswith("orgkey.error") or document["stand_in"] is True
        return document

    def setup(self, *words: str) -> dict[str, Any]:
        return self.ask("setup", "acme.example", "--algorithm", "ed25519", *words)

    def export(self, out: Path | None = None) -> Path:
        words = ("--out", str(out or self.folder), "--export-passphrase-file", str(self.passphrase))
        return Path(self.ask("export", "keypair", *words)["path"])


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    for place in tmp_path.iterdir():
        if (place / "server.json").exists():
            lab.run("reboot", dir=place)


def broken_setup(lab: Lab, does: str) -> tuple[int, str, Path]:
    """Set up, with a fault where gpg is to add the subkey, its second command; the room is its memory."""
    room = directory("lab-", memory=True)
    words = ("lab", "setup", "acme.example", "--algorithm", "ed25519", "--dir", str(lab.dir))
    told = {"FAULTS_AT": "start gpg other #2", "FAULTS_DO": does, "FAULTS_MEMORY": str(room)}
    done = forkserver.run(
        [sys.executable, str(FAULTY), *words], env=environment(lab.folder) | told, cwd=lab.folder,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr.decode(), room


def test_a_setup_that_is_interrupted_leaves_nothing(lab: Lab) -> None:
    code, said, room = broken_setup(lab, "term")
    assert code == 130, said
    assert not lab.dir.exists()
    assert not list(room.iterdir())
    assert "no stand-in server" in lab.run("status", expect=2).error[0]
    lab.setup()


def test_a_setup_that_was_killed_made_no_server(lab: Lab) -> None:
    code, said, room = broken_setup(lab, "kill")
    assert code == -signal.SIGKILL, said
    for word in ("status", "boot", "reboot"):
        assert "no stand-in server" in lab.run(word, expect=2).error[0]
    assert "is not empty" in lab.run("setup", "acme.example", expect=3).error[0]
    for home in room.glob("orgkey-*"):
        end_gpg(home)
    shutil.rmtree(room)


def test_it_says_everywhere_that_it_is_a_stand_in(lab: Lab) -> None:
    lab.setup()
    assert lab.run("status").out.startswith("stand-in server (not a PGP Encryption Server)")
    assert b"stand-in" in lab.export().read_bytes()
    for words in (
        (),
        ("setup",),
        ("user", "list"),
        ("backup",),
        ("restore",),
        ("boot",),
        ("certificate", "add"),
    ):
        assert "stand-in" in orgkey(lab.folder, "lab", *words, "--help", expect=0).out.lower(), words


def test_setup_and_the_export_of_two_blocks(lab: Lab) -> None:
    about = lab.setup("--days", "365")
    assert (about["domain"], about["live"], about["users"], about["booted"]) == (
        "acme.example",
        False,
        0,
        True,
    )
    path = lab.export()
    assert path.name == f"0x{about['fingerprint'][-8:]}.asc"
    assert path.stat().st_mode & 0o777 == 0o600
    seen = orgkey(
        lab.folder, "inspect", str(path), "--export-passphrase-file", str(lab.passphrase), "--json", expect=0
    ).document
    assert (seen["fingerprint"], seen["layout"]) == (about["fingerprint"], "two-block")
    assert seen["user_ids"] == ["acme.example Organization Key <keys@acme.example>"]
    protection = json.dumps(seen["protection"])
    for word in ("AES-256", "SHA-1", "iterated-salted", "1572864"):
        assert word in protection
    # The private block alone has no self-signatures: GnuPG cannot use it.
    alone = lab.write("alone", path.read_bytes().partition(b"-----BEGIN PGP PUBLIC")[0])
    home = lab.folder / "gpg"
    try:
        assert b"sec" not in gpg(home, "--import", str(alone), check=False).stdout
        public = Path(lab.ask("export", "public", "--out", str(lab.folder / "public.asc"))["path"])
        gpg(home, "--import", str(public))
    finally:
        end_gpg(home)
    assert lab.run("setup", "other.example", expect=3).error
    assert lab.run(
        "export", "keypair", "--out", str(path), "--export-passphrase-file", str(lab.passphrase), expect=3
    )


def test_without_a_passphrase_only_after_a_confirmation(lab: Lab) -> None:
    lab.setup()
    out = lab.folder / "bare.asc"
    assert lab.run("export", "keypair", "--out", str(out), "--without-passphrase", expect=11).error
    assert not out.exists()
    lab.run("export", "keypair", "--out", str(out), "--without-passphrase", "--yes")
    assert orgkey(lab.folder, "inspect", str(out), "--json", expect=11).document["exit_code"] == 11


def test_regenerate_only_before_anybody_relies_on_the_key(lab: Lab) -> None:
    first = lab.setup()["fingerprint"]
    second = lab.ask("regenerate", "--algorithm", "nistp256", "--days", "0")
    assert second["fingerprint"] != first
    assert (second["algorithm"], second["expires"]) == ("nistp256", None)
    lab.run("user", "add", "Ada", "ada@acme.example")
    assert "signed" in lab.run("regenerate", expect=22).error[0]
    other = lab.folder / "other"
    lab.run("setup", "other.example", "--algorithm", "ed25519", dir=other)
    lab.run("go-live", dir=other)
    assert lab.run("regenerate", expect=22, dir=other).error
    assert lab.run("user", "add", "Ada", "ada@acme.example", expect=22).error
    assert lab.run("user", "add", "A<b>", "no-address", expect=2).error


def test_users_are_signed_and_a_stranger_key_is_not_good(lab: Lab) -> None:
    lab.setup()
    for name in ("Ada", "Grace"):
        lab.run("user", "add", name, f"{name.lower()}@acme.example")
    assert [user["signed"] for user in lab.ask("user", "list")["users"]] == [True, True]
    folder = lab.dir / "keys" / "users"
    one, two = sorted(folder.glob("*.public"))
    one.write_bytes(two.read_bytes())
    assert [user["signed"] for user in lab.ask("user", "list", expect=23)["users"]].count(False) == 1


@pytest.mark.parametrize("days", [31, 1])
def test_it_renews_itself_with_the_same_key(lab: Lab, days: int) -> None:
    before = lab.setup("--days", "365")
    lab.run("user", "add", "Ada", "ada@acme.example")
    told = lab.ask("time", "--advance", str(365 - days - 1), "--renew-days", str(days))["done"]
    assert told == []
    told = lab.ask("time", "--advance", "1.5")["done"]
    assert len(told) == 1
    assert "renewed" in told[0]
    after = lab.ask("status")
    assert after["fingerprint"] == before["fingerprint"]
    assert after["expires"] > before["expires"]
    assert lab.ask("user", "list")["users"][0]["signed"] is True


def test_the_ignition_key_is_asked_for_and_the_org_key_is_the_way_in(lab: Lab) -> None:
    lab.setup("--ignition-passphrase-file", str(lab.ignition))
    keypair = lab.export()
    lab.run("reboot")
    assert lab.ask("status")["booted"] is False
    assert "not booted" in lab.run("user", "add", "Ada", "ada@acme.example", expect=40).error[0]
    wrong = lab.write("wrong", b"open barley")
    assert lab.run("boot", "--ignition-passphrase-file", str(wrong), expect=12).error
    assert lab.ask("boot", "--ignition-passphrase-file", str(lab.ignition))["booted"] is True
    lab.run("reboot")
    way_in = ("--keypair", str(keypair), "--export-passphrase-file")
    assert lab.run("boot", *way_in, str(wrong), expect=12).error
    assert lab.ask("boot", *way_in, str(lab.passphrase))["booted"] is True
    lab.run("user", "add", "Ada", "ada@acme.example")
    other = lab.folder / "other"
    lab.run("setup", "other.example", "--algorithm", "ed25519", dir=other)
    assert lab.run("boot", *way_in, str(lab.passphrase), expect=14, dir=other).error
    # Nothing secret lies in the clear.
    for root, _, names in os.walk(lab.dir):
        for name in names:
            assert b"-----BEGIN PGP PRIVATE" not in (Path(root) / name).read_bytes()
            assert name != "disk-key"


def test_restore_and_everything_that_it_refuses(lab: Lab) -> None:
    lab.setup()
    lab.run("user", "add", "Ada", "ada@acme.example")
    keypair = lab.export()
    public = Path(lab.ask("export", "public", "--out", str(lab.folder / "public.asc"))["path"])
    made = Path(
        lab.ask("backup", "--content", "compressible", "--size", "3000000", "--container", "tar.gz")["path"]
    )
    kept = lab.folder / "kept.pgp"
    shutil.copy(made, kept)
    wrong = lab.write("wrong", b"another passphrase")
    right = ("--export-passphrase-file", str(lab.passphrase))
    new = lab.folder / "new"
    assert lab.run("restore", str(kept), "--keypair", str(public), *right, expect=10, dir=new).error
    told = ("--export-passphrase-file", str(wrong))
    assert lab.run("restore", str(kept), "--keypair", str(keypair), *told, expect=12, dir=new).error
    changed = bytearray(kept.read_bytes())
    changed[-40] ^= 1
    bad = lab.write("bad.pgp", bytes(changed))
    assert lab.run("restore", str(bad), "--keypair", str(keypair), *right, expect=23, dir=new).error
    assert not new.exists()
    other = lab.folder / "other"
    lab.run("setup", "other.example", "--algorithm", "ed25519", dir=other)
    theirs = Path(lab.ask("export", "keypair", "--out", str(lab.folder), *right, dir=other)["path"])
    assert lab.run("restore", str(kept), "--keypair", str(theirs), *right, expect=14, dir=new).error
    assert lab.run(
        "restore", str(lab.folder / "none"), "--keypair", str(keypair), *right, expect=3, dir=new
    ).error
    # One certificate is accepted, two are not.
    lab.run("certificate", "add", "acme.example Organization Certificate")
    one = Path(lab.ask("backup", "--to", str(lab.folder / "one"))["path"])
    lab.run("certificate", "add", "another")
    two = Path(lab.ask("backup", "--to", str(lab.folder / "two"))["path"])
    seen = orgkey(
        lab.folder, "inspect", str(lab.export(lab.folder / "with.asc")), *right, "--json", expect=17
    ).document
    assert len(seen["organization_certificates"]) == 2
    assert (
        "cannot be restored"
        in lab.run("restore", str(two), "--keypair", str(keypair), *right, expect=17, dir=new).error[0]
    )
    lab.run("certificate", "remove", "2")
    assert len(lab.ask("certificate", "list")["certificates"]) == 1
    assert (
        lab.ask("restore", str(one), "--keypair", str(keypair), *right, dir=lab.folder / "from-one")["users"]
        == 1
    )
    lab.run("reboot")
    shutil.rmtree(lab.dir)
    restored = lab.ask("restore", str(kept), "--keypair", str(keypair), *right, dir=new)
    assert restored["users"] == 1
    assert lab.ask("user", "list", dir=new)["users"][0]["signed"] is True
    lab.run("user", "add", "Grace", "grace@acme.example", dir=new)
    lab.run("reboot", dir=new)
    lab.run("user", "add", "Alan", "alan@acme.example", dir=new)
    assert all(user["signed"] for user in lab.ask("user", "list", dir=new)["users"])


def test_two_gibibytes_are_too_much_for_the_ordinary_way(lab: Lab) -> None:
    """Its length decides, before anything is read: `make bench` reads backups of so many bytes."""
    lab.setup()
    keypair = ("--keypair", str(lab.export()), "--export-passphrase-file")
    right, wrong = (*keypair, str(lab.passphrase)), (*keypair, str(lab.folder / "wrong"))
    (lab.folder / "wrong").write_text("not this one")
    (lab.folder / "wrong").chmod(0o600)
    made = Path(lab.ask("backup", "--content", "sparse", "--size", str(40 << 20), "--no-compress")["path"])
    assert made.stat().st_size > 40 << 20
    whole, new = lab.folder / "whole.pgp", lab.folder / "new"
    shutil.copyfile(made, whole)
    os.truncate(made, (1 << 31) - 1)
    lab.run("restore", str(made), *wrong, expect=12, dir=new)
    os.truncate(made, 1 << 31)
    assert "--large" in lab.run("restore", str(made), *wrong, expect=2, dir=new).error[1]
    assert "--large" in lab.run("restore", str(made), *right, expect=2, dir=new).error[1]
    assert lab.ask("restore", str(whole), *right, "--large", dir=new)["domain"] == "acme.example"


def test_scheduled_backups_arrive_as_time_passes(lab: Lab) -> None:
    lab.setup()
    remote = lab.folder / "remote"
    lab.run("backup", "--every", "7", "--to", str(remote))
    told = lab.ask("time", "--advance", "21")["done"]
    assert len(told) == 3
    assert len(list(remote.iterdir())) == 3
    assert lab.run("backup", "--content", "poems", expect=2).error
    sizes = {
        content: lab.ask(
            "backup", "--content", content, "--size", "3000000", "--to", str(lab.folder / content)
        )["bytes"]
        for content in ("random", "compressible", "sparse")
    }
    assert sizes["random"] > 2_900_000
    assert sizes["random"] > 5 * sizes["compressible"] > 5 * sizes["sparse"]
    assert lab.run("status", expect=2, dir=lab.folder / "nowhere").error


def test_gnupg_looks_keys_up_at_it(lab: Lab) -> None:
    from pipeline.devstack.lab import lookup
    from pipeline.devstack.lab.server import LabServer

    about = lab.setup()
    lab.run("user", "add", "Ada", "ada@acme.example")
    with lookup.serving(LabServer(lab.dir)) as address:
        home = lab.folder / "gpg"
        try:
            gpg(home, "--keyserver", address, "--recv-keys", about["fingerprint"])
            listed = gpg(home, "--with-colons", "--list-keys").stdout.decode()
            assert about["fingerprint"] in listed
        finally:
            end_gpg(home)
    assert lookup.answer(LabServer(lab.dir), "/other")[0] == 400
    assert lookup.answer(LabServer(lab.dir), "/pks/lookup?op=get&search=nobody")[0] == 404
    status, body = lookup.answer(LabServer(lab.dir), "/pks/lookup?op=index&options=mr&search=ADA")
    assert (status, body.count(b"pub:")) == (200, 1)
