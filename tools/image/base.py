"""The base of the image, made here: no registry of images needs to be reached.

The same as `python:3.13-slim-bookworm` in what matters: Debian 12 with the libraries that Python needs, and
Python 3.13 in `/usr/local`, without compiled files. Debian comes from where this host's packages come from,
Python is this host's.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.image.buildah import Buildah
from tools.interpreters import interpreters

SUITE = "bookworm"
# What Python's own modules are linked with, and what the maker's image has besides.
PACKAGES = (
    "ca-certificates", "libbz2-1.0", "libexpat1", "libffi8", "liblzma5", "libncursesw6", "libreadline8",
    "libsqlite3-0", "libssl3", "libuuid1", "netbase", "tzdata", "zlib1g",
)  # fmt: skip
# As Debian's own slim image: no manuals, no translations, no packages kept.
DPKG = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/info/*",
)
_CLEAN = (
    "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"
)
APT = (
    f'DPkg::Post-Invoke {{ "{_CLEAN}"; }};',
    f'APT::Update::Post-Invoke {{ "{_CLEAN}"; }};',
    'Dir::Cache::pkgcache "";',
    'Dir::Cache::srcpkgcache "";',
)
# How this host reaches its packages.
OF_THE_HOST = (
    "Acquire::Check-Date", "Acquire::Check-Valid-Until", "Acquire::http::Proxy", "Acquire::https::Proxy"
)  # fmt: skip
# Left out of a Python: tests, what draws windows, what only building extensions needs, and compiled files.
SURPLUS = shutil.ignore_patterns(
    "__pycache__", "test", "idlelib", "tkinter", "turtledemo", "_tkinter*", "_test*", "config-3*", "*.a",
)  # fmt: skip


def ensure(buildah: Buildah, name: str, version: str) -> tuple[str, str]:
    """Make the base under its name, unless it is there.

    Args:
        buildah: Where it is kept.
        name: Its name, as `FROM` has it.
        version: Which Python, ``3.13``.

    Returns:
        What it is, in words, and its name, which changes with it.
    """
    python = _python(version)
    full = _ask(python, "import platform; print(platform.python_version())")
    words = f"Debian {SUITE} by mmdebstrap, Python {full} of {python}"
    pins = hashlib.sha256(repr((words, PACKAGES, DPKG, APT)).encode()).hexdigest()[:12]
    mine = f"localhost/orgkey-base:{pins}"
    if not buildah.has(mine):
        _make(buildah, mine, python)
    buildah("tag", mine, f"localhost/{name}")
    return words, mine


def _python(version: str) -> Path:
    named = os.environ.get("IMAGE_PYTHON")
    for path in [Path(named)] if named else interpreters(version):
        try:
            prefix = Path(_ask(path, "import sys; print(sys.base_prefix)"))
        except (OSError, subprocess.CalledProcessError):
            continue
        if prefix != Path("/usr"):
            return prefix
    sys.exit(
        f"no Python {version} in a folder of its own, as pyenv installs it: "
        f"name one with IMAGE_PYTHON=/path/to/python"
    )


def _ask(python: Path, code: str) -> str:
    path = python / "bin/python3" if python.is_dir() else python
    return subprocess.run([path, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def sources() -> str:
    """Where this host's packages of Debian come from: its lists, those for :data:`SUITE` alone."""
    found = []
    for path in sorted(Path("/etc/apt").rglob("*.sources")):
        blocks = re.split(r"\n\s*\n", path.read_text())
        suites = re.compile(rf"^Suites:.*\b{SUITE}(\s|-updates|-security|$)", re.MULTILINE)
        found += [text for text in blocks if suites.search(text)]
    for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))):
        lines = path.read_text().splitlines() if path.exists() else []
        found += [line for line in lines if re.match(rf"deb .*\s{SUITE}(-updates|-security)?\s", line)]
    if not found:
        sys.exit(f"this host's apt knows no packages of Debian {SUITE}")
    return "\n\n".join(found) + "\n"


def _make(buildah: Buildah, name: str, python: Path) -> None:
    work = buildah.folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    host = subprocess.run(
        ["apt-config", "dump", "--format", '%f "%v";%n', *OF_THE_HOST],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    told = [line for line in host if not line.endswith(' "";')]
    words = ["--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    words += [f"--dpkgopt={line}" for line in DPKG] + [f"--aptopt={line}" for line in (*told, *APT)]
    done = subprocess.run(
        ["mmdebstrap", *words, SUITE, str(work / "debian.tar"), "-"],
        input=sources(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"mmdebstrap failed:\n{done.stderr[-2000:]}")
    for part in ("bin", "lib"):
        shutil.copytree(python / part, work / "python/usr/local" / part, symlinks=True, ignore=SURPLUS)
    shutil.rmtree(next((work / "python/usr/local/lib").glob("python3.*")) / "site-packages")
    container = buildah("from", "scratch")
    buildah("add", container, str(work / "debian.tar"), "/")
    buildah("copy", container, str(work / "python"), "/")
    buildah("run", "--isolation", "chroot", container, "--", "ldconfig")
    buildah("run", "--isolation", "chroot", container, "--", "ln", "-sf", "python3", "/usr/local/bin/python")
    path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    buildah("config", "--env", path, "--cmd", "python3", container)
    buildah("commit", "--rm", container, name)
    shutil.rmtree(work)
