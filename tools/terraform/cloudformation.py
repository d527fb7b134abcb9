"""CloudFormation's templates read: their words for references and conditions become OpenTofu's.

What is not known here is refused, so that nothing of a template is left out of a module without a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.terraform.hcl import Code, expression, quoted

# Conditions that decide whether something is made, and the variable for each: an object or null, so that
# OpenTofu knows the answer before it knows the ARNs. Its fields stand for parameters of the template.
OPTIONAL: Mapping[str, tuple[Mapping[str, str], str]] = {
    "custody": (
        {"CustodyKeyArn": "key_arn"},
        "The custody module, or an object with its output key_arn; null until it is there.",
    ),
    "replica": (
        {"ReplicaBucketArn": "bucket_arn", "ReplicaKeyArn": "key_arn"},
        "The replica module, or an object with its outputs bucket_arn and key_arn; null for no replication.",
    ),
    "alarm": (
        {"AlarmTopicArn": "topic_arn"},
        "SNS topic that hears of changes to the key (needs a CloudTrail trail here); null for none.",
    ),
}
FIELDS = {
    name: f"{variable}.{to}" for variable, (fields, _) in OPTIONAL.items() for name, to in fields.items()
}
_PSEUDO = {
    "AWS::Region": "data.aws_region.current.id",
    "AWS::AccountId": "data.aws_caller_identity.current.account_id",
    "AWS::Partition": "data.aws_partition.current.partition",
}
NO_VALUE = {"Ref": "AWS::NoValue"}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        raise ValueError(f"!{suffix} of a mapping is not understood")
    return {suffix if suffix == "Ref" else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def load(path: Path) -> dict[str, Any]:
    """A template with the long forms of its functions."""
    found: dict[str, Any] = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - derives from SafeLoader
    return found


def snake(name: str) -> str:
    """``WriterRoleArn`` as ``writer_role_arn``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class Scope:
    """The names of one template in OpenTofu.

    Args:
        template: As :func:`load` gives it.
        kinds: OpenTofu's type of a resource, by CloudFormation's.
    """

    def __init__(self, template: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
        self.parameters = template["Parameters"]
        self.resources = {
            name: f"{kinds[item['Type']]}.{snake(name)}" + ("[0]" if "Condition" in item else "")
            for name, item in template["Resources"].items()
        }

    def reference(self, name: str) -> str:
        """What ``!Ref`` and ``${…}`` stand for: a parameter, an attribute, a fact of the account."""
        if name in FIELDS:
            return f"var.{FIELDS[name]}"
        if name in self.parameters:
            return f"var.{snake(name)}"
        if name in _PSEUDO:
            return _PSEUDO[name]
        resource, _, attribute = name.partition(".")
        return f"{self.resources[resource]}.{snake(attribute) if attribute else 'id'}"

    def condition(self, value: Any) -> str:
        """A condition as an expression."""
        match value:
            case {"Condition": name}:
                return f"local.{snake(name)}"
            case {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]} if name in FIELDS:
                return f"var.{FIELDS[name].partition('.')[0]} != null"
            case {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": name}]}, ""]}]}:
                return f"length({self.reference(name)}) > 0"
            case {"Fn::Not": [{"Fn::Contains": [{"Ref": name}, ""]}]}:
                return f"length({self.reference(name)}) > 0"
            case {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, str(text)]}]}:
                return f"{self.reference(name)} != {quoted(text)}"
            case {"Fn::Equals": [{"Ref": name}, str(text)]}:
                return f"{self.reference(name)} == {quoted(text)}"
            case {"Fn::And": list(parts)}:
                return " && ".join(dict.fromkeys(self.condition(part) for part in parts))
            case _:
                raise ValueError(f"the condition {value} is not understood")

    def value(self, value: Any) -> Any:
        """A property's value with OpenTofu's words for what is filled in."""
        match value:
            case {"Ref": str(name)} | {"Fn::GetAtt": str(name)}:
                return Code(self.reference(name))
            case {"Fn::Sub": str(text)}:
                return Code(self._filled(text))
            case {"Fn::Sub": [str(text), dict(names)]}:
                return self._document(text, {str(name): inner for name, inner in names.items()})
            case {"Fn::If": [str(name), yes, no]}:
                yes, no = (None if it == NO_VALUE else it for it in (yes, no))
                return Code(
                    f"local.{snake(name)} ? {expression(self.value(yes))} : {expression(self.value(no))}"
                )
            case dict() if any(name.startswith("Fn::") for name in value):
                raise ValueError(f"{value} is not understood")
            case dict():
                return {name: self.value(inner) for name, inner in value.items()}
            case list():
                filled = [self.value(item) for item in value]
                if any(isinstance(item, dict) and "Fn::If" in item for item in value):
                    return Code(f"[for it in {expression(filled)} : it if it != null]")
                return filled
            case _:
                return value

    def _filled(self, text: str) -> str:
        if whole := re.fullmatch(r"\$\{([^}]+)\}", text):
            return self.reference(whole[1])
        parts = re.split(r"\$\{([^}]+)\}", text)
        parts[0::2] = [quoted(part)[1:-1] for part in parts[0::2]]
        parts[1::2] = [f"${{{self.reference(part)}}}" for part in parts[1::2]]
        return f'"{"".join(parts)}"'

    def _document(self, text: str, names: Mapping[str, Any]) -> Any:
        """JSON in a string, which is how a template has references in a condition's key."""

        def filled(value: Any) -> Any:
            match value:
                case [str(only)] if only.removeprefix("${").removesuffix("}") in names:
                    match names[only[2:-1]]:
                        case {"Fn::Join": ["', '" | '", "', {"Ref": str(name)}]}:
                            return Code(self.reference(name))
                    raise ValueError(f"{names} is not understood")
                case str():
                    return Code(self._filled(value)) if "${" in value else value
                case dict():
                    return {
                        self._filled(key) if "${" in key else key: filled(inner)
                        for key, inner in value.items()
                    }
                case list():
                    return [filled(item) for item in value]
                case _:
                    return value

        return filled(json.loads(text))
