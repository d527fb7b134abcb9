"""A directory of keys (LDAP) that answers badly: a verdict about it alone, in time and in bounded memory."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Unreachable
from pipeline.openpgp.gnupg.keyserver import KeyServerAnswer, look_up

Reply = Callable[[socket.socket, int], None]
SEARCH, ENTRY, DONE = 0x63, 0x64, 0x65
SEQUENCE, SET, NUMBER, TEXT = 0x30, 0x31, 0x02, 0x04
BUSY = 51
EMPTY = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n"


def ber(tag: int, *parts: bytes) -> bytes:
    """One element of the Basic Encoding Rules."""
    body = b"".join(parts)
    return bytes([tag, 0x83]) + len(body).to_bytes(3, "big") + body


def message(number: int, tag: int, *parts: bytes) -> bytes:
    """One message of LDAP (RFC 4511)."""
    return ber(SEQUENCE, ber(NUMBER, bytes([number])), ber(tag, *parts))


def entry(number: int, **values: bytes) -> bytes:
    """An entry with attributes."""
    attributes = (
        ber(SEQUENCE, ber(TEXT, name.encode()), ber(SET, ber(TEXT, value))) for name, value in values.items()
    )
    return message(number, ENTRY, ber(TEXT, b"o=x"), ber(SEQUENCE, *attributes))


def done(number: int, code: int = 0) -> bytes:
    """The end of a search."""
    return message(number, DONE, ber(0x0A, bytes([code])), ber(TEXT), ber(TEXT))


def says(act: Callable[[int], bytes]) -> Reply:
    return lambda connection, number: connection.sendall(act(number))


def drips(connection: socket.socket, number: int) -> None:
    for octet in done(number) * 1000:
        connection.sendall(bytes([octet]))
        time.sleep(0.1)


def never_ends(connection: socket.socket, number: int) -> None:
    block = entry(number, pgpKey=EMPTY + b"A" * 200_000) * 20
    while True:
        connection.sendall(block)


SILENT = "did not answer within"
REPLIES: dict[str, tuple[Reply, str | None]] = {
    "no such key": (says(done), None),
    "empty armor": (says(lambda number: entry(number, pgpKey=EMPTY) + done(number)), None),
    "garbage for a key": (says(lambda number: entry(number, pgpKey=bytes(range(256))) + done(number)), None),
    "busy": (says(lambda number: done(number, BUSY)), "busy"),
    "garbage": (says(lambda _: bytes(range(256)) * 9), "gives no answer"),
    "a wrong length": (says(lambda _: b"\x30\x20\x02\x01\x03\x64\x7f" + bytes(40)), "no answer|not answer"),
    "closed": (lambda connection, _: connection.close(), "gives no answer"),
    "silent": (lambda *_: None, SILENT),
    "a length of 2 GiB": (says(lambda _: b"\x30\x84\x7f\xff\xff\xff\x02\x01\x03"), "no answer|not answer"),
    "dripping": (drips, SILENT),
    "endless": (never_ends, "no answer|not answer|without end|before its time"),
}


@pytest.fixture
def directory() -> Iterator[Callable[[Reply], str]]:
    """Serves one reply to whoever asks for a key; what is asked before that is answered well."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(reply: Reply) -> str:
            threading.Thread(target=accept, args=(reply,), daemon=True).start()
            return f"ldap://127.0.0.1:{listener.getsockname()[1]}"

        def accept(reply: Reply) -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=talk, args=(connection, reply), daemon=True).start()

        yield serve


def talk(connection: socket.socket, reply: Reply) -> None:
    """The base, then what the server says of itself, then the key."""
    with suppress(OSError), connection:
        while data := connection.recv(65536):
            start = 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)
            number, operation = data[start + 2], data[start + 3]
            if operation == SEARCH and number <= 2:
                facts = {"namingContexts": b"o=x", "pgpBaseKeySpaceDN": b"o=x", "pgpSoftware": b"GnuPG"}
                connection.sendall(entry(number, **facts) + done(number))
            elif operation == SEARCH:
                reply(connection, number)


@pytest.mark.parametrize("name", REPLIES)
def test_a_directory(name: str, directory: Callable[[Reply], str]) -> None:
    reply, told = REPLIES[name]
    begun = time.monotonic()

    def ask() -> KeyServerAnswer:
        seconds = 0.7 if told == SILENT else 9.0
        return look_up(directory(reply), "A" * 40, (), seconds=seconds, deadline=Deadline(30))

    if told is None:
        assert ask() == KeyServerAnswer(None)
    else:
        with pytest.raises(Unreachable, match=told):
            ask()
    assert time.monotonic() - begun < 20
