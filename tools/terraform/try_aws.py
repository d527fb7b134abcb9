"""The modules for AWS applied to an emulation, and their documents compared with the templates'."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import aws_estate
from tests.support.aws_estate import (
    ACCOUNT,
    BUCKET,
    IDENTITIES,
    POLICY_CHANGER,
    REGION,
    REPLICA,
    SECOND_REGION,
    TOPIC,
)
from tools.terraform.cloudformation import load, snake
from tools.terraform.hcl import Block, Code, document, expression
from tools.terraform.programs import Failed, Tofu

MODULES = Path(__file__).parents[2] / "infra" / "terraform" / "aws"
SERVICES = ("events", "iam", "kms", "s3", "sts")
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/oidc.example.com/cluster"
# The property of each kind that is a document, and OpenTofu's attribute.
DOCUMENTS = {
    "AWS::Events::Rule": ("EventPattern", "aws_cloudwatch_event_rule", "event_pattern"),
    "AWS::IAM::Role": ("AssumeRolePolicyDocument", "aws_iam_role", "assume_role_policy"),
    "AWS::KMS::Key": ("KeyPolicy", "aws_kms_key", "policy"),
    "AWS::S3::BucketPolicy": ("PolicyDocument", "aws_s3_bucket_policy", "policy"),
}
# Of a replication's rule the emulation keeps neither the prefix nor that encrypted objects are meant.
FORGOTTEN = {"module.escrow.aws_s3_bucket_replication_configuration.record_bucket[0]"}
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def by_templates() -> dict[str, Any]:
    """Every document as CloudFormation makes it, by ``<stack>.<resource>``."""
    found: dict[str, Any] = {}
    with aws_estate.emulation() as estate:
        outputs = aws_estate.deploy_all(estate)
        roles = {name: arn for name, arn in outputs["escrow"].items() if name.endswith("RoleArn")}
        estate.deploy("replica-written", SECOND_REGION, BucketName="written", **roles)
        subjects = {f"{name.title()}OidcSubjects": f"a:{name},b:{name}" for name in IDENTITIES}
        estate.deploy(
            "escrow-oidc",
            BucketName="oidc",
            NamePrefix="k8s",
            OidcProviderArn=PROVIDER,
            OidcIssuer="oidc.example.com/cluster",
            **subjects,
        )
        for stack in estate.regions:
            template = load(aws_estate.TEMPLATES / f"{stack.partition('-')[0]}.yaml")
            for name, item in template["Resources"].items():
                if "Condition" in item and stack == "escrow-oidc":
                    continue
                properties = estate.resource(stack, name) if item["Type"] in DOCUMENTS else {}
                if properties:
                    found[f"{stack}.{name}"] = properties[DOCUMENTS[item["Type"]][0]]
                for policy in properties.get("Policies", []):
                    found[f"{stack}.{name}.{policy['PolicyName']}"] = policy["PolicyDocument"]
    return {name: plain(item) for name, item in found.items()}


def plain(value: Any) -> Any:
    """A document without what is made anew each time, and with numbers as text: policies know no others."""
    if isinstance(value, str) and value.startswith("{"):
        return plain(json.loads(value))
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return _ID.sub("ID", str(value))


def root(endpoint: str) -> str:
    """A configuration with all modules, wired as in the README, applied in one step."""
    users = {name: f"arn:aws:iam::{ACCOUNT}:user/{name}" for name in IDENTITIES}
    blocks = [_provider(endpoint, REGION), _provider(endpoint, SECOND_REGION, "second")]
    escrow: dict[str, Any] = {
        "bucket_name": BUCKET,
        **{f"{name}_principals": [arn] for name, arn in users.items()},
        "custody": Code("module.custody"),
        "replica": Code("module.replica"),
        "break_glass_principals": [f"arn:aws:iam::{ACCOUNT}:user/two-people"],
    }
    blocks.append(_module("escrow", "escrow", escrow))
    role = {name: Code(f"module.escrow.{name}_role_arn") for name in (*IDENTITIES, "replication")}
    watched = {f"{name}_role_arn": role[name] for name in ("writer", "driller", "auditor")}
    alarm = {"topic_arn": TOPIC}
    blocks.append(
        _module("custody", "custody", {**watched, "policy_changer_arns": [POLICY_CHANGER], "alarm": alarm})
    )
    second = {"providers": Code("{ aws = aws.second }")}
    copied = {f"{name}_role_arn": role[name] for name in ("driller", "auditor", "retention", "replication")}
    blocks.append(_module("replica", "replica", {**second, "bucket_name": REPLICA, **copied}))
    written = {"bucket_name": "written", **copied, "writer_role_arn": role["writer"]}
    blocks.append(_module("replica-written", "replica", {**second, **written}))
    oidc = {"bucket_name": "oidc", "name_prefix": "k8s", "oidc_provider_arn": PROVIDER}
    oidc["oidc_issuer"] = "oidc.example.com/cluster"
    subjects = {f"{name}_oidc_subjects": [f"a:{name}", f"b:{name}"] for name in IDENTITIES}
    blocks.append(_module("escrow-oidc", "escrow", {**oidc, **subjects}))
    return document("Made for one try.", blocks)


def _module(name: str, kind: str, values: Mapping[str, Any]) -> Block:
    return Block(f'module "{name}"', {"source": str(MODULES / kind), **values})


def _provider(endpoint: str, region: str, alias: str | None = None) -> Block:
    skip = ("credentials_validation", "metadata_api_check", "region_validation", "requesting_account_id")
    attributes: dict[str, Any] = {"alias": alias} if alias else {}
    attributes |= {"region": region, "access_key": "x", "secret_key": "y", "s3_use_path_style": True}
    attributes |= {f"skip_{name}": name != "requesting_account_id" for name in skip}
    return Block('provider "aws"', attributes, [Block("endpoints", dict.fromkeys(SERVICES, endpoint))])


def by_modules(state: Mapping[str, Any]) -> dict[str, Any]:
    """Every document as the modules made it, by the names of :func:`by_templates`."""
    found: dict[str, Any] = {}
    for stack in ("escrow", "custody", "replica", "replica-written", "escrow-oidc"):
        template = load(aws_estate.TEMPLATES / f"{stack.partition('-')[0]}.yaml")
        for name, item in template["Resources"].items():
            if item["Type"] not in DOCUMENTS:
                continue
            _, kind, attribute = DOCUMENTS[item["Type"]]
            for address, values in state.items():
                if address.removesuffix("[0]") == f"module.{stack}.{kind}.{snake(name)}":
                    found[f"{stack}.{name}"] = values[attribute]
                if address.startswith(f"module.{stack}.aws_iam_role_policy.") and values["role"] == state.get(
                    f"module.{stack}.{kind}.{snake(name)}",
                    state.get(f"module.{stack}.{kind}.{snake(name)}[0]", {}),
                ).get("name"):
                    found[f"{stack}.{name}.{values['name']}"] = values["policy"]
    return {name: plain(item) for name, item in found.items()}


@contextmanager
def emulation() -> Iterator[str]:
    """An empty account on a free port of this host: its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def run(program: Path, directory: Path, aws: Path) -> Iterator[str]:
    """Apply, compare, and plan again.

    Args:
        program: OpenTofu.
        directory: An empty one.
        aws: Where the provider is.

    Yields:
        Lines for people.

    Raises:
        Failed: OpenTofu failed, or a document differs.
    """
    wanted = by_templates()
    with emulation() as endpoint:
        (directory / "main.tf").write_text(root(endpoint))
        tofu = Tofu(program, directory, {})
        tofu.use(aws=aws)
        tofu("validate")
        yield "five modules (three, one with OIDC, one with a writer) are valid for the provider"
        said = tofu("apply", "-auto-approve")
        yield next(line for line in said.splitlines() if line.startswith("Apply complete"))
        found = by_modules(tofu.state())
        if found != wanted:
            names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
            raise Failed(
                "\n".join(
                    f"{name}:\n{expression(found.get(name))}\n{expression(wanted.get(name))}"
                    for name in names
                )
            )
        yield f"{len(found)} documents are what CloudFormation's templates make"
        changed = _changed(tofu)
        if changed - FORGOTTEN:
            raise Failed(f"a second plan changes {', '.join(sorted(changed))}")
        yield f"a second plan changes nothing but what the emulation forgot: {', '.join(changed) or '-'}"


def _changed(tofu: Tofu) -> set[str]:
    tofu("plan", "-out", "second")
    changes = json.loads(tofu("show", "-json", "second")).get("resource_changes", [])
    return {item["address"] for item in changes if item["change"]["actions"] not in (["no-op"], ["read"])}
