"""What is in the packages, laid out as it is installed, and packed by nfpm."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.devstack.build import ensure
from pipeline.devstack.programs import cache_root
from pipeline.devstack.progress import reporter
from tools import make_man
from tools.build import NFPM

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
DIST = ROOT / "dist"
HOME = "opt/orgkey"  # where the units, the how-to and the image have it
INFRA = ROOT / "infra" / "schedule"
# Everything that pip writes about an installation: the package manager knows better.
_OF_PIP = ("RECORD", "direct_url.json", "REQUESTED", "INSTALLER")
_WHEEL = re.compile(r"manylinux_2_(\d+)_")
COMMAND = """\
#!/opt/orgkey/bin/python3
import sys

from pipeline.cli.entry import main

sys.exit(main())
"""


class Failed(Exception):
    """A command did not end as it should; the text is what it said."""


def run(*argv: str | Path, limit: float = 1800, **env: str) -> str:
    """Run a command.

    Args:
        argv: The command.
        limit: Seconds.
        env: Added to the environment.

    Returns:
        What it printed.

    Raises:
        Failed: It did not end with 0.
    """
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=os.environ | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, argv))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def moment() -> int:
    """The time that everything in the packages has, in seconds since 1970."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or run("git", "log", "-1", "--format=%ct"))


def interpreter(python: Path | None = None) -> tuple[Path, str]:
    """The interpreter that the packages run on, and its version, for example ``3.11``.

    Args:
        python: By default the one that ``PACKAGE_PYTHON`` names, or this host's.
    """
    python = (python or Path(os.environ.get("PACKAGE_PYTHON", "/usr/bin/python3"))).resolve()
    return python, run(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()


def packages(work: Path, to: Path, on: Path | None = None) -> list[Path]:
    """Make both packages.

    Args:
        work: An empty directory.
        to: Where they are put.
        on: See :func:`interpreter`.

    Returns:
        The ``.deb``, then the ``.rpm``.

    Raises:
        Failed: Something could not be built.
    """
    # What is fetched has a hash in a lock file; what is built, is built by what is locked.
    when = moment()
    python, version = interpreter(on)
    stage = work / "root"
    wheels = dependencies(python, version)
    run(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--outdir",
        work / "wheel",
        SOURCE_DATE_EPOCH=str(when),
    )
    (own,) = (work / "wheel").glob("*.whl")
    environment(stage, python, version, [*wheels, own])
    release = own.name.split("-")[1]
    files(stage)
    for path in (*stage.rglob("*"), stage):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        os.utime(path, (when, when), follow_symlinks=False)
    glibc = max(min(map(int, found)) for wheel in wheels if (found := _WHEEL.findall(wheel.name)))
    to.mkdir(parents=True, exist_ok=True)
    settings = work / "nfpm.json"
    settings.write_text(json.dumps(description(stage, release, version, glibc), indent=2))
    nfpm = ensure(NFPM, reporter())
    return [_pack(nfpm, settings, kind, to, when) for kind in ("deb", "rpm")]


def _pack(nfpm: Path, settings: Path, kind: str, to: Path, when: int) -> Path:
    said = run(
        nfpm, "package", "--config", settings, "--packager", kind, "--target", to, SOURCE_DATE_EPOCH=str(when)
    )
    return to / Path(said.strip().rpartition(": ")[2]).name


def dependencies(python: Path, version: str) -> list[Path]:
    """The wheels of the production lock, kept beside the programs that were built."""
    locks = [ROOT / "requirements-build.lock", ROOT / "requirements-production.lock"]
    pins = hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()[:16]
    home = cache_root() / f"wheels-{version}-{pins}"
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        run(python, "-m", "venv", "--without-pip", home / "tools")
        pip = (
            sys.executable,
            "-m",
            "pip",
            "--python",
            home / "tools" / "bin" / "python",
            "--disable-pip-version-check",
        )
        wanted = ("--no-deps", "--require-hashes", "--no-build-isolation", "-r")
        run(*pip, "install", "--quiet", "--no-deps", "--require-hashes", "-r", locks[0])
        run(*pip, "wheel", "--quiet", *wanted, locks[1], "--wheel-dir", home / "wheels")
        (home / "ready").touch()
    return sorted((home / "wheels").glob("*.whl"))


def environment(stage: Path, python: Path, version: str, wheels: list[Path]) -> None:
    """A virtual environment as it lies on a host, without what names the place where it was built."""
    home = stage / HOME
    site = home / "lib" / f"python{version}" / "site-packages"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").symlink_to(f"/usr/bin/python{version}")
    lines = ["home = /usr/bin", "include-system-site-packages = false", f"version = {version}"]
    (home / "pyvenv.cfg").write_text("\n".join(lines) + "\n")
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "--disable-pip-version-check",
        "install",
        "--quiet",
    )
    run(*pip, "--no-index", "--no-deps", "--no-compile", "--target", site, *wheels)
    shutil.rmtree(site / "bin", ignore_errors=True)
    for name in _OF_PIP:
        for path in site.glob(f"*.dist-info/{name}"):
            path.unlink()
    command = home / "bin" / "orgkey"
    command.write_text(COMMAND)
    command.chmod(0o755)
    # Bytecode that is not compared with its source: a package's files do not change by themselves.
    compiled = ("-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash")
    run(python, *compiled, "-s", stage, "-p", "/", site, PYTHONHASHSEED="0")


