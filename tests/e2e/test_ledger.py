"""The ledger and its mirrors through the command line, on real servers."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from pipeline.evidence.ledger.store import Ledger
from tests.conftest import Place
from tests.support.commandline import KEYS, ROOT, Desk, environment, orgkey

MIRRORED = """
[ledger]
mirrors = ["s3", "disk"]
heads = ["vault"]
"""


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    return Desk(place, tmp_path, disk=True, more=MIRRORED)


def host_of(desk: Desk) -> str:
    return (desk.state / desk.fingerprint / "ledger" / "host-id").read_text().split()[0]


def ledger(desk: Desk) -> Path:
    """This host's chain."""
    return desk.state / desk.fingerprint / "ledger" / host_of(desk)


def entries(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}


def events(desk: Desk) -> list[str]:
    return [entry["event"] for entry in desk.ask("ledger", "show", "--last", "1000")["entries"]]


def in_bucket(desk: Desk) -> dict[str, bytes]:
    """This host's chain there."""
    prefix = f"{desk.place.s3_prefix}/{desk.fingerprint}/ledger/{host_of(desk)}/"
    client, bucket = desk.at_s3.client, desk.at_s3.bucket
    listed = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
    return {
        item["Key"].removeprefix(prefix): client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        for item in listed
    }


def on_disk(desk: Desk) -> dict[str, bytes]:
    return entries(desk.disk / desk.fingerprint / "ledger" / host_of(desk))


def heads(desk: Desk) -> dict[int, str]:
    kv, path = desk.at_vault.kv, f"{desk.place.kv_prefix}/{desk.fingerprint}/ledger/{host_of(desk)}"
    names = kv.list_secrets(path, mount_point="orgkey")["data"]["keys"]
    found = (
        kv.read_secret_version(f"{path}/{name}", mount_point="orgkey", raise_on_deleted_version=True)
        for name in names
    )
    return {item["data"]["data"]["sequence"]: item["data"]["data"]["sha256"] for item in found}


def sole(document: dict[str, Any]) -> dict[str, Any]:
    """What `ledger verify` says of the only chain."""
    (chain,) = document["hosts"]
    assert document["ok"] == chain["ok"]
    return dict(chain)


def second_host(desk: Desk, folder: Path) -> Desk:
    """The same configuration and export, another state directory."""
    other = object.__new__(Desk)
    other.__dict__.update(desk.__dict__)
    other.state = folder / "second-state"
    return other


def test_every_run_is_mirrored_and_every_anchor_holds(desk: Desk) -> None:
    desk.escrow()
    desk.run("verify", expect=0)
    desk.run("drill", expect=0)
    here = entries(ledger(desk))
    assert events(desk) == ["drill", "escrow", "verify", "drill"]
    assert in_bucket(desk) == on_disk(desk) == here
    assert heads(desk) == {int(name[:9]): hashlib.sha256(data).hexdigest() for name, data in here.items()}
    told = sole(desk.ask("ledger", "verify"))
    assert (told["host"], told["ok"]) == (host_of(desk), True)
    assert (told["anchored_to"], told["unauthenticated"]) == (0, 4)
    for mirror in ("s3", "disk", "vault"):
        told = sole(desk.ask("ledger", "verify", "--mirror", mirror))
        assert (told["ok"], told["anchored_to"], told["unauthenticated"]) == (True, 4, 0)
    assert desk.ask("list")["epochs"], "the ledger beside the records disturbs no listing"
    checks = {item["subject"]: item for item in desk.ask("doctor", expect=None)["findings"]}
    assert {checks[f"ledger mirror {name}"]["level"] for name in ("s3", "disk", "vault")} == {"ok"}


