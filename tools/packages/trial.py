"""The packages installed, used and removed in a Debian of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.devstack.programs import cache_root
from tests.support.openpgp_writer import PASSPHRASE
from tools.packages.build import HOME, ROOT, Failed, interpreter, run

SUITE = {"3.11": "bookworm", "3.13": "trixie"}
NEEDED = ("dirmngr", "gpg", "gpg-agent", "man-db", "rpm", "systemd")
KEPT = "/var/lib/orgkey/kept"
KEY = "rsa2048-two-block.asc"


def debian(python: str) -> Path:
    """A Debian with what the packages depend on, made once.

    Args:
        python: Version of its interpreter.

    Raises:
        Failed: There is no debootstrap, or it failed.
    """
    suite = SUITE[python]
    root = cache_root() / f"debian-{suite}"
    if not (root / ".ready").exists():
        if os.geteuid() != 0 or shutil.which("debootstrap") is None:
            raise Failed(
                "a Debian to try the packages in needs root and debootstrap: apt install debootstrap"
            )
        shutil.rmtree(root, ignore_errors=True)
        include = ",".join((f"python{python}", *NEEDED))
        run("debootstrap", "--variant=minbase", f"--include={include}", suite, root)
        (root / ".ready").touch()
    return root


@contextmanager
def copy(python: str) -> Iterator[Path]:
    """A copy of it that a trial may change."""
    with tempfile.TemporaryDirectory(prefix="orgkey-root.", dir=cache_root()) as directory:
        root = Path(directory) / "root"
        run("cp", "--archive", "--reflink=auto", debian(python), root)
        yield root


def run_in(root: Path, *argv: str, user: str = "") -> str:
    """Run a command in it, without the builder's environment.

    Raises:
        Failed: It did not end with 0.
    """
    who = ("--userspec", user) if user else ()
    clean = (
        "env",
        "-i",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG=C.UTF-8",
        "DEBIAN_FRONTEND=noninteractive",
    )
    return run("chroot", *who, root, *clean, *argv)


def run_package(root: Path, package: Path) -> Iterator[str]:
    """Install, use and remove one package."""
    shutil.copy(package, root / "tmp" / package.name)
    before = tree(root)
    if package.suffix == ".deb":
        run_in(root, "apt-get", "install", "--yes", f"/tmp/{package.name}")
        remove: tuple[str, ...] = ("apt-get", "purge", "--yes", "orgkey-escrow")
        wanted = run_in(root, "dpkg-query", "--show", "--showformat=${Depends}", "orgkey-escrow")
        yield f"installed by apt; asks for {wanted}, which is all there"
    else:
        run_in(root, "rpm", "--test", "--install", "--nodeps", f"/tmp/{package.name}")
        needs = run_in(root, "rpm", "--query", "--package", "--requires", f"/tmp/{package.name}").split("\n")
        # RPM knows nothing of Debian's packages: what it asks for is shown, and not looked for.
        run_in(root, "rpm", "--install", "--nodeps", f"/tmp/{package.name}")
        run_in(root, "rpm", "--verify", "--nodeps", "orgkey-escrow")
        remove = ("rpm", "--erase", "orgkey-escrow")
        wanted = ", ".join(line for line in needs if line and "rpmlib" not in line)
        yield f"installed by rpm; asks for {wanted}, which is not looked for here"
    yield from use(root)
    state = root / KEPT.removeprefix("/")
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("a record")
    run_in(root, *remove)
    left = tree(root) - before
    if left != {KEPT} or (root / HOME).exists():
        raise Failed(f"after the removal there are {', '.join(sorted(left))}")
    yield f"removed: nothing is left of it, the state is; {run_in(root, 'id', 'orgkey').strip()} stays"


def use(root: Path) -> Iterator[str]:
    """What somebody does with it: the command, its proofs, the pages, the completions, the units."""
    yield run_in(root, "orgkey", "--version").strip()
    for name, data in (
        (KEY, (ROOT / "tests" / "assets" / "keys" / KEY).read_bytes()),
        ("p", PASSPHRASE),
    ):
        path = root / "tmp" / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        run_in(root, "chown", "orgkey:orgkey", f"/tmp/{name}")
    words = ("orgkey", "inspect", f"/tmp/{KEY}", "--export-passphrase-file", "/tmp/p")
    said = run_in(root, *words, user="orgkey")
    if "RSA" not in said.upper():
        raise Failed(f"orgkey inspect says {said}")
    yield "orgkey inspect takes an export as the user orgkey"
    run_in(root, "man", "--path", "orgkey.toml")
    if "SYNOPSIS" not in run_in(root, "man", "orgkey-escrow"):
        raise Failed("man orgkey-escrow says nothing")
    asked = "source /usr/share/bash-completion/completions/orgkey && complete -p orgkey"
    run_in(root, "bash", "-c", asked)
    yield "man orgkey-escrow and bash's completion are there"
    units = sorted(path.name for path in (root / "usr/lib/systemd/system").glob("orgkey*"))
    verified = [name.replace("@.", "@pgp1.") for name in units]
    # It warns on standard error, and ends with 0.
    if said := run_in(root, "sh", "-c", 'systemd-analyze verify --man=no "$@" 2>&1', "sh", *verified):
        raise Failed(said)
    yield f"systemd-analyze verify has no word about the {len(units)} units"
    modes = run_in(root, "stat", "--format=%n %a %U:%G", "/etc/orgkey", "/etc/orgkey/credentials")
    if modes.split("\n")[:2] != ["/etc/orgkey 750 root:orgkey", "/etc/orgkey/credentials 700 root:root"]:
        raise Failed(modes)
    yield modes.strip().replace("\n", "; ")


def tree(root: Path) -> set[str]:
    """The files and links in it, but for caches, logs and the package managers' own."""
    skip = (
        "/proc",
        "/sys",
        "/dev",
        "/tmp",
        "/run",
        "/var/cache",
        "/var/log",
        "/var/lib/dpkg",
        "/var/lib/apt",
    )
    found = run("find", root, "!", "-type", "d", "-printf", "/%P\n").split("\n")
    return {path for path in found if not path.startswith((*skip, "/var/lib/systemd", "/root/.rpmdb"))}


def trial(package: Path) -> Iterator[str]:
    """Try one package in a fresh copy."""
    _, python = interpreter()
    with copy(python) as root:
        yield f"{package.name} in Debian {SUITE[python]}"
        yield from run_package(root, package)
