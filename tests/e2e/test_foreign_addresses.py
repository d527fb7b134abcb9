"""A server that only a record names gets no byte with a login in it, whatever is asked of the program."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Coordinates, Holder, SealedShare
from pipeline.custody.shares import paths
from pipeline.record import create
from tests.support import inmemory
from tests.support.commandline import NEW_PASSPHRASE, converse, environment, orgkey
from tests.support.inmemory import MemoryHolder, slot_of

TOKEN = "hvs.a-token-that-nobody-else-may-see"


class Stranger:
    """A listener on this host that keeps what it is sent, and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard: list[bytes] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.heard.append(connection.recv(65536))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Elsewhere(MemoryHolder):
    """A holder that the record says is at the stranger's."""

    def __init__(self, name: str, kind: str, coordinates: Coordinates) -> None:
        super().__init__(name)
        self.kind = kind
        self._coordinates = coordinates

    def describe(self) -> Coordinates:
        return self._coordinates

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        """In the form that the real one has, so that its opener gets as far as asking."""
        self._sealed = shares[0]
        return [SealedShare(1, "mem", b"vault:v1:AAAA\n", self.name)]

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        return self._sealed


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    made = Stranger()
    yield made
    made.close()


@pytest.fixture
def record(stranger: Stranger, tmp_path: Path) -> Path:
    """An authentic record on a disk, whose two machines are both at the stranger's."""
    arn = "arn:aws:kms:eu-west-1:111122223333:key/1"
    holders: dict[str, Holder] = {
        "one": Elsewhere(
            "one",
            "vault-transit",
            {
                "address": stranger.address,
                "namespace": None,
                "mount": "transit",
                "key": "k",
                "key_version": 1,
            },
        ),
        "two": Elsewhere(
            "two", "aws-kms", {"key_arn": arn, "region": "eu-west-1", "endpoint_url": stranger.address}
        ),
    }
    plan = create.CustodyPlan(
        (
            paths.Path("cloud", (paths.PathNeed("two", 1, 1),)),
            paths.Path("onsite", (paths.PathNeed("one", 1, 1),)),
        ),
        holders,
        holders,
        paths.describe(holders, holders),
    )
    made = create.create_record(inmemory.unlocked(), plan, now=datetime.now(UTC), deadline=Deadline(60))
    file = tmp_path / "disk" / made.fingerprint / f"{slot_of(made).epoch}.tar"
    file.parent.mkdir(parents=True)
    file.write_bytes(made.data)
    for name, data in {"token": TOKEN.encode(), "new": NEW_PASSPHRASE, "backup.pgp": b"\xc1"}.items():
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "orgkey.toml").write_text(f"""
[key]
fingerprint = "{made.fingerprint}"
[target.disk]
kind = "directory"
path = "{tmp_path / "disk"}"
controlled_by = ["ops"]
[holder.ours]
kind = "vault-transit"
address = "http://127.0.0.1:1"
controlled_by = ["vault-admins"]
[holder.cloud]
kind = "aws-kms"
key_id = "{arn}"
region = "eu-west-1"
endpoint_url = "http://127.0.0.1:1"
controlled_by = ["aws-admins"]
[path.ours]
needs = ["ours", "cloud"]
[identity.driller.vault]
token_file = "{tmp_path / "token"}"
[policy]
copies = 1
call_seconds = 2
""")
    (tmp_path / "orgkey.toml").chmod(0o600)
    return file


LOGINS = {
    "VAULT_TOKEN": TOKEN,
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret-example",
    "AWS_SESSION_TOKEN": "session-example",
}
NEW = ("--new-passphrase-file", "new")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("drill",), 31),
        (("restore", "--out", "key.asc", *NEW), 31),
        (("restore", "--out", "key.asc", *NEW, "--via", "onsite"), 31),
        (("refresh", "--public", "key.asc"), None),
        (("custody", "rotate", "--accept-custody-change"), None),
        (("backups", "verify", "backup.pgp"), None),
        (("status",), None),
        (("report", "--out", "report.html"), None),
        (("custody", "posture"), None),
        (("doctor",), None),
    ],
    ids=lambda value: "-".join(word.strip("-") for word in value[:2]) if isinstance(value, tuple) else "",
)
def test_with_a_configuration(
    command: tuple[str, ...], code: int | None, record: Path, stranger: Stranger, tmp_path: Path
) -> None:
    run = orgkey(tmp_path, *command, "--state-dir", "state", env=environment(tmp_path, **LOGINS))
    assert stranger.heard == []
    assert run.code != 1, run
    if code is not None:
        assert run.code == code, run
        assert "holder one" in run.out + run.err
        assert not (tmp_path / "key.asc").exists()


def bare_host(record: Path, tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """A folder with a new passphrase and nothing else, and the words that restore the record there."""
    away = tmp_path / "away"
    away.mkdir()
    (away / "new").write_bytes(NEW_PASSPHRASE)
    known = ("--record", str(record), "--fingerprint", record.parent.name)
    return away, ("restore", *known, "--out", "key.asc", *NEW)


def test_without_a_configuration(record: Path, stranger: Stranger, tmp_path: Path) -> None:
    away, words = bare_host(record, tmp_path)
    run = orgkey(away, *words, env=environment(away, **LOGINS), expect=31)
    assert stranger.heard == []
    assert f"--allow-address {stranger.address}" in run.error[1]

    run = orgkey(away, *words, env=environment(away, **LOGINS, VAULT_ADDR="http://127.0.0.1:1"), expect=31)
    assert stranger.heard == []

    # Named by the operator, it is asked, and by that one alone.
    run = orgkey(
        away, *words, "--via", "onsite", "--allow-address", stranger.address, env=environment(away, **LOGINS)
    )
    assert run.code in (20, 25), run
    assert any(TOKEN.encode() in data for data in stranger.heard)


@pytest.mark.parametrize("answer", [b"n", b"y"])
def test_at_a_terminal_a_person_is_shown_the_address(
    answer: bytes, record: Path, stranger: Stranger, tmp_path: Path
) -> None:
    away, words = bare_host(record, tmp_path)
    code, shown = converse(
        away,
        (*words, "--via", "onsite"),
        [(b"Send your login there? [y/N]", answer)],
        env=environment(away, **LOGINS),
    )
    assert f"Holder one of the record is at {stranger.address}" in shown
    assert bool(stranger.heard) == (answer == b"y")
    assert code == 31 if answer == b"n" else code in (20, 25), shown
