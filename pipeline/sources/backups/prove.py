"""A drill's last proof: a recovered key opens a real backup, to its end."""

from __future__ import annotations

from pipeline.core.clock import Deadline
from pipeline.core.errors import ProofFailed
from pipeline.core.secret import Secret
from pipeline.sources.backups import read_backup
from pipeline.sources.backups.engine import ReadResult
from pipeline.sources.backups.session_keys import SessionKeys
from pipeline.sources.backups.sources import BackupSource
from pipeline.sources.backups.worker_client import WorkerClient


def opens(
    source: BackupSource, keypair: bytes, passphrase: Secret, fingerprint: str, deadline: Deadline
) -> ReadResult:
    """Open a backup with a recovered key.

    Args:
        source: The backup.
        keypair: The recovered transferable secret key.
        passphrase: The recovered escrow passphrase, as it protects the key.
        fingerprint: The key's.
        deadline: When to stop.

    Raises:
        ProofFailed: The backup is not encrypted to this key.
        IntegrityProblem: It was altered, damaged or cut off.
        OrgkeyError: It cannot be read.
    """
    about = read_backup.header_of(source)
    with SessionKeys(keypair, passphrase, fingerprint, deadline) as opener:
        key = opener.session_key(about)
    if key is None:
        raise ProofFailed(
            f"it is not encrypted to this key, but to {', '.join(about.key_ids)}",
            hint="`orgkey backups map` says which key it is for",
        )
    with WorkerClient() as reader:
        return read_backup.read(source, about, key, reader, deadline=deadline).result()
