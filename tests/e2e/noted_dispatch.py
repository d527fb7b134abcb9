"""`orgkey`, which notes all that it gives to dispatch, in the folder that the first argument names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pipeline.cli.entry import main
from pipeline.core import process


class _Noted:
    """Standard input, each byte of which is kept."""

    def __init__(self, pipe: IO[bytes], kept: Path) -> None:
        self._pipe, self._kept = pipe, kept.open("wb")

    def write(self, data: bytes) -> int:
        count = self._pipe.write(data)
        self._kept.write(bytes(data[:count]))
        return count

    def close(self) -> None:
        self._kept.close()
        self._pipe.close()

    def __enter__(self) -> _Noted:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def opened(process: Path) -> Iterator[tuple[str, int]]:
    """What a process of ``/proc`` has open, each with its flags."""
    for number in [entry.name for entry in (process / "fd").iterdir()]:
        with suppress(FileNotFoundError):  # closed again
            flags = int((process / "fdinfo" / number).read_text().split("flags:")[1].split()[0], 8)
            yield str((process / "fd" / number).readlink()), flags


def _noting(folder: Path) -> None:
    real = process.start

    def start(argv: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
        child = real(argv, **how)
        if any(word.endswith("crew.dispatch") for word in argv):
            seen = Path(f"/proc/{child.pid}")
            while not (seen / "cmdline").read_bytes():  # the system is still about to start it
                pass
            for name in ("cmdline", "environ"):
                (folder / name).write_bytes((seen / name).read_bytes())
            # As inherited: what it opens itself while it starts is marked to be closed in its children.
            links = [link for link, flags in opened(seen) if not flags & os.O_CLOEXEC]
            (folder / "fd").write_text("\n".join(links))
            assert child.stdin
            child.stdin = _Noted(child.stdin, folder / "stdin")  # type: ignore[assignment]  # as much as is used
        return child

    process.start = start


if __name__ == "__main__":
    _noting(Path(sys.argv.pop(1)))
    sys.exit(main())
