"""A site to run the image on: real servers, and for a key what infra/schedule/README.md says to make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import tomlkit

from pipeline.devstack import configfile, wire
from pipeline.devstack.progress import reporter
from pipeline.devstack.stack import ACCESS_KEYS, Stack
from tools.schedule.jobs import JOBS

BACKUPS = "backups"
PASSPHRASE = "what the export is protected with"  # noqa: S105 - of keys that are made for one run
PINGED = tuple(dict.fromkeys(job.ping or job.name for job in JOBS))
LOGINS = ("writer", "driller", "auditor", "planner")


@dataclass(frozen=True, slots=True)
class Key:
    """The key of one stand-in server.

    Attributes:
        fingerprint: Its fingerprint.
        export: Its keypair export.
        config: The configuration of its escrow; credentials by ``$CREDENTIALS_DIRECTORY``.
    """

    fingerprint: str
    export: bytes
    config: str


class Site:
    """OpenBao, versitygw and a KMS on loopback, and stand-in servers with an Org Key each.

    Args:
        folder: All of its files.

    Attributes:
        heard: The paths of the pings that came.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = Stack(folder / "stack", report=reporter())
        self.heard: list[str] = []
        self._listener = _listener(self.heard)

    def up(self) -> None:
        """Start the servers, and make a bucket for backups."""
        self.stack.up()
        endpoint, root = self.stack.endpoint("s3"), self.stack.layout.aws_credentials("root")
        client = wire.boto3_client("s3", endpoint, root)
        client.create_bucket(Bucket=BACKUPS)
        reader = {"AWS": [ACCESS_KEYS["driller"]]}
        statements = [
            {
                "Effect": "Allow",
                "Principal": reader,
                "Action": action,
                "Resource": f"arn:aws:s3:::{BACKUPS}{part}",
            }
            for action, part in (("s3:ListBucket", ""), ("s3:GetObject", "/*"))
        ]
        client.put_bucket_policy(
            Bucket=BACKUPS, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements})
        )
        self._client = client

    def down(self) -> None:
        """Stop the servers, and remove their data."""
        self._listener.shutdown()
        self.stack.down(wipe=True)

    def hears(self, path: str, seconds: float = 30.0) -> bool:
        """Wait for a ping; whether it came."""
        ends = time.monotonic() + seconds
        while path not in self.heard and time.monotonic() < ends:
            time.sleep(0.05)
        return path in self.heard

    def key(self, name: str, example: Path) -> Key:
        """Set up a stand-in server with a backup, and a configuration for its key.

        Args:
            name: Its name.
            example: The configuration that is given these servers in place of its own.
        """
        folder = self.folder / name
        folder.mkdir()
        secret = folder / "passphrase"
        secret.write_text(PASSPHRASE)
        secret.chmod(0o600)
        server = ("--dir", str(folder / "server"))
        self._lab("setup", f"{name}.example", "--algorithm", "ed25519", *server)
        self._lab("backup", "--size", "100000", "--to", str(folder / "backups"), *server)
        self._lab("export", "keypair", "--out", str(folder), "--export-passphrase-file", str(secret), *server)
        (export,) = folder.glob("0x*.asc")
        for path in (folder / "backups").iterdir():
            self._client.put_object(Bucket=BACKUPS, Key=f"{name}/{path.name}", Body=path.read_bytes())
        told = self._orgkey("inspect", str(export), "--export-passphrase-file", str(secret), "--json")
        fingerprint = json.loads(told)["fingerprint"]
        return Key(fingerprint, export.read_bytes(), self._config(example, fingerprint, name))

    def _config(self, example: Path, fingerprint: str, name: str) -> str:
        document: dict[str, Any] = tomllib.loads(example.read_text())
        servers = tomllib.loads(configfile.render(self.stack, fingerprint=fingerprint))
        document |= {part: servers[part] for part in ("key", "target", "holder", "path")}
        document["policy"]["accept_single_loss"] = True  # one path, as the example says
        document["backups"] = {
            "nightly": {
                "location": f"s3://{BACKUPS}/{name}",
                "region": wire.REGION,
                "endpoint_url": self.stack.endpoint("s3"),
                "path_style": True,
            }
        }
        return tomlkit.dumps(document)

    def credentials(self, logins: Iterable[str] = (*LOGINS, "export", "alarms")) -> dict[str, bytes]:
        """Credentials by the names that jobs read them under.

        Args:
            logins: Whose.
        """
        layout, found = self.stack.layout, {}
        for login in logins:
            if login == "export":
                found["export_passphrase"] = PASSPHRASE.encode()
                continue
            if login == "alarms":
                port = self._listener.server_port
                found |= {f"alarms_ping-{job}": f"http://127.0.0.1:{port}/{job}".encode() for job in PINGED}
                continue
            found[f"{login}_vault-role-id"] = layout.role_id(login).read_bytes()
            found[f"{login}_vault-secret-id"] = layout.secret_id(login).read_bytes()
            if login != "planner":
                found[f"{login}_aws"] = layout.aws_credentials(login).read_bytes()
        return found

    def _lab(self, *words: str) -> None:
        self._orgkey("lab", *words)

    def _orgkey(self, *words: str) -> str:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ORGKEY_", "AWS_", "VAULT_"))
        }
        argv = [str(Path(sys.executable).with_name("orgkey")), *words]
        done = subprocess.run(argv, env=kept, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"orgkey {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout


def _listener(heard: list[str]) -> ThreadingHTTPServer:
    """What the dead man's pings go to."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path.partition("?")[0])
            self.send_response(200)
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
