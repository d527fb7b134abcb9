"""Who may do what in S3 and KMS: every cell of the table on real servers, and what wider policies do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.aws_calls import CALLS, shown, wrong_cells
from tests.support.commandline import Desk
from tools.permissions import IDENTITIES, Identity, Operation, aws

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

TABLE = (*aws.S3, *aws.KMS)


def refused(call: Callable[..., Any], *given: Any, code: str = "AccessDenied", **named: Any) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(*given, **named)
    assert caught.value.response["Error"]["Code"] == code


@pytest.fixture
def key() -> str:
    return f"orgkey/{uuid.uuid4().hex}/epoch.tar"


# -- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", shown(TABLE), ids=lambda item: item.name)
def test_every_cell_is_as_the_table_says(stack: Stack, operation: Operation) -> None:
    assert wrong_cells(stack, operation) == []


def test_every_row_is_run_but_for_these() -> None:
    assert [item.name for item in TABLE if item not in shown(TABLE)] == [
        "s3-set-lifecycle",
        "s3-set-encryption",
    ]
    assert {(item.name, who) for item in shown(TABLE) for who in item.untested} == {
        ("s3-overwrite", "writer")
    }
    assert all("untested here" in item.why for item in TABLE if item.untested)
    assert {item.name for item in shown(TABLE)} == set(CALLS)


def test_nobody_may_what_the_servers_here_do_not_have(stack: Stack) -> None:
    """The rows that are not run: no statement of the policy names their actions."""
    policy = json.loads(stack.s3("root").get_bucket_policy(Bucket=stack.state.bucket)["Policy"])
    named = {
        action
        for item in policy["Statement"]
        for action in ([item["Action"]] if isinstance(item["Action"], str) else item["Action"])
    }
    for item in TABLE:
        if item not in shown(TABLE):
            assert item.call not in named
    assert not [action for action in named if "*" in action]


# -- wider policies, and who notices --------------------------------------------------------------


def allow(stack: Stack, identity: str, *actions: str) -> None:
    """Add a statement to the bucket's policy."""
    root, bucket = stack.s3("root"), stack.state.bucket
    policy = json.loads(root.get_bucket_policy(Bucket=bucket)["Policy"])
    policy["Statement"].append(
        {
            "Effect": "Allow",
            "Principal": {"AWS": [f"orgkey{identity}"]},
            "Action": list(actions),
            "Resource": f"arn:aws:s3:::{bucket}/orgkey/*",
        }
    )
    root.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def allow_key(stack: Stack, identity: str, action: str, *, lift: str | None) -> None:
    """Add a statement to the key's policy, and take the identity out of a refusal."""
    root, arn = stack.kms("root"), stack.state.kms_key
    policy = json.loads(root.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])
    who = f"arn:aws:iam::123456789012:role/orgkey-{identity}"
    for item in policy["Statement"]:
        if lift is not None and item.get("Sid") == lift:
            spared = item["Condition"]["ArnNotEquals"]
            spared["aws:PrincipalArn"] = [spared["aws:PrincipalArn"], who]
    conditions = {
        item["Action"]: item["Condition"] for item in policy["Statement"] if item["Action"] == action
    }
    added = {"Effect": "Allow", "Principal": {"AWS": who}, "Action": action, "Resource": "*"}
    policy["Statement"].append({**added, "Condition": conditions[action]})
    root.put_key_policy(KeyId=arn, PolicyName="default", Policy=json.dumps(policy))


def all_wrong(stack: Stack, operations: tuple[Operation, ...]) -> list[tuple[str, Identity]]:
    return [cell for item in shown(operations) for cell in wrong_cells(stack, item)]


def doctor(desk: Desk) -> tuple[int, list[tuple[str, str]]]:
    """Its exit code, and what it fails on with the hint."""
    run = desk.run("doctor", "--json")
    failures = [item for item in run.document["findings"] if item["level"] == "fail"]
    return run.code, [(f"{item['subject']}: {item['message']}", item["hint"]) for item in failures]


@pytest.fixture
def own_desk(own_stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path) -> Desk:
    desk = Desk(fresh_place(own_stack), tmp_path)
    assert doctor(desk) == (0, [])
    return desk


def test_a_writer_that_may_delete_versions_is_one_wrong_cell_and_doctor_names_it(own_desk: Desk) -> None:
    allow(own_desk.stack, "writer", "s3:DeleteObjectVersion")
    assert all_wrong(own_desk.stack, aws.S3) == [("s3-delete-version", "writer")]
    said = "target s3: the writer may delete versions of records"
    assert doctor(own_desk) == (2, [(said, "deny s3:DeleteObjectVersion to the writer")])


@pytest.mark.parametrize(
    ("identity", "action", "lift", "row"),
    [
        ("writer", "kms:Decrypt", "NobodyElseOpens", "kms-decrypt"),
        ("driller", "kms:Encrypt", "NobodyElseSeals", "kms-encrypt"),
    ],
)
def test_a_key_policy_that_is_too_wide_is_one_wrong_cell_and_doctor_names_it(
    own_desk: Desk, identity: Identity, action: str, lift: str, row: str
) -> None:
    allow_key(own_desk.stack, identity, action, lift=None)
    assert all_wrong(own_desk.stack, aws.KMS) == []  # the refusal goes before
    allow_key(own_desk.stack, identity, action, lift=lift)
    assert all_wrong(own_desk.stack, aws.KMS) == [(row, identity)]
    code, ((said, _),) = doctor(own_desk)
    assert (code, said) == (2, f"holder aws: the {identity} may do more than it needs: {action}")


