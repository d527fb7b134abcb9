"""The modules of ``infra/terraform/aws`` out of the templates of ``infra/aws``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tools.terraform.cloudformation import FIELDS, OPTIONAL, Scope, load, snake
from tools.terraform.hcl import Block, Code, call, document, expression, quoted

TEMPLATES = Path(__file__).parents[2] / "infra" / "aws"
KINDS = {
    "AWS::Events::Rule": "aws_cloudwatch_event_rule",
    "AWS::IAM::Role": "aws_iam_role",
    "AWS::KMS::Alias": "aws_kms_alias",
    "AWS::KMS::Key": "aws_kms_key",
    "AWS::S3::Bucket": "aws_s3_bucket",
    "AWS::S3::BucketPolicy": "aws_s3_bucket_policy",
}
_TYPES = {"String": "string", "Number": "number", "CommaDelimitedList": "list(string)"}
# A variable's check looks at another one, which OpenTofu and Terraform understand from here on.
OLDEST, OLDEST_PROVIDER = ">= 1.9", ">= 5.0"
_Properties = dict[str, Any]


def files() -> dict[str, str]:
    """The text of each file, by its path below ``infra/terraform/aws``."""
    return {
        f"{path.stem}/{name}.tf": text
        for path in sorted(TEMPLATES.glob("*.yaml"))
        for name, text in module(path).items()
    }


def module(path: Path) -> dict[str, str]:
    """The files of one template's module, by their name without the suffix.

    Raises:
        ValueError: Something of the template is not understood.
        KeyError: A kind of resource is not known.
    """
    template = load(path)
    note = f"Written by `make generate` from infra/aws/{path.name}, which has the reasons. Change it there."
    blocks = {
        "main": _main(template),
        "variables": _variables(template),
        "outputs": _outputs(template),
        "versions": iter([_versions()]),
    }
    return {name: document(note, found) for name, found in blocks.items()}


def _versions() -> Block:
    aws = Code(expression({"source": "hashicorp/aws", "version": OLDEST_PROVIDER}))
    return Block("terraform", {"required_version": OLDEST}, [Block("required_providers", {"aws": aws})])


def _words(text: str) -> str:
    """A description with the modules' names for templates and parameters."""
    names = _names(TEMPLATES)
    text = re.sub(r"\b[A-Z]\w+\b", lambda match: names.get(match[0], match[0]), text)
    return re.sub(r"\bparameter\b", "variable", re.sub(r"(\w+)\.yaml", r"the \1 module", text))


@cache
def _names(templates: Path) -> dict[str, str]:
    parameter = re.compile(rf"^  (\w+):\n    Type: (?:{'|'.join(_TYPES)})$", re.MULTILINE)
    found = {name for path in templates.glob("*.yaml") for name in parameter.findall(path.read_text())}
    return {name: FIELDS.get(name, snake(name)).partition(".")[0] for name in found}


def _variables(template: Mapping[str, Any]) -> Iterator[Block]:
    checks = _checks(template)
    made = set()
    for name, item in template["Parameters"].items():
        if name in FIELDS:
            variable = FIELDS[name].partition(".")[0]
            fields, description = OPTIONAL[variable]
            if variable not in made:
                made.add(variable)
                kind = call("object", {to: Code("string") for to in fields.values()})
                yield Block(
                    f"variable {quoted(variable)}",
                    {"description": description, "type": kind, "default": None},
                )
            continue
        attributes: dict[str, Any] = {
            "description": _words(item["Description"]),
            "type": Code(_TYPES[item["Type"]]),
        }
        if "Default" in item:
            default = item["Default"]
            many = item["Type"] == "CommaDelimitedList"
            attributes["default"] = [it for it in default.split(",") if it] if many else default
        here = f"var.{snake(name)}"
        blocks = [
            Block("validation", {"condition": Code(condition), "error_message": f"{snake(name)} {why}."})
            for condition, why in (*_limits(here, item), *checks.get(name, ()))
        ]
        yield Block(f"variable {quoted(snake(name))}", attributes, blocks)


