"""What a KMS key's policy says of a call, as far as the policies of `infra/` need it.

The elements and condition operators that are known here are the ones below; a statement with any other is
taken as a refusal, so that a policy that this module does not understand cannot pass for a narrow one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

_KNOWN = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
_ROOT = re.compile(r"arn:aws:iam::\d{12}:root")


class Word(Enum):
    """What a policy says."""

    ALLOWED = "allowed"
    DELEGATED = "delegated"  # the account's own policies decide
    DENIED = "denied"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Call:
    """One call at a key.

    Attributes:
        principal: ARN of the role that makes it.
        action: With the service, for example ``kms:Encrypt``.
        context: Its encryption context.
    """

    principal: str
    action: str
    context: Mapping[str, str]

    def values(self, name: str) -> list[str]:
        """The values of a condition key, none where it is not there."""
        known = {f"kms:EncryptionContext:{key}": [value] for key, value in self.context.items()}
        known |= {"aws:PrincipalArn": [self.principal], "kms:EncryptionContextKeys": sorted(self.context)}
        return known.get(name, [])


def judge(policy: Mapping[str, Any], call: Call) -> Word:
    """What a key's policy says of a call: a refusal goes before everything.

    Args:
        policy: The policy's document.
        call: The call.
    """
    said = Word.SILENT
    for statement in policy["Statement"]:
        if not statement.keys() <= _KNOWN:
            return Word.DENIED
        if not any(fnmatchcase(call.action, pattern) for pattern in _list(statement["Action"])):
            continue
        named = _principal(statement["Principal"], call.principal)
        if named is Word.SILENT:
            continue
        holds = _holds(statement.get("Condition", {}), call)
        if holds is None or (holds and statement["Effect"] == "Deny"):
            return Word.DENIED
        if holds and said is not Word.ALLOWED:
            said = named
    return said


def _principal(element: Any, caller: str) -> Word:
    names = _list(element.get("AWS", ()) if isinstance(element, Mapping) else element)
    if "*" in names or caller in names:
        return Word.ALLOWED
    return Word.DELEGATED if any(_ROOT.fullmatch(name) for name in names) else Word.SILENT


def _holds(condition: Mapping[str, Mapping[str, Any]], call: Call) -> bool | None:
    """Whether all conditions hold; ``None`` where one is not understood."""
    for operator, keys in condition.items():
        test = _OPERATORS.get(operator)
        if test is None:
            return None
        if not all(test(call.values(key), _list(wanted)) for key, wanted in keys.items()):
            return False
    return True


def _equals(found: Sequence[str], wanted: Sequence[str]) -> bool:
    return bool(found) and all(value in wanted for value in found)


_OPERATORS: Mapping[str, Callable[[Sequence[str], Sequence[str]], bool]] = {
    "StringEquals": _equals,
    "ArnEquals": _equals,
    "ArnNotEquals": lambda found, wanted: not _equals(found, wanted),
    "ForAllValues:StringEquals": lambda found, wanted: all(value in wanted for value in found),
    "Null": lambda found, wanted: [str(not found).lower()] == [str(value).lower() for value in wanted],
}


def _list(value: str | bool | Iterable[str]) -> list[Any]:
    return [value] if isinstance(value, str | bool) else list(value)
