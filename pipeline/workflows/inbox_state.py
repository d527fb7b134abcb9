"""What became of the export in the inbox, kept in ``<state>/<FINGERPRINT>/arrival.json`` between two rounds.

An export that cannot be finished lies there until somebody comes. Without this every round of `orgkey watch`
would open the key again, and enter the same in a ledger whose entries nobody can remove.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Final

from pipeline.archive.run import KeyScope
from pipeline.core import files
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, LocalFilesProblem
from pipeline.evidence.ledger.events import EscrowEvent, Event, Failure

SCHEMA: Final = "orgkey.arrival/1"
# Judgements on an export that only another export, passphrase or configuration changes. Not 15: time does.
_FINAL: Final = frozenset(code for code in Code if 10 <= code <= 19) - {Code.EXPIRED}


@dataclass(frozen=True)
class InboxOutcome:
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

    event: str
    code: Code
    message: str = ""
    epoch: str | None = None
    proven: bool = False
    failures: tuple[tuple[str, int], ...] = ()
    final: bool = False

    def like(self, other: InboxOutcome | None) -> bool:
        """Whether it is the same; times and ports in a message make no difference."""
        return other is not None and _masked(self) == _masked(other)


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
        self._before, self._tried_with = self._recall()

    def held(self) -> InboxOutcome | None:
        """How the last round ended, where another try could only end the same; else ``None``."""
        before = self._before
        if before is None or not before.final or self._tried_with != self._passphrase:
            return None
        if before.epoch is None:
            return before
        entry = self._scope.journal.entry(before.epoch)
        whole = entry is not None and set(entry.receipts()) >= set(self._scope.config.target)
        return before if entry is not None and whole and not entry.proven() else None

    def scope(self) -> KeyScope:
        """The run's scope, whose ledger gets only what has changed since the round before."""
        own = {item.name: getattr(self._scope, item.name) for item in fields(KeyScope)}
        return _InboxScope(**own, inbox=self)

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
        outcome = InboxOutcome(
            event.kind,
            code,
            (event.message or "") if isinstance(event, Failure) else "",
            event.epoch or None,
            isinstance(event, EscrowEvent) and event.proven,
            tuple(sorted(event.failures.items())) if isinstance(event, EscrowEvent) else (),
            final,
        )
        if not outcome.like(self._before):
            self._scope.record_event(event)
        self._keep(outcome)

    def forget(self) -> None:
        """The export was put aside: the next one is a new story, even with the same bytes."""
        self._file.unlink(missing_ok=True)

    def _keep(self, outcome: InboxOutcome) -> None:
        files.private_directory(self._file.parent)
        document = {
            "schema": SCHEMA,
            "subject": self._subject,
            "passphrase_file": self._passphrase,
            "outcome": asdict(outcome) | {"code": int(outcome.code)},
        }
        files.replace(self._file, json.dumps(document).encode())
        self._before, self._tried_with = outcome, self._passphrase

    def _recall(self) -> tuple[InboxOutcome | None, str]:
        try:
            told = json.loads(self._file.read_bytes())
            if told["schema"] != SCHEMA or told["subject"] != self._subject:
                return None, ""
            kept = told["outcome"]
            kept["code"] = Code(kept["code"])
            kept["failures"] = tuple((str(name), int(code)) for name, code in kept["failures"])
            return InboxOutcome(**kept), str(told["passphrase_file"])
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return None, ""  # where it is damaged the export is tried, as if it were new
        except OSError as error:
            raise LocalFilesProblem(
                f"cannot read {self._file}: {error.strerror or error}", hint="check its permissions"
            ) from error


@dataclass(frozen=True)
class _InboxScope(KeyScope):
    inbox: InboxState = field(kw_only=True)

    def record_event(self, event: Event, *, final: bool = False) -> None:
        if event.kind in ("escrow", "escrow-failed"):
            assert isinstance(event, EscrowEvent | Failure)
            self.inbox.enter(event, final=final)
        else:
            super().record_event(event, final=final)


def _masked(outcome: InboxOutcome) -> InboxOutcome:
    return replace(outcome, message=re.sub(r"[0-9]+", "0", outcome.message))


def _mark(path: str | None) -> str:
    """What changes when a file does, without its content; empty where there is none."""
    if path is None:
        return ""
    try:
        facts = Path(path).stat()
    except OSError:
        return ""
    return f"{facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"
