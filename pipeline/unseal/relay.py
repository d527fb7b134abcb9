"""Hand a ceremony over to another operator: the shares so far, encrypted to that operator's certificate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import UsageProblem
from pipeline.core.files import os_errors
from pipeline.core.secret import Secret
from pipeline.custody.custodians import certificates
from pipeline.custody.custodians.certificates import Recipient

SECONDS = 60.0


def read_certificate(path: Path) -> Recipient:
    """Read and judge the next operator's certificate, as a custodian's is judged.

    Raises:
        LocalFilesProblem: The file cannot be read.
        UsageProblem: It holds not exactly one certificate, or nothing may be encrypted to it.
    """
    from pipeline.config.holders import Custodian
    from pipeline.openpgp.key import parsing

    with os_errors(f"cannot read {path}"):
        data = path.read_bytes()
    keys = parsing.read_all(data).keys
    if len(keys) != 1:
        raise UsageProblem(
            f"{path} holds {len(keys)} certificates, not one", hint="export the next operator's alone"
        )
    member = Custodian(fingerprint=keys[0].fingerprint)
    return certificates.recipient("hand-over", member, {member.fingerprint: keys[0]}, SystemClock().now())


def encrypt(shares: Sequence[Secret], to: Recipient) -> bytes:
    """Encrypt shares, one a line, to one operator.

    Returns:
        An armored OpenPGP message.

    Raises:
        ProofFailed: gpg does not take the certificate.
        ProgramMissing, DeadlinePassed: gpg is missing, or not done in time.
    """
    from pipeline.openpgp.gnupg.driver import GnuPG

    with GnuPG(Deadline(SECONDS)) as gpg:
        gpg.import_keys(to.certificate, {to.fingerprint: False})
        text = b"".join(words.reveal() + b"\n" for words in shares)
        return gpg.encrypt(text, f"{to.subkey}!", armor=True)
