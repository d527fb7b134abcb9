"""A workplace whose every secret is known, and the search for them in all that its commands leave behind."""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.secret import Secret
from tests.e2e.leaks import Leak, Sampler, Searcher
from tests.support import authority as authorities
from tests.support import openpgp_writer as writer
from tests.support.commandline import Desk, Run, environment
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
