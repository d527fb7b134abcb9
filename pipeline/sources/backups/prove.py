"""A drill's last proof: a recovered key opens a real backup, to its end."""

from __future__ import annotations

from pipeline.core.clock import Deadline
from pipeline.core.errors import ProofFailed
from pipeline.core.secret import Secret
from pipeline.sources.backups import reading
from pipeline.sources.backups.engine import Reading
from pipeline.sources.backups.opener import Opener
from pipeline.sources.backups.reader import Reader
from pipeline.sources.backups.sources import Source


def opens(
    source: Source, keypair: bytes, passphrase: Secret, fingerprint: str, deadline: Deadline
) -> Reading:
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
    about = reading.head_of(source)
    with Opener(keypair, passphrase, fingerprint, deadline) as opener:
        key = opener.session_key(about)
    if key is None:
        raise ProofFailed(
            f"it is not encrypted to this key, but to {', '.join(about.key_ids)}",
            hint="`orgkey backups map` says which key it is for",
        )
    with Reader() as reader:
        return reading.read(source, about, key, reader, deadline=deadline)
