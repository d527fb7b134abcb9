"""Known secrets go through escrow, drill and restore, and then are searched for everywhere."""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import sys
import unicodedata
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from pipeline.core.secret import Secret
from tests.e2e.leaks import Leak, Sampler, Searcher
from tests.support import authority as authorities
from tests.support import openpgp_writer as writer
from tests.support.commandline import Desk, Run, environment
from tests.support.listener import listening
from tests.support.reporter import Lines
from tools import make_keys

if TYPE_CHECKING:
    from pipeline.record.verify import Record
    from tests.conftest import Place

LOUD = "-vvv"
MIRRORED = '[ledger]\nmirrors = ["s3", "disk"]\nheads = ["vault"]\n'


class Watched:
    """A workplace whose every secret is known, and everything that its commands leave behind.

    Args:
        place: Where records go.
        folder: Its directory.
    """

    def __init__(self, place: Place, folder: Path) -> None:
        mark = uuid.uuid4().hex
        # Precomposed letters, so that normal forms and Latin-1 differ.
        self.export_passphrase = f"Schl\u00fcssel-{mark[:12]}-\u00e9t\u00e9".encode()
        self.new_passphrase = f"neu-{mark[12:24]}-gew\u00e4hlt".encode()
        self.wrong_passphrase = f"wrong-{mark[24:]}-passphrase".encode()
        self.given = folder / "given"
        self.given.mkdir()
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        (folder / "desk").mkdir()
        # A key of its own: other tests may have the committed ones lying about in the clear.
        self.packets = new_key(f"Canary {mark}")
        # An authority gets requests and gives stamps, whose files are searched with the rest.
        self.authority = authorities.make(folder / "tsa")
        self.desk = Desk(
            place, folder / "desk", key="canary", packets=self.packets, disk=True,
            more=MIRRORED + "\n[certificate]\ntimestamp = \"http://127.0.0.1:9/tsr\"\n"
            f"timestamp_ca_file = {json.dumps(str(self.authority.ca))}\n",
        )  # fmt: skip
        self.desk.export.write_text(writer.two_block(self.packets, self.export_passphrase))
        for file in (self.desk.passphrase_file, self.desk.new_passphrase_file):
            file.unlink()
        self.desk.passphrase_file = self._give("export", self.export_passphrase)
        self.desk.new_passphrase_file = self._give("new", self.new_passphrase)
        self.wrong_file = self._give("wrong", self.wrong_passphrase)
        self.calls = folder / "calls"
        self.calls.mkdir()
        self.env = environment(folder / "home") | {
            "TMPDIR": str(self.temporary),
            "PATH": f"{self._wrapped_gpg(folder)}{os.pathsep}{os.environ['PATH']}",
        }
        (folder / "home").mkdir()
        self.folder = folder
        self.runs: list[Run] = []
        self.sampler = Sampler((self.temporary,))

    def _give(self, name: str, secret: bytes) -> Path:
        path = self.given / name
        path.write_bytes(secret + b"\n")
        path.chmod(0o600)
        return path

    def _wrapped_gpg(self, folder: Path) -> Path:
        """Every call of gpg leaves its arguments and environment, however short it lives."""
        real, wrappers = shutil.which("gpg"), folder / "bin"
        assert real
        wrappers.mkdir()
        script = wrappers / "gpg"
        script.write_text(
            f"#!/bin/sh\n{{ printf '%s\\n' \"$@\"; env; }} > {shlex.quote(str(self.calls))}/$$\n"
            f'exec {shlex.quote(real)} "$@"\n'
        )
        script.chmod(0o700)
        return wrappers

    def run(self, command: str, *words: str, expect: int = 0) -> Run:
        # Executed: what the sampler reads of a process is then its own, from the start.
        run = self.desk.run(command, *words, LOUD, env=self.env, expect=expect, executed=True)
        self.runs.append(run)
        return run

    def record(self) -> Record:
        """The record as the driller reads it."""
        from pipeline import config
        from pipeline.wiring import factory as wiring

        context = wiring.context(
            config.load(self.desk.config),
            fingerprint=None,
            state_dir=self.folder / "none",
            reporter=Lines(),
        )
        (found,) = context.catalogs()
        latest = found.latest()
        assert latest is not None
        assert latest.record is not None
        self.openers = context.backends("driller").openers(latest.record.manifest.custody)
        return latest.record

    def secrets(self) -> dict[str, bytes]:
        """All secrets by name; those that the escrow made are recovered from the record."""
        from pipeline.custody.holders.interface import Binding
        from pipeline.custody.shares import passphrase, recover
        from pipeline.unseal.unseal import recover_passphrase

        record = self.record()
        custody = record.manifest.custody
        binding = Binding(record.fingerprint, record.manifest.record_id)
        raw: Secret = recover_passphrase(record, "unattended", self.openers)
        layout = self.desk.stack.layout
        known = {
            "export passphrase": self.export_passphrase,
            "new passphrase": self.new_passphrase,
            "wrong passphrase": self.wrong_passphrase,
            "escrow passphrase": raw.reveal(),
            "escrow passphrase, written": passphrase.written(raw).reveal(),
        }
        for entry in custody.paths:
            for share in entry.shares:
                words = recover.open_share(
                    entry, share, record.members, self.openers[share.holder], binding
                ).reveal()
                known[f"share of {share.holder}"] = words
                known[f"some words of the share of {share.holder}"] = b" ".join(words.split()[4:9])
        known |= secret_numbers(self.packets)
        for role in ("writer", "driller"):
            known[f"secret id of the {role}"] = layout.secret_id(role).read_bytes().strip()
            _, _, key = layout.aws_credentials(role).read_text().partition("aws_secret_access_key")
            known[f"AWS secret of the {role}"] = key.strip(" =\n").split()[0].encode()
        assert all(len(secret) >= 16 for secret in known.values()), sorted(known)
        return known

    def hunt(self, searcher: Searcher) -> set[Leak]:
        """Search everything that may have taken a secret down."""
        stack, desk = self.desk.stack, self.desk
        leaks = self.sampler.leaks(searcher)
        for run in self.runs:
            for stream, text in (("stdout", run.out), ("stderr", run.err)):
                leaks |= searcher.search(text.encode(), f"{stream} of {run.words[0]}")
        leaks |= searcher.search_files(
            [desk.folder, self.temporary, self.folder / "home", self.calls, Path("/dev/shm")]
        )
        leaks |= searcher.search_files([stack.layout.audit, *map(stack.layout.log, ("vault", "s3", "kms"))])
        for where, data in self.stored().items():
            leaks |= searcher.search(data, where)
        return leaks

    def stored(self) -> dict[str, bytes]:
        """Every stored object of this place, and what it is made of."""
        from pipeline.record import tar

        kv, s3, found = self.desk.at_vault.kv, self.desk.at_s3, {}
        for name in self.desk.stored_in_vault():
            path = f"{self.desk.place.kv_prefix}/{self.desk.fingerprint}/{name}"
            if name == "ledger/":
                for host in kv.list_secrets(path, mount_point="orgkey")["data"]["keys"]:
                    for head in kv.list_secrets(path + host, mount_point="orgkey")["data"]["keys"]:
                        entry = kv.read_secret_version(
                            path + host + head, mount_point="orgkey", raise_on_deleted_version=True
                        )
                        found[f"vault {name}{host}{head}"] = json.dumps(entry).encode()
                continue
            entry = kv.read_secret_version(path, mount_point="orgkey", raise_on_deleted_version=True)
            found[f"vault {name}"] = json.dumps(entry).encode()
            found[f"vault {name}, record"] = base64.b64decode(entry["data"]["data"]["record"])
        for key in self.desk.stored_in_s3():
            found[f"s3 {key}"] = s3.client.get_object(Bucket=s3.bucket, Key=key)["Body"].read()
        for where, data in list(found.items()):
            if where.endswith("record"):
                for name, content in tar.unpack(data).items():
                    found[f"{where}, {name}"] = content
                    if content.startswith(b"-----BEGIN"):
                        found[f"{where}, {name}, without armor"] = writer.dearmor(content.decode())
        return found


