"""Get the session keys of backups: the one step that has the Org Key, which is then let go."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from pipeline.archive.catalog import Catalog
from pipeline.archive.run import KeyScope
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.custody.shares import passphrase
from pipeline.sources.backups.engine import SessionKey
from pipeline.sources.backups.session_keys import SessionKeys
from pipeline.sources.backups.sources import BackupSource
from pipeline.unseal.ceremony import UnsealRequest
from pipeline.unseal.unseal import unseal
from pipeline.workflows.backups import backup_map
from pipeline.workflows.backups.backup_map import Backup, EscrowedKey


@dataclass(frozen=True)
class PreparedBackup:
    """A backup, with its session key or the reason why there is none."""

    backup: Backup
    session: SessionKey | None = None
    key: EscrowedKey | None = None
    seconds: float = 0.0
    problem: str | None = None
    code: Code = Code.OK
    hint: str | None = None


def prepare(
    context: KeyScope, surveys: Sequence[Catalog], sources: Sequence[BackupSource], unsealing: UnsealRequest
) -> tuple[list[PreparedBackup], tuple[Code, ...]]:
    """Get all session keys, and what keeps other keys away; the Org Keys are at hand only here."""
    keys = backup_map.escrowed(surveys)
    missed = backup_map.missing(surveys)
    with ExitStack() as stack:
        keyring = _Keyring(context, unsealing, surveys, stack)
        found = {
            id(backup.source): _unlock(backup, keyring, missed)
            for backup in backup_map.map_backups(sources, keys, missed)
        }
    return [found[id(source)] for source in sources], missed


class _Keyring:
    """The escrowed keys, each recovered when the first backup asks for it."""

    def __init__(
        self, context: KeyScope, unsealing: UnsealRequest, surveys: Sequence[Catalog], stack: ExitStack
    ) -> None:
        self._context = context
        self._estate = context.backends("driller")
        self._unsealing = unsealing
        self._records = [
            epoch.record for survey in surveys for epoch in survey.epochs if epoch.record is not None
        ]
        self._stack = stack
        self._openers: dict[tuple[str, str], SessionKeys | OrgkeyError] = {}

    def opener(self, key: EscrowedKey) -> SessionKeys:
        """The recovered key.

        Raises:
            OrgkeyError: It cannot be recovered.
        """
        epoch = (key.fingerprint, key.epoch.name)
        if epoch not in self._openers:
            self._openers[epoch] = isolated(partial(self._recover, key), f"epoch {key.epoch.name}")
        found = self._openers[epoch]
        if isinstance(found, OrgkeyError):
            raise found
        return found

    def _recover(self, key: EscrowedKey) -> SessionKeys:
        record = key.epoch.record
        assert record is not None
        others = [other for other in self._records if other is not record]
        opened = unseal(record, self._estate, self._unsealing, others)
        self._context.reporter.progress(
            f"epoch {record.epoch}: the escrow passphrase is back by path {opened.path}"
        )
        return self._stack.enter_context(
            SessionKeys(
                record.keypair, passphrase.written(opened.raw), record.fingerprint, self._context.deadline
            )
        )


def _unlock(backup: Backup, keyring: _Keyring, missed: Sequence[Code]) -> PreparedBackup:
    if backup.head is None or not backup.keys:
        return PreparedBackup(backup, problem=backup.problem, code=backup.code, hint=backup.hint)
    failed: PreparedBackup | None = None
    for key in backup.keys:
        opener = isolated(partial(keyring.opener, key), f"epoch {key.epoch.name}")
        started = time.monotonic()
        session = (
            opener
            if isinstance(opener, OrgkeyError)
            else isolated(partial(opener.session_key, backup.head), "it")
        )
        if isinstance(session, OrgkeyError):  # another key may open it
            failed = failed or PreparedBackup(
                backup, key=key, problem=session.message, code=session.code, hint=session.hint
            )
            continue
        if session is not None:
            return PreparedBackup(backup, session, key, time.monotonic() - started)
    if failed is not None:
        return failed
    told = "no escrowed key opens it, although " + (
        "it names one: its beginning is damaged, or that part of the key is not escrowed"
        if backup.code is Code.OK
        else "all that can be read were tried"
        if missed
        else "all were tried"
    )
    return PreparedBackup(backup, problem=told, code=Code.STALE)
