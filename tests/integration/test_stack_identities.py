"""What the stack's two identities may do on the real servers, and what they may not."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pipeline.devstack.stack import Stack

CONTEXT = base64.b64encode(b"context").decode()
PLAIN = base64.b64encode(b"share").decode()
TRANSIT = {"name": "orgkey-escrow", "context": CONTEXT}


@pytest.fixture
def path() -> str:
    return f"records/{uuid.uuid4().hex}/epoch"


@pytest.fixture
def key() -> str:
    return f"orgkey/{uuid.uuid4().hex}/epoch.tar"


def entry(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "mount_point": "orgkey", **more}


def write(client: Any, path: str, value: str = "bytes") -> Any:
    return client.secrets.kv.v2.create_or_update_secret(**entry(path, secret={"record": value}, cas=0))


def read(client: Any, path: str) -> Any:
    answer = client.secrets.kv.v2.read_secret_version(**entry(path), raise_on_deleted_version=True)
    return answer["data"]["data"]


def denied(call: Callable[..., Any], *given: Any, **named: Any) -> None:
    from hvac.exceptions import Forbidden

    with pytest.raises(Forbidden):
        call(*given, **named)


def refused(call: Callable[..., Any], *given: Any, code: str = "AccessDenied", **named: Any) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(*given, **named)
    assert caught.value.response["Error"]["Code"] == code


def test_both_read_what_the_writer_wrote(stack: Stack, path: str) -> None:
    writer, driller = stack.vault("writer"), stack.vault("driller")
    assert write(writer, path)["data"]["version"] == 1
    for client in (writer, driller):
        assert read(client, path) == {"record": "bytes"}
        listed = client.secrets.kv.v2.list_secrets(**entry(path.rpartition("/")[0]))
        assert listed["data"]["keys"] == ["epoch"]
        metadata = client.secrets.kv.v2.read_secret_metadata(**entry(path))
        assert list(metadata["data"]["versions"]) == ["1"]


def test_neither_changes_or_removes_a_record(stack: Stack, path: str) -> None:
    write(stack.vault("writer"), path)
    for client in (stack.vault("writer"), stack.vault("driller")):
        kv = client.secrets.kv.v2
        denied(kv.create_or_update_secret, **entry(path, secret={"record": "other"}))
        denied(kv.create_or_update_secret, **entry(path, secret={"record": "other"}, cas=1))
        merge = {"Content-Type": "application/merge-patch+json"}
        patch = {"url": f"/v1/orgkey/data/{path}", "json": {"data": {"record": "other"}}, "headers": merge}
        denied(client.adapter.request, "patch", **patch)
        denied(kv.delete_latest_version_of_secret, **entry(path))
        denied(kv.delete_secret_versions, **entry(path, versions=[1]))
        denied(kv.destroy_secret_versions, **entry(path, versions=[1]))
        denied(kv.delete_metadata_and_all_versions, **entry(path))
        denied(kv.update_metadata, **entry(path, max_versions=1))
        assert read(client, path) == {"record": "bytes"}


def test_only_the_writer_writes_and_only_below_records(stack: Stack, path: str) -> None:
    denied(lambda: write(stack.vault("driller"), path))
    denied(lambda: write(stack.vault("writer"), f"elsewhere/{uuid.uuid4().hex}"))
    write(stack.vault("writer"), path)


def test_the_writer_seals_and_the_driller_opens(stack: Stack) -> None:
    writer, driller = stack.vault("writer").secrets.transit, stack.vault("driller").secrets.transit
    sealed = writer.encrypt_data(plaintext=PLAIN, **TRANSIT)["data"]["ciphertext"]
    assert driller.decrypt_data(ciphertext=sealed, **TRANSIT)["data"]["plaintext"] == PLAIN
    denied(lambda: writer.decrypt_data(ciphertext=sealed, **TRANSIT))
    denied(lambda: driller.encrypt_data(plaintext=PLAIN, **TRANSIT))


def test_the_transit_key_cannot_leave_or_be_changed(stack: Stack) -> None:
    for identity in ("writer", "driller"):
        transit = stack.vault(identity).secrets.transit
        facts = transit.read_key("orgkey-escrow")["data"]
        assert facts["derived"]
        assert not facts["exportable"]
        assert not facts["allow_plaintext_backup"]
        assert not facts["deletion_allowed"]
        denied(transit.delete_key, "orgkey-escrow")
        denied(transit.rotate_key, "orgkey-escrow")
        denied(transit.export_key, "orgkey-escrow", "encryption-key")
        denied(transit.update_key_configuration, "orgkey-escrow", deletion_allowed=True)


def test_a_mistyped_transit_key_is_not_made(stack: Stack) -> None:
    transit = stack.vault("writer").secrets.transit
    denied(lambda: transit.encrypt_data(name="orgkey-escrov", plaintext=PLAIN, context=CONTEXT))
    assert "orgkey-escrov" not in stack.vault("root").secrets.transit.list_keys()["data"]["keys"]


def test_tokens_are_short_and_know_themselves(stack: Stack) -> None:
    for identity in ("writer", "driller"):
        facts = stack.vault(identity).auth.token.lookup_self()["data"]
        assert facts["policies"] == [f"orgkey-{identity}"]
        assert facts["creation_ttl"] == 20 * 60


def test_both_read_and_list_s3(stack: Stack, key: str) -> None:
    version = stack.s3("writer").put_object(Bucket="orgkey", Key=key, Body=b"record")["VersionId"]
    for identity in ("writer", "driller"):
        client = stack.s3(identity)
        got = client.get_object(Bucket="orgkey", Key=key, VersionId=version)
        assert got["Body"].read() == b"record"
        listed = client.list_object_versions(Bucket="orgkey", Prefix=key)
        assert [item["VersionId"] for item in listed["Versions"]] == [version]
        assert client.get_bucket_versioning(Bucket="orgkey")["Status"] == "Enabled"
        lock = client.get_object_lock_configuration(Bucket="orgkey")["ObjectLockConfiguration"]
        assert lock["ObjectLockEnabled"] == "Enabled"


def test_the_bucket_is_known_by_its_owner(stack: Stack, key: str) -> None:
    client, owner = stack.s3("writer"), stack.state.bucket_owner
    client.put_object(Bucket="orgkey", Key=key, Body=b"record", ExpectedBucketOwner=owner)
    refused(client.put_object, Bucket="orgkey", Key=key, Body=b"other", ExpectedBucketOwner="somebody")
    assert client.get_object(Bucket="orgkey", Key=key)["Body"].read() == b"record"


def test_neither_deletes_from_s3(stack: Stack, key: str) -> None:
    version = stack.s3("writer").put_object(Bucket="orgkey", Key=key, Body=b"record")["VersionId"]
    for identity in ("writer", "driller"):
        client = stack.s3(identity)
        refused(client.delete_object, Bucket="orgkey", Key=key)
        refused(client.delete_object, Bucket="orgkey", Key=key, VersionId=version)
        refused(client.put_bucket_policy, Bucket="orgkey", Policy="{}")
    assert stack.s3("driller").get_object(Bucket="orgkey", Key=key)["VersionId"] == version


def test_only_the_writer_writes_to_s3_and_only_below_its_prefix(stack: Stack, key: str) -> None:
    refused(lambda: stack.s3("driller").put_object(Bucket="orgkey", Key=key, Body=b"record"))
    refused(lambda: stack.s3("writer").put_object(Bucket="orgkey", Key="elsewhere", Body=b"record"))
    assert "Contents" not in stack.s3("root").list_objects_v2(Bucket="orgkey", Prefix=key)


def test_a_write_happens_once(stack: Stack, key: str) -> None:
    client = stack.s3("writer")
    client.put_object(Bucket="orgkey", Key=key, Body=b"record", IfNoneMatch="*")
    refused(
        lambda: client.put_object(Bucket="orgkey", Key=key, Body=b"other", IfNoneMatch="*"),
        code="PreconditionFailed",
    )


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_retention_binds_writer_driller_and_root(stack: Stack, key: str, mode: str) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    version = stack.s3("writer").put_object(
        Bucket="orgkey", Key=key, Body=b"record", ObjectLockMode=mode, ObjectLockRetainUntilDate=until
    )["VersionId"]
    held = stack.s3("driller").get_object_retention(Bucket="orgkey", Key=key, VersionId=version)["Retention"]
    assert held["Mode"] == mode
    assert abs(held["RetainUntilDate"] - until) < timedelta(seconds=2)
    for identity in ("root", "writer", "driller"):
        client = stack.s3(identity)
        refused(client.delete_object, Bucket="orgkey", Key=key, VersionId=version)
    sooner = {"Mode": mode, "RetainUntilDate": datetime.now(UTC) + timedelta(minutes=1)}
    refused(
        lambda: stack.s3("writer").put_object_retention(
            Bucket="orgkey", Key=key, VersionId=version, Retention=sooner
        )
    )
    assert stack.s3("driller").get_object(Bucket="orgkey", Key=key)["VersionId"] == version


def test_only_root_may_bypass_governance_and_nobody_compliance(stack: Stack, key: str) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    versions = {
        mode: stack.s3("writer").put_object(
            Bucket="orgkey", Key=key + mode, Body=b"x", ObjectLockMode=mode, ObjectLockRetainUntilDate=until
        )["VersionId"]
        for mode in ("GOVERNANCE", "COMPLIANCE")
    }

    def bypass(identity: str, mode: str) -> Any:
        return stack.s3(identity).delete_object(
            Bucket="orgkey", Key=key + mode, VersionId=versions[mode], BypassGovernanceRetention=True
        )

    refused(lambda: bypass("writer", "GOVERNANCE"))
    refused(lambda: bypass("driller", "GOVERNANCE"))
    refused(lambda: bypass("root", "COMPLIANCE"))
    bypass("root", "GOVERNANCE")


def test_kms_lets_the_writer_encrypt_and_the_driller_decrypt(stack: Stack) -> None:
    name, context = stack.state.kms_key, {"record_id": "1"}
    sealed = stack.kms("writer").encrypt(KeyId=name, Plaintext=b"share", EncryptionContext=context)
    blob = sealed["CiphertextBlob"]
    opened = stack.kms("driller").decrypt(CiphertextBlob=blob, KeyId=name, EncryptionContext=context)
    assert opened["Plaintext"] == b"share"
    assert stack.kms("writer").describe_key(KeyId=name)["KeyMetadata"]["Enabled"]
    refused(
        lambda: stack.kms("writer").decrypt(CiphertextBlob=blob, KeyId=name, EncryptionContext=context),
        code="AccessDeniedException",
    )
    refused(
        lambda: stack.kms("driller").encrypt(KeyId=name, Plaintext=b"share", EncryptionContext=context),
        code="AccessDeniedException",
    )
    refused(
        lambda: stack.kms("driller").decrypt(
            CiphertextBlob=blob, KeyId=name, EncryptionContext={"record_id": "2"}
        ),
        code="InvalidCiphertextException",
    )
    for identity in ("writer", "driller"):
        refused(stack.kms(identity).schedule_key_deletion, KeyId=name, code="AccessDeniedException")