def new_key(user_id: str) -> list[writer.Packet]:
    """An RSA key with a subkey, with its secret parts in the clear."""
    home = make_keys.Home()
    try:
        home.make(user_id, "rsa2048", "rsa2048")
        return home.secret()
    finally:
        home.close()


def secret_numbers(packets: list[writer.Packet]) -> dict[str, bytes]:
    """d, p, q and u of both RSA keys, from the unprotected key (RFC 4880 section 5.5.3)."""
    found = {}
    for part, (tag, body) in zip(
        ("primary", "subkey"),
        [item for item in packets if item[0] in (5, 7)],
        strict=True,
    ):
        assert tag in (5, 7)
        at = writer.public_size(body) + 1
        for name in "dpqu":
            size = (int.from_bytes(body[at : at + 2], "big") + 7) // 8
            found[f"{name} of the {part}"] = body[at + 2 : at + 2 + size]
            at += 2 + size
        assert at == len(body) - 2
    return found


@pytest.fixture
def watched(place: Place, tmp_path: Path) -> Watched:
    return Watched(place, tmp_path)


def test_no_secret_is_left_anywhere(watched: Watched) -> None:
    desk = watched.desk
    export = (str(desk.export), "--export-passphrase-file")
    printed = shlex.join(["cat", str(desk.passphrase_file)])
    with watched.sampler:
        watched.run("escrow", *export, str(watched.wrong_file), expect=12)
        watched.run("escrow", *export, str(desk.passphrase_file), "--json")
        with authorities.serve(watched.authority) as serving:
            desk.edit("http://127.0.0.1:9/tsr", serving.url)
            watched.run("drill")
        new = ("--new-passphrase-file", str(desk.new_passphrase_file))
        watched.run("restore", *new, "--out", str(desk.folder / "restored.asc"))
        watched.run("escrow", str(desk.export), "--export-passphrase-command", printed)
        watched.run("report", "--bundle", str(desk.folder / "bundle"))
    assert {"report.html", "ledger", "certificates"} <= {
        path.name for path in (desk.folder / "bundle").iterdir()
    }
    # What was looked at is not empty: the search below would find nothing in nothing.
    assert watched.sampler.rounds > 20
    places = {where for where, _ in watched.sampler.seen}
    assert any(where.startswith("cmdline") for where in places)
    assert any("orgkey-gpg-" in where for where in places)
    assert len(list(watched.calls.iterdir())) >= 3
    assert "urllib3" in "".join(run.err for run in watched.runs)
    assert "botocore" in "".join(run.err for run in watched.runs)
    certificates = desk.state / desk.fingerprint / "certificates"
    assert list(certificates.glob("*.tsq"))
    assert list(certificates.glob("*.tsr"))
    secrets = watched.secrets()
    assert len(secrets) >= 20
    assert len(watched.stored()) >= 10
    assert any("/ledger/" in name and name.endswith("/000000001.json") for name in watched.stored())

    assert watched.hunt(Searcher(secrets)) == set()
    # No agent, no home, no temporary file is left.
    assert [path for path in watched.temporary.rglob("*") if path.is_file()] == []


