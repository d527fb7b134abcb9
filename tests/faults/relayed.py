"""A desk whose servers stand behind relays, at which bad answers are played in place of theirs."""

from __future__ import annotations

import re
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from pipeline.core.clock import SystemClock
from pipeline.openpgp.format import protection
from tests.conftest import Place
from tests.support import forked
from tests.support.balancer import Balancer
from tests.support.commandline import KEYS, Desk, Run, end_gpg, gpg
from tests.support.provers import use_quick
from tests.support.started import Started

if TYPE_CHECKING:
    import socket

    from tests.support.local_stack import Stack

MEMBERS = ("vault", "s3", "kms")
Real = tuple[int, list[tuple[str, str]], bytes]


@dataclass(frozen=True)
class Request:
    """What a relay was asked.

    Attributes:
        method: HTTP's word.
        path: Path and query, without escapes.
        body: What was sent along.
        real: Asks the server itself.
    """

    method: str
    path: str
    body: bytes
    real: Callable[[], Real]

    @property
    def login(self) -> bool:
        """Whether it is a login at Vault, or the renewal of one."""
        return "/auth/" in self.path

    @property
    def reads_record(self) -> bool:
        """Whether it reads one record's bytes, as opposed to a listing."""
        in_vault = self.path.startswith("/v1/orgkey/data/records/")
        return self.method == "GET" and (in_vault or self.path.partition("?")[0].endswith(".tar"))


Play = Callable[[Request, "socket.socket", threading.Event], None]
Player = Callable[[Request], Play | None]


def nothing(_: Request) -> None:
    """Every answer is the server's."""


class Relay(Balancer):
    """Hands each request to one server, but for those that are answered by what is played.

    Attributes:
        player: Chooses what is played at a request; ``None`` for the server's own answer.
        played: The requests at which something was played.
    """

    def __init__(self, url: str) -> None:
        port = urlsplit(url).port
        super().__init__(lambda: port)
        self.player: Player = nothing
        self.played: list[Request] = []
        self._over = threading.Event()

    def end(self) -> None:
        """Let what is still played come to its end, and play no more."""
        self._over.set()
        self.player, self.played, self._over = nothing, [], threading.Event()

    def _handle(self, near: BaseHTTPRequestHandler) -> None:
        body, over = near.rfile.read(int(near.headers.get("Content-Length") or 0)), self._over
        asked = Request(near.command, unquote(near.path), body, lambda: self._forward(near, body))
        play = self.player(asked)
        if play is None:
            self._answer(near, asked.real())
            return
        self.played.append(asked)
        near.close_connection = True
        with suppress(OSError):
            play(asked, near.connection, over)


