"""`orgkey` forked from one that has imported everything, with streams and descriptors of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.cli import app as program
from tests.support import forkserver, hugepages
from tests.support.commandline import ORGKEY, SECONDS, environment

Open = Callable[[], int | None]


class Started:
    """`orgkey` in a new process, with the descriptors that a caller could give it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.out = self.err = b""

    def run(self, *words: str, before: Callable[[], object] | None = None, **broken: Open) -> int:
        """Run it, with ``stdin``, ``stdout`` or ``stderr`` replaced.

        Args:
            words: Its arguments.
            before: What is done in the new process first, which is then a fork of this one.
            broken: What opens a stream's descriptor; ``None`` is a closed one.

        Returns:
            Its exit code.
        """
        files = [self._folder / name for name in ("stdout", "stderr")]
        code = self._fork(words, files, before, broken) if before else self._ask(words, files, broken)
        self.out, self.err = (file.read_bytes() for file in files)
        return code

    def _ask(self, words: tuple[str, ...], files: list[Path], broken: dict[str, Open]) -> int:
        """Have the server of this process fork it."""
        with contextlib.ExitStack() as stack:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL}
            streams |= {file.name: stack.enter_context(file.open("wb")).fileno() for file in files}
            for name, make in broken.items():
                given = make()
                streams[name] = forkserver.CLOSED if given is None else given
                if given is not None:
                    stack.callback(os.close, given)
            asked = [*ORGKEY, *words]
            own = environment(self._folder)
            return forkserver.run(asked, cwd=self._folder, env=own, timeout=SECONDS, **streams).returncode

    def _fork(
        self,
        words: tuple[str, ...],
        files: list[Path],
        before: Callable[[], object],
        broken: dict[str, Open],
    ) -> int:
        hugepages.use()  # a worker that has run for a while has a GiB
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # other threads of pytest, which a fork leaves
            child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                self._become(words, files, before, broken)
            os._exit(99)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    def _become(
        self,
        words: tuple[str, ...],
        files: list[Path],
        before: Callable[[], object],
        broken: dict[str, Open],
    ) -> None:
        os.chdir(self._folder)
        variables = environment(self._folder)
        os.environ.clear()
        os.environ.update(variables)
        usual: list[int | None] = [os.open(os.devnull, os.O_RDONLY)]
        usual += [os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for file in files]
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            given = broken[name]() if name in broken else usual[number]
            if given is None:
                os.close(number)
                setattr(sys, name, None)
            else:
                os.dup2(given, number)
                setattr(sys, name, open(number, "r" if not number else "w", closefd=False))  # noqa: SIM115
        before()
        sys.argv = ["orgkey", *words]
        program.main()
