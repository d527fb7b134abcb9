"""A machine with systemd as its first process, by systemd-nspawn; its loopback is the one of this process.

Everything here runs in name spaces that :mod:`tools.machine` has made: mounts, processes and, for a machine
that is booted, the network. When their first process ends, the kernel ends all others.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from tools.machine.transcript import Transcript, Unexpected

GROUPS = Path("/sys/fs/cgroup")
BOOT_SECONDS = 90.0
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
    "LANG": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0", "COLUMNS": "200", "TERM": "dumb",
}  # fmt: skip


def prepare() -> None:
    """Mount the control groups as a machine needs them, where this host has them in their first version."""
    kind = subprocess.run(["stat", "-fc", "%T", GROUPS], capture_output=True, text=True, check=True).stdout
    if kind.strip() != "cgroup2fs":
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", GROUPS], check=True)


@contextmanager
def _group() -> Iterator[list[str]]:
    """A control group of its own: the words that start a program in it."""
    with TemporaryDirectory(dir=GROUPS, prefix="orgkey-machine.", ignore_cleanup_errors=True) as folder:
        yield ["sh", "-ec", 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"', "sh", folder]
        # Files in it cannot be removed, and need not be: an empty group is a folder to remove.
        for path in sorted(Path(folder).rglob("*"), reverse=True):
            if path.is_dir():
                with suppress(OSError):
                    path.rmdir()
        with suppress(OSError):
            Path(folder).rmdir()


def once(base: Path, script: str, folder: Path, seen_as: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a file system that is not booted, with this host's network and settings of pip.

    Args:
        base: The file system; what the script changes in it is forgotten.
        script: The script.
        folder: A folder of this host that it may change.
        seen_as: Where the script sees it.
    """
    words = [
        "systemd-nspawn", "--quiet", f"--directory={base}", "--register=no", "--keep-unit", "--as-pid2",
        "--volatile=overlay", "--pipe", "--resolv-conf=copy-host", f"--bind={folder}:{seen_as}",
    ]  # fmt: skip
    files = {"/etc/pip.conf", "/etc/hosts"}
    for name, value in os.environ.items():
        if name.startswith(("PIP_", "SSL_CERT_")) or name.lower().endswith("_proxy"):
            words.append(f"--setenv={name}={value}")
            files.add(value)
    words += [f"--bind-ro={path}" for path in sorted(files) if path.startswith("/") and Path(path).exists()]
    with _group() as group:
        return subprocess.run(
            [*group, *words, "sh", "-ec", script], capture_output=True, text=True, check=False
        )


class Machine:
    """A machine, booted for the time of the block.

    Args:
        base: The file system that it starts from; it stays as it is.
        folder: Where what the machine writes is kept.
        transcript: Hears what is typed.
        lent: Folders of this host that the machine has read-only, by where it has them.
    """

    def __init__(self, base: Path, folder: Path, transcript: Transcript, lent: Mapping[str, Path]) -> None:
        self.transcript = transcript
        self.root = folder / "root"
        self._base = base
        self._changes = folder / "changes"
        self._work = folder / "work"
        self.lent = lent
        self._console = folder / "console"

    def __enter__(self) -> Self:
        for path in (self.root, self._changes, self._work):
            path.mkdir(parents=True)
        layers = f"lowerdir={self._base},upperdir={self._changes},workdir={self._work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)
        # Each machine has an identity of its own, and not this host's name.
        (self.root / "etc/machine-id").write_text("")
        (self.root / "etc/hostname").write_text("escrow\n")
        self._boot()
        return self

    def _boot(self) -> None:
        self._held = _group()
        words = [
            *self._held.__enter__(), "systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot",
            "--register=no", "--keep-unit", "--machine=escrow", "--resolv-conf=off",
            "--console=pipe",
            # For IPAddressDeny=, which systemd has the kernel do by a program of BPF.
            "--capability=CAP_BPF,CAP_NET_ADMIN", "--system-call-filter=bpf",
        ]  # fmt: skip
        words += [f"--bind-ro={folder}:{place}" for place, folder in self.lent.items()]
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        self._await_boot()

    def reboot(self) -> None:
        """Reboot it."""
        self.transcript.typed("machine#", "systemctl reboot")
        self.ask("systemctl reboot")
        self._process.wait(60)  # nspawn leaves the next start to who started it
        self._held.__exit__(None, None, None)
        self._boot()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)  # nspawn asks the machine to power off
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._held.__exit__(None, None, None)
        subprocess.run(["umount", "--lazy", self.root], check=False)

    def _leader(self) -> int:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            raise Unexpected(
                f"the machine does not run:\n{self._console.read_text(errors='replace')[-3000:]}"
            )
        return int(children[0])

    def _await_boot(self) -> None:
        ends = time.monotonic() + BOOT_SECONDS
        state = ""
        while state not in ("running", "degraded"):
            if time.monotonic() > ends or self._process.poll() is not None:
                told = self._console.read_text(errors="replace")[-3000:]
                raise Unexpected(f"the machine does not start ({state or 'nothing is heard'}):\n{told}")
            time.sleep(0.2)
            with suppress(OSError, Unexpected):
                state = self.ask("systemctl is-system-running").stdout.strip()

    def words(self, *command: str) -> list[str]:
        """What this host runs to start a command in the machine, as root, with a plain environment."""
        inside = [
            "nsenter",
            f"--target={self._leader()}",
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--wdns=/root",
        ]
        return [*inside, "env", "-i", *(f"{name}={value}" for name, value in ENVIRONMENT.items()), *command]

    def ask(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell in the machine, without a word in the transcript."""
        return subprocess.run(
            self.words("bash", "-c", command), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip

    def type(self, command: str, *, code: int | None = 0, folder: str = "/root") -> str:
        """Type a line of shell in the machine.

        Args:
            command: The line.
            code: The exit code that it must have; ``None`` for any.
            folder: Where it is typed.

        Returns:
            What it wrote, to both.

        Raises:
            Unexpected: It ended with another code.
        """
        self.transcript.typed("machine#", command)
        done = self.ask(f"cd {shlex.quote(folder)} && {{ {command}\n}} 2>&1")
        self.transcript.answered(done.stdout)
        if code is not None and done.returncode != code:
            raise Unexpected(f"it ended with {done.returncode}, and not with {code}")
        return done.stdout

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit, as systemd has them."""
        told = self.ask(f"systemctl show {unit} " + " ".join(f"-p {name}" for name in names)).stdout
        return dict(re.findall(r"^(\w+)=(.*)$", told, re.MULTILINE))

    def journal(self, unit: str = "") -> str:
        """The journal, whole or of a unit."""
        return self.ask(f"journalctl --no-pager -o short-iso {f'-u {unit}' if unit else ''}").stdout

    def put(self, place: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file of root's."""
        path = self.root / place.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
