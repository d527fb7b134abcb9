"""The check-in of a custodian of many keys: one file that asks, one file that answers.

The first has the challenge of each key under a name that the operator gives the key. The second has under
the same names each key's codes, which go to that key alone. A code counts for the record, the share and
the number that its key's challenge has asked for and for nothing else
(:mod:`pipeline.custody.shares.commitments`), so neither file is more than an envelope.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter

from pipeline.core.errors import UsageProblem
from pipeline.custody.custodians import challenge
from pipeline.custody.custodians.challenge import Challenge, Line
from pipeline.custody.shares.manifest_section import EXACTLY

SCHEMA: Final = "orgkey.challenges/1"
ANSWER: Final = "orgkey.custody-answer/1"
LARGEST: Final = 64 << 20
"""Of either file, in bytes."""

_Code = Annotated[str, Field(pattern=r"\A[0-9A-Z]{4}(-[0-9A-Z]{4}){3}\z")]


@dataclass(frozen=True)
class KeyAnswer:
    """What a custodian answers for one key.

    Attributes:
        fingerprint: The Org Key that was asked about.
        epoch: The epoch that was asked about.
        codes: One for each share that is good, as it is shown.
        problems: Why there is no code of a share, in the words of the custodian's machine.
    """

    fingerprint: Annotated[str, Field(pattern=r"\A[0-9A-F]{40}\z")]
    epoch: Line
    codes: Annotated[tuple[_Code, ...], Field(max_length=64)]
    problems: tuple[str, ...]

    __pydantic_config__ = EXACTLY


@dataclass(frozen=True)
class _Answer:
    custodian: Line
    keys: Mapping[str, KeyAnswer]
    exit_code: int

    __pydantic_config__ = EXACTLY


def together(challenges: Mapping[str, Challenge]) -> bytes:
    """The file that asks, ASCII.

    Args:
        challenges: Of one custodian, by the name of the key.
    """
    keys = {name: json.loads(item.to_bytes()) for name, item in challenges.items()}
    return (json.dumps({"schema": SCHEMA, "keys": keys}, indent=1, sort_keys=True) + "\n").encode("ascii")


def apart(data: bytes) -> dict[str, Challenge] | None:
    """Read the file that asks, from whomever it came.

    Returns:
        The challenge of each key by its name; ``None`` where the file is not one for many keys.

    Raises:
        UsageProblem: It is one, and malformed.
    """
    try:
        document = _document(data, SCHEMA)
        if document is None:
            return None
        found = {name: challenge.read(json.dumps(item).encode()) for name, item in document["keys"].items()}
        if len({item.custodian for item in found.values()}) != 1:
            raise ValueError("no key, or several custodians")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UsageProblem(
            "this file is not a challenge of orgkey", hint="ask the operator for the file as it was written"
        ) from None
    return found


def read_answer(data: bytes) -> Mapping[str, KeyAnswer]:
    """Read the file that answers, from whomever it came.

    Returns:
        The answer for each key, by its name.

    Raises:
        UsageProblem: It is not such a file.
    """
    try:
        document = _document(data, ANSWER)
        if document is None:
            raise ValueError("another file")
        return TypeAdapter(_Answer).validate_python(document).keys
    except (ValueError, TypeError, RecursionError):
        raise UsageProblem(
            "this file is not the answer to a challenge for many keys",
            hint="the custodian sends what `orgkey custody check --challenge FILE --out ANSWER` wrote; "
            "a code alone is entered with `orgkey custody confirm`",
        ) from None


def _document(data: bytes, schema: str) -> dict[str, Any] | None:
    """A document without its schema; ``None`` where it is of another one."""
    if len(data) > LARGEST:
        raise ValueError("too large")
    document = json.loads(data)
    if not isinstance(document, dict) or document.pop("schema", None) != schema:
        return None
    return document
