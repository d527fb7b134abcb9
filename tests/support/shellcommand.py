"""`orgkey` for shells that tests drive: a small program that has the fork server start what it is asked for.

A shell executes programs, and this one's interpreter would import for half a second each time. What is put
on its PATH instead hands its words, environment, umask and streams to a listener of the test's process, which
starts the command through :mod:`tests.support.forkserver`. At a terminal the installed program is executed:
only a process of the shell's own session can ask there.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.support import forkserver

_INSTALLED: Final = Path(sys.executable).with_name("orgkey")
_PROGRAM: Final = """\
#!{python} -IS
import json, os, signal, sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socket
if os.isatty(0):
    os.execv({installed!r}, [{installed!r}, *sys.argv[1:]])
os.umask(mask := os.umask(0))
asked = dict(words=sys.argv[1:], env=dict(os.environ), cwd=os.getcwd(), umask=mask)
link = socket(AF_UNIX, SOCK_SEQPACKET)
link.connect({place!r})
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
link.sendmsg([json.dumps(asked).encode()], [(SOL_SOCKET, SCM_RIGHTS, streams)])
pid = int(link.recv(64))
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: os.kill(pid, number))
code = int(link.recv(64))
sys.exit(code if code >= 0 else 128 - code)
"""


def put(folder: Path) -> None:
    """Put the program into a folder that stands at the beginning of a shell's PATH.

    It works as long as the test's process runs.
    """
    place = f"\0orgkey-{secrets.token_hex(8)}"  # a file's name here would be too long
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(place)
    listener.listen()
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    program = folder / "orgkey"
    program.write_text(_PROGRAM.format(python=sys.executable, installed=str(_INSTALLED), place=place))
    program.chmod(0o755)


def _serve(listener: socket.socket) -> None:
    while True:
        link, _ = listener.accept()
        threading.Thread(target=_start, args=(link,), daemon=True).start()


def _start(link: socket.socket) -> None:
    with link, suppress(OSError):  # the shell has ended
        whole, streams, _, _ = socket.recv_fds(link, 1 << 20, 3)
        asked: dict[str, Any] = json.loads(whole)
        try:
            process = forkserver.Popen(
                [str(_INSTALLED), *asked["words"]],
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                env=asked["env"],
                cwd=asked["cwd"],
                umask=asked["umask"],
            )
        finally:
            for stream in streams:
                os.close(stream)
        link.send(str(process.pid).encode())
        link.send(str(process.wait()).encode())
