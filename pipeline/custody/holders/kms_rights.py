"""What an identity may do with a KMS key, tried on a text that is not secret; KMS keeps nothing of it.

What should be refused is asked for as a dry run, which a server that does not know dry runs carries out:
encrypting and decrypting change nothing. Other rights cannot be tried without an effect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import Code, Denied, OrgkeyError
from pipeline.core.finding import Finding, Level

if TYPE_CHECKING:
    from pipeline.providers.aws.session import AwsSession

# With the names that a binding has: a narrow key policy permits no others.
_PROBE = {"fingerprint": "orgkey-doctor", "record_id": "orgkey-doctor"}
_GARBAGE = b"orgkey-doctor"
_PERMITTED = {"DryRunOperationException", "InvalidCiphertextException"}


def check(
    session: AwsSession, subject: str, key: str, sealer: Callable[[], AwsSession] | None = None
) -> list[Finding]:
    """Compare what the session's identity may do with what its role needs.

    Args:
        session: The login.
        subject: What the findings are about: ``holder aws``.
        key: The key's ARN, id or alias.
        sealer: Gives the writer's login, which makes a text for others to try to open.
    """
    if session.role == "writer":
        return _writer(session, subject, key)
    if session.role == "administrator" or not session.apart:
        return []  # the driller may be logged in as the writer, who encrypts
    surplus, findings, probe = [], [], None
    for action in ("encrypt",) if session.role == "driller" else ("encrypt", "decrypt"):
        asked: dict[str, bytes] = {"Plaintext": b"probe"}
        if action == "decrypt":
            asked = {"CiphertextBlob": probe or _made(sealer, subject, key) or _GARBAGE}
        try:
            probe = _dry(session, subject, action, KeyId=key, **asked)
            surplus.append(f"kms:{action.capitalize()}")
        except Denied:
            continue
        except OrgkeyError as error:
            findings.append(Finding(Level.WARN, subject, error.message, error.hint))
    if surplus:
        who = {"kms:Encrypt": "only the writer needs it", "kms:Decrypt": "only the driller needs it"}
        why = who[surplus[0]] if len(surplus) == 1 else f"the {session.role} needs neither"
        findings.insert(0, _surplus(session, subject, " and ".join(surplus), why))
    return findings


def _made(sealer: Callable[[], AwsSession] | None, subject: str, key: str) -> bytes | None:
    """A text that the key opens, made by the writer; ``None`` where it cannot be made here."""
    if sealer is None:
        return None
    try:
        return _sealed(sealer(), subject, key)
    except OrgkeyError:
        return None  # the writer's own check says it


def _sealed(writer: AwsSession, subject: str, key: str) -> bytes:
    return bytes(
        writer.call(
            lambda client: client.encrypt(KeyId=key, Plaintext=b"probe", EncryptionContext=_PROBE),
            "kms",
            f"{subject}, try to encrypt",
        )["CiphertextBlob"]
    )


def _writer(session: AwsSession, subject: str, key: str) -> list[Finding]:
    try:
        probe = _sealed(session, subject, key)
    except OrgkeyError as error:
        return [Finding(Level.FAIL, subject, error.message, error.hint, error.code)]
    try:
        _dry(session, subject, "decrypt", KeyId=key, CiphertextBlob=probe)
    except Denied:
        return [Finding(Level.OK, subject, "the writer may encrypt, and no more")]
    except OrgkeyError as error:
        return [Finding(Level.WARN, subject, error.message, error.hint)]
    return [_surplus(session, subject, "kms:Decrypt", "only the driller needs it")]


def _surplus(session: AwsSession, subject: str, action: str, who: str) -> Finding:
    role = session.role
    # Where drills borrow the writer's login, it has to have both.
    return Finding(
        Level.FAIL if session.apart else Level.WARN,
        subject,
        f"the {role} may do more than it needs: {action}",
        f"take it out of the {role}'s policy and the key's; {who}",
        Code.USAGE if session.apart else Code.OK,
    )


def _dry(session: AwsSession, subject: str, operation: str, **asked: Any) -> bytes | None:
    """Ask without an effect; KMS answers a permitted dry run with an error of its own.

    Returns:
        The ciphertext, from a server that does not know dry runs.
    """
    from botocore.exceptions import ClientError

    def ask(client: Any) -> bytes | None:
        try:
            answer = getattr(client, operation)(**asked, EncryptionContext=_PROBE, DryRun=True)
        except ClientError as error:
            # What the identity may not do is refused before the ciphertext is looked at.
            if error.response.get("Error", {}).get("Code") not in _PERMITTED:
                raise
            return None
        return bytes(answer.get("CiphertextBlob") or b"") or None

    return session.call(ask, "kms", f"{subject}, try to {operation}")
