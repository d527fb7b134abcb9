"""Documents of setting up: `init`, `config validate`, `doctor`, `notify test`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pipeline.cli.documents import Document, Part
from pipeline.core.errors import Code
from pipeline.core.finding import Level
from pipeline.core.text import counted, spaced


class InitDocument(Document, schema="orgkey.init/1", printed_by="orgkey init"):
    """What was written.

    Attributes:
        config: The new file.
        fingerprint: The pin.
        targets: Names of the targets.
        holders: Names of the holders.
        notes: What to think about before it is used.
    """

    config: Path
    fingerprint: str
    targets: tuple[str, ...]
    holders: tuple[str, ...]
    notes: tuple[str, ...]

    def lines(self, *, with_vault: bool) -> list[str]:
        """What a person reads."""
        vault = ["next: `orgkey infra plan` and `orgkey infra apply` set Vault's side up"]
        return [
            f"{self.config} is written, for the key {spaced(self.fingerprint)}",
            *(f"note: {note}" for note in self.notes),
            *(vault if with_vault else []),
            "next: put the logins where the file says, then run `orgkey doctor`",
        ]


class ConfigValidateDocument(
    Document, schema="orgkey.config-validate/1", printed_by="orgkey config validate"
):
    """A configuration that is valid; one that is not is an error.

    Attributes:
        path: The file.
        valid: True.
        fingerprint: The pin, or null.
        targets: Names of the targets.
        holders: Names of the holders.
        paths: Names of the custody paths.
    """

    path: Path
    valid: Literal[True] = True
    fingerprint: str | None
    targets: tuple[str, ...]
    holders: tuple[str, ...]
    paths: tuple[str, ...]


class FindingItem(Part):
    """One thing that was looked at.

    Attributes:
        level: ``ok``, ``unseen`` (not looked at), ``warn`` or ``fail``.
        subject: What was looked at.
        message: What was seen.
        hint: What to do.
        code: The exit code that it stands for.
    """

    level: Level
    subject: str
    message: str
    hint: str
    code: Code


_MARKS = {Level.OK: "ok  ", Level.UNSEEN: "--  ", Level.WARN: "WARN", Level.FAIL: "FAIL"}


class DoctorDocument(Document, schema="orgkey.doctor/1", printed_by="orgkey doctor"):
    """What was looked at before a run.

    Attributes:
        findings: One for each thing that was looked at.
        exit_code: The code of the worst failure; warnings do not count.
    """

    findings: tuple[FindingItem, ...]
    exit_code: Code

    def lines(self) -> list[str]:
        """What a person reads."""
        lines = []
        for finding in self.findings:
            lines.append(f"{_MARKS[finding.level]}  {finding.subject}: {finding.message}")
            if finding.hint and finding.level is not Level.OK:
                lines.append(f"      {finding.hint}")
        levels = [finding.level for finding in self.findings]
        failed, warned = levels.count(Level.FAIL), levels.count(Level.WARN)
        return [*lines, "", f"{counted(failed, 'failure')}, {counted(warned, 'warning')}"]


class WayItem(Part):
    """One way by which a notification or a ping is sent.

    Attributes:
        way: ``notify.command``, ``notify.urls`` or ``ping.JOB``.
        ok: Whether it took the message.
        problem: Why not, and what to do.
        code: The exit code that it stands for.
    """

    way: str
    ok: bool
    problem: str | None
    code: Code


class NotifyTestDocument(Document, schema="orgkey.notify-test/1", printed_by="orgkey notify test"):
    """Which ways took a test message.

    Attributes:
        ways: One for each way of the configuration.
        exit_code: The first failed way's code.
    """

    ways: tuple[WayItem, ...]
    exit_code: Code
