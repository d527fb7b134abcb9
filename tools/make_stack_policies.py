"""Writes the local stack's policies for S3 and KMS from the templates of `infra/aws/`.

Run as ``python -m tools.make_stack_policies``. There is one source of rights: the stack's servers get
the statements that are written for AWS, with the identities' names left open. For servers like MinIO, where a
bucket's policy cannot name a user, there are the same statements as a policy for each user.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import aws_estate

POLICIES = Path(__file__).parents[1] / "infra" / "stack" / "policies"
# Statements of the record bucket's policy that rest on conditions which versitygw does not know, or whose
# caller (S3 without TLS on loopback) is the stack's everyday.
AWS_ONLY = (
    "TlsOnly",
    "NoOldTls",
    "WrittenOnce",
    "RetentionNotTooShort",
    "RetentionNotTooLong",
    "OnlyBreakGlassRemoves",
)
# Rights that such servers refuse to read in a policy: they have no such call, or ask for another right there.
NOT_FOR_USERS = {
    "s3:GetBucketAcl",
    "s3:GetBucketLogging",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPublicAccessBlock",
}


def policies(estate: aws_estate.Estate, outputs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The text of each file, by its name, from what was deployed."""
    bucket = estate.resource("escrow", "RecordBucketPolicy")["PolicyDocument"]
    key = estate.resource("custody", "CustodyKey")["KeyPolicy"]
    kept = [item for item in bucket["Statement"] if item["Sid"] not in AWS_ONLY]
    names = {outputs["escrow"][f"{name.title()}RoleArn"]: name.upper() for name in aws_estate.IDENTITIES}
    names |= {
        aws_estate.POLICY_CHANGER: "POLICY_CHANGER",
        aws_estate.BUCKET: "BUCKET",
        aws_estate.ACCOUNT: "ACCOUNT",
    }
    users = {
        f"s3-user-{name}.json": _text(
            _of_user(bucket, kept, outputs["escrow"][f"{name.title()}RoleArn"]), names
        )
        for name in aws_estate.IDENTITIES
    }
    return users | {
        "s3-bucket.json": _text({**bucket, "Statement": kept}, names),
        "kms-key.json": _text(key, names),
    }


def _of_user(
    policy: Mapping[str, Any], statements: Sequence[Mapping[str, Any]], arn: str
) -> Mapping[str, Any]:
    """What a policy says of one identity, as a policy of that user's."""
    found = []
    for item in statements:
        if arn in item["Principal"]["AWS"]:
            own = {name: value for name, value in item.items() if name != "Principal"}
            if isinstance(own["Action"], list):
                own["Action"] = [action for action in own["Action"] if action not in NOT_FOR_USERS]
            found.append(own)
    return {**policy, "Statement": found}


def _text(policy: Mapping[str, Any], names: Mapping[str, str]) -> str:
    text = json.dumps(policy, indent=2)
    for value, name in names.items():
        text = text.replace(value, f"${{{name}}}")
    return text + "\n"


if __name__ == "__main__":
    with aws_estate.emulation() as estate:
        for name, text in policies(estate, aws_estate.deploy_all(estate)).items():
            (POLICIES / name).write_text(text)