def told(status: int, body: bytes, kind: str, **headers: str) -> Play:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} Told", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "Connection: close", "", ""]).encode()

    def play(asked: Request, connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(head if asked.method == "HEAD" else head + body)

    return play


MORE = """
[ledger]
mirrors = ["s3"]
heads = ["vault"]
[backups.nightly]
location = "s3://{bucket}/{prefix}-backups/"
region = "us-east-1"
endpoint_url = "{s3}"
path_style = true
"""


@dataclass
class Relayed:
    """A desk, and the relays before its servers.

    Attributes:
        desk: The desk; its configuration names the relays.
        relays: By member of the stack.
        seconds: How long the last command took.
        asked: At how many requests something was played in the last command.
    """

    desk: Desk
    relays: Mapping[str, Relay]
    seconds: float = 0.0
    asked: list[Request] = field(default_factory=list)

    def run(self, *words: str, play: Mapping[str, Player] | None = None) -> Run:
        """Run a command in a fork of this process, while relays play.

        Args:
            words: The command; with ``--config`` where it is not the desk's.
            play: By member, what is played.
        """
        started = Started(self.desk.folder)
        for member, player in (play or {}).items():
            self.relays[member].player = player
        given = [*words, "--state-dir", str(self.desk.state)] if "--state-dir" not in words else [*words]
        given += ["--config", str(self.desk.config)] if "--config" not in words else []
        begun = time.monotonic()
        try:
            code = started.run(*given, before=lambda: None)  # a fork of this process, whose settings it has
        finally:
            self.seconds = time.monotonic() - begun
            self.asked = [asked for relay in self.relays.values() for asked in relay.played]
            self.end()
        run = Run(words, code, started.out.decode(), started.err.decode())
        assert "Traceback" not in run.err, run
        assert code != 1, run
        return run

    def end(self) -> None:
        """Play no more."""
        for relay in self.relays.values():
            relay.end()

    def most(self) -> int:
        """How often the request that was played to most often was made."""
        return max(Counter((asked.method, asked.path) for asked in self.asked).values(), default=0)

    @contextmanager
    def elsewhere(self) -> Iterator[tuple[str, ...]]:
        """The options for a place where nothing is stored, and a host that knows nothing."""
        name = uuid.uuid4().hex[:12]
        config, state = self.desk.folder / f"{name}.toml", self.desk.folder / name
        text = self.desk.config.read_text()
        for prefix in (self.desk.place.kv_prefix, self.desk.place.s3_prefix):
            text = text.replace(f'"{prefix}"', f'"{prefix.rpartition("/")[0]}/{name}"')
        config.write_text(text)
        config.chmod(0o600)
        try:
            yield "--config", str(config), "--state-dir", str(state)
        finally:
            config.unlink()
            shutil.rmtree(state, ignore_errors=True)

    def hurried(self, call: float = 0.7, deadline: float = 30) -> Path:
        """A configuration with less time."""
        path = self.desk.folder / "hurried.toml"
        limits = f"[policy]\ncall_seconds = {call}\ndeadline_seconds = {deadline}\n"
        limits += f"backup_seconds = {deadline}\n"
        path.write_text(re.sub(r"\[policy\]\n.*\n.*\n", limits, self.desk.config.read_text()))
        path.chmod(0o600)
        return path

    def store_backup(self) -> None:
        """Put a backup that the escrowed key opens into the bucket."""
        home = self.desk.folder / "server"
        try:
            gpg(home, "--import", str(KEYS / f"{self.desk.key}-unprotected.asc"))
            to = ("--trust-model", "always", "--recipient", self.desk.fingerprint)
            data = gpg(home, *to, "--encrypt", stdin=b"a backup" * 1000).stdout
        finally:
            end_gpg(home)
        where = {"Bucket": self.desk.at_s3.bucket, "Key": f"{self.desk.place.s3_prefix}-backups/a.pgp"}
        self.desk.at_s3.client.put_object(**where, Body=data)

    @property
    def escrow(self) -> tuple[str, ...]:
        """The command."""
        given = ("--export-passphrase-file", str(self.desk.passphrase_file))
        return "escrow", str(self.desk.export), *given

    @property
    def restore(self) -> tuple[str, ...]:
        """The command, into a file that is not there yet."""
        out = self.desk.folder / f"{uuid.uuid4().hex}.asc"
        return "restore", "--out", str(out), "--new-passphrase-file", str(self.desk.new_passphrase_file)


@contextmanager
def relayed(stack: Stack, folder: Path, *, call: float = 5, deadline: float = 60) -> Iterator[Relayed]:
    """A desk on a place of its own, with a mirrored ledger and backups in the bucket.

    Args:
        stack: Its servers.
        folder: A private directory.
        call: ``policy.call_seconds``.
        deadline: ``policy.deadline_seconds``.
    """
    name = uuid.uuid4().hex[:12]
    place = Place(stack, f"records/{name}", f"orgkey/{name}")
    with ExitStack() as started:
        relays = {member: Relay(stack.endpoint(member)) for member in MEMBERS}
        for relay in relays.values():
            started.enter_context(relay)
        more = MORE.format(bucket=stack.state.bucket, prefix=place.s3_prefix, s3=stack.endpoint("s3"))
        desk = Desk(place, folder, more=more)
        for member, relay in relays.items():
            desk.edit(stack.endpoint(member), relay.url)
        desk.edit("[policy]\n", f"[policy]\ncall_seconds = {call}\ndeadline_seconds = {deadline}\n")
        forked._import_everything()  # once here, and not in each fork of this process
        with pytest.MonkeyPatch.context() as patch:
            use_quick(patch)
            patch.setattr(protection, "MAX_COUNT_OCTET", protection.ESCROW_COUNT_OCTET)
            # How long is left between two attempts is seen in the retrier's own tests.
            patch.setattr(SystemClock, "sleep", lambda _clock, _seconds: None)
            yield Relayed(desk, relays)
