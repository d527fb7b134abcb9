"""Shares on paper: printed when they are made, put into sealed envelopes, stored nowhere.

The words leave this program once, as a PDF on the standard input of a command of the operator's, for example
``lpr``. The record has a placard in their place, which says where the sheet is and nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.core.clock import Deadline
from pipeline.core.errors import LocalFilesProblem, NotEnoughShares, ProgramMissing
from pipeline.core.finding import Finding, Level
from pipeline.core.secret import Secret
from pipeline.core.text import counted
from pipeline.custody.holders.interface import Binding, Coordinates, SealedShare

if TYPE_CHECKING:
    from pipeline.config.holders import PaperHolderConfig

SUFFIX = "txt"


class PaperSheets:
    """Sheets for sealed envelopes.

    Args:
        name: The holder's name.
        item: Its configuration.
        deadline: Bounds the printing.
    """

    kind = "paper"
    unattended = False

    def __init__(self, name: str, item: PaperHolderConfig, *, deadline: Deadline) -> None:
        self.name = name
        self.size = item.size
        self.printed = 0
        """Sheets that this run has printed."""
        self._item = item
        self._deadline = deadline

    def describe(self) -> Coordinates:
        """Who keeps the sheets."""
        return {"kept_by": list(self._item.kept_by)}

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        """Print every share, each on a sheet of its own. Nothing is printed twice by itself.

        Raises:
            LocalFilesProblem: The print command fails.
            ProgramMissing, DeadlinePassed: It is missing, or not done in time.
        """
        sealed = []
        for number, (keeper, words) in enumerate(zip(self._item.kept_by, shares, strict=True), 1):
            self._print(self._sheet(number, keeper, words, binding), keeper)
            self.printed += 1
            placard = (
                f"Share {number} of {self.size} of holder {self.name} is on paper, kept by {keeper}.\n"
                f"Org Key {binding.fingerprint}, record {binding.record_id}.\n"
                "The words are on the sheet alone; this file says nothing about them.\n"
            )
            sealed.append(SealedShare(number, SUFFIX, placard.encode("ascii"), keeper))
        return sealed

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:  # noqa: ARG002, RUF100
        """Never here: the words are on paper.

        Raises:
            NotEnoughShares: Always.
        """
        raise NotEnoughShares(
            f"the share kept by {sealed.label} is on paper", hint="open the envelope, and type the words"
        )

    def check(self) -> list[Finding]:
        """Whether sheets can be set, and the print command is there; it is not run."""
        from pipeline.printing import pdf

        subject, program = f"holder {self.name}", self._item.print_command[0]
        try:
            pdf.demand_typst()
        except ProgramMissing as missing:
            return [Finding(Level.FAIL, subject, missing.message, missing.hint, missing.code)]
        if shutil.which(program) is None:
            return [
                Finding(
                    Level.FAIL,
                    subject,
                    f"the print command {program} is not installed",
                    "install it, or change print_command",
                    ProgramMissing.code,
                )
            ]
        return [Finding(Level.OK, subject, f"{counted(self.size, 'sheet')} of paper, printed by {program}")]

    def _sheet(self, number: int, keeper: str, words: Secret, binding: Binding) -> bytes:
        from pipeline.printing import pdf

        text = words.text()
        return pdf.render(
            "paper",
            {
                "paper": "a4",
                "number": number,
                "size": self.size,
                "keeper": keeper,
                "holder": self.name,
                "rule": "the only sheet" if self.size == 1 else "as many sheets as the path asks for",
                "fingerprint_spaced": pdf.spaced(binding.fingerprint),
                "record_id": binding.record_id,
                "words": text.split(),
                "qr": pdf.qr(text.upper()),
            },
            at=datetime.now(UTC),
        )

    def _print(self, sheet: bytes, keeper: str) -> None:
        from pipeline.core import environment, log, process

        done = process.run(
            list(self._item.print_command),
            stdin=sheet,
            timeout=self._deadline.limit(self._item.timeout_seconds),
            env=environment.operators_environment(),
            max_output=65536,
        )
        if done.returncode != 0:
            raise LocalFilesProblem(
                f"holder {self.name}: the sheet for {keeper} was not printed: "
                f"{log.last_words(done.stderr) or f'the print command ended with {done.returncode}'}",
                hint="put the printer right, and run it again",
            )