def _limits(here: str, item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = {"Type", "Description", "Default", "AllowedPattern", "AllowedValues", "MinValue", "MaxValue"}
    if unknown := set(item) - known:
        raise ValueError(f"{unknown} is not understood")
    if pattern := item.get("AllowedPattern"):
        yield f"can(regex({quoted(f'^(?:{pattern})$')}, {here}))", f"has to match {pattern}"
    if values := item.get("AllowedValues"):
        yield f"contains({expression(values)}, {here})", f"has to be one of {', '.join(values)}"
    least, most = item.get("MinValue"), item.get("MaxValue")
    if least is not None and most is not None:
        yield f"{here} >= {least} && {here} <= {most}", f"has to be between {least} and {most}"
    elif least is not None:
        yield f"{here} >= {least}", f"has to be at least {least}"


def _checks(template: Mapping[str, Any]) -> Mapping[str, list[tuple[str, str]]]:
    """The template's rules, by the parameter that each assertion is about."""
    found: dict[str, list[tuple[str, str]]] = {}
    scope = Scope(template, KINDS)
    for rule in template.get("Rules", {}).values():
        match rule["RuleCondition"]:
            case {"Fn::Equals": [{"Ref": other}, ""]}:
                unless = f'var.{snake(other)} != ""'
            case _:
                raise ValueError(f"{rule} is not understood")
        for item in rule["Assertions"]:
            ((_, (about, _)),) = item["Assert"]["Fn::Not"][0].items()
            condition = f"{unless} || {scope.condition(item['Assert'])}"
            why = item["AssertDescription"].removeprefix(f"{about['Ref']} ")
            found.setdefault(about["Ref"], []).append((condition, _words(why)))
    return found


def _outputs(template: Mapping[str, Any]) -> Iterator[Block]:
    scope = Scope(template, KINDS)
    for name, item in template["Outputs"].items():
        attributes = {"description": _words(item["Description"]), "value": scope.value(item["Value"])}
        yield Block(f"output {quoted(snake(name))}", attributes)


def _main(template: Mapping[str, Any]) -> Iterator[Block]:
    scope = Scope(template, KINDS)
    resources = [
        block for name, item in template["Resources"].items() for block in _resource(scope, name, item)
    ]
    text = "\n".join(line for block in (*resources, *_outputs(template)) for line in block.lines())
    for fact in ("caller_identity", "partition", "region"):
        if f"data.aws_{fact}." in text:
            yield Block(f'data "aws_{fact}" "current"')
    conditions = template.get("Conditions", {})
    yield Block("locals", {snake(name): Code(scope.condition(item)) for name, item in conditions.items()})
    yield from resources


def _resource(scope: Scope, name: str, item: Mapping[str, Any]) -> Iterator[Block]:
    """A resource, and those that OpenTofu has for parts of it."""
    left = dict(item["Properties"])
    blocks = [*_MAKERS[item["Type"]](scope, left, snake(name))]
    if left:
        raise ValueError(f"{name}: {', '.join(left)} is not understood")
    unknown = set(item) - {
        "Type",
        "Properties",
        "Condition",
        "DeletionPolicy",
        "UpdateReplacePolicy",
        "DependsOn",
    }
    if unknown:
        raise ValueError(f"{name}: {unknown} is not understood")
    for block in blocks:
        if "Condition" in item:
            block.attributes = {
                "count": Code(f"local.{snake(item['Condition'])} ? 1 : 0"),
                **block.attributes,
            }
        if item.get("UpdateReplacePolicy") == "Retain" and "count" not in block.attributes:
            block.blocks.append(Block("lifecycle", {"prevent_destroy": True}))
        yield block


def _of(kind: str, name: str, attributes: dict[str, Any], *blocks: Block) -> Block:
    return Block(f"resource {quoted(kind)} {quoted(name)}", attributes, list(blocks))


def _key(scope: Scope, left: _Properties, name: str) -> Iterator[Block]:
    attributes = {
        to: scope.value(left.pop(source))
        for source, to in (
            ("Description", "description"),
            ("KeySpec", "customer_master_key_spec"),
            ("KeyUsage", "key_usage"),
            ("EnableKeyRotation", "enable_key_rotation"),
            ("PendingWindowInDays", "deletion_window_in_days"),
        )
        if source in left
    }
    policy = call("jsonencode", scope.value(left.pop("KeyPolicy")))
    yield _of("aws_kms_key", name, {**attributes, "policy": policy})


def _alias(scope: Scope, left: _Properties, name: str) -> Iterator[Block]:
    key = Code(scope.reference(left.pop("TargetKeyId")["Ref"]).replace(".id", ".key_id"))
    yield _of("aws_kms_alias", name, {"name": scope.value(left.pop("AliasName")), "target_key_id": key})


def _bucket(scope: Scope, left: _Properties, name: str) -> Iterator[Block]:
    bucket = {"bucket": scope.value(left.pop("BucketName"))}
    if left.pop("ObjectLockEnabled", False):
        bucket["object_lock_enabled"] = True
    yield _of("aws_s3_bucket", name, bucket)
    its = {"bucket": Code(f"aws_s3_bucket.{name}.id")}

    ((owner,),) = (left.pop("OwnershipControls")["Rules"],)
    rule = Block("rule", {"object_ownership": owner.pop("ObjectOwnership")})
    yield _of("aws_s3_bucket_ownership_controls", name, dict(its), rule)
    public = {snake(key): value for key, value in left.pop("PublicAccessBlockConfiguration").items()}
    yield _of("aws_s3_bucket_public_access_block", name, its | public)
    status = Block("versioning_configuration", {"status": left.pop("VersioningConfiguration")["Status"]})
    yield _of("aws_s3_bucket_versioning", name, dict(its), status)

    (encryption,) = left.pop("BucketEncryption")["ServerSideEncryptionConfiguration"]
    chosen = encryption["ServerSideEncryptionByDefault"]
    default = {"sse_algorithm": chosen["SSEAlgorithm"]}
    if "KMSMasterKeyID" in chosen:
        default["kms_master_key_id"] = scope.value(chosen["KMSMasterKeyID"])
    rule = Block("rule", {}, [Block("apply_server_side_encryption_by_default", default)])
    if "BucketKeyEnabled" in encryption:
        rule.attributes["bucket_key_enabled"] = encryption["BucketKeyEnabled"]
    yield _of("aws_s3_bucket_server_side_encryption_configuration", name, dict(its), rule)

    if lock := left.pop("ObjectLockConfiguration", None):
        retention = lock["Rule"]["DefaultRetention"]
        default = {"mode": scope.value(retention["Mode"]), "days": scope.value(retention["Days"])}
        rule = Block("rule", {}, [Block("default_retention", default)])
        yield _of(
            "aws_s3_bucket_object_lock_configuration",
            name,
            its
            | {"object_lock_enabled": lock["ObjectLockEnabled"], "depends_on": _after("versioning", name)},
            rule,
        )
    if log := left.pop("LoggingConfiguration", None):
        yield _of(
            "aws_s3_bucket_logging",
            name,
            its
            | {
                "target_bucket": scope.value(log["DestinationBucketName"]),
                "target_prefix": scope.value(log["LogFilePrefix"]),
                "depends_on": [Code("aws_s3_bucket_policy.log_bucket_policy")],
            },
        )
    rules = [_expiry(scope, dict(rule)) for rule in left.pop("LifecycleConfiguration")["Rules"]]
    yield _of(
        "aws_s3_bucket_lifecycle_configuration",
        name,
        its | {"depends_on": _after("versioning", name)},
        *rules,
    )
    if replication := left.pop("ReplicationConfiguration", None):
        yield _replication(scope, replication, name, its)


def _after(part: str, name: str) -> list[Code]:
    return [Code(f"aws_s3_bucket_{part}.{name}")]


def _expiry(scope: Scope, rule: _Properties) -> Block:
    found = Block("rule", {"id": rule.pop("Id"), "status": rule.pop("Status")}, [Block("filter")])
    if days := rule.pop("ExpirationInDays", None):
        found.blocks.append(Block("expiration", {"days": scope.value(days)}))
    for source, to in (
        ("NoncurrentVersionExpiration", ("noncurrent_days", "NoncurrentDays")),
        ("AbortIncompleteMultipartUpload", ("days_after_initiation", "DaysAfterInitiation")),
    ):
        if inner := rule.pop(source, None):
            found.blocks.append(Block(snake(source), {to[0]: inner[to[1]]}))
    if rule:
        raise ValueError(f"{rule} is not understood")
    return found


def _replication(scope: Scope, value: Any, name: str, its: Mapping[str, Any]) -> Block:
    condition, given, _ = value["Fn::If"]
    (rule,) = given["Rules"]
    destination = rule["Destination"]
    encryption = {
        "replica_kms_key_id": scope.value(destination["EncryptionConfiguration"]["ReplicaKmsKeyID"])
    }
    encrypted = {"status": rule["SourceSelectionCriteria"]["SseKmsEncryptedObjects"]["Status"]}
    blocks = [
        Block("filter", {"prefix": scope.value(rule["Filter"]["Prefix"])}),
        Block("delete_marker_replication", {"status": rule["DeleteMarkerReplication"]["Status"]}),
        Block("source_selection_criteria", {}, [Block("sse_kms_encrypted_objects", encrypted)]),
        Block(
            "destination",
            {"bucket": scope.value(destination["Bucket"])},
            [Block("encryption_configuration", encryption)],
        ),
    ]
    attributes = {"id": rule["Id"], "status": rule["Status"], "priority": rule["Priority"]}
    return _of(
        "aws_s3_bucket_replication_configuration",
        name,
        {
            "count": Code(f"local.{snake(condition)} ? 1 : 0"),
            **its,
            "role": scope.value(given["Role"]),
            "depends_on": _after("versioning", name),
        },
        Block("rule", attributes, blocks),
    )


def _bucket_policy(scope: Scope, left: _Properties, name: str) -> Iterator[Block]:
    bucket = left.pop("Bucket")
    yield _of(
        "aws_s3_bucket_policy",
        name,
        {
            "bucket": scope.value(bucket),
            "policy": call("jsonencode", scope.value(left.pop("PolicyDocument"))),
            # S3 refuses one of two changes of a bucket's access at the same time.
            "depends_on": _after("public_access_block", snake(bucket["Ref"])),
        },
    )


def _role(scope: Scope, left: _Properties, name: str) -> Iterator[Block]:
    trust = left.pop("AssumeRolePolicyDocument")
    match trust:
        case {"Fn::If": [condition, yes, no]}:
            one, two = (expression(call("jsonencode", scope.value(it))) for it in (yes, no))
            # The way in which `tofu fmt` counts brackets wants the middle line further in.
            one = re.sub(r"\n\}\)$", "\n  })", one)
            document = Code(f"local.{snake(condition)} ? {one} : {two}")
        case _:
            document = call("jsonencode", scope.value(trust))
    yield _of(
        "aws_iam_role",
        name,
        {
            "name": scope.value(left.pop("RoleName")),
            "description": left.pop("Description"),
            **(
                {"max_session_duration": left.pop("MaxSessionDuration")}
                if "MaxSessionDuration" in left
                else {}
            ),
            "assume_role_policy": document,
        },
    )
    count: dict[str, Any] = {}
    match left.pop("Policies", []):
        case {"Fn::If": [condition, policies, _]}:
            count = {"count": Code(f"local.{snake(condition)} ? 1 : 0")}
        case policies:
            pass
    for policy in policies:
        yield _of(
            "aws_iam_role_policy",
            f"{name}_{policy['PolicyName'].replace('-', '_')}",
            {
                **count,
                "name": policy["PolicyName"],
                "role": Code(scope.reference(_logical(scope, name))),
                "policy": call("jsonencode", scope.value(policy["PolicyDocument"])),
            },
        )


def _logical(scope: Scope, name: str) -> str:
    return next(str(it) for it in scope.resources if snake(it) == name)


def _rule(scope: Scope, left: _Properties, name: str) -> Iterator[Block]:
    pattern = call("jsonencode", left.pop("EventPattern"))
    yield _of(
        "aws_cloudwatch_event_rule", name, {"description": left.pop("Description"), "event_pattern": pattern}
    )
    for target in left.pop("Targets"):
        attributes = {
            "rule": Code(f"aws_cloudwatch_event_rule.{name}[0].name"),
            "target_id": target["Id"],
            "arn": scope.value(target["Arn"]),
        }
        yield _of("aws_cloudwatch_event_target", f"{name}_{target['Id']}", attributes)


_MAKERS: Mapping[str, Callable[[Scope, _Properties, str], Iterator[Block]]] = {
    "AWS::Events::Rule": _rule,
    "AWS::IAM::Role": _role,
    "AWS::KMS::Alias": _alias,
    "AWS::KMS::Key": _key,
    "AWS::S3::Bucket": _bucket,
    "AWS::S3::BucketPolicy": _bucket_policy,
}
