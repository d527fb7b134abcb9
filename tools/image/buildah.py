"""buildah with a storage of its own in the cache, so that no image of the host's is touched."""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.devstack.programs import cache_root


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it would be run.

    Attributes:
        name: Its name.
        root: Its files, unpacked.
        entrypoint: What is run.
        command: What that is given when a container names nothing.
        env: Variables, ``NAME=value``.
        user: User and group, as numbers.
    """

    name: str
    root: Path
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    env: tuple[str, ...]
    user: tuple[int, int]


class Buildah:
    """Builds and unpacks images; inside :func:`alone`, since an unpacked image has one folder.

    Args:
        log: The file that takes what it prints.
    """

    def __init__(self, log: Path) -> None:
        self.folder = _folder()
        self.log = log

    def __call__(self, *words: str) -> str:
        """Run it, and give what it printed on standard output.

        Raises:
            SystemExit: It failed; the end of what it said is in the text.
        """
        argv = [
            "buildah", "--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"),
            "--storage-driver", "vfs", *words,
        ]  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(argv)}\n{done.stdout}{done.stderr}")
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise SystemExit(f"buildah {words[0]} failed with {done.returncode}:\n{tail}")
        return done.stdout.strip()

    def has(self, name: str) -> bool:
        """Whether there is an image of that name."""
        return bool(self("images", "--quiet", "--filter", f"reference={name}"))

    def keep(self, *names: str) -> None:
        """Remove all images but these: each layer of one is a whole copy of its files."""
        self._remove_containers()
        for name in self("images", "--noheading", "--format", "{{.Name}}:{{.Tag}}").splitlines():
            if name not in names and not name.startswith("<none>"):
                self("rmi", name)
        self("rmi", "--prune", "--force")

    def _remove_containers(self) -> None:
        for old in self("containers", "--quiet").split():
            self("rm", old)

    def unpack(self, name: str) -> Image:
        """Make an image's files a folder; what earlier calls unpacked is removed."""
        self._remove_containers()
        container = self("from", "--pull-never", name)
        root = Path(self("mount", container))
        told: dict[str, Any] = json.loads(self("inspect", "--type", "image", name))["OCIv1"]["config"]
        uid, _, gid = told.get("User", "0:0").partition(":")
        return Image(
            name, root, tuple(told.get("Entrypoint") or ()), tuple(told.get("Cmd") or ()),
            tuple(told.get("Env") or ()), (int(uid), int(gid or uid)),
        )  # fmt: skip


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other run uses the storage."""
    with (_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder() -> Path:
    folder = cache_root().parent / "image"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def megabytes(path: Path) -> int:
    """What the files below a folder take, in units of 1,000,000 bytes."""
    done = subprocess.run(
        ["du", "--summarize", "--block-size=1MB", path], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[0])