def test_a_copied_folder_is_verified_without_configuration_and_servers(desk: Desk, tmp_path: Path) -> None:
    desk.escrow()
    certificate = Path(desk.ask("drill")["certificate"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copied = shutil.copytree(ledger(desk), elsewhere / "copied")
    for path in certificate.parent.glob(f"{certificate.stem}*"):
        shutil.copy(path, elsewhere)

    def verify(*words: str, expect: int = 0) -> dict[str, Any]:
        run = orgkey(elsewhere, "ledger", "verify", "copied", *words, "--json", expect=expect)
        return sole(run.document) | {"notes": run.document["notes"]}

    by = ("--certificate", certificate.name)
    told = verify(*by)
    assert told["anchored_to"] in (1, 2)
    assert told["unauthenticated"] == 3 - told["anchored_to"]
    assert "was not checked" in told["notes"][0]
    public = elsewhere / "public.asc"
    public.write_bytes(desk.export.read_bytes().split(b"-----END PGP PRIVATE KEY BLOCK-----\n")[-1])
    assert "is the Org Key's" in verify(*by, "--public", str(public))["notes"][0]
    other = (KEYS / "rsa2048-two-block.asc").read_bytes().split(b"-----END PGP PRIVATE KEY BLOCK-----\n")[-1]
    for wrong, code in ((other, 14), (b"not a key", 13)):  # a mistake in what was given accuses nobody
        (elsewhere / "wrong.asc").write_bytes(wrong)
        line = ("ledger", "verify", "copied", *by, "--public", "wrong.asc")
        assert "Export Keypair" not in orgkey(elsewhere, *line, expect=code).error[1]
    shown = orgkey(elsewhere, "ledger", "verify", "copied", *by, expect=0).out
    assert f"anchored to {told['anchored_to']}" in shown
    assert "does not" in shown

    (copied / "000000003.json").unlink()
    assert verify(*by)["ok"], "a cut tail beyond the anchor cannot be seen, and is not claimed to be"
    cut = verify("--head", f"3:{told['head']['sha256']}", expect=41)
    assert (cut["first_bad"], cut["problem"]) == (3, "entry 3 is missing: the head 3 names entry 3")
    data = bytearray((copied / "000000001.json").read_bytes())
    data[-20] ^= 1
    (copied / "000000001.json").write_bytes(data)
    assert verify(expect=41)["first_bad"] == 1
    forged = certificate.read_bytes().replace(b"PASSED", b"FAILED")
    (elsewhere / certificate.name).write_bytes(forged)
    refused = orgkey(elsewhere, "ledger", "verify", "copied", *by, "--public", str(public), expect=23)
    assert "signature" in refused.error[0]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("nowhere",), 3),
        (("orgkey.toml",), 3),
        (("state",), 3),
        ((".", "--head", "x"), 2),
        ((".", "--head", f"0:{64 * '0'}"), 2),
        ((".", "--certificate", "orgkey.toml"), 23),
        ((".", "--certificate", "nowhere"), 3),
        ((".", "--public", "orgkey.toml"), 2),
        (("--mirror", "nothing"), 2),
    ],
)
def test_what_cannot_be_verified_is_said_in_two_lines(desk: Desk, words: tuple[str, ...], code: int) -> None:
    (desk.folder / "state").mkdir()
    (desk.folder / "state" / "notes.txt").write_text("x")
    run = desk.run("ledger", "verify", *words, expect=code)
    assert all(run.error)


def test_a_config_that_names_a_wrong_place_is_refused(desk: Desk) -> None:
    for old, new in (('["s3", "disk"]', '["vault"]'), ('["vault"]', '["nothing"]')):
        desk.edit(old, new)
        run = desk.run("ledger", "show", expect=2)
        assert "[ledger] mirrors names" in run.error[0]


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    server = socket.create_server(("127.0.0.1", 0))
    server.listen(64)
    kept: list[socket.socket] = []

    def take() -> None:
        while True:
            try:
                kept.append(server.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)
    for one in kept:
        one.close()


DEAD = """
[target.dead]
kind = "s3"
domain = "dead"
controlled_by = ["nobody"]
endpoint_url = "http://127.0.0.1:{port}"
bucket = "none"
path_style = true
[ledger]
mirrors = ["dead", "s3"]
heads = ["vault"]
"""