def test_an_auditor_with_the_right_to_open_is_named(place: Place, tmp_path: Path) -> None:
    desk, layout = Desk(place, tmp_path), place.stack.layout
    other = desk.write("auditor", layout.aws_credentials("driller").read_bytes())
    desk.edit(str(layout.aws_credentials("auditor")), str(other))
    code, failures = doctor(desk)
    assert code == 2
    assert "holder aws: the auditor may do more than it needs: kms:Decrypt" in [said for said, _ in failures]


def test_roles_with_one_login_are_a_failure_in_one_line(place: Place, tmp_path: Path) -> None:
    desk, layout = Desk(place, tmp_path), place.stack.layout
    desk.edit(str(layout.aws_credentials("auditor")), str(layout.aws_credentials("driller")))
    code, ((said, hint),) = doctor(desk)
    assert code == 2
    assert said == "identities: one login at s3 and aws for driller, auditor: it may what any of them needs"
    assert hint == "give each role a login of its own there"


def test_doctor_names_surplus_and_missing_rights_and_leaves_nothing(own_desk: Desk) -> None:
    root, bucket = own_desk.stack.s3("root"), own_desk.stack.state.bucket
    policy = root.get_bucket_policy(Bucket=bucket)["Policy"]
    for identity, action, said in (
        ("driller", "s3:PutObject", "the driller may write records"),
        ("driller", "s3:PutObjectRetention", "the driller may set retention"),
        ("writer", "s3:PutObjectLegalHold", "the writer may set legal holds"),
        ("driller", "s3:DeleteObjectVersion", "the driller may delete versions of records"),
    ):
        allow(own_desk.stack, identity, action)
        assert doctor(own_desk) == (2, [(f"target s3: {said}", f"deny {action} to the {identity}")])
        root.put_bucket_policy(Bucket=bucket, Policy=policy)
    narrow = json.loads(policy)
    narrow["Statement"] = [item for item in narrow["Statement"] if item["Sid"] != "WriterWrites"]
    root.put_bucket_policy(Bucket=bucket, Policy=json.dumps(narrow))
    code, ((missing, _),) = doctor(own_desk)
    assert code == 21
    assert missing == "target s3: the writer may not write records: it lacks s3:PutObject"
    listed = root.list_object_versions(Bucket=bucket)
    assert not listed.get("Versions")
    assert not listed.get("DeleteMarkers")


# -- beyond the table -----------------------------------------------------------------------------


def test_the_bucket_is_known_by_its_owner(stack: Stack, key: str) -> None:
    client, owner = stack.s3("writer"), stack.state.bucket_owner
    client.put_object(Bucket="orgkey", Key=key, Body=b"record", ExpectedBucketOwner=owner)
    refused(client.put_object, Bucket="orgkey", Key=key, Body=b"other", ExpectedBucketOwner="somebody")
    assert client.get_object(Bucket="orgkey", Key=key)["Body"].read() == b"record"


def test_a_write_happens_once(stack: Stack, key: str) -> None:
    client = stack.s3("writer")
    client.put_object(Bucket="orgkey", Key=key, Body=b"record", IfNoneMatch="*")
    refused(
        lambda: client.put_object(Bucket="orgkey", Key=key, Body=b"other", IfNoneMatch="*"),
        code="PreconditionFailed",
    )


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_retention_binds_everybody_and_root(stack: Stack, key: str, mode: str) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    version = stack.s3("writer").put_object(
        Bucket="orgkey", Key=key, Body=b"record", ObjectLockMode=mode, ObjectLockRetainUntilDate=until
    )["VersionId"]
    held = stack.s3("auditor").get_object_retention(Bucket="orgkey", Key=key, VersionId=version)["Retention"]
    assert held["Mode"] == mode
    assert abs(held["RetainUntilDate"] - until) < timedelta(seconds=2)
    for identity in ("root", *IDENTITIES):
        client = stack.s3(identity)
        refused(client.delete_object, Bucket="orgkey", Key=key, VersionId=version)
    sooner = {"Mode": mode, "RetainUntilDate": datetime.now(UTC) + timedelta(minutes=1)}
    for identity in ("root", "writer", "retention"):
        refused(
            stack.s3(identity).put_object_retention,
            Bucket="orgkey",
            Key=key,
            VersionId=version,
            Retention=sooner,
        )
    assert stack.s3("driller").get_object(Bucket="orgkey", Key=key)["VersionId"] == version


def test_nobody_bypasses_compliance(stack: Stack, key: str) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    version = stack.s3("writer").put_object(
        Bucket="orgkey", Key=key, Body=b"x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until
    )["VersionId"]
    for identity in ("root", *IDENTITIES):
        refused(
            stack.s3(identity).delete_object,
            Bucket="orgkey",
            Key=key,
            VersionId=version,
            BypassGovernanceRetention=True,
        )


def test_a_share_of_another_record_does_not_open(stack: Stack) -> None:
    name, context = stack.state.kms_key, {"fingerprint": "F", "record_id": "1"}
    sealed = stack.kms("writer").encrypt(KeyId=name, Plaintext=b"share", EncryptionContext=context)
    blob = sealed["CiphertextBlob"]
    opened = stack.kms("driller").decrypt(CiphertextBlob=blob, EncryptionContext=context)
    assert opened["Plaintext"] == b"share"
    refused(
        lambda: stack.kms("driller").decrypt(
            CiphertextBlob=blob, KeyId=name, EncryptionContext={**context, "record_id": "2"}
        ),
        code="InvalidCiphertextException",
    )
