"""The two servers that the stack needs as programs: found on PATH, else built and cached."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.assets import infra_path


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
        directory: Where its Go module is, if not below `infra/stack`.
    """

    name: str
    label: str
    version: str
    commands: tuple[str, ...]
    package: str
    stamp: str
    minutes: int
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
)
VERSITYGW = Program(
    name="versitygw",
    label="versitygw",
    version="1.8.0",
    commands=("versitygw",),
    package="github.com/versity/versitygw/cmd/versitygw",
    stamp="main.Version=v1.8.0",
    minutes=2,
)


def cache_root() -> Path:
    """Where built programs are kept: ``ORGKEY_STACK_CACHE``, else the user's cache directory."""
    if named := os.environ.get("ORGKEY_STACK_CACHE"):
        return Path(named)
    import platformdirs

    return platformdirs.user_cache_path("orgkey-escrow") / "stack"


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


def on_path(program: Program) -> Path | None:
    """The program as installed on this host, if it is."""
    for command in program.commands:
        if found := shutil.which(command):
            return Path(found).absolute()
    return None


def find(program: Program) -> Path | None:
    """The program on PATH or in the cache; ``None`` when it must be built first."""
    if found := on_path(program):
        return found
    path = cached_path(program, cache_root())
    return path if os.access(path, os.X_OK) else None
