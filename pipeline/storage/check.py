"""What `doctor` should know about a target: looks, each by itself, and what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from pipeline.core.errors import Code
from pipeline.core.finding import Finding, Level
from pipeline.core.isolation import isolated


class Check:
    """Looks at one target. It asks, and writes nothing.

    Args:
        name: The target's name in the config.
        good: The message where nothing was found.
    """

    def __init__(self, name: str, good: str) -> None:
        self._good = good
        self.what = f"target {name}, check"
        self._subject = f"target {name}"
        self._findings: list[Finding] = []
        self._unseen: list[str] = []

    def run(self, first: Iterable[Callable[[], None]], then: Iterable[Callable[[], None]]) -> list[Finding]:
        """Take each look; what was found before one breaks stays, and so do the others.

        Args:
            first: Looks without which nothing further can be asked.
            then: The others.
        """
        looks = [(look, True) for look in first] + [(look, False) for look in then]
        for look, vital in looks:
            if (error := isolated(look, self.what)) is not None:
                self.fail(error.message, error.hint, error.code)
                if vital:
                    return self._findings
        if not self._findings:
            unseen = f"; not seen: {', '.join(self._unseen)}" if self._unseen else ""
            self._add(Level.OK, f"{self._good}{unseen}")
        return self._findings

    def unseen(self, what: str) -> None:
        """Note what could not be looked at: nothing is wrong with it as far as was seen."""
        self._unseen.append(what)

    def fail(self, message: str, hint: str, code: Code = Code.USAGE) -> None:
        """Note a failure; once, where several looks meet it."""
        self._add(Level.FAIL, message, hint, code)

    def warn(self, message: str, hint: str) -> None:
        """Note what is worth a look."""
        self._add(Level.WARN, message, hint)

    def note(self, findings: Iterable[Finding]) -> None:
        """Note findings about something else."""
        self._findings += findings

    def _add(self, level: Level, message: str, hint: str = "", code: Code = Code.OK) -> None:
        finding = Finding(level, self._subject, message, hint, code)
        if finding not in self._findings:
            self._findings.append(finding)


def on_this_host(address: str) -> bool:
    """Whether what is sent to an address does not leave this host."""
    return urlsplit(address).hostname in ("127.0.0.1", "::1", "localhost")
