"""A symmetric AWS KMS key as holder of a share.

The encryption context (fingerprint and record id) is authenticated: a share of another record does not
open. The key is named in both directions, so a ciphertext of a stranger's key is refused, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.core.errors import Denied, OrgkeyError, Unreachable, UsageProblem, WrongShare
from pipeline.core.finding import Finding, Level
from pipeline.core.secret import Secret
from pipeline.custody.holders import kms_rights
from pipeline.custody.holders.interface import Binding, Coordinates, SealedShare
from pipeline.custody.shares.way import way

if TYPE_CHECKING:
    from pipeline import config
    from pipeline.providers.aws.session import AwsSession

T = TypeVar("T")
SUFFIX = "kms"
_WRONG = {"InvalidCiphertextException", "IncorrectKeyException"}


@dataclass(frozen=True, slots=True)
class KmsKey:
    """What KMS says of a key.

    Attributes:
        arn: Its ARN; an alias is resolved once and never asked again.
        region: The region of the ARN.
        state: ``Enabled``, ``Disabled``, ``PendingDeletion``, ...
        symmetric: Whether it encrypts and decrypts with one key.
        managed_by_aws: Whether AWS, not the account, decides about its policy.
    """

    arn: str
    region: str
    state: str
    symmetric: bool
    managed_by_aws: bool


class KmsKeyHolder:
    """Seals a share to a KMS key and opens it again.

    Args:
        name: The holder's name.
        settings: Which key.
        session: The login.
        sealer: Gives the writer's login, with which a check makes a text to open.
    """

    kind = "aws-kms"
    unattended = True
    size = 1

    def __init__(
        self,
        name: str,
        settings: config.KmsHolderConfig,
        session: AwsSession,
        sealer: Callable[[], AwsSession] | None = None,
    ) -> None:
        self.name = name
        self._sealer = sealer
        self._settings = settings
        self._session = session
        self._facts: KmsKey | None = None

    def describe(self) -> Coordinates:
        """The key's ARN and region, and the endpoint where it is not AWS's own.

        Raises:
            UsageProblem: There is no such key, or it is not symmetric.
            Unreachable: It is disabled or will be deleted, or KMS does not answer.
            Denied, DeadlinePassed: KMS refuses, or there is no time.
        """
        facts = self._sound()
        place = self._settings
        return {
            "key_arn": facts.arn,
            "region": facts.region,
            "endpoint_url": place.endpoint_url,
            **way(place),
        }

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        """Encrypt the one share.

        Raises:
            UsageProblem: There is no such key, or it is not symmetric.
            Unreachable, Denied, DeadlinePassed: KMS does not answer, or refuses.
        """
        if len(shares) != 1:
            raise UsageProblem(
                f"holder {self.name} takes one share, not {len(shares)}", hint="a machine is 1 of 1"
            )
        arn = self._sound().arn
        plaintext = shares[0].reveal()

        def encrypt(client: Any) -> bytes:
            answer = client.encrypt(KeyId=arn, Plaintext=plaintext, EncryptionContext=binding.mapping())
            return taken(answer, "CiphertextBlob", bytes)

        blob = self._session.call(encrypt, "kms", f"holder {self.name}, seal")
        return [SealedShare(1, SUFFIX, blob, self.name)]

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        """Decrypt the share.

        Raises:
            WrongShare: It is damaged, or bound to another record or key.
            Unreachable, Denied, DeadlinePassed: KMS does not answer, or refuses.
        """
        from botocore.exceptions import ClientError, ParamValidationError

        def decrypt(client: Any) -> bytes:
            try:
                answer = client.decrypt(
                    KeyId=self._settings.key_id,
                    CiphertextBlob=sealed.data,
                    EncryptionContext=binding.mapping(),
                )
            except ClientError as error:
                if _code(error) not in _WRONG:
                    raise
                raise self._damaged() from None
            except ParamValidationError:  # empty, or longer than any ciphertext
                raise self._damaged() from None
            return taken(answer, "Plaintext", bytes)

        return Secret(self._session.call(decrypt, "kms", f"holder {self.name}, open"))

    def check(self) -> list[Finding]:
        """The key's state and rotation, and what this identity may do with it."""
        subject, role = f"holder {self.name}", self._session.role
        try:
            facts = self._read()
        except Denied as error:
            # Only a writer must describe the key.
            if role == "writer":
                return [Finding(Level.FAIL, subject, error.message, error.hint, error.code)]
            told = f"the {role} may not describe the key" + "; a drill shows the rest" * (role == "driller")
            return [
                Finding(Level.OK, subject, told),
                *kms_rights.check(self._session, subject, self._settings.key_id, self._sealer),
            ]
        except OrgkeyError as error:
            return [Finding(Level.FAIL, subject, error.message, error.hint, error.code)]
        try:
            accept(self.name, facts)
        except OrgkeyError as error:
            return [Finding(Level.FAIL, subject, error.message, error.hint, error.code)]
        findings = [Finding(Level.OK, subject, f"KMS key {facts.arn} is enabled")]
        if facts.managed_by_aws:
            findings.append(
                Finding(
                    Level.WARN,
                    subject,
                    "AWS manages this key: its policy cannot tell writer and driller apart",
                    "use a customer managed key",
                )
            )
        else:
            findings += self._rotation(facts)
        return findings + kms_rights.check(self._session, subject, facts.arn, self._sealer)

    def _rotation(self, facts: KmsKey) -> list[Finding]:
        try:
            rotates = self._session.call(
                lambda client: bool(client.get_key_rotation_status(KeyId=facts.arn)["KeyRotationEnabled"]),
                "kms",
                f"holder {self.name}, read its key's rotation",
            )
        except Denied:
            return []  # not needed for anything but this line
        except OrgkeyError as error:
            return [Finding(Level.WARN, f"holder {self.name}", error.message, error.hint)]
        if rotates:
            return [Finding(Level.OK, f"holder {self.name}", "the key is rotated every year")]
        return [
            Finding(
                Level.WARN,
                f"holder {self.name}",
                "the key is not rotated",
                f"aws kms enable-key-rotation --key-id {facts.arn}; old shares stay open",
            )
        ]

    def _sound(self) -> KmsKey:
        """The key's facts, read once; refused when it cannot hold a share."""
        if self._facts is None:
            facts = self._read()
            accept(self.name, facts)
            self._facts = facts
        return self._facts

    def _read(self) -> KmsKey:
        from botocore.exceptions import ClientError

        def read(client: Any) -> KmsKey:
            try:
                return judge(taken(client.describe_key(KeyId=self._settings.key_id), "KeyMetadata", dict))
            except ClientError as error:
                if _code(error) not in ("NotFoundException", "InvalidArnException"):
                    raise
                raise UsageProblem(
                    f"holder {self.name}: there is no KMS key {self._settings.key_id} "
                    f"in {self._settings.region}",
                    hint="correct key_id, region and endpoint_url",
                ) from None

        return self._session.call(read, "kms", f"holder {self.name}, read its key")

    def _damaged(self) -> WrongShare:
        return WrongShare(
            f"holder {self.name} cannot open its share: the ciphertext is damaged, "
            "or of another record or key",
            hint="take another copy with --from, or another path with --via",
        )


