"""What the fork server's own test has forked: it tells what it sees, and ends as it is told to."""

from __future__ import annotations

import atexit
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn


def main() -> None:
    """Do what the first argument says."""
    globals()[sys.argv[1]](*sys.argv[2:])


def tell() -> None:
    """Everything that a process has of its own."""
    status = Path("/proc/self/status").read_text()
    print(json.dumps({
        "argv": sys.argv,
        "cwd": str(Path.cwd()),
        "env": dict(os.environ),
        "fds": sorted(fd for fd in range(64) if _is_open(fd)),
        "pid": os.getpid(),
        "session": os.getsid(0),
        "group": os.getpgid(0),
        "umask": next(line.split()[1] for line in status.splitlines() if line.startswith("Umask:")),
        "signals": [line for line in status.splitlines() if line.startswith(("SigBlk", "SigIgn", "SigCgt"))],
        "files": resource.getrlimit(resource.RLIMIT_FSIZE),
        "encodings": [
            None if one is None else [one.encoding, one.errors, one.line_buffering, one.name]
            for one in (sys.stdin, sys.stdout, sys.stderr)
        ],
        "main_thread": threading.current_thread() is threading.main_thread(),
        "threads": threading.active_count(),
        "random": random.random(),  # noqa: S311 - whether two processes have the same
        "terminal": os.isatty(0) and os.ttyname(0),
    }))  # fmt: skip


def prove() -> None:
    """Ask PGPy's child for a signature, with a wrong passphrase."""
    import base64

    from pipeline.core.clock import Deadline, SystemClock
    from pipeline.openpgp.proofs import known_answer
    from pipeline.openpgp.proofs.pgpy_proof import Prestarted

    words = {"secret": known_answer.SECRET, "passphrase": b"another one", "nonce": b"data"}
    request = {name: base64.b64encode(data).decode() for name, data in words.items()}
    with Prestarted() as child:
        answer = child.ask({"op": "sign", "signing": "", **request}, Deadline(20, SystemClock()))
    print(json.dumps([child._child.__class__ is not subprocess.Popen, answer, child._child.returncode < 0]))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def echo(again: str) -> None:
    """Copy the standard input to both outputs."""
    text = sys.stdin.read()
    sys.stdout.write(text + again)
    sys.stderr.write(text.upper())


def leave(how: str) -> None:
    """End in one of the ways in which a program ends."""
    atexit.register(lambda: sys.stderr.write("at exit\n"))
    ways = {"text": "a reason", "none": None, "large": 256 + 7}
    sys.exit(ways[how] if how in ways else int(how))


def raises(name: str) -> None:
    """End by an error that nobody catches."""
    raise {"ValueError": ValueError, "KeyboardInterrupt": KeyboardInterrupt}[name]("as told")


def die(number: str) -> None:
    """End by a signal."""
    os.kill(os.getpid(), int(number))


def at_once(code: str) -> NoReturn:
    """End without any tidying, as ``orgkey`` does."""
    os._exit(int(code))


def late() -> None:
    """A thread is still at work when the function returns."""
    threading.Timer(0.05, lambda: print("done")).start()


def wait() -> None:
    """Wait for a signal, and say which."""
    signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(number))
    print("ready", flush=True)
    for _ in range(600):  # a signal that comes just before one sleep is heard after it
        time.sleep(0.1)


def inherited(number: str) -> None:
    """Read from a descriptor that was handed over."""
    print(os.read(int(number), 100).decode())
