"""A symmetric AWS KMS key as holder of a share.

The encryption context (fingerprint and record id) is authenticated: a share of another record does not
open. The key is named in both directions, so a ciphertext of a stranger's key is refused, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pipeline.core.errors import Denied, NotEnoughShares, OrgkeyError, Unreachable, UsageProblem
from pipeline.core.finding import Finding, Level
from pipeline.core.secret import Secret
from pipeline.core.text import shell_word
from pipeline.custody.holders import kms_rights
from pipeline.custody.holders.interface import Binding, Coordinates, SealedShare
from pipeline.custody.holders.machine import Machine, way

if TYPE_CHECKING:
    from pipeline.config.holders import KmsHolderConfig
    from pipeline.providers.aws.session import AwsSession

T = TypeVar("T")
_WRONG: Final = {"InvalidCiphertextException", "IncorrectKeyException"}
_ABSENT: Final = {"NotFoundException", "InvalidArnException"}


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

    @classmethod
    def judge(cls, data: Any) -> KmsKey:
        """Take what matters from the answer to ``DescribeKey`` (its ``KeyMetadata``)."""
        arn = taken(data, "Arn", str)
        return cls(
            arn=arn,
            region=arn.split(":")[3],
            state=str(data.get("KeyState", "Enabled" if data.get("Enabled") else "Disabled")),
            symmetric=data.get("KeyUsage", "ENCRYPT_DECRYPT") == "ENCRYPT_DECRYPT"
            and data.get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT",
            managed_by_aws=data.get("KeyManager") == "AWS",
        )


class KmsKeyHolder(Machine[KmsKey]):
    """Seals a share to a KMS key and opens it again.

    Args:
        name: The holder's name.
        settings: Which key.
        session: The login.
        sealer: Gives the writer's login, with which a check makes a text to open.
    """

    kind = "aws-kms"
    suffix = "kms"

    def __init__(
        self,
        name: str,
        settings: KmsHolderConfig,
        session: AwsSession,
        sealer: Callable[[], AwsSession] | None = None,
    ) -> None:
        super().__init__(name)
        self._sealer = sealer
        self._settings = settings
        self._session = session

    def describe(self) -> Coordinates:
        """The key's ARN and region, and the endpoint where it is not AWS's own.

        Raises:
            UsageProblem: There is no such key, or it is not symmetric.
            Unreachable: It is disabled or will be deleted, or KMS does not answer.
            Denied, DeadlinePassed: KMS refuses, or there is no time.
        """
        key, place = self._sound, self._settings
        coordinates = {"key_arn": key.arn, "region": key.region, "endpoint_url": place.endpoint_url}
        return {**coordinates, **way(place)}

    def _encrypt(self, plaintext: bytes, binding: Binding) -> bytes:
        arn = self._sound.arn

        def encrypt(client: Any) -> bytes:
            answer = client.encrypt(KeyId=arn, Plaintext=plaintext, EncryptionContext=binding.mapping())
            return taken(answer, "CiphertextBlob", bytes)

        return self._session.call(encrypt, "kms", f"{self.what}, seal")

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        """Decrypt the share.

        Raises:
            WrongShare: It is damaged, or bound to another record or key.
            NotEnoughShares: There is no such key.
            Unreachable, Denied, DeadlinePassed: KMS does not answer, or refuses.
        """
        from botocore.exceptions import ClientError, ParamValidationError

        asked = {"KeyId": self._settings.key_id, "CiphertextBlob": sealed.data}

        def decrypt(client: Any) -> bytes:
            try:
                answer = client.decrypt(**asked, EncryptionContext=binding.mapping())
            except ClientError as error:
                if _code(error) in _ABSENT:
                    raise self._absent(NotEnoughShares) from None
                if _code(error) not in _WRONG:
                    raise
                raise self._damaged() from None
            except ParamValidationError:  # empty, or longer than any ciphertext
                raise self._damaged() from None
            return taken(answer, "Plaintext", bytes)

        return Secret(self._session.call(decrypt, "kms", f"{self.what}, open"))

    def check(self) -> list[Finding]:
        """The key's state and rotation, and what this identity may do with it."""
        role = self._session.role
        try:
            key = self._read()
            self._accept(key)
        except OrgkeyError as error:
            # Only a writer must describe the key.
            if role == "writer" or not isinstance(error, Denied):
                return [self._failed(error)]
            told = f"the {role} may not describe the key" + "; a drill shows the rest" * (role == "driller")
            return [Finding(Level.OK, self.what, told), *self._rights(self._settings.key_id)]
        findings = [Finding(Level.OK, self.what, f"KMS key {key.arn} is enabled")]
        if key.managed_by_aws:
            told = "AWS manages this key: its policy cannot tell writer and driller apart"
            findings.append(Finding(Level.WARN, self.what, told, "use a customer managed key"))
        else:
            findings += self._rotation(key)
        return findings + self._rights(key.arn)

    def _rights(self, key: str) -> list[Finding]:
        return kms_rights.check(self._session, self.what, key, self._sealer)

    def _rotation(self, key: KmsKey) -> list[Finding]:
        try:
            rotates = self._session.call(
                lambda client: bool(client.get_key_rotation_status(KeyId=key.arn)["KeyRotationEnabled"]),
                "kms",
                f"{self.what}, read its key's rotation",
            )
        except Denied:
            return []  # not needed for anything but this line
        except OrgkeyError as error:
            return [Finding(Level.WARN, self.what, error.message, error.hint)]
        if rotates:
            return [Finding(Level.OK, self.what, "the key is rotated every year")]
        hint = f"{self._command('enable-key-rotation', key.arn)}; old shares stay open"
        return [Finding(Level.WARN, self.what, "the key is not rotated", hint)]

    def _read(self) -> KmsKey:
        from botocore.exceptions import ClientError

        place = self._settings

        def read(client: Any) -> KmsKey:
            try:
                return KmsKey.judge(taken(client.describe_key(KeyId=place.key_id), "KeyMetadata", dict))
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise
                raise self._absent(UsageProblem) from None

        return self._session.call(read, "kms", f"{self.what}, read its key")

    def _command(self, verb: str, arn: str) -> str:
        """What an administrator types: by itself the command does not ask the region that an ARN names."""
        place = self._settings
        own = f" --endpoint-url {shell_word(place.endpoint_url)}" if place.endpoint_url else ""
        return f"aws kms {verb} --region {place.region}{own} --key-id {shell_word(arn)}"

    def _absent(self, kind: type[OrgkeyError]) -> OrgkeyError:
        place = self._settings
        return kind(
            f"{self.what}: there is no KMS key {place.key_id} in {place.region}",
            hint="correct key_id, region and endpoint_url; a deleted key never comes back: take another path",
        )

    def _accept(self, facts: KmsKey) -> None:
        """Refuse a key that cannot hold a share.

        Raises:
            UsageProblem: It is not symmetric.
            Unreachable: It is disabled or will be deleted.
        """
        if not facts.symmetric:
            raise UsageProblem(
                f"{self.what}: KMS key {facts.arn} is not a symmetric encryption key",
                hint="make one with key spec SYMMETRIC_DEFAULT and usage ENCRYPT_DECRYPT",
            )
        if facts.state != "Enabled":
            dying = facts.state.startswith("Pending") and "Deletion" in facts.state
            cancel = f"cancel its deletion in time ({self._command('cancel-key-deletion', facts.arn)}), then "
            raise Unreachable(
                f"{self.what}: KMS key {facts.arn} is in state {facts.state}",
                hint=f"{cancel if dying else ''}enable the key ({self._command('enable-key', facts.arn)}): "
                "its shares open again",
                again=False,
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
