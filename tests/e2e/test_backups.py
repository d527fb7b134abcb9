"""`orgkey backups` on real servers: what an escrowed key opens, what it does not, and what is damaged."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import select
import shlex
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.support import exposition, forkserver, message_writer
from tests.support.commandline import (
    KEYS,
    ORGKEY,
    Desk,
    end_gpg,
    environment,
    export_of,
    fingerprint_of,
    gpg,
)

if TYPE_CHECKING:
    from tests.conftest import Place


def archive(size: int = 40_000) -> bytes:
    """A small backup's content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("settings.xml", "users.db"):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(random.Random(name).randbytes(size)))  # noqa: S311
    return out.getvalue()


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    desk = Desk(place, tmp_path)
    desk.escrow()
    return desk


@pytest.fixture
def server(desk: Desk) -> Iterator[Path]:
    """A gpg home with the public keys of the Org Key and of another one."""
    home = desk.folder / "server"
    try:
        for name in (desk.key, "nistp256"):
            gpg(home, "--import", str(KEYS / f"{name}-unprotected.asc"))
        yield home
    finally:
        end_gpg(home)


def encrypt(home: Path, data: bytes, *options: str, to: str = "ed25519") -> bytes:
    """A backup as the server makes one."""
    done: bytes = gpg(
        home, "--trust-model", "always", "--recipient", fingerprint_of(to), *options, "--encrypt", stdin=data
    ).stdout
    return done