def test_a_dead_mirror_costs_one_time_out_and_fails_nothing(
    place: Place, tmp_path: Path, black_hole: int
) -> None:
    desk = Desk(place, tmp_path, disk=True, more=DEAD.format(port=black_hole))
    desk.edit("[policy]\n", "[policy]\ncall_seconds = 2\n")
    started = time.monotonic()
    run = desk.run("verify")
    took = time.monotonic() - started
    assert took < 30
    assert run.err.count("is not mirrored to dead in this run, entries wait") == 1
    assert list(in_bucket(desk)) == ["000000001.json"]
    sync = desk.ask("ledger", "sync", expect=24)
    assert {item["name"]: item["waiting"] for item in sync["mirrors"]} == {"dead": 1, "s3": 0, "vault": 0}


def test_an_unreachable_mirror_never_fails_an_escrow_and_is_caught_up_with(desk: Desk) -> None:
    away = desk.folder / "away"
    desk.disk.rename(away)
    found = desk.escrow(expect=24)
    assert {copy["target"] for copy in found["copies"] if copy["verified"]} == {"vault", "s3"}
    assert len(in_bucket(desk)) == len(entries(ledger(desk))) == 2
    doctor = {item["subject"]: item for item in desk.ask("doctor", expect=None)["findings"]}
    assert "2 entries not yet mirrored" in doctor["ledger mirror disk"]["hint"]
    away.rename(desk.disk)
    desk.run("verify", expect=None)
    assert on_disk(desk) == in_bucket(desk) == entries(ledger(desk))
    assert len(on_disk(desk)) == 3


def test_two_hosts_and_a_lost_one_each_keep_a_chain(desk: Desk, tmp_path: Path) -> None:
    desk.escrow()
    lost = entries(ledger(desk))
    before = host_of(desk)
    shutil.rmtree(desk.state)
    run = desk.run("verify", expect=0)
    assert "this state directory is new" in run.err
    assert host_of(desk) != before
    assert events(desk) == ["drill", "escrow", "verify"]
    assert entries(ledger(desk).parent / before) == lost
    other = second_host(desk, tmp_path)
    other.run("verify", expect=0)
    desk.run("ledger", "sync", expect=0)
    shown = desk.ask("ledger", "show")
    assert {item["host"]: item["entries"] for item in shown["hosts"]} == {
        host_of(desk): 1, before: 2, host_of(other): 1
    }  # fmt: skip
    assert [item["this"] for item in shown["hosts"]] == [True, False, False]
    for host in (desk, other):
        assert entries(ledger(host)) == in_bucket(host) == on_disk(host)
    told = desk.ask("ledger", "verify", "--mirror", "s3")
    assert told["ok"]
    assert {item["host"]: item["anchored_to"] for item in told["hosts"]} == {
        host_of(desk): 1, before: 2, host_of(other): 1
    }  # fmt: skip


def test_what_a_wrong_clock_dated_hides_nothing_that_came_later(desk: Desk) -> None:
    """It stays where it was entered, and is not shown as the newest until its date has come."""
    own = Ledger(desk.state / desk.fingerprint, desk.fingerprint)
    for days in (0, 700, 0):
        own.append("verify", {"code": 0}, now=datetime.now(UTC) + timedelta(days=days), run="r" * 8)
    shown = desk.ask("ledger", "show", "--last", "2")["entries"]
    assert [item["sequence"] for item in shown] == [2, 3]