def test_json_logs_metrics_pings_and_notifications_have_no_secret(watched: Watched) -> None:
    """What goes to others and to collectors; the addresses that it goes to are secrets, too."""
    desk, kept = watched.desk, watched.desk.folder / "notifications"
    token, service = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "Xk93mQz7Pw2LaB81"
    watched.env["ORGKEY_LOG_FORMAT"] = "json"
    export = (str(desk.export), "--export-passphrase-file")
    with listening() as listener, watched.sampler:
        ping = watched._give("ping", f"{listener.address}/{token}".encode())
        urls = watched._give("urls", f"json://{listener.address[7:]}/{service}".encode())
        keep = f"import sys; open({str(kept)!r}, 'a').write(sys.stdin.read())"
        command = json.dumps([sys.executable, "-c", keep])
        text = f"[notify]\nurls_file = {json.dumps(str(urls))}\ncommand = {command}\n"
        text += "".join(f"[ping.{job}]\nurl_file = {json.dumps(str(ping))}\n" for job in ("escrow", "status"))
        desk.config.write_text(f"{desk.config.read_text()}\n{text}")
        watched.run("escrow", *export, str(watched.wrong_file), expect=12)
        watched.run("escrow", *export, str(desk.passphrase_file))
        watched.run("status", "--metrics", str(desk.folder / "orgkey.prom"))
        watched.run("notify", "test")
    told = [json.loads(line)["event"] for line in kept.read_text().splitlines()]
    assert told == ["failure", "recovery", "test"]
    assert len(listener.heard) == 6 + 3 + 2
    assert "orgkey_gate_ok" in (desk.folder / "orgkey.prom").read_text()
    lines = [json.loads(line) for run in watched.runs for line in run.err.splitlines()]
    assert {"urllib3.connectionpool", "botocore.retryhandler"} & {line.get("logger") for line in lines}
    assert any("rid=" in line["message"] for line in lines), "pings are in the log, without their token"
    searcher = Searcher(watched.secrets() | {"ping": token.encode(), "service": service.encode()})
    leaks = watched.hunt(searcher)
    for heard in listener.heard:
        leaks |= searcher.search(heard.body.encode(), "what others were told")
    assert leaks == set()