def rows(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The backups of a document by their file's name."""
    return {item["source"].rpartition("/")[2]: item for item in document["backups"]}


@pytest.fixture
def folder(desk: Desk, server: Path) -> Path:
    folder = desk.folder / "backups"
    (folder / "2026").mkdir(parents=True)
    (folder / "one.pgp").write_bytes(encrypt(server, archive()))
    two = encrypt(server, b"x" * 100_000, "--armor", "--emit-version", "--comment", "nightly")
    (folder / "2026" / "two.asc").write_bytes(two)
    (folder / ".upload").write_bytes(b"in the making")
    (folder / "backup.log").write_bytes(b"done")
    desk.config.write_text(
        desk.config.read_text()
        + f'\n[backups.nightly]\nlocation = {json.dumps(str(folder))}\nignore = ["*.log"]\n'
    )
    return folder


def test_verify_map_status_and_drill(desk: Desk, server: Path, folder: Path) -> None:
    done = desk.ask("backups", "verify")
    found = rows(done)
    assert set(found) == {"one.pgp", "two.asc"}
    one = found["one.pgp"]
    assert (one["ok"], one["container"], one["entries"], one["integrity"]) == (True, "tar", 2, "mdc")
    assert (one["engine"], one["fingerprint"]) == ("orgkey", desk.fingerprint)
    assert one["content_bytes"] == len(archive())
    assert (found["two.asc"]["container"], found["two.asc"]["compression"]) == ("bytes", "zlib")
    by_gpg = rows(desk.ask("backups", "verify", "--engine", "gpg", "nightly"))
    same = ("ok", "container", "entries", "integrity", "content_bytes", "fingerprint", "epoch")
    assert all(by_gpg[name][key] == found[name][key] for name in found for key in same)
    assert {item["engine"] for item in by_gpg.values()} == {"gnupg"}

    mapped = rows(desk.ask("backups", "map"))
    assert {(item["fingerprint"], item["proven"]) for item in mapped.values()} == {(desk.fingerprint, True)}
    assert len(desk.ask("status")["backups"]) == 2
    drilled = desk.ask("drill", "--backup", "nightly")
    assert all(item["proofs"]["backup"]["ok"] for item in drilled["results"])
    os.mkfifo(desk.folder / "pipe")
    for place in ("-", str(desk.folder / "pipe")):
        assert "read only once" in desk.run("drill", "--backup", place, expect=2).error[0]
    assert "No such file" in desk.run("drill", "--backup", str(folder / "gone.pgp"), expect=3).error[0]
    (folder / "empty").mkdir()
    assert "no backup is at" in desk.run("drill", "--backup", str(folder / "empty"), expect=2).error[0]
    assert desk.ask("status")["gate"]["ok"]  # nothing was drilled, and nothing has failed

    # The Org Key was regenerated, and nobody escrowed the new one.
    (folder / "zz-new.pgp").write_bytes(encrypt(server, b"new", to="nistp256"))
    mapped_document = desk.ask("backups", "map", expect=40)
    assert mapped_document["backups"][0]["source"].endswith("zz-new.pgp")
    assert mapped_document["backups"][0]["fingerprint"] is None
    assert "  NONE  " in desk.run("backups", "map", expect=40).out.splitlines()[1]
    status = desk.ask("status", expect=40)
    assert status["backups"][0]["source"].endswith("zz-new.pgp")
    assert any("zz-new.pgp" in rule for rule in status["gate"]["broken"])
    assert desk.ask("watch", "--once", expect=40)["unopened"] == [str(folder / "zz-new.pgp")]
    verified = rows(desk.ask("backups", "verify", expect=40))
    assert [verified[name]["ok"] for name in ("one.pgp", "zz-new.pgp")] == [True, False]
    drilled = desk.ask("drill", "--backup", str(folder / "zz-new.pgp"), expect=30)
    assert not any(item["passed"] for item in drilled["results"])


def test_a_former_key_opens_its_old_backups(desk: Desk, server: Path, folder: Path) -> None:
    (folder / "new.pgp").write_bytes(encrypt(server, archive(), to="nistp256"))
    new = fingerprint_of("nistp256")
    desk.edit(
        f'fingerprint = "{desk.fingerprint}"', f'fingerprint = "{new}"\nformer = ["{desk.fingerprint}"]'
    )
    desk.export.write_bytes(export_of("nistp256").read_bytes())
    desk.escrow("--accept-custody-change")
    found = rows(desk.ask("backups", "verify"))
    assert {name: item["fingerprint"] for name, item in found.items()} == {
        "new.pgp": new, "one.pgp": desk.fingerprint, "two.asc": desk.fingerprint,
    }  # fmt: skip
    status = desk.ask("status")
    assert [(item["fingerprint"], item["state"]) for item in status["former"]] == [
        (desk.fingerprint, "proven")
    ]
    assert "former key" in desk.run("status", expect=0).out
    assert desk.ask("drill", "--fingerprint", desk.fingerprint)["passed"]


def test_backups_that_stop_coming_break_the_gate(desk: Desk, folder: Path) -> None:
    desk.edit("[policy]\n", "[policy]\nmax_backup_age_days = 2\n")
    file = folder.parent / "orgkey.prom"
    assert desk.ask("status", "--metrics", str(file))["gate"]["ok"]
    then = time.time() - 3 * 86400
    for path in (folder / "one.pgp", folder / "2026" / "two.asc"):
        os.utime(path, (then, then))
    (broken,) = desk.ask("status", "--metrics", str(file), expect=40)["gate"]["broken"]
    assert broken.startswith(
        "the newest backup in nightly is 3.0 days old, policy.max_backup_age_days is 2; "
    )
    said = desk.run("status", expect=40).out
    assert "backups    2 for an escrowed key (not opened); the newest is 3.0 d old\n" in said
    assert len(said.splitlines()) <= 24
    found = exposition.parse(file.read_text())
    nightly = (("place", "nightly"),)
    assert abs(found["orgkey_newest_backup_timestamp_seconds", nightly] - then) < 1
    states = ("matched", "uncertain", "unmatched", "unreadable")
    assert [found["orgkey_backups", (("state", state),)] for state in states] == [2, 0, 0, 0]
    assert "one.pgp" not in file.read_text()
    # Something new that is not a backup does not make up for it, nor does a backup elsewhere.
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.copyfile(folder / "one.pgp", elsewhere / "one.pgp")
    desk.edit("[policy]\n", f"[backups.copies]\nlocation = {json.dumps(str(elsewhere))}\n\n[policy]\n")
    (folder / "notes.txt").write_text("nothing yet")
    broken = desk.ask("status", "--metrics", str(file), expect=None)["gate"]["broken"]
    assert ["max_backup_age_days" in rule for rule in broken].count(True) == 1
    found = exposition.parse(file.read_text())
    assert abs(found["orgkey_newest_backup_timestamp_seconds", nightly] - then) < 1
    line = desk.run("status", "--quiet", "--nagios", expect=2).out
    ages = dict(re.findall(r"newest_backup_age_(\w+)=(\d+)s;;172800;0", line))
    assert int(ages["nightly"]) >= 3 * 86400
    assert int(ages["copies"]) < 3600


def test_former_keys_are_drilled_with_the_present_one_and_grow_stale(desk: Desk) -> None:
    old, new = desk.fingerprint, fingerprint_of("nistp256")
    desk.edit("max_drill_age_days = 8", "max_drill_age_days = 30")
    desk.edit(f'fingerprint = "{old}"', f'fingerprint = "{new}"\nformer = ["{old}"]')
    desk.export.write_bytes(export_of("nistp256").read_bytes())
    desk.escrow("--accept-custody-change")
    (mark,) = (desk.state / old / "journal").glob("*/proven.json")
    said = json.loads(mark.read_text())
    mark.write_text(json.dumps(said | {"at": "2025-01-01T00:00:00Z"}))
    broken = desk.ask("status", expect=40)["gate"]["broken"]
    assert [old in rule and "last drill is" in rule for rule in broken] == [True]

    done = desk.ask("drill")
    (former,) = done["former"]
    assert (done["passed"], former["passed"], former["fingerprint"]) == (True, True, old)
    assert Path(former["certificate"]).is_relative_to(desk.state / old)
    assert desk.ask("status")["gate"]["ok"]
    assert desk.run("drill", expect=0).out.startswith("former key ")
    assert desk.ask("drill", "--fingerprint", new)["former"] == []
    # One that was never escrowed is named; the present key is drilled all the same.
    lost = fingerprint_of("rsa2048")
    desk.edit(f'former = ["{old}"]', f'former = ["{old}", "{lost}"]')
    done = desk.ask("drill", expect=40)
    assert (done["passed"], [item["passed"] for item in done["former"]]) == (True, [True, False])
    assert "stored" in done["former"][1]["problem"]


def test_damage_is_named_and_never_verified(desk: Desk, server: Path) -> None:
    whole = encrypt(server, archive(), "--compress-algo", "none")
    folder = desk.folder / "damaged"
    folder.mkdir()
    for name, at in (
        ("start", 200),
        ("middle", len(whole) // 2),
        ("last", len(whole) - 30),
        ("code", len(whole) - 3),
    ):
        changed = bytearray(whole)
        changed[at] ^= 1
        (folder / name).write_bytes(changed)
    (folder / "cut").write_bytes(whole[:-100])
    os.utime(folder / "cut", (1, 1))  # one that has just been written may be an upload that goes on
    (folder / "longer").write_bytes(whole + b"more")
    (folder / "good").write_bytes(whole)
    for engine in ("auto", "gpg"):
        found = rows(desk.ask("backups", "verify", str(folder), "--engine", engine, expect=23))
        assert [name for name, item in found.items() if item["ok"]] == ["good"]
        for name, item in found.items():
            if name != "good":
                assert item["exit_code"] == 23, item
                assert item["problem"]
    said = desk.run("backups", "verify", str(folder), expect=23)
    assert said.out.count("FAILED") == 6
    assert said.out.count("verified ") == 1
    (folder / "none").write_bytes(b"no message")
    (folder / "empty").write_bytes(b"")
    found = rows(desk.ask("backups", "map", str(folder), expect=23))
    assert (found["empty"]["problem"] or "").startswith("it changed ")
    assert "not an OpenPGP message" in found["none"]["problem"]
    assert "empty" in found["empty"]["problem"]
    missing = desk.ask("backups", "verify", str(folder / "nowhere"), expect=3)["backups"][0]
    assert "No such file" in missing["problem"]
    shown = desk.run("backups", "verify", str(folder / "nowhere"), expect=3).out
    assert f"hint: {missing['hint']}" in shown


def test_a_wrong_key_under_the_right_id_is_no_success(desk: Desk, server: Path) -> None:
    """The message names the escrowed subkey, and its session key is garbage."""
    whole = encrypt(server, b"x")
    key_id = (
        whole[3:11].hex().upper() if whole[0] & 0x40 else whole[2 + (1 << (whole[0] & 3)) :][:8].hex().upper()
    )
    inside = message_writer.literal(b"y" * 5000)
    forged = message_writer.message(message_writer.protected(inside, bytes(32)), [key_id])
    found = desk.ask("backups", "verify", str(desk.write("forged.pgp", forged)), expect=40)
    assert "no escrowed key opens it" in found["backups"][0]["problem"]


def test_without_an_integrity_code_it_is_said_loudly(desk: Desk, server: Path) -> None:
    old = encrypt(server, archive(), "--rfc2440", "--disable-mdc", "--cipher-algo", "AES256")
    path = desk.write("old.pgp", old)
    found = desk.ask("backups", "verify", str(path), expect=24)["backups"][0]
    assert (found["ok"], found["integrity"], found["entries"]) == (False, "none", 2)
    assert "NOT PROTECTED" in desk.run("backups", "verify", str(path), expect=24).out


def test_standard_input_and_hidden_recipients(desk: Desk, server: Path) -> None:
    hidden = encrypt(server, archive(), "--throw-keyids")
    found = desk.ask("backups", "verify", "-", stdin=hidden)
    assert (found["backups"][0]["source"], found["backups"][0]["ok"]) == ("standard input", True)
    path = desk.write("hidden.pgp", hidden)
    assert "hidden" in desk.ask("backups", "map", str(path), expect=24)["backups"][0]["problem"]
    assert desk.ask("backups", "verify", "-", stdin=hidden[:-50], expect=23)["backups"][0]["ok"] is False
    assert desk.run("backups", "verify", str(path), str(path), expect=2).error
    assert desk.run("backups", "verify", expect=2).error


def test_names_that_are_no_text_and_places_that_are_none(desk: Desk, server: Path) -> None:
    folder = desk.folder / "odd"
    folder.mkdir()
    data = encrypt(server, archive())
    for name in (b"line\nand\x1b[31mcolour", b"latin-\xe9\xff", b"plain"):
        (folder / os.fsdecode(name)).write_bytes(data)
    found = rows(desk.ask("backups", "verify", str(folder)))
    assert set(found) == {"line\nand\x1b[31mcolour", "latin-\\xe9\\xff", "plain"}
    assert all(item["ok"] for item in found.values())
    assert len(desk.ask("backups", "map", str(folder))["backups"]) == 3
    said = desk.run("backups", "verify", str(folder), expect=0)
    assert "\x1b" not in said.out + said.err
    missing = desk.ask("backups", "verify", os.fsdecode(bytes(folder) + b"/\xff"), expect=3)
    assert missing["backups"][0]["source"].endswith("\\xff")
    assert "empty name" in desk.run("backups", "verify", "", expect=2).error[0]
    closed = desk.folder / "closed.sh"
    closed.write_text(f"exec {shlex.join(ORGKEY)} backups verify - --config {desk.config} <&-\n")
    ended = subprocess.run(
        ["sh", str(closed)], env=environment(desk.folder), capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert (ended.returncode, "standard input is closed" in ended.stderr) == (3, True)


def test_a_named_pipe_is_read_once(desk: Desk, server: Path) -> None:
    path = desk.folder / "pipe"
    os.mkfifo(path)
    data = encrypt(server, archive())
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    found = desk.ask("backups", "verify", str(path))["backups"][0]
    writer.join()
    assert (found["source"], found["ok"], found["entries"]) == (str(path), True, 2)


def test_a_bucket_is_read_in_parallel_ranges(desk: Desk, server: Path) -> None:
    place = desk.at_s3
    big = encrypt(server, random.Random(5).randbytes(21_000_000), "--compress-algo", "none")  # noqa: S311
    prefix = f"{place.prefix}-backups" if hasattr(place, "prefix") else "test-backups"
    client, bucket = place.client, place.bucket
    for name, data in (
        ("a.pgp", big),
        ("b.pgp", encrypt(server, archive())),
        ("bad.pgp", big[:-1] + bytes([big[-1] ^ 1])),
    ):
        client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=data)
    found = rows(desk.ask("backups", "verify", f"s3://{bucket}/{prefix}/", expect=23))
    assert {name: item["ok"] for name, item in found.items()} == {
        "a.pgp": True,
        "b.pgp": True,
        "bad.pgp": False,
    }
    assert found["a.pgp"]["content_bytes"] == 21_000_000
    assert found["a.pgp"]["bytes"] == len(big)
    mapped = rows(desk.ask("backups", "map", f"s3://{bucket}/{prefix}/"))
    assert len(mapped) == 3
    one = desk.ask("backups", "verify", f"s3://{bucket}/{prefix}/b.pgp", "--engine", "gpg")
    assert one["backups"][0]["ok"]
    # A name is that object or that folder, and nothing beside it.
    client.put_object(Bucket=bucket, Key=f"{prefix}/b.pgp.sha256", Body=b"no message")
    assert set(rows(desk.ask("backups", "verify", f"s3://{bucket}/{prefix}/b.pgp"))) == {"b.pgp"}
    for name in ("nightly/c.pgp", "nightly-old/d.pgp"):
        client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=encrypt(server, archive()))
    for place_of_one in (f"{prefix}/nightly", f"{prefix}/nightly/"):
        assert set(rows(desk.ask("backups", "map", f"s3://{bucket}/{place_of_one}"))) == {"c.pgp"}
    assert desk.ask("backups", "map", f"s3://{bucket}/{prefix}/night", expect=40)["backups"] == []


@contextmanager
def endless(
    desk: Desk, start: Callable[..., subprocess.Popen[bytes]] = forkserver.Popen
) -> Iterator[tuple[IO[bytes], IO[bytes], subprocess.Popen[bytes]]]:
    """A backup that never ends, in a pipe that nobody closes: its two ends, and the command that reads it."""
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb", buffering=0) as feed, os.fdopen(read_end, "rb") as source:
        common = ("--config", str(desk.config), "--state-dir", str(desk.state))
        with start(
            [*ORGKEY, "backups", "verify", "-", *common], stdin=source, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=desk.folder, env=environment(desk.folder), start_new_session=True,
        ) as child:  # fmt: skip
            yield feed, source, child


def test_nothing_of_the_content_is_written_and_a_signal_ends_it_whole(desk: Desk, server: Path) -> None:
    marker = b"MARKER-OF-THE-CONTENT"
    path = desk.write("m.pgp", encrypt(server, marker * 2000, "--compress-algo", "none"))
    desk.run("backups", "verify", str(path), expect=0)
    for root, _, names in os.walk(desk.folder):
        for name in (name for name in names if (Path(root) / name).is_file()):
            assert marker not in (Path(root) / name).read_bytes()
    with endless(desk, subprocess.Popen) as (feed, _, child):  # whose worker is its own child
        inside = encrypt(server, random.Random(1).randbytes(400_000), "--compress-algo", "none")  # noqa: S311
        feed.write(inside[:60_000])
        assert child.stderr is not None
        feed.write(inside[60_000:300_000])
        for line in child.stderr:
            if line.startswith(b"reading"):
                break
        children = _children(child.pid)
        assert children
        child.terminate()
        assert child.wait(30) == 130
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in children):
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived the command")


