"""The templates of `infra/aws/`, deployed to an emulation of CloudFormation (moto, in this process)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parents[2] / "infra" / "aws"
REGION, SECOND_REGION = "eu-central-1", "eu-west-1"
ACCOUNT = "123456789012"
IDENTITIES = ("writer", "driller", "auditor", "retention")
POLICY_CHANGER = f"arn:aws:iam::{ACCOUNT}:role/orgkey-policy-changer"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:orgkey"
BUCKET, REPLICA = "acme-orgkey", "acme-orgkey-replica"
PRINCIPALS = {
    f"{name.title()}Principals": f"arn:aws:iam::{ACCOUNT}:user/{name}"
    for name in ("writer", "driller", "auditor", "retention")
}


@dataclass
class Estate:
    """Stacks that were deployed, by the name of their template."""

    regions: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, dict[str, str]] = field(default_factory=dict)

    def deploy(self, name: str, region: str = REGION, **parameters: str) -> Mapping[str, str]:
        """Create a stack, or update it with further parameters.

        Returns:
            Its outputs.
        """
        client = self.client("cloudformation", region)
        known = name in self.regions
        self.regions[name] = region
        self.parameters[name] = self.parameters.get(name, {}) | parameters
        given = [
            {"ParameterKey": key, "ParameterValue": str(value)}
            for key, value in self.parameters[name].items()
        ]
        with warnings.catch_warnings():
            # moto has no AWS::S3::BucketPolicy; see the table in infra/aws/README.md.
            warnings.filterwarnings("ignore", "Tried to parse AWS::S3::BucketPolicy", UserWarning)
            (client.update_stack if known else client.create_stack)(
                StackName=name,
                TemplateBody=(TEMPLATES / f"{name.partition('-')[0]}.yaml").read_text(),
                Parameters=given,
                Capabilities=["CAPABILITY_NAMED_IAM"],
            )
        (stack,) = client.describe_stacks(StackName=name)["Stacks"]
        assert stack["StackStatus"] == ("UPDATE_COMPLETE" if known else "CREATE_COMPLETE")
        return {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}

    def resource(self, name: str, logical: str) -> Mapping[str, Any]:
        """A resource's properties with everything filled in, as CloudFormation would hand them on."""
        from moto.cloudformation.models import cloudformation_backends
        from moto.cloudformation.parsing import clean_json

        stacks = cloudformation_backends[ACCOUNT][self.regions[name]].stacks.values()
        (stack,) = [stack for stack in stacks if stack.name == name]
        resources = stack.resource_map
        found: Mapping[str, Any] = whole(
            clean_json(json.loads(json.dumps(stack.template_dict["Resources"][logical])), resources)
        )["Properties"]
        return found

    @staticmethod
    def client(service: str, region: str = REGION) -> Any:
        """A client of the emulation."""
        import boto3

        return boto3.session.Session(
            aws_access_key_id="x", aws_secret_access_key="y", region_name=region
        ).client(service)


def whole(value: Any) -> Any:
    """A document without the gaps that moto leaves in lists for AWS::NoValue."""
    if isinstance(value, dict):
        return {name: whole(inner) for name, inner in value.items()}
    return [whole(inner) for inner in value if inner is not None] if isinstance(value, list) else value


@contextmanager
def emulation() -> Iterator[Estate]:
    """An empty account."""
    from moto import mock_aws

    with mock_aws():
        yield Estate()


def deploy_all(estate: Estate) -> dict[str, Mapping[str, str]]:
    """Deploy the three templates in the order of the README, and the update that ties them together.

    Returns:
        The outputs of each.
    """
    escrow = estate.deploy("escrow", BucketName=BUCKET, **PRINCIPALS)
    roles = {f"{name.title()}RoleArn": escrow[f"{name.title()}RoleArn"] for name in IDENTITIES}
    custody = estate.deploy(
        "custody",
        PolicyChangerArns=POLICY_CHANGER,
        AlarmTopicArn=TOPIC,
        **{name: arn for name, arn in roles.items() if name != "RetentionRoleArn"},
    )
    replica = estate.deploy(
        "replica",
        SECOND_REGION,
        BucketName=REPLICA,
        ReplicationRoleArn=escrow["ReplicationRoleArn"],
        **{name: arn for name, arn in roles.items() if name != "WriterRoleArn"},
    )
    escrow = estate.deploy(
        "escrow",
        CustodyKeyArn=custody["KeyArn"],
        ReplicaBucketArn=replica["BucketArn"],
        ReplicaKeyArn=replica["KeyArn"],
        BreakGlassPrincipals=f"arn:aws:iam::{ACCOUNT}:user/two-people",
    )
    return {"escrow": escrow, "custody": custody, "replica": replica}
