"""A card reader with two slots, and software cards to put into it.

The reader is Debian's pcscd with the driver of vsmartcard. It listens on a socket of its own, in namespaces
of its own: nothing else on the machine sees it, and it sees no real reader.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Self

from pipeline.core.files import private_directory
from pipeline.devstack.programs import cache_root

SOURCE: Final = Path(__file__).parent / "virtual_card"
DRIVER: Final = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
PORT: Final = 35963
"""Of the first slot; the second one's is the next. Both are in a network of their own."""
SECONDS: Final = 30.0
_NEEDED: Final = {
    "pcscd": "pcscd",
    "pinentry-curses": "pinentry-curses",
    "unshare": "util-linux",
    "ip": "iproute2",
    str(DRIVER): "vsmartcard-vpcd",
    "/usr/lib/gnupg/scdaemon": "scdaemon",
}
_INSIDE: Final = (
    "mount -t tmpfs none /run && mkdir /run/pcscd && ip link set lo up && "
    "LISTEN_FDS=1 LISTEN_PID=$$ exec pcscd --foreground --info --config {config}"
)
"""Its process id does not change, so it takes the socket over as from systemd."""
_INSERTED: Final = "Card ATR:"
_REMOVED: Final = "Card Removed From"


def require_programs() -> None:
    """End with one line that says what to install."""
    there = {name: bool(shutil.which(name)) or Path(name).exists() for name in _NEEDED}
    missing = [package for name, package in _NEEDED.items() if not there[name]]
    if missing:
        sys.exit(f"missing here; on Debian: apt install {' '.join(missing)}")
    if os.geteuid() != 0:
        sys.exit("a reader needs namespaces of its own: run this as root, for example in a container")


def build() -> Path:
    """Build the card's program once for each state of its source; a minute or two.

    Returns:
        The program.
    """
    files = [SOURCE / "Cargo.toml", SOURCE / "crates.lock", *sorted((SOURCE / "src").iterdir())]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    place = private_directory(cache_root()) / f"virtual-card-{digest}"
    if not (program := place / "virtual-card").exists():
        if not shutil.which("cargo"):
            sys.exit("missing here: cargo of Rust 1.82 or later, and on Debian: apt install gcc libclang-dev")
        print("building the software card; a minute or two, once", flush=True)
        work = place / "build"
        shutil.copytree(SOURCE, work, dirs_exist_ok=True)
        _write_lock(work)
        cargo = ["nice", "cargo", "build", "--quiet", "--release", "--locked", "-j", "2"]
        if subprocess.run(cargo, cwd=work, check=False).returncode:
            sys.exit("the software card does not build; on Debian it needs: apt install gcc libclang-dev")
        shutil.move(work / "target" / "release" / "virtual-card", program)
        shutil.rmtree(work)
    return program


def _write_lock(work: Path) -> None:
    """Write the pinned crates as cargo wants them, from the place that cargo takes crates from here."""
    subprocess.run(["cargo", "generate-lockfile", "--quiet"], cwd=work, check=True)
    lock = work / "Cargo.lock"
    (place, *_) = re.findall(r"^source = .*$", lock.read_text(), re.MULTILINE)
    pinned = (work / "crates.lock").read_text()
    lock.write_text(re.sub(r"^(?=checksum = )", f"{place}\n", pinned, flags=re.MULTILINE))


class Card:
    """One software card; its keys, PINs and tries are in a file, in the reader or not.

    Args:
        program: What :func:`build` returned.
        storage: That file; it is made by the first insertion.
        serial: The card's serial number.

    Attributes:
        number: What gpg calls it when it speaks to people.
    """

    def __init__(self, program: Path, storage: Path, serial: int) -> None:
        self._program = program
        self._storage = storage
        self._running: subprocess.Popen[bytes] | None = None
        self._reader: Reader | None = None
        self._serial = serial
        self.number = f"FFFE {serial:08X}"

    def insert(self, reader: Reader) -> None:
        """Put the card into the reader, and wait until that has noticed it."""
        assert self._running is None
        before = reader.log().count(_INSERTED)
        inside = ["nsenter", f"--net=/proc/{reader.pid}/ns/net", "--"]
        words = [str(self._program), str(self._storage), str(PORT), str(self._serial)]
        self._running = subprocess.Popen([*inside, *words], stdout=subprocess.PIPE)
        assert self._running.stdout
        assert self._running.stdout.readline() == b"in the reader\n"
        reader.until(_INSERTED, before)
        self._reader = reader

    def remove(self) -> None:
        """Take it out, whatever it is doing, and wait until the reader has noticed it."""
        assert self._running
        assert self._reader
        before = self._reader.log().count(_REMOVED)
        self.end()
        self._reader.until(_REMOVED, before)

    def end(self) -> None:
        """End the process, if there is one."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None


class Reader:
    """The reader; a context manager.

    Args:
        folder: Where its socket, its configuration and its log are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = folder / "pcscd.sock"

    def __enter__(self) -> Self:
        config = self._folder / "readers"
        config.mkdir()
        (config / "vpcd").write_text(
            f'FRIENDLYNAME "Virtual PCD"\nDEVICENAME /dev/null:{PORT:#x}\n'
            f"LIBPATH {DRIVER}\nCHANNELID {PORT:#x}\n"
        )
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.socket))
            listening.listen()
            kept = os.dup2(listening.fileno(), 3) if listening.fileno() != 3 else 3
            os.set_inheritable(kept, True)
            self._process = subprocess.Popen(
                ["unshare", "--net", "--mount", "sh", "-c", _INSIDE.format(config=config)],
                pass_fds=[3],
                stdout=(self._folder / "pcscd.log").open("wb"),
                stderr=subprocess.STDOUT,
            )
        self.until("daemon ready")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The process of pcscd."""
        assert self._process
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """What leads a program to this reader."""
        return {"PCSCLITE_CSOCK_NAME": str(self.socket)}

    def log(self) -> str:
        """What pcscd has said so far."""
        return (self._folder / "pcscd.log").read_text(errors="replace")

    def until(self, words: str, before: int = 0) -> None:
        """Wait until the log says something more often than before."""
        assert self._process
        ends = time.monotonic() + SECONDS
        while self.log().count(words) <= before:
            if self._process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"the reader does not say {words!r}:\n{self.log()}")
            time.sleep(0.05)
