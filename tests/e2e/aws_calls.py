"""The calls behind the rows of tools/permissions/aws.py, each on things made for it alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tools.permissions import IDENTITIES, Identity, Operation

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

REFUSED = {"s3": "AccessDenied", "kms": "AccessDeniedException"}
NO_BODY = {"s3-head-record": "403"}  # the answer to a HEAD has no code of its own
Call = Callable[[Any, "Scene"], Any]
BODY = b"bytes"


@dataclass
class Scene:
    """What a row works on: made by the stack's root, once, and read or spent by its calls."""

    stack: Stack
    corner: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def bucket(self) -> dict[str, str]:
        return {"Bucket": self.stack.state.bucket}

    def fresh(self, below: str = "orgkey", ending: str = ".tar") -> dict[str, str]:
        """A key that nobody has used."""
        return {**self.bucket, "Key": f"{below}/{self.corner}/{uuid.uuid4().hex}{ending}"}

    def stored(self, below: str = "orgkey", ending: str = ".tar", **more: Any) -> dict[str, str]:
        """A key with an object."""
        where = self.fresh(below, ending)
        return {**where, "VersionId": self.root.put_object(**where, Body=BODY, **more)["VersionId"]}

    def locked(self, ending: str = ".tar") -> dict[str, str]:
        """A key with an object that is locked for three days."""
        return self.stored(ending=ending, **lock(3))

    @property
    def root(self) -> Any:
        return self.stack.s3("root")

    @cached_property
    def key(self) -> str:
        """A KMS key of this scene's own, with the policy of the stack's."""
        root = self.stack.kms("root")
        policy = root.get_key_policy(KeyId=self.stack.state.kms_key, PolicyName="default")["Policy"]
        return str(root.create_key(Policy=policy)["KeyMetadata"]["Arn"])

    @property
    def bound(self) -> dict[str, str]:
        """An encryption context as our holder's."""
        return {"fingerprint": "A" * 40, "record_id": self.corner}

    def sealed(self, context: Mapping[str, str]) -> bytes:
        root = self.stack.kms("root")
        return bytes(
            root.encrypt(KeyId=self.key, Plaintext=BODY, EncryptionContext=context)["CiphertextBlob"]
        )


