"""The page of a bundle that says how to verify it with gpg, openssl, sha256sum and jq, and what that proves.

In the page, lines that begin with four spaces are commands, and nothing else is: a test runs exactly these.
They are plain POSIX shell, can be pasted block by block into one shell, and each block ends with a line that
begins with ``OK`` or ``FAILED``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from pipeline.core.clock import stamp
from pipeline.core.digest import sha256
from pipeline.core.templates import filled
from pipeline.core.text import printable
from pipeline.report.model import Report
from pipeline.report.offline import page as offline

NAME: Final = "VERIFY.txt"
SUMS: Final = "SHA256SUMS"
FORKED: Final = "ledger/forks/"
"""Where version 0.1 kept entries whose numbers another host took."""
_ENTRY: Final = re.compile(r"(ledger(?:/[0-9a-f]{16})?)/[0-9]{9,}\.json", re.ASCII)
STAMPED: Final = ".tsr"
"""Ending of a time-stamp authority's response, beside the certificate that it is over."""


def render(report: Report, names: Collection[str]) -> bytes:
    """Write the page.

    Args:
        report: The report.
        names: The bundle's files; steps without anything to check are left out, and the page says so.
    """
    public = "public.asc" in names
    certificates = any(name.startswith("certificates/") and name.endswith(".json") for name in names)
    chains = {match[1] for name in names if (match := _ENTRY.fullmatch(name))}
    page = filled(
        __package__,
        "verify.txt.j2",
        generated=stamp(report.generated),
        host=printable(report.host),
        program=report.program,
        page=sha256(offline.render()).hex,
        fingerprint=report.key.fingerprint,
        sentence=printable(report.verdict.sentence),
        public=public,
        signed=public and certificates,
        ledger=bool(chains),
        chains=" ".join(sorted(chains)),
        forks=any(name.startswith(FORKED) for name in names),
        evidence="report.json" in names and any(item.file for item in report.evidence),
        stamped=any(name.endswith(STAMPED) for name in names),
    )
    return page.encode()