def test_a_planted_leak_is_found(watched: Watched) -> None:
    """The same search, with an operator's hook that lets secrets out in every way that it can."""
    desk = watched.desk
    hook = watched.given / "leaky.py"
    hook.write_text(
        "import base64, os, pathlib, subprocess, sys\n"
        f"secret = {watched.export_passphrase.decode()!r}\n"
        "state, temporary = sys.argv[1:]\n"
        "pathlib.Path(state).mkdir(exist_ok=True)\n"
        "pathlib.Path(state, 'note').write_bytes(b'..' + base64.b64encode(b'x' + secret.encode()))\n"
        "passing = pathlib.Path(temporary, 'passing')\n"
        "passing.write_text(secret.encode().hex())\n"
        "subprocess.run(['sleep', '3'], env={'LEAK': secret})\n"
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(3)', secret])\n"
        "passing.unlink()\n"
        "print(secret)\n"
    )
    command = shlex.join([sys.executable, str(hook), str(desk.state), str(watched.temporary)])
    with watched.sampler:
        watched.run("escrow", str(desk.export), "--no-drill", "--export-passphrase-command", command)
    secrets = watched.secrets()
    words = next(secret for name, secret in secrets.items() if name.startswith("share of"))
    notes = {"Bucket": desk.at_s3.bucket, "Key": f"{desk.place.s3_prefix}/notes"}
    desk.at_s3.client.put_object(**notes, Body=b"shares: " + words)
    watched.runs.append(Run(("log",), 0, "", f"debug: {secrets['escrow passphrase'].hex()}"))

    found = {(leak.secret, leak.where) for leak in watched.hunt(Searcher(secrets))}
    assert ("export passphrase", "environ of process") in found
    assert ("export passphrase", "cmdline of process") in found
    assert ("export passphrase", str(desk.state / "note")) in found
    assert ("export passphrase", str(watched.temporary / "passing")) in found
    assert any(secret.startswith("share of") and where.startswith("s3 ") for secret, where in found)
    assert ("escrow passphrase", "stderr of log") in found


SECRET = 'Zo\u00eb\'s 32-byte secret: \u00e5\u00df "quoted"'.encode()


SPELLED = {
    "raw": SECRET,
    "hexadecimal": SECRET.hex().encode(),
    "upper case": SECRET.hex().upper().encode(),
    **{f"base64-{shift}": base64.b64encode(bytes(shift) + SECRET + b"more") for shift in range(4)},
    "base64url": base64.urlsafe_b64encode(b"\xff\xff" + SECRET),
    "decomposed": unicodedata.normalize("NFD", SECRET.decode()).encode(),
    "latin-1": SECRET.decode().encode("latin-1"),
    "utf-16": SECRET.decode().encode("utf-16-le"),
    "reversed": SECRET[::-1],
    "cut": SECRET[3:-3],
    "decimal": str(int.from_bytes(SECRET, "big")).encode(),
    "percent": quote(SECRET).encode(),
    "json": json.dumps(SECRET.decode())[1:-1].encode(),
    "repr": repr(SECRET)[2:-1].encode(),
}


@pytest.mark.parametrize("spelling", SPELLED)
def test_every_spelling_is_found(spelling: str) -> None:
    spelled = SPELLED[spelling]
    searcher = Searcher({"it": SECRET})
    assert searcher.search(b"before " + spelled + b" after", "here")
    assert not searcher.search(b"before " + spelled[: len(spelled) // 3] + b" after", "here")
