"""Documents of setting up: `init`, `inspect`, `config validate`, `doctor`, `notify test`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pipeline.cli.documents import ProblemItem
from pipeline.cli.output import table
from pipeline.config import option_for
from pipeline.core.documents import Document, Part, at
from pipeline.core.errors import Code
from pipeline.core.finding import Finding, Level
from pipeline.core.text import counted, spaced

_MARKS = {Level.OK: "ok  ", Level.UNSEEN: "--  ", Level.WARN: "WARN", Level.FAIL: "FAIL"}


def _finding_lines(findings: Iterable[Finding]) -> Iterator[str]:
    order = list(_MARKS)  # the worst stand last: that is what stays above the prompt
    for finding in sorted(findings, key=lambda finding: order.index(finding.level)):
        yield f"{_MARKS[finding.level]}  {finding.subject}: {finding.message}"
        if finding.hint and finding.level is not Level.OK:
            yield f"      {finding.hint}"


class InitDocument(Document, printed_by="orgkey init"):
    """What was written.

    Attributes:
        config: The new file.
        fingerprint: The pin.
        targets: Names of the targets.
        holders: Names of the holders.
        notes: What to think about before it is used.
        doctor: What `orgkey doctor` finds amiss so far, as far as it contacts nothing.
    """

    config: Path
    fingerprint: str
    targets: tuple[str, ...]
    holders: tuple[str, ...]
    notes: tuple[str, ...]
    doctor: tuple[Finding, ...]

    def lines(self) -> list[str]:
        """What a person reads."""
        option = option_for(self.config)
        vault = [f"next: `orgkey infra plan{option}` and `orgkey infra apply{option}` set Vault's side up"]
        servers = not {"vault", "s3", "aws"}.isdisjoint((*self.targets, *self.holders))
        logins = "put the logins where the file says, then " if servers else ""
        return [
            f"{self.config} is written, for the key {spaced(self.fingerprint)}",
            *(f"note: {note}" for note in self.notes),
            *(["`orgkey doctor` will say, besides what servers answer:"] if self.doctor else []),
            *_finding_lines(self.doctor),
            *(vault if "vault" in self.targets else []),
            f"next: {logins}run `orgkey doctor{option}`",
        ]


class ConfigValidateDocument(Document, printed_by="orgkey config validate"):
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
    fingerprint: str | None = at("key.fingerprint")
    targets: tuple[str, ...]
    holders: tuple[str, ...]
    paths: tuple[str, ...]

    def lines(self) -> list[str]:
        """What a person reads."""
        return [f"{self.path} is valid" + ("" if self.fingerprint else "; no key is pinned yet")]


class DoctorDocument(Document, printed_by="orgkey doctor"):
    """What was looked at before a run.

    Attributes:
        findings: One for each thing that was looked at.
        exit_code: The code of the worst failure; warnings do not count.
    """

    findings: tuple[Finding, ...]
    exit_code: Code

    def lines(self) -> list[str]:
        """What a person reads."""
        lines = list(_finding_lines(self.findings))
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


class NotifyTestDocument(Document, printed_by="orgkey notify test"):
    """Which ways took a test message.

    Attributes:
        ways: One for each way of the configuration.
        exit_code: The first failed way's code.
    """

    ways: tuple[WayItem, ...]
    exit_code: Code

    def lines(self) -> list[str]:
        """What a person reads."""
        rows = [(item.way, "sent" if item.ok else "FAILED", item.problem or "") for item in self.ways]
        return table(("way", "", ""), rows)


class SubkeyItem(Part):
    """A subkey.

    Attributes:
        fingerprint: Its fingerprint.
        key_id: Its key id.
        algorithm: For example ``RSA-4096``.
        created: When it was made.
        expires: When it expires; null for one that never does.
        usage: ``certify``, ``sign``, ``encrypt``.
        revoked: Whether it is revoked.
        protection: How its secret is protected, or null.
    """

    fingerprint: str
    key_id: str
    algorithm: str
    created: str
    expires: str | None
    usage: tuple[str, ...]
    revoked: bool
    protection: Mapping[str, Any] | None


class InspectDocument(Document, printed_by="orgkey inspect"):
    """What an export is.

    :mod:`pipeline.openpgp.key.inspection` makes it.

    Attributes:
        verdict: The name of the exit code; ``ok`` for 0.
        exit_code: The first problem's code.
        fingerprint: The chosen key's; null when none was found.
        key_id: The chosen key's; null when none was found.
        user_ids: Its user ids.
        algorithm: For example ``RSA-4096``.
        created: When it was made.
        expires: When it expires; null for a key that never does.
        layout: ``single``, or ``two-block``: secret and public parts came in blocks of their own.
        protection: How the primary secret is protected: ``state``, ``cipher``, ``s2k``, ``digest``,
            ``count``, ``checksum``.
        subkeys: Its subkeys.
        organization_certificates: X.509 certificates that are attached to the key.
        problems: What is wrong, in order of precedence.
        notes: What is odd and does no harm. Look at what begins with ``warning:``, for example an expired
            Organization Certificate.
    """

    verdict: str
    exit_code: Code
    fingerprint: str | None
    key_id: str | None
    user_ids: tuple[str, ...]
    algorithm: str | None
    created: str | None
    expires: str | None
    layout: str | None
    protection: Mapping[str, Any] | None
    subkeys: tuple[SubkeyItem, ...]
    organization_certificates: tuple[Mapping[str, Any], ...]
    problems: tuple[ProblemItem, ...]
    notes: tuple[str, ...]
