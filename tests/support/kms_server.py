"""The stack's KMS, forked from a process that has imported moto, which takes a third of a second each time.

The process that forks ends with the test's own; the servers outlive it, as those do that are executed.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from pipeline.devstack import processes
from pipeline.devstack.processes import Process

ROOT: Final = Path(__file__).parents[2]
_MODULE: Final = "pipeline.devstack.kms"
_spawn: Final = processes.spawn
_links: dict[int, socket.socket] = {}
"""The process that forks, by the number of the process that asks it."""


def use() -> None:
    """Have this process start the servers of its stacks so."""
    processes.spawn = spawn


def spawn(argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> Process:
    """Start a server; see :func:`pipeline.devstack.processes.spawn`."""
    if list(argv[1:3]) != ["-m", _MODULE]:
        return _spawn(argv, log=log, env=env)
    asked = json.dumps({"argv": list(argv[2:]), "env": dict(env)}).encode()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        link = _link()
        socket.send_fds(link, [asked], [output])
        return processes.identified(int(link.recv(64)))
    finally:
        os.close(output)


def _link() -> socket.socket:
    if os.getpid() not in _links:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = [sys.executable, "-m", __name__, str(theirs.fileno())]
            env = {"PATH": os.defpath, "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
            number = theirs.fileno()
            os.set_inheritable(number, True)
            os.posix_spawn(argv[0], argv, env, setsid=True)
        atexit.register(ours.close)
        _links[os.getpid()] = ours
    return _links[os.getpid()]


def _serve(link: socket.socket) -> None:
    """Fork a server for each request, until the process that asks is gone."""
    for name in ("moto.kms.models", "moto.moto_server.werkzeug_app", "werkzeug.serving"):
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        whole, outputs, _, _ = socket.recv_fds(link, 1 << 16, 1)
        if not whole:
            return
        pid = os.fork()
        if pid == 0:
            _be(json.loads(whole), outputs[0], link)
        os.close(outputs[0])
        link.send(str(pid).encode())


def _be(asked: Mapping[str, Any], output: int, link: socket.socket) -> NoReturn:
    """Become the server, as the module would that is executed."""
    from pipeline.devstack import kms

    code = 70
    try:
        link.close()
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with open(os.devnull) as nothing:  # noqa: PTH123 - a descriptor is wanted
            os.dup2(nothing.fileno(), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.argv = asked["argv"]
        kms.main(*sys.argv[1:])
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
