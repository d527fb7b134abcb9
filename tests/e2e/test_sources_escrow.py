"""Escrows whose export comes from a configured source, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.conftest import Place
from tests.support import openpgp_writer as writer
from tests.support.commandline import Desk, end_gpg, export_of, gpg, orgkey


def run(desk: Desk, *words: str, expect: int = 0, **how: object) -> dict[str, object]:
    common = ("--config", str(desk.config), "--state-dir", str(desk.state), "--json")
    return orgkey(desk.folder, "escrow", *words, *common, expect=expect, **how).document  # type: ignore[arg-type]


def test_an_inbox_is_emptied_only_when_the_escrow_is_proven(place: Place, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir(mode=0o700)
    passphrase = tmp_path / "pw"
    passphrase.write_bytes(writer.PASSPHRASE + b"\n")
    passphrase.chmod(0o600)
    desk = Desk(
        place,
        tmp_path,
        more=f'\n[source]\nkind = "inbox"\npath = {json.dumps(str(inbox))}\nsettle_seconds = 0.1\n'
        f"passphrase_file = {json.dumps(str(passphrase))}\n",
    )
    # A person drops an export named by its key id, beside what people also leave in folders.
    dropped = inbox / "0xDEADBEEF.asc"
    shutil.copy(export_of("ed25519"), dropped)
    dropped.chmod(0o600)
    (inbox / "README.txt").write_text("please pick up\n")

    stored = run(desk, "--no-drill")
    assert stored["proven"] is False
    assert dropped.exists(), "an export is not put aside before its escrow is proven"

    proven = run(desk)
    assert (proven["already"], proven["resumed"], proven["proven"]) == (True, False, True)
    assert proven["epoch"] == stored["epoch"]
    assert not dropped.exists()
    kept = [
        path for path in (inbox / "done").iterdir() if path.read_bytes() == export_of("ed25519").read_bytes()
    ]
    assert len(kept) == 1
    assert kept[0].stat().st_mode & 0o777 == 0o400
    assert (inbox / "README.txt").exists()
    nothing = orgkey(
        desk.folder, "escrow", "--config", str(desk.config), "--state-dir", str(desk.state), expect=3
    )
    assert str(inbox) in nothing.error[0]


def test_the_operators_own_export_command(place: Place, tmp_path: Path) -> None:
    script = tmp_path / "export.sh"
    script.write_text('#!/bin/sh\necho "exporting $ORGKEY_FINGERPRINT" >&2\ncat "$1"\n')
    script.chmod(0o700)
    words = json.dumps([str(script), str(export_of("ed25519"))])
    desk = Desk(place, tmp_path, more=f'\n[source]\nkind = "command"\ncommand = {words}\n')
    opens = ("--export-passphrase-file", str(desk.passphrase_file))
    assert run(desk, *opens)["proven"] is True

    script.write_text('#!/bin/sh\necho "the appliance said: no such key" >&2\nexit 7\n')
    failed = orgkey(
        desk.folder, "escrow", *opens, "--config", str(desk.config), "--state-dir", str(desk.state), expect=2
    )
    assert "the appliance said: no such key" in failed.err
    assert "7" in failed.error[0]


def test_a_keyring(place: Place, tmp_path: Path) -> None:
    home = tmp_path / "ring"
    desk = Desk(
        place, tmp_path, more=f'\n[source]\nkind = "gnupg"\npath = {json.dumps(str(home))}\n', key="rsa2048"
    )
    opens = ("--export-passphrase-file", str(desk.passphrase_file))
    try:
        single = export_of("rsa2048").with_name("rsa2048-single.asc")
        gpg(home, "--import", "--passphrase-file", str(desk.passphrase_file), str(single))
        end_gpg(home)
        assert run(desk, *opens)["fingerprint"] == desk.fingerprint
    finally:
        end_gpg(home)