@pytest.mark.parametrize("size", [1000, 400_000])
def test_a_stalled_pipe_does_not_outlast_a_signal(desk: Desk, server: Path, size: int) -> None:
    """It stalls within the message's head, which is looked at first; and where it is read to its end."""
    message = encrypt(server, random.Random(2).randbytes(900_000), "--compress-algo", "none")  # noqa: S311
    with endless(desk) as (feed, source, child):
        feed.write(message[:size])
        # All of it was taken: the command waits for more.
        while select.select([source], [], [], 0)[0] and child.poll() is None:
            time.sleep(0.05)
        time.sleep(1.0)
        started = time.monotonic()
        child.terminate()
        try:
            assert child.wait(20) == 130
        finally:
            child.kill()
        assert time.monotonic() - started < 10


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that has ended
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


def test_a_claim_is_about_bytes_and_is_taken_back(desk: Desk, server: Path, folder: Path) -> None:
    desk.edit("[policy]\n", "[policy]\nmax_backup_verify_age_days = 30\nmax_newest_verify_age_days = 2\n")
    then = time.time() - 40 * 86400
    os.utime(folder / "2026" / "two.asc", (then, then))
    said = desk.ask("status", expect=40)["gate"]["broken"]
    assert any("1 of 2 backups were not read to their end for 30 days" in rule for rule in said)
    assert any("the newest backup of nightly was never read to its end" in rule for rule in said)

    done = desk.ask("backups", "verify", "--newest", "1")
    assert (set(rows(done)), done["left"]) == ({"one.pgp"}, 1)
    one = done["backups"][0]
    digest = hashlib.sha256((folder / "one.pgp").read_bytes()).hexdigest()
    assert (one["sha256"], one["origin"], one["history"]) == (digest, "unproven", "new")
    assert set(rows(desk.ask("backups", "verify", "--unread-for", "30"))) == {"two.asc"}
    assert desk.ask("backups", "verify", "--unread-for", "30")["backups"] == []
    assert desk.ask("status")["gate"]["ok"]
    signed = encrypt(server, archive(50_000), "--local-user", desk.fingerprint, "--sign")
    (folder / "three.pgp").write_bytes(signed)
    assert rows(desk.ask("backups", "verify"))["three.pgp"]["origin"] == f"signed by {desk.fingerprint}"
    report = desk.folder / "report.csv"
    desk.run("report", "--out", str(report), "--format", "csv", expect=None)
    assert report.read_text().count("read to its end 20") == 3

    # Other bytes under a verified name: the claim goes at once, and what is there now is not trusted.
    (folder / "one.pgp").write_bytes(encrypt(server, archive(41_000)))
    report.unlink()
    desk.run("report", "--out", str(report), "--format", "csv", expect=None)
    assert report.read_text().count("read to its end 20") == 2
    for _ in range(2):
        found = rows(desk.ask("backups", "verify", expect=40))["one.pgp"]
        assert (found["ok"], found["history"]) == (True, "replaced")
    assert "REPLACED" in desk.run("backups", "verify", expect=40).out
    (broken,) = desk.ask("status", expect=40)["gate"]["broken"]
    assert "one.pgp is replaced" in broken
    pages = [desk.folder / f"report.{form}" for form in ("html", "json")]
    for page in pages:
        desk.run("report", "--out", str(page), "--format", page.suffix[1:], expect=None)
        assert "other bytes lie under this name" in page.read_text()
    desk.edit("[policy]\n", f'[policy]\nknown_backups = ["{found["sha256"]}"]\n')
    assert desk.ask("status")["gate"]["ok"]
    assert rows(desk.ask("backups", "verify"))["one.pgp"]["history"] == "same"

    (folder / "one.pgp").write_bytes((folder / "one.pgp").read_bytes()[:-40])
    os.utime(folder / "one.pgp", (then, then))
    assert desk.ask("backups", "verify", expect=23)["exit_code"] == 23
    assert any("one.pgp failed when it was read" in rule for rule in _broken(desk))