def lock(days: int) -> dict[str, Any]:
    return {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": later(days)}


def later(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def retain(client: Any, where: Mapping[str, str], days: int, **more: Any) -> None:
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": later(days)}
    client.put_object_retention(**where, Retention=retention, **more)


def read(client: Any, where: Mapping[str, str]) -> None:
    assert client.get_object(**where)["Body"].read() == BODY


def unversioned(where: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in where.items() if name != "VersionId"}


def set_policy(client: Any, scene: Scene) -> None:
    client.put_bucket_policy(**scene.bucket, Policy=scene.root.get_bucket_policy(**scene.bucket)["Policy"])


def drop_policy(client: Any, scene: Scene) -> None:
    # On a bucket of its own, to which the stack's policy is given: the shared one needs its.
    name = f"drop-{uuid.uuid4().hex}"
    scene.root.create_bucket(Bucket=name)
    policy = scene.root.get_bucket_policy(**scene.bucket)["Policy"]
    own = policy.replace(f"arn:aws:s3:::{scene.bucket['Bucket']}", f"arn:aws:s3:::{name}")
    scene.root.put_bucket_policy(Bucket=name, Policy=own)
    try:
        client.delete_bucket_policy(Bucket=name)
    finally:
        scene.root.delete_bucket(Bucket=name)


def delete_bucket(client: Any, scene: Scene) -> None:
    name = f"drop-{uuid.uuid4().hex}"
    scene.root.create_bucket(Bucket=name)
    policy = scene.root.get_bucket_policy(**scene.bucket)["Policy"]
    own = policy.replace(f"arn:aws:s3:::{scene.bucket['Bucket']}", f"arn:aws:s3:::{name}")
    scene.root.put_bucket_policy(Bucket=name, Policy=own)
    client.delete_bucket(Bucket=name)


def seal(client: Any, scene: Scene, context: Mapping[str, str]) -> None:
    client.encrypt(KeyId=scene.key, Plaintext=BODY, EncryptionContext=context)


def unseal(client: Any, scene: Scene, context: Mapping[str, str]) -> None:
    blob = scene.sealed(context)
    assert (
        client.decrypt(KeyId=scene.key, CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == BODY
    )


def re_encrypt(client: Any, scene: Scene) -> None:
    client.re_encrypt(
        CiphertextBlob=scene.sealed(scene.bound),
        SourceKeyId=scene.key,
        SourceEncryptionContext=scene.bound,
        DestinationKeyId=scene.key,
        DestinationEncryptionContext=scene.bound,
    )


def set_key_policy(client: Any, scene: Scene) -> None:
    policy = scene.stack.kms("root").get_key_policy(KeyId=scene.key, PolicyName="default")["Policy"]
    client.put_key_policy(KeyId=scene.key, PolicyName="default", Policy=policy)


def disable(client: Any, scene: Scene) -> None:
    client.disable_key(KeyId=scene.key)
    scene.stack.kms("root").enable_key(KeyId=scene.key)


def schedule(client: Any, scene: Scene) -> None:
    client.schedule_key_deletion(KeyId=scene.key, PendingWindowInDays=30)
    root = scene.stack.kms("root")
    root.cancel_key_deletion(KeyId=scene.key)
    root.enable_key(KeyId=scene.key)


LEDGER = "/ledger/0123456789abcdef/000000001.json"
CALLS: Mapping[str, Call] = {
    "s3-make-record": lambda c, s: c.put_object(**s.fresh(), Body=BODY, IfNoneMatch="*"),
    "s3-make-locked": lambda c, s: c.put_object(**s.fresh(), Body=BODY, IfNoneMatch="*", **lock(1)),
    "s3-overwrite": lambda c, s: c.put_object(**unversioned(s.stored()), Body=b"other"),
    "s3-put-outside": lambda c, s: c.put_object(**s.fresh("elsewhere"), Body=BODY, IfNoneMatch="*"),
    "s3-read-record": lambda c, s: read(c, s.stored()),
    "s3-head-record": lambda c, s: c.head_object(**unversioned(s.stored())),
    "s3-attributes": lambda c, s: c.get_object_attributes(
        **unversioned(s.stored()), ObjectAttributes=["ObjectSize"]
    ),
    "s3-read-outside": lambda c, s: read(c, unversioned(s.stored("elsewhere"))),
    "s3-list": lambda c, s: c.list_object_versions(**s.bucket, Prefix=f"orgkey/{s.corner}"),
    "s3-see-retention": lambda c, s: c.get_object_retention(**s.locked()),
    "s3-write-ledger": lambda c, s: c.put_object(**s.fresh(ending=LEDGER), Body=BODY, IfNoneMatch="*"),
    "s3-read-ledger": lambda c, s: read(c, s.stored(ending=LEDGER)),
    "s3-hide": lambda c, s: c.delete_object(**unversioned(s.stored())),
    "s3-delete-version": lambda c, s: c.delete_object(**s.stored()),
    "s3-delete-locked": lambda c, s: c.delete_object(**s.locked(), BypassGovernanceRetention=True),
    "s3-extend": lambda c, s: retain(c, s.locked(), 4),
    "s3-extend-ledger": lambda c, s: retain(c, s.locked(LEDGER), 4),
    "s3-shorten": lambda c, s: retain(c, s.locked(), 1, BypassGovernanceRetention=True),
    "s3-hold": lambda c, s: c.put_object_legal_hold(**s.stored(), LegalHold={"Status": "ON"}),
    "s3-tag": lambda c, s: c.put_object_tagging(
        **unversioned(s.stored()), Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
    ),
    "s3-see-versioning": lambda c, s: c.get_bucket_versioning(**s.bucket),
    "s3-see-lock": lambda c, s: c.get_object_lock_configuration(**s.bucket),
    "s3-see-policy": lambda c, s: c.get_bucket_policy(**s.bucket),
    "s3-see-public": lambda c, s: c.get_bucket_policy_status(**s.bucket),
    "s3-set-policy": set_policy,
    "s3-drop-policy": drop_policy,
    # To what it is: suspending would touch the whole bucket, and is the same right.
    "s3-set-versioning": lambda c, s: c.put_bucket_versioning(
        **s.bucket, VersioningConfiguration={"Status": "Enabled"}
    ),
    "s3-set-lock": lambda c, s: c.put_object_lock_configuration(
        **s.bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    ),
    "s3-set-owner": lambda c, s: c.put_bucket_ownership_controls(
        **s.bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    ),
    "s3-delete-bucket": delete_bucket,
    "kms-encrypt": lambda c, s: seal(c, s, s.bound),
    "kms-encrypt-unbound": lambda c, s: seal(c, s, {"purpose": "other"}),
    "kms-decrypt": lambda c, s: unseal(c, s, s.bound),
    "kms-decrypt-unbound": lambda c, s: unseal(c, s, {"record_id": s.corner}),
    "kms-data-key": lambda c, s: c.generate_data_key(
        KeyId=s.key, KeySpec="AES_256", EncryptionContext=s.bound
    ),
    "kms-re-encrypt": re_encrypt,
    "kms-describe": lambda c, s: c.describe_key(KeyId=s.key),
    "kms-see-rotation": lambda c, s: c.get_key_rotation_status(KeyId=s.key),
    "kms-see-policy": lambda c, s: c.get_key_policy(KeyId=s.key, PolicyName="default"),
    "kms-set-policy": set_key_policy,
    "kms-grant": lambda c, s: c.create_grant(
        KeyId=s.key, GranteePrincipal="arn:aws:iam::123456789012:role/other", Operations=["Decrypt"]
    ),
    "kms-disable": disable,
    "kms-delete": schedule,
    "kms-stop-rotation": lambda c, s: c.disable_key_rotation(KeyId=s.key),
    "kms-alias": lambda c, s: c.create_alias(AliasName=f"alias/{uuid.uuid4().hex}", TargetKeyId=s.key),
}


def shown(operations: Iterable[Operation]) -> list[Operation]:
    """The rows of which at least one cell can be shown here."""
    return [item for item in operations if len(item.untested) < len(IDENTITIES)]


def wrong_cells(stack: Stack, operation: Operation) -> list[tuple[str, Identity]]:
    """Run a row: somebody who may, everybody else, and somebody who may again.

    Returns:
        The cells that differ from the table.
    """
    from botocore.exceptions import ClientError

    service = operation.name.partition("-")[0]
    call, scene, clients = CALLS[operation.name], Scene(stack), getattr(stack, service)
    twin = min(operation.allowed, default="root")
    call(clients(twin), scene)
    wrong: list[tuple[str, Identity]] = []
    for identity in IDENTITIES:
        if identity in operation.untested:
            continue
        try:
            call(clients(identity), scene)
            may = True
        except ClientError as error:
            if error.response["Error"]["Code"] != NO_BODY.get(operation.name, REFUSED[service]):
                raise
            may = False
        if may != (identity in operation.allowed):
            wrong.append((operation.name, identity))
    call(clients(twin), scene)
    return wrong
