"""The templates of `infra/aws/`: without findings, deployed, updated, and narrow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import aws_estate
from tests.support.aws_estate import ACCOUNT, BUCKET, IDENTITIES, REPLICA, SECOND_REGION, Estate
from tools import make_stack_policies
from tools.schedule.jobs import JOBS

ALL = sorted(aws_estate.TEMPLATES.glob("*.yaml"))
USES = {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:ReEncrypt*"}


def subjects(identity: str) -> list[str]:
    """The service accounts of the jobs that log in as an identity; no schedule extends retentions."""
    accounts = [job.name for job in JOBS if identity in job.logins] or ["retain"]
    return [f"system:serviceaccount:orgkey:orgkey-{account}" for account in accounts]


@pytest.fixture(scope="module")
def deployed() -> Iterator[tuple[Estate, dict[str, Mapping[str, str]]]]:
    with aws_estate.emulation() as estate:
        outputs = aws_estate.deploy_all(estate)
        # The same template once without everything that is optional, and once with OIDC.
        estate.deploy("escrow-alone", BucketName="alone", NamePrefix="alone", **aws_estate.PRINCIPALS)
        estate.deploy(
            "replica-written",
            SECOND_REGION,
            BucketName="written",
            **{name: arn for name, arn in outputs["escrow"].items() if name.endswith("RoleArn")},
        )
        estate.deploy(
            "escrow-oidc",
            BucketName="oidc",
            NamePrefix="k8s",
            OidcProviderArn=f"arn:aws:iam::{ACCOUNT}:oidc-provider/oidc.example.com/cluster",
            OidcIssuer="oidc.example.com/cluster",
            # Said although they are the defaults, which moto does not split.
            **{f"{name.title()}OidcSubjects": ",".join(subjects(name)) for name in IDENTITIES},
        )
        yield estate, outputs


@pytest.fixture(scope="module")
def estate(deployed: tuple[Estate, dict[str, Mapping[str, str]]]) -> Estate:
    return deployed[0]


@pytest.fixture(scope="module")
def outputs(deployed: tuple[Estate, dict[str, Mapping[str, str]]]) -> dict[str, Mapping[str, str]]:
    return deployed[1]


def statements(policy: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = {item["Sid"]: item for item in policy["Statement"]}
    assert len(found) == len(policy["Statement"])
    return found


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/orgkey-{name}"


def test_there_are_three_templates() -> None:
    assert [path.stem for path in ALL] == ["custody", "escrow", "replica"]


def test_cfn_lint_has_no_findings() -> None:
    program = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run(
        [program, "--include-checks", "I", "--", *map(str, ALL)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_cfn_lint_would_have_said_so(tmp_path: Path) -> None:
    text = (aws_estate.TEMPLATES / "custody.yaml").read_text()
    broken = tmp_path / "custody.yaml"
    broken.write_text(text.replace("KeySpec: SYMMETRIC_DEFAULT", "KeySpec: SYMMETRIC"))
    program = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([program, str(broken)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "SYMMETRIC_DEFAULT" in done.stdout


# -- the record bucket ----------------------------------------------------------------------------


@pytest.mark.parametrize(("stack", "logical"), [("escrow", "RecordBucket"), ("replica", "ReplicaBucket")])
def test_a_bucket_is_locked_versioned_encrypted_and_closed(estate: Estate, stack: str, logical: str) -> None:
    bucket = estate.resource(stack, logical)
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    lock = bucket["ObjectLockConfiguration"]
    assert bucket["ObjectLockEnabled"] is True
    assert lock["ObjectLockEnabled"] == "Enabled"
    assert lock["Rule"]["DefaultRetention"]["Mode"] == "GOVERNANCE"
    assert int(lock["Rule"]["DefaultRetention"]["Days"]) == 400
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["BucketKeyEnabled"] is True
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert (
        f"arn:aws:kms:{estate.regions[stack]}:"
        in encryption["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]
    )
    # Nothing that was written completely expires.
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert set(rule) == {"Id", "Status", "AbortIncompleteMultipartUpload"}


def test_the_buckets_are_there_encrypted_with_the_keys(
    estate: Estate, outputs: dict[str, Mapping[str, str]]
) -> None:
    for region, bucket, key in (
        (aws_estate.REGION, BUCKET, outputs["escrow"]["RecordKeyArn"]),
        (SECOND_REGION, REPLICA, outputs["replica"]["KeyArn"]),
    ):
        answer = estate.client("s3", region).get_bucket_encryption(Bucket=bucket)
        (rule,) = answer["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key


def test_a_replica_is_written_by_the_writer_only_where_that_is_asked_for(
    estate: Estate, outputs: dict[str, Mapping[str, str]]
) -> None:
    def named(stack: str) -> set[str]:
        found = [
            *estate.resource(stack, "ReplicaBucketPolicy")["PolicyDocument"]["Statement"],
            *estate.resource(stack, "ReplicaKey")["KeyPolicy"]["Statement"],
        ]
        return {item["Sid"] for item in found if role("writer") in json.dumps(item)}

    assert named("replica") == set()
    assert named("replica-written") == {
        "EveryIdentityLists",
        "EveryIdentitySeesRetention",
        "WriterAndDrillerRead",
        "WriterWrites",
        "RetentionNotTooShort",
        "RetentionNotTooLong",
        "WriterEncryptsAndReadsBack",
        "NobodyElseUsesTheKey",
    }


def test_accesses_are_logged_to_a_bucket_of_its_own(estate: Estate) -> None:
    assert estate.resource("escrow", "RecordBucket")["LoggingConfiguration"] == {
        "DestinationBucketName": f"{BUCKET}-log",
        "LogFilePrefix": f"{BUCKET}/",
    }
    found = statements(estate.resource("escrow", "LogBucketPolicy")["PolicyDocument"])
    assert found["S3WritesTheLog"]["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    assert found["S3WritesTheLog"]["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert "ObjectLockConfiguration" not in estate.resource("escrow", "LogBucket")  # S3 refuses to log there


def test_replication_goes_to_the_replica_once_it_is_named(
    estate: Estate, outputs: dict[str, Mapping[str, str]]
) -> None:
    replication = estate.resource("escrow", "RecordBucket")["ReplicationConfiguration"]
    assert replication["Role"] == outputs["escrow"]["ReplicationRoleArn"]
    (rule,) = replication["Rules"]
    assert rule["Destination"] == {
        "Bucket": outputs["replica"]["BucketArn"],
        "EncryptionConfiguration": {"ReplicaKmsKeyID": outputs["replica"]["KeyArn"]},
    }
    assert rule["DeleteMarkerReplication"] == {"Status": "Disabled"}
    assert "ReplicationConfiguration" not in estate.resource("escrow-alone", "RecordBucket")


# -- its policy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", ["escrow", "replica"])
def test_the_bucket_policy_refuses_what_no_identity_needs(estate: Estate, stack: str) -> None:
    logical = {"escrow": "RecordBucketPolicy", "replica": "ReplicaBucketPolicy"}[stack]
    found = statements(estate.resource(stack, logical)["PolicyDocument"])
    denied = {sid: item for sid, item in found.items() if item["Effect"] == "Deny"}
    assert denied["TlsOnly"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert denied["NoOldTls"]["Condition"] == {"NumericLessThan": {"s3:TlsVersion": "1.2"}}
    assert set(listed(denied["OnlyBreakGlassRemoves"]["Action"])) == {
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:BypassGovernanceRetention",
    }
    assert denied["OnlyBreakGlassRemoves"]["Condition"] == {
        "ArnNotEquals": {"aws:PrincipalArn": role("break-glass")}
    }
    assert all(item["Principal"] == "*" for sid, item in denied.items() if not sid.startswith("Retention"))


def test_every_put_is_conditional_on_aws(estate: Estate) -> None:
    found = statements(estate.resource("escrow", "RecordBucketPolicy")["PolicyDocument"])["WrittenOnce"]
    assert (found["Effect"], found["Principal"], found["Action"]) == ("Deny", "*", "s3:PutObject")
    assert found["Resource"] == f"arn:aws:s3:::{BUCKET}/*"
    assert found["Condition"] == {"Null": {"s3:if-none-match": "true"}}


def test_retention_has_bounds_on_aws(estate: Estate) -> None:
    found = statements(estate.resource("escrow", "RecordBucketPolicy")["PolicyDocument"])
    for sid, operator, days in (
        ("RetentionNotTooShort", "NumericLessThan", 1),
        ("RetentionNotTooLong", "NumericGreaterThan", 3650),
    ):
        assert found[sid]["Principal"] == {"AWS": [role("writer"), role("retention")]}
        (bound,) = found[sid]["Condition"][operator].items()
        assert (bound[0], int(bound[1])) == ("s3:object-lock-remaining-retention-days", days)


def test_nobody_is_allowed_to_remove_or_administer(estate: Estate) -> None:
    for stack, logical in (("escrow", "RecordBucketPolicy"), ("replica", "ReplicaBucketPolicy")):
        policy = estate.resource(stack, logical)["PolicyDocument"]
        allowed = {
            action
            for item in policy["Statement"]
            if item["Effect"] == "Allow"
            for action in listed(item["Action"])
        }
        assert not [name for name in allowed if "*" in name or "Delete" in name or "Bypass" in name]
        puts = {name for name in allowed if not name.startswith(("s3:Get", "s3:List"))}
        assert puts == (
            {"s3:PutObject", "s3:PutObjectRetention"}
            if stack == "escrow"
            else {"s3:PutObjectRetention", "s3:ReplicateObject", "s3:ReplicateTags"}
        )


def test_the_local_stack_applies_the_same_statements(
    estate: Estate, outputs: dict[str, Mapping[str, str]]
) -> None:
    for name, text in make_stack_policies.policies(estate, outputs).items():
        assert (make_stack_policies.POLICIES / name).read_text() == text, (
            "run python -m tools.make_stack_policies"
        )


def test_only_statements_with_conditions_of_aws_are_left_out_there(estate: Estate) -> None:
    policy = estate.resource("escrow", "RecordBucketPolicy")["PolicyDocument"]
    assert {item["Sid"] for item in policy["Statement"] if "Condition" in item} == set(
        make_stack_policies.AWS_ONLY
    )
    assert {item["Sid"] for item in policy["Statement"] if item["Effect"] == "Deny"} == set(
        make_stack_policies.AWS_ONLY
    )


# -- keys -----------------------------------------------------------------------------------------


def key_policy(estate: Estate, arn: str) -> dict[str, Mapping[str, Any]]:
    """As KMS has it after the deployment."""
    region = arn.split(":")[3]
    policy = estate.client("kms", region).get_key_policy(KeyId=arn, PolicyName="default")["Policy"]
    return statements(aws_estate.whole(policy if isinstance(policy, dict) else json.loads(policy)))


@pytest.mark.parametrize(
    ("stack", "output", "users"),
    [
        ("escrow", "RecordKeyArn", ["writer", "driller", "auditor", "replication"]),
        ("replica", "KeyArn", ["driller", "auditor", "replication"]),
    ],
)
def test_a_record_key_is_used_by_roles_through_the_bucket_only(
    estate: Estate, outputs: dict[str, Mapping[str, str]], stack: str, output: str, users: list[str]
) -> None:
    arn = outputs[stack][output]
    found = key_policy(estate, arn)
    assert not set(found["AccountAdministers"]["Action"]) & USES
    assert set(found["NobodyElseUsesTheKey"]["Action"]) == USES
    assert found["NobodyElseUsesTheKey"]["Condition"] == {
        "ArnNotEquals": {"aws:PrincipalArn": [role(name) for name in users]}
    }
    rest = [item for sid, item in found.items() if sid not in ("AccountAdministers", "NobodyElseUsesTheKey")]
    for item in rest:
        via = item["Condition"]["StringEquals"]["kms:ViaService"]
        assert via == f"s3.{estate.regions[stack]}.amazonaws.com"
    assert estate.client("kms", estate.regions[stack]).get_key_rotation_status(KeyId=arn)[
        "KeyRotationEnabled"
    ]


def test_the_custody_key_splits_sealing_from_opening(
    estate: Estate, outputs: dict[str, Mapping[str, str]]
) -> None:
    arn = outputs["custody"]["KeyArn"]
    found = key_policy(estate, arn)
    bound = {
        "Null": {
            "kms:EncryptionContext:fingerprint": "false",
            "kms:EncryptionContext:record_id": "false",
        },
        "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["fingerprint", "record_id"]},
    }
    for sid, who, action in (
        ("WriterSeals", "writer", "kms:Encrypt"),
        ("DrillerOpens", "driller", "kms:Decrypt"),
    ):
        assert found[sid]["Principal"] == {"AWS": role(who)}
        assert found[sid]["Action"] == action
        assert found[sid]["Condition"] == bound
    for sid, who, actions in (
        ("NobodyElseSeals", "writer", ["kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncryptTo"]),
        ("NobodyElseOpens", "driller", ["kms:Decrypt", "kms:ReEncryptFrom"]),
    ):
        assert (found[sid]["Effect"], found[sid]["Action"]) == ("Deny", actions)
        assert found[sid]["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": role(who)}}
    assert (found["NoGrants"]["Effect"], found["NoGrants"]["Action"]) == ("Deny", "kms:CreateGrant")
    client = estate.client("kms")
    assert client.get_key_rotation_status(KeyId=arn)["KeyRotationEnabled"]
    (alias,) = [item for item in client.list_aliases()["Aliases"] if "aws" not in item["AliasName"]]
    assert alias["AliasName"] == "alias/orgkey-escrow"
    assert arn.endswith(alias["TargetKeyId"])


def test_the_context_is_the_holders(estate: Estate, outputs: dict[str, Mapping[str, str]]) -> None:
    from pipeline.custody.holders.interface import Binding

    found = key_policy(estate, outputs["custody"]["KeyArn"])["WriterSeals"]["Condition"]
    names = list(Binding("F", "R").mapping())
    assert found["ForAllValues:StringEquals"] == {"kms:EncryptionContextKeys": names}


def test_the_custody_accounts_administrators_change_no_policy(
    estate: Estate, outputs: dict[str, Mapping[str, str]]
) -> None:
    found = key_policy(estate, outputs["custody"]["KeyArn"])
    may_put = {sid for sid, item in found.items() if "kms:PutKeyPolicy" in listed(item["Action"])}
    assert may_put == {"OneRoleChangesThePolicy"}
    assert found["OneRoleChangesThePolicy"]["Principal"] == {"AWS": [aws_estate.POLICY_CHANGER]}
    assert not set(found["AccountLooksAfterTheKey"]["Action"]) & (USES | {"kms:PutKeyPolicy"})
    (rule,) = estate.client("events").list_rules()["Rules"]
    watched = json.loads(rule["EventPattern"])["detail"]["eventName"]
    assert {"PutKeyPolicy", "ScheduleKeyDeletion", "DisableKey"} <= set(watched)


def test_keys_buckets_roles_and_policies_outlive_their_stacks() -> None:
    for path in ALL:
        text = path.read_text()
        kinds = ("KMS::Key", "S3::Bucket", "S3::BucketPolicy", "IAM::Role")
        kept = sum(text.count(f"Type: AWS::{kind}\n") for kind in kinds)
        kept -= "BreakGlassRole" in text  # made for an incident
        # A first deploy that fails leaves nothing behind that the second would find "already existing".
        assert (
            text.count(" DeletionPolicy: RetainExceptOnCreate\n") == text.count(" DeletionPolicy: ") == kept
        )
        assert text.count(" UpdateReplacePolicy: Retain\n") == kept


# -- roles ----------------------------------------------------------------------------------------


def test_each_role_is_assumed_by_its_own_principals_and_has_no_right_in_s3(estate: Estate) -> None:
    iam = estate.client("iam")
    for name in IDENTITIES:
        found = iam.get_role(RoleName=f"orgkey-{name}")["Role"]
        (trust,) = found["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"AWS": [f"arn:aws:iam::{ACCOUNT}:user/{name}"]}
        # The emulation says 3600 whatever is asked for.
        asked = estate.resource("escrow", name.title())
        assert asked["MaxSessionDuration"] == 3600
        own = json.dumps(asked.get("Policies", []))
        assert "s3:" not in own


def test_the_custody_key_is_named_to_the_roles_on_the_update(
    estate: Estate, outputs: dict[str, Mapping[str, str]]
) -> None:
    wanted = {
        "Writer": {"kms:Encrypt", "kms:DescribeKey", "kms:GetKeyRotationStatus"},
        "Driller": {"kms:Decrypt", "kms:DescribeKey", "kms:GetKeyRotationStatus"},
        "Auditor": {"kms:DescribeKey", "kms:GetKeyRotationStatus"},
    }
    for logical, actions in wanted.items():
        (policy,) = estate.resource("escrow", logical)["Policies"]
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert set(statement["Action"]) == actions
        assert statement["Resource"] == outputs["custody"]["KeyArn"]
    assert "Policies" not in estate.resource("escrow", "Retention")


def test_a_token_of_an_oidc_provider_opens_exactly_its_role(estate: Estate) -> None:
    provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/oidc.example.com/cluster"
    for name in IDENTITIES:
        found = estate.client("iam").get_role(RoleName=f"k8s-{name}")["Role"]["AssumeRolePolicyDocument"]
        document = found if isinstance(found, dict) else json.loads(found)
        (trust,) = document["Statement"]
        assert trust["Principal"] == {"Federated": provider}
        assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert trust["Condition"] == {
            "StringEquals": {
                "oidc.example.com/cluster:aud": "sts.amazonaws.com",
                "oidc.example.com/cluster:sub": subjects(name),
            }
        }
        default = ",".join(subjects(name))
        assert f'Default: "{default}"' in (aws_estate.TEMPLATES / "escrow.yaml").read_text()


def test_the_break_glass_role_is_made_only_when_asked_for_and_wants_mfa(estate: Estate) -> None:
    found = estate.client("iam").get_role(RoleName="orgkey-break-glass")["Role"]
    (trust,) = found["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"]["Bool"] == {"aws:MultiFactorAuthPresent": "true"}
    names = {item["RoleName"] for item in estate.client("iam").list_roles()["Roles"]}
    assert {name for name in names if name.startswith("alone-")} == {
        f"alone-{name}" for name in (*IDENTITIES, "replication")
    }


def test_the_outputs_are_the_lines_of_a_configuration(outputs: dict[str, Mapping[str, str]]) -> None:
    from pipeline import config

    escrow, custody = outputs["escrow"], outputs["custody"]
    text = f"""
[target.s3]
kind = "s3"
controlled_by = ["aws-admins"]
region = "{escrow["Region"]}"
bucket = "{escrow["Bucket"]}"
expected_bucket_owner = "{escrow["BucketOwner"]}"
prefix = "{escrow["Prefix"]}"
kms_key_id = "{escrow["RecordKeyArn"]}"
lock_mode = "{escrow["LockMode"]}"
lock_days = {escrow["LockDays"]}

[holder.aws]
kind = "aws-kms"
controlled_by = ["custody-admins"]
region = "{custody["Region"]}"
key_id = "{custody["KeyArn"]}"

[path.unattended]
needs = ["aws"]

[policy]
copies = 1
"""
    parsed = config.parse(text.encode(), Path("orgkey.toml"))
    assert parsed.target["s3"].kind == "s3"
    assert parsed.holder["aws"].kind == "aws-kms"