def files(stage: Path) -> None:
    """Everything beside the environment: units, user, completions, pages, documents."""
    for path in (INFRA / "systemd").iterdir():
        if path.suffix == ".sysusers":
            _put(stage, "usr/lib/sysusers.d/orgkey.conf", path.read_bytes())
        else:
            _put(stage, f"usr/lib/systemd/system/{path.name}", path.read_bytes())
    for shell, place in (
        ("bash", "bash-completion/completions/orgkey"),
        ("zsh", "zsh/vendor-completions/_orgkey"),
        ("fish", "fish/vendor_completions.d/orgkey.fish"),
    ):
        _put(stage, f"usr/share/{place}", completion(shell).encode())
    for name, text in make_man.pages().items():
        _put(stage, f"usr/share/man/{name}.gz", gzip.compress(text.encode(), mtime=0))
    document = "usr/share/doc/orgkey-escrow"
    for name in ("README.md", "CHANGELOG.md"):
        _put(stage, f"{document}/{name}", (ROOT / name).read_bytes())
    _put(stage, f"{document}/copyright", (ROOT / "LICENSE").read_bytes())
    for path in (*INFRA.glob("*.example"), INFRA / "README.md", INFRA / "cron" / "orgkey.cron"):
        _put(stage, f"{document}/schedule/{path.name}", path.read_bytes())
    link = stage / "usr" / "bin" / "orgkey"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("/opt/orgkey/bin/orgkey")


def completion(shell: str) -> str:
    """A shell's script that asks the program."""
    from typer._completion_shared import get_completion_script  # what --show-completion prints

    return get_completion_script(prog_name="orgkey", complete_var="_ORGKEY_COMPLETE", shell=shell) + "\n"


def _put(stage: Path, place: str, data: bytes) -> None:
    path = stage / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def description(stage: Path, release: str, version: str, glibc: int) -> Mapping[str, Any]:
    """What nfpm is told."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    return {
        "name": "orgkey-escrow",
        "arch": arch,
        "version": older(release),
        "release": "1",
        "section": "admin",
        "maintainer": "The orgkey-escrow contributors <root@localhost>",
        "description": project["description"],
        "license": project["license"],
        "contents": [*_contents(stage)],
        "scripts": {name: str(HERE / f"{name}.sh") for name in ("postinstall", "preremove", "postremove")},
        "overrides": {
            "deb": {
                "depends": [f"python{version}", f"libc6 (>= 2.{glibc})", "dirmngr", "gpg", "gpg-agent"],
                "recommends": ["systemd"],
            },
            "rpm": {
                "depends": [f"/usr/bin/python{version}", f"libc.so.6(GLIBC_2.{glibc})(64bit)", "gnupg2"],
                "recommends": ["systemd"],
            },
        },
        "rpm": {"group": "Applications/System", "buildhost": "localhost", "compression": "zstd"},
        "deb": {"compression": "zstd"},
    }


def older(release: str) -> str:
    """A release as package managers sort it: a candidate is older than what it is a candidate for."""
    return re.sub(r"(?=(?:a|b|rc)\d)", "~", release)


def _contents(stage: Path) -> Iterator[Mapping[str, Any]]:
    for name in ("opt", "usr"):
        yield {"src": str(stage / name), "dst": f"/{name}", "type": "tree"}
