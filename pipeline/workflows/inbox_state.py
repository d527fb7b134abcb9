"""What became of the export in the inbox, kept in ``<state>/<FINGERPRINT>/arrival.json`` between two rounds.

An export that cannot be finished lies there until somebody comes. Without this every round of `orgkey watch`
would open the key again, and enter the same in a ledger whose entries nobody can remove.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from pipeline.archive.run import KeyScope
from pipeline.core import log
from pipeline.core.digest import sha256
from pipeline.core.errors import Code
from pipeline.core.state_files import StateFile
from pipeline.core.values import taken_from
from pipeline.evidence.ledger.events import EscrowEvent, Event, Failure

# Judgements on an export that only another export, passphrase or configuration changes. Not 15: time does.
_FINAL: Final = frozenset(code for code in Code if 10 <= code <= 19) - {Code.EXPIRED}


class InboxOutcome(BaseModel):
    """How a round ended for the export.

    Attributes:
        event: The kind of the ledger's entry.
        code: How it ended.
        message: What went wrong, in words.
        epoch: The epoch that was stored, if one was.
        proven: Whether it was proven.
        failures: The code of each target that has no copy, by name.
        final: Whether the same again can only end the same.
    """

    model_config = ConfigDict(frozen=True)

    event: str
    code: Code
    message: str = ""
    epoch: str | None = None
    proven: bool = False
    failures: tuple[tuple[str, int], ...] = ()
    final: bool = False

    def like(self, other: InboxOutcome | None) -> bool:
        """Whether it is the same; times and ports in a message make no difference."""
        return other is not None and self._masked() == other._masked()

    def _masked(self) -> InboxOutcome:
        return self.model_copy(update={"message": re.sub(r"[0-9]+", "0", self.message)})


class _InboxFile(StateFile):
    SCHEMA = "orgkey.arrival/1"
    subject: str
    passphrase_file: str
    outcome: InboxOutcome


class InboxState:
    """One export, and what the rounds before made of it under the same configuration.

    Args:
        scope: The key.
        data: The export.
    """

    def __init__(self, scope: KeyScope, data: bytes) -> None:
        self._scope = scope
        self._file = scope.root / "arrival.json"
        self._subject = sha256(data + scope.config.model_dump_json().encode()).hex
        source = scope.config.source
        self._passphrase = _mark(source.passphrase_file if source else None)
        self._kept = self._recall()

    def held(self) -> InboxOutcome | None:
        """How the last round ended, where another try could only end the same; else ``None``."""
        kept = self._kept
        if kept is None or not kept.outcome.final or kept.passphrase_file != self._passphrase:
            return None
        before = kept.outcome
        if before.epoch is None:
            return before
        entry = self._scope.journal.entry(before.epoch)
        whole = entry is not None and set(entry.receipts()) >= set(self._scope.config.target)
        return before if entry is not None and whole and not entry.proven() else None

    def scope(self) -> KeyScope:
        """The run's scope, whose ledger gets only what has changed since the round before."""
        return taken_from(self._scope, _InboxScope, inbox=self)

    def enter(self, event: EscrowEvent | Failure, *, final: bool) -> None:
        """Keep how it ended, and enter it in the ledger where the round before ended otherwise.

        Args:
            event: What the entry says.
            final: Whether, for all that the servers may do, the same again can only end the same.

        Raises:
            LocalFilesProblem: It cannot be kept here.
        """
        code = Code(event.code)
        if isinstance(event, Failure):
            # A command may give another passphrase next time; of a file it is seen whether it has changed.
            final = final and code in _FINAL and (code is not Code.WRONG_PASSPHRASE or bool(self._passphrase))
        outcome = InboxOutcome(event=event.kind, code=code, epoch=event.epoch or None, final=final)
        if isinstance(event, Failure):
            outcome = outcome.model_copy(update={"message": log.without_logins(event.message or "")})
        else:
            failures = tuple(sorted(event.failures.items()))
            outcome = outcome.model_copy(update={"proven": event.proven, "failures": failures})
        if not outcome.like(self._kept.outcome if self._kept else None):
            self._scope.record_event(event)
        self._kept = _InboxFile(subject=self._subject, passphrase_file=self._passphrase, outcome=outcome)
        self._kept.keep(self._file)

    def forget(self) -> None:
        """The export was put aside: the next one is a new story, even with the same bytes."""
        self._file.unlink(missing_ok=True)

    def _recall(self) -> _InboxFile | None:
        try:
            told = _InboxFile.load(self._file)
        except ValueError:
            return None  # where it is damaged the export is tried, as if it were new
        return told if told and told.subject == self._subject else None


@dataclass(frozen=True)
class _InboxScope(KeyScope):
    inbox: InboxState = field(kw_only=True)

    def record_event(self, event: Event, *, final: bool = False) -> None:
        if event.kind in ("escrow", "escrow-failed"):
            assert isinstance(event, EscrowEvent | Failure)
            self.inbox.enter(event, final=final)
        else:
            super().record_event(event, final=final)


def _mark(path: str | None) -> str:
    """What changes when a file does, without its content; empty where there is none."""
    if path is None:
        return ""
    try:
        facts = Path(path).stat()
    except OSError:
        return ""
    return f"{facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"
