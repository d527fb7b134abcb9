"""What a machine is started from, built once: a Debian, and the packages that the lock files name."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipeline.devstack.programs import cache_root
from tools.interpreters import interpreters
from tools.machine import nspawn
from tools.packages import build

ROOT = Path(__file__).parents[2]
LOCKS = (ROOT / "requirements-build.lock", ROOT / "requirements-production.lock")
# What a server has on which Python and OpenPGP keys are used, and what it is reached by.
PACKAGES = (
    "ca-certificates", "dbus", "dirmngr", "gpg", "gpg-agent", "libpam-systemd", "openssh-server", "python3",
    "python3-apt", "python3-venv", "systemd", "systemd-sysv",
)  # fmt: skip
NEEDS = {
    "debootstrap": "debootstrap", "nsenter": "util-linux", "ssh": "openssh-client",
    "systemd-nspawn": "systemd-container", "unshare": "util-linux",
}  # fmt: skip


class Unmet(Exception):
    """This host cannot run a machine."""


def demand() -> None:
    """See that this host has what a machine needs.

    Raises:
        Unmet: It has not; the message says what to do.
    """
    if os.geteuid() != 0:
        raise Unmet("a machine needs root: sudo make machine")
    if missing := sorted({package for name, package in NEEDS.items() if shutil.which(name) is None}):
        raise Unmet(f"on Debian: apt install {' '.join(missing)}")


def debian(suite: str, packages: tuple[str, ...] = PACKAGES) -> Path:
    """The file system of a Debian with systemd; machines change a copy in front of it.

    Args:
        suite: Its release, such as ``bookworm``.
        packages: What is in it beyond what every Debian has.

    Raises:
        Unmet: It cannot be built.
    """

    def make(path: Path) -> None:
        print(f" -- building Debian {suite}: three minutes, once", flush=True)
        words = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, str(path)]
        done = subprocess.run([*words, _mirror()], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unmet(f"debootstrap failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    return _cached(suite, " ".join(packages), make)


def packages(base: Path) -> Path:
    """The files of all packages that the lock files name, for a Debian's Python; each is checked by its hash.

    Args:
        base: The Debian.

    Raises:
        Unmet: They cannot be fetched.
    """

    def make(path: Path) -> None:
        print(" -- fetching what the lock files name: a minute, once", flush=True)
        for lock in LOCKS:
            shutil.copy(lock, path)
        pip = "/tmp/venv/bin/pip"
        build, production = (f"/packages/{lock.name}" for lock in LOCKS)
        fetch = f"{pip} download --quiet --no-deps --require-hashes --dest /packages"
        done = nspawn.once(
            base,
            # What is fetched first is what the metadata of a source needs afterwards.
            f"python3 -m venv /tmp/venv && {fetch} -r {build}"
            f" && {pip} install --quiet --no-index --find-links /packages --no-deps -r {build}"
            f" && {fetch} --no-build-isolation -r {production}",
            path,
            "/packages",
        )
        if done.returncode:
            raise Unmet(f"the packages cannot be fetched:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    return _cached("packages", base.name + "".join(lock.read_text() for lock in LOCKS), make)


def deb(base: Path, folder: Path) -> None:
    """Build the .deb for a Debian's Python.

    Args:
        base: The Debian.
        folder: Where it is put.

    Raises:
        Unmet: It cannot be built.
    """
    version = (base / "usr/bin/python3").readlink().name.removeprefix("python")
    if not (found := interpreters(version)):
        raise Unmet(f"the .deb cannot be built: no Python {version} on this host")
    print(f" -- building the .deb for Python {version}: a minute or two", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="packages-of-orgkey.") as work:
            build.packages(Path(work), folder, found[0])
    except build.Failed as error:
        raise Unmet(f"the .deb cannot be built: {error}") from error


def ansible() -> Path:
    """The programs of Ansible and its linter, in a virtual environment of their own.

    Raises:
        Unmet: They cannot be fetched.
    """
    lock = Path(__file__).with_name("ansible.lock")
    path = _place("ansible", lock.read_text() + sys.version)
    # Not made elsewhere and moved: scripts name the interpreter by its path.
    if not (path / "ready").exists():
        print(" -- fetching Ansible: a minute, once", flush=True)
        shutil.rmtree(path, ignore_errors=True)
        for words in (
            [sys.executable, "-m", "venv", str(path)],
            [str(path / "bin/pip"), "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(lock)],
        ):
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Unmet(f"Ansible cannot be fetched:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        (path / "ready").touch()
    return path / "bin"


def _mirror() -> str:
    # The one that this host's apt uses: no host's name stands here.
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(SITE)", "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for line in told.splitlines():
        if line.startswith("Debian main "):
            return line.split()[2]
    raise Unmet("apt knows no mirror of Debian: run apt-get update")


def _place(name: str, key: str) -> Path:
    return cache_root().parent / "machine" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def _cached(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache, made once; a half-made one is never taken."""
    path = _place(name, key)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{name}.") as made:
            work = Path(made) / "work"
            work.mkdir(mode=0o755)
            make(work)
            if not path.exists():  # another run may have made it meanwhile
                work.rename(path)
    return path
