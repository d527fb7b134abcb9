"""Listing works and reading does not, at one target or at all: tried again, named, and nobody is accused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.faults.relayed import Play, Player, Relayed, Request, relayed, told

if TYPE_CHECKING:
    import socket

    from tests.support.local_stack import Stack


def cut(asked: Request, connection: socket.socket, _: threading.Event) -> None:
    """Half of the answer, which says that it is whole."""
    status, headers, body = asked.real()
    head = [f"HTTP/1.1 {status} OK", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in headers if name.lower() in ("content-type", "etag")]
    connection.sendall("\r\n".join([*head, "", ""]).encode() + body[: len(body) // 2])


def stalls(asked: Request, connection: socket.socket, over: threading.Event) -> None:
    """The same, and then nothing, for as long as somebody waits."""
    cut(asked, connection, over)
    over.wait(30)


def reset(_: Request, connection: socket.socket, over: threading.Event) -> None:
    """No answer."""


def xml_or_json(status: int) -> Play:
    def play(asked: Request, connection: socket.socket, over: threading.Event) -> None:
        in_vault = asked.path.startswith("/v1/")
        body = json.dumps({"errors": ["no"]}) if in_vault else "<Error><Code>Odd</Code></Error>"
        told(status, body.encode(), "application/json" if in_vault else "application/xml")(
            asked, connection, over
        )

    return play


BAD: dict[str, tuple[Play, int]] = {
    "403": (xml_or_json(403), 21),
    "503": (xml_or_json(503), 20),
    "reset": (reset, 20),
    "cut": (cut, 20),
}
COMMANDS = ("restore", "drill", "verify", "status", "escrow", "escrow elsewhere", "repair", "list")


def reading(play: Play) -> Player:
    """At reading one record, and whatever belongs to that."""

    def player(asked: Request) -> Play | None:
        return play if asked.reads_record else None

    return player


@pytest.fixture(scope="module")
def house(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    with relayed(stack, tmp_path_factory.mktemp("reading"), deadline=30) as house:
        assert house.run(*house.escrow).code == 0
        yield house


def records(house: Relayed) -> list[str]:
    names = [*house.desk.stored_in_vault(), *house.desk.stored_in_s3()]
    return [name for name in names if "ledger" not in name]


def check(house: Relayed, command: str, bad: Play, *members: str, hurry: bool = False) -> tuple[int, str]:
    """Run it while these targets list, and do not let read; nothing is stored by it, and nobody accused.

    Returns:
        Its code, and what it says.
    """
    words = {"restore": house.restore, "escrow": house.escrow, "escrow elsewhere": house.escrow}
    state = house.desk.folder / "another-host"
    options = ["--state-dir", str(state)] if command == "escrow elsewhere" else []
    options += ["--config", str(house.hurried())] if hurry else []
    before = records(house)
    run = house.run(*words.get(command, (command,)), *options, play=dict.fromkeys(members, reading(bad)))
    assert records(house) == before
    assert house.asked
    said = " ".join(f"{run.out} {run.err}".split())
    assert "not authentic" not in said
    assert "BAD" not in said
    assert "no target has" not in said
    return run.code, said


ALL = [
    (name, command) for i, name in enumerate(BAD) for j, command in enumerate(COMMANDS) if (i + j) % 2 == 0
]
ONE = [
    (name, command, member)
    for i, name in enumerate(BAD)
    for j, command in enumerate(COMMANDS)
    for k, member in enumerate(("vault", "s3"))
    if (i + j + 4 * k) % 8 == 0
]
"""Each command with a few answers, each answer with a few commands."""


@pytest.mark.parametrize(("name", "command"), ALL)
def test_at_all_targets(name: str, command: str, house: Relayed) -> None:
    bad, code = BAD[name]
    met, said = check(house, command, bad, "vault", "s3")
    assert met == code, said
    assert records(house)[0] in said
    assert house.most() == (1 if code == 21 else 5)


@pytest.mark.parametrize(("name", "command", "member"), ONE)
def test_at_one_target(name: str, command: str, member: str, house: Relayed) -> None:
    bad, code = BAD[name]
    met, said = check(house, command, bad, member)
    assert met == (0 if command == "restore" else code), said
    assert house.most() == 5 if code == 20 else house.most() < 5


@pytest.mark.parametrize(("members", "code"), [(("s3",), 0), (("vault", "s3"), 20)])
def test_a_body_that_stalls(members: tuple[str, ...], code: int, house: Relayed) -> None:
    met, said = check(house, "restore", stalls, *members, hurry=True)
    assert met == code, said
    assert house.most() == 5


@pytest.mark.parametrize("command", ["backups verify", "drill --backup nightly"])
def test_a_backup_that_is_cut_is_no_verdict_on_it_or_on_the_key(command: str, house: Relayed) -> None:
    house.store_backup()
    run = house.run(*command.split(), play={"s3": lambda asked: cut if ".pgp" in asked.path else None})
    assert run.code == 20, run
    assert "the answer ended before it was whole" in " ".join(run.out.split())
    assert house.most() == 5