def _broken(desk: Desk) -> list[str]:
    rules: list[str] = desk.ask("status", expect=None)["gate"]["broken"]
    return rules


def test_parts_and_dates_choose_and_several_are_read_at_once(desk: Desk, server: Path, folder: Path) -> None:
    for number in range(6):
        (folder / f"{number}.pgp").write_bytes(encrypt(server, archive(40_000 + number)))
    parts = [set(rows(desk.ask("backups", "verify", "--part", "next/3", "--jobs", "2"))) for _ in range(3)]
    everything = {path.name for path in folder.rglob("*.[pa]*") if not path.name.startswith(".")}
    assert sorted(name for part in parts for name in part) == sorted(everything)
    again = [set(rows(desk.ask("backups", "verify", "--part", f"{at}/3"))) for at in (1, 2, 3)]
    assert again == parts
    for path in folder.rglob("*.[pa]*"):
        os.utime(path, (10**9, 10**9))
    assert desk.ask("backups", "verify", "--since", "2020-01-01")["left"] == 8
    for words in (
        ("--part", "4/3"), ("--newest", "0"), ("--jobs", "-1"),
        ("--since", "tomorrow"), ("--since", "2999-01-01"),
    ):  # fmt: skip
        assert desk.run("backups", "verify", *words, expect=2).error


def test_an_expected_entry_that_is_missing_is_said(desk: Desk, server: Path, folder: Path) -> None:
    desk.edit('ignore = ["*.log"]', 'ignore = ["*.log", "*.asc"]\nexpect = ["users.db", "*.ldif"]')
    found = desk.ask("backups", "verify", expect=24)["backups"][0]
    assert (found["ok"], "*.ldif" in found["problem"]) == (False, True)
    assert "INCOMPLETE" in desk.run("backups", "verify", expect=24).out
    desk.edit(', "*.ldif"', "")
    assert desk.ask("backups", "verify")["backups"][0]["ok"]
    desk.edit('expect = ["users.db"]', f'signers = ["{desk.folder}/nobody.asc"]')
    assert "public key of a signer" in desk.run("backups", "verify", expect=3).error[0]
