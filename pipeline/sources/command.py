"""An export that the operator's own command writes to its standard output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.core import log
from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, UsageProblem
from pipeline.sources.interface import LARGEST, Export, NoExport


class CommandSource:
    """Runs a command and takes what it prints.

    Args:
        command: The program and its arguments; no shell is involved.
        fingerprint: The pin; the command finds it in ``ORGKEY_FINGERPRINT``.
        seconds: How long the command may take.
        limit: Most bytes that it may print.
        environ: The environment to choose :data:`pipeline.core.environment.PASSED` from; the process's own
            without it.
    """

    kind = "command"

    def __init__(
        self,
        command: Sequence[str],
        *,
        fingerprint: str | None = None,
        seconds: float = 60.0,
        limit: int = LARGEST,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._command = tuple(command)
        self._fingerprint = fingerprint
        self._seconds = seconds
        self._limit = limit
        self._environ = environ

    def fetch(self, deadline: Deadline) -> Export:
        """Run the command; see :class:`pipeline.sources.interface.ExportSource`."""
        from pipeline.core import process

        # Arguments stay out of messages: they are the operator's, and may say too much.
        name = f"the export command {self._command[0]}"
        try:
            done = process.run(
                self._command,
                timeout=deadline.limit(self._seconds),
                env=self._environment(),
                max_output=self._limit,
            )
        except DeadlinePassed as error:
            raise DeadlinePassed(
                f"{name} did not end in time and was ended",
                hint="run it by hand; or raise source.timeout_seconds",
            ) from error
        said = log.last_words(done.stderr)
        if done.returncode != 0:
            raise UsageProblem(
                f"{name} ended with code {done.returncode}" + (f": {said}" if said else ""),
                hint="run it by hand; it has to print the keypair export and end with 0",
            )
        if not done.stdout.strip():
            raise NoExport(
                f"{name} printed nothing" + (f": {said}" if said else ""),
                hint="it has to print the keypair export on standard output",
            )
        return Export(done.stdout, name, (f"{name} says: {said}",) if said else ())

    def _environment(self) -> dict[str, str]:
        from pipeline.core import environment

        kept = environment.operators_environment(self._environ)
        if self._fingerprint:
            kept["ORGKEY_FINGERPRINT"] = self._fingerprint
        return kept

    def finish(self, export: Export, note: str) -> tuple[str, ...]:
        """Nothing to put aside: whatever the command keeps is its own."""
        return ()
