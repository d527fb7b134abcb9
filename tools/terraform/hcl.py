"""Writing OpenTofu's language in the form that ``tofu fmt`` gives it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH = 110
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Code:
    """An expression that stands as it is, for example ``var.prefix``."""

    text: str


@dataclass(slots=True)
class Block:
    """A block: its head, for example ``resource "aws_kms_key" "record_key"``, and what is in it."""

    head: str
    attributes: dict[str, Any] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The block as text."""
        inner = aligned(self.attributes)
        for number, block in enumerate(self.blocks):
            inner += ["", *block.lines()] if inner or number else block.lines()
        return [f"{self.head} {{", *_indented(inner), "}"] if inner else [f"{self.head} {{}}"]


def document(note: str, blocks: Iterable[Block]) -> str:
    """A whole file.

    Args:
        note: The comment at its head.
        blocks: What follows.
    """
    return "\n\n".join([f"# {note}", *("\n".join(block.lines()) for block in blocks)]) + "\n"


def quoted(text: str) -> str:
    """A string without anything to fill in."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def expression(value: Any) -> str:
    """A value as an expression, over several lines where it is long."""
    match value:
        case Code():
            return value.text
        case str():
            return quoted(value)
        case None:
            return "null"
        case Mapping():
            return _between("{", [*aligned(value)], "}", ", ", " ")
        case Sequence():
            inner = [expression(item) for item in value]
            short = f"[{', '.join(inner)}]"
            if "\n" not in short and len(short) <= WIDTH - 40:
                return short
            return "\n".join(["[", *_indented("\n".join(f"{item}," for item in inner).split("\n")), "]"])
        case _:
            return json.dumps(value)


def call(function: str, value: Any) -> Code:
    """A function called with one value."""
    return Code(f"{function}({expression(value)})")


def aligned(attributes: Mapping[str, Any]) -> list[str]:
    """Lines ``name = value``, with the signs of neighbouring lines below each other."""
    rows = [
        (name if _NAME.fullmatch(name) else name if name.startswith('"') else quoted(name), expression(value))
        for name, value in attributes.items()
    ]
    lines: list[str] = []
    run: list[tuple[str, str]] = []

    def flush() -> None:
        width = max((len(name) for name, _ in run), default=0)
        lines.extend(f"{name:<{width}} = {text}" for name, text in run)
        run.clear()

    for name, text in rows:
        if "\n" in text:  # a value of several lines stands apart
            flush()
            lines += f"{name} = {text}".split("\n")
        else:
            run.append((name, text))
    flush()
    return lines


def _between(start: str, inner: list[str], end: str, comma: str, space: str) -> str:
    short = f"{start}{space}{comma.join(inner)}{space}{end}"
    if len(inner) == 1 and len(short) <= WIDTH - 40:
        return short
    return "\n".join([start, *_indented(inner), end]) if inner else start + end


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" if line else "" for line in lines]