def taken(answer: Any, name: str, kind: type[T]) -> T:
    """Take a value out of an answer.

    Raises:
        LookupError: It is not there, or of another kind: what answers is not KMS, which the session says.
    """
    value = answer.get(name)
    if not isinstance(value, kind) or not value:
        raise LookupError(name)
    return value


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def judge(data: Any) -> KmsKey:
    """Take what matters from the answer to ``DescribeKey`` (its ``KeyMetadata``)."""
    arn = taken(data, "Arn", str)
    return KmsKey(
        arn=arn,
        region=arn.split(":")[3],
        state=str(data.get("KeyState", "Enabled" if data.get("Enabled") else "Disabled")),
        symmetric=data.get("KeyUsage", "ENCRYPT_DECRYPT") == "ENCRYPT_DECRYPT"
        and data.get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT",
        managed_by_aws=data.get("KeyManager") == "AWS",
    )


def accept(name: str, facts: KmsKey) -> None:
    """Refuse a key that cannot hold a share.

    Args:
        name: The holder's name.
        facts: What KMS says of its key.

    Raises:
        UsageProblem: It is not symmetric.
        Unreachable: It is disabled or will be deleted.
    """
    if not facts.symmetric:
        raise UsageProblem(
            f"holder {name}: KMS key {facts.arn} is not a symmetric encryption key",
            hint="make one with key spec SYMMETRIC_DEFAULT and usage ENCRYPT_DECRYPT",
        )
    if facts.state != "Enabled":
        dying = facts.state.startswith("Pending") and "Deletion" in facts.state
        cancel = f"cancel its deletion in time (aws kms cancel-key-deletion --key-id {facts.arn}), then "
        raise Unreachable(
            f"holder {name}: KMS key {facts.arn} is in state {facts.state}",
            hint=f"{cancel if dying else ''}enable the key (aws kms enable-key --key-id {facts.arn}): "
            "its shares open again",
            again=False,
        )