def test_a_restored_state_directory_begins_a_chain_under_another_name(desk: Desk, tmp_path: Path) -> None:
    desk.escrow()
    backup = shutil.copytree(desk.state, tmp_path / "backup")
    desk.run("verify", expect=0)
    before, whole = host_of(desk), entries(ledger(desk))
    shutil.rmtree(desk.state)
    shutil.copytree(backup, desk.state)
    run = desk.run("verify", expect=0)
    assert "was restored or copied" in run.err
    assert host_of(desk) != before
    assert len(events(desk)) == 5, "nothing is told twice"
    assert sorted(events(desk)) == ["drill", "escrow", "host-renamed", "verify", "verify"]
    assert entries(ledger(desk)) == in_bucket(desk) == on_disk(desk)
    assert entries(ledger(desk).parent / before) == whole
    for mirror in ("s3", "disk", "vault"):
        told = desk.ask("ledger", "verify", "--mirror", mirror)
        assert {item["host"]: item["anchored_to"] for item in told["hosts"]} == {host_of(desk): 4, before: 3}


def test_a_rewritten_mirror_is_found_and_not_written_to(desk: Desk) -> None:
    desk.escrow()
    genuine = desk.disk / desk.fingerprint / "ledger" / host_of(desk) / "000000002.json"
    entry = json.loads(genuine.read_bytes()) | {"run": "another"}
    genuine.unlink()
    genuine.write_bytes(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode())
    run = desk.run("verify", expect=0)
    assert "not mirrored to disk: entry 2, which was confirmed, is another there" in run.err
    told = sole(desk.ask("ledger", "verify", "--mirror", "disk", expect=41))
    assert (told["first_bad"], told["anchored_to"]) == (2, 1)
    assert desk.ask("ledger", "verify", "--mirror", "s3")["ok"]
    assert events(desk) == ["drill", "escrow", "verify", "mirror-failed"]
    assert desk.ask("ledger", "sync", expect=41)["mirrors"][1]["problem"]
    doctor = {item["subject"]: item for item in desk.ask("doctor", expect=None)["findings"]}
    assert doctor["ledger mirror disk"]["code"] == 41


def test_a_newer_version_over_a_locked_entry_changes_nothing(desk: Desk) -> None:
    desk.escrow()
    client, bucket = desk.at_s3.client, desk.at_s3.bucket
    key = f"{desk.place.s3_prefix}/{desk.fingerprint}/ledger/{host_of(desk)}/000000002.json"
    (version,) = client.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
    with pytest.raises(botocore.exceptions.ClientError):
        client.delete_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
    client.put_object(Bucket=bucket, Key=key, Body=b"{}")
    shutil.rmtree(desk.state)
    desk.run("verify", expect=0)
    assert events(desk) == ["drill", "escrow", "verify"]
    assert desk.ask("ledger", "verify", "--mirror", "s3")["ok"]


KILLED = """
import os, signal, sys
from pipeline.storage.s3.ledger_mirror import S3Mirror
def put(self, *words):
    os.kill(os.getpid(), signal.SIGKILL)
S3Mirror.put = put
sys.argv[0] = "orgkey"
from pipeline.cli.app import main
main()
"""


def test_killed_between_the_disk_and_the_mirror(desk: Desk) -> None:
    desk.run("verify", expect=40)
    words = ("verify", "--config", str(desk.config), "--state-dir", str(desk.state))
    died = subprocess.run(
        [sys.executable, "-c", KILLED, *words],
        cwd=ROOT, env=environment(desk.folder), capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert list(entries(ledger(desk))) == ["000000001.json", "000000002.json"]
    assert list(in_bucket(desk)) == ["000000001.json"]
    desk.run("verify", expect=40)
    assert events(desk) == ["verify"] * 3
    assert entries(ledger(desk)) == in_bucket(desk) == on_disk(desk)


def test_what_went_wrong_is_entered(desk: Desk) -> None:
    desk.run("drill", expect=None)
    desk.run("repair", expect=None)
    wrong = desk.write("wrong", b"not the passphrase\n")
    desk.run("escrow", str(desk.export), "--export-passphrase-file", str(wrong), expect=12)
    desk.run("verify", expect=40)
    found = events(desk)
    assert "escrow-failed" in found
    assert "drill-refused" in found
