"""Two texts of a policy compared: which lines differ, and whether one gives more than the other.

It understands enough of the policy language to say so, and no more.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|#[^\n]*|//[^\n]*|/\*.*?\*/', re.DOTALL)
_BLOCK = re.compile(r'\s*path\s+"([^"\\]+)"\s*\{\s*capabilities\s*=\s*\[([^\]{}]*)\]\s*\}')
_WORD = re.compile(r'"([a-z]+)"')


def rights(text: str) -> Mapping[str, frozenset[str]] | None:
    """The capabilities of each path; ``None`` for a text that is more than paths with capabilities."""
    rest = _COMMENT.sub(lambda match: match[1] or " ", text)
    found: dict[str, frozenset[str]] = {}
    while rest.strip():
        match = _BLOCK.match(rest)
        if match is None or _WORD.sub("", match[2]).strip(" ,\n\t\r"):
            return None
        path = match[1]
        found[path] = found.get(path, frozenset()) | frozenset(_WORD.findall(match[2]))
        rest = rest[match.end() :]
    return {path: frozenset() if "deny" in granted else granted for path, granted in found.items()}


def diff(name: str, have: str, want: str) -> str:
    """The lines that differ between a server's text and that of the files."""
    lines = difflib.unified_diff(
        have.splitlines(), want.splitlines(), f"{name} (server)", f"{name} (files)", lineterm=""
    )
    return "\n".join(lines) or "only line ends differ"


def surplus(have: str, want: str) -> list[str] | None:
    """What a policy gives that another one does not, as ``update on transit/decrypt/orgkey-escrow``.

    Returns:
        The rights, empty when there are none; ``None`` when a text cannot be judged, and when a path
        that narrows another one has gone.
    """
    has, should = rights(have), rights(want)
    if has is None or should is None:
        return None
    if any(not granted for granted in should.values()):
        return None  # a denial of their own files: whether it still bites is not seen here
    return [
        f"{name} on {path}"
        for path, granted in has.items()
        for name in sorted(granted - _meant(should, path))
    ]


def _meant(should: Mapping[str, frozenset[str]], path: str) -> frozenset[str]:
    """What a policy gives on a path: the rule that covers it and says most of it counts."""
    covering = [rule for rule in should if rule == path or _covers(rule, path)]
    return should[max(covering, key=len)] if covering else frozenset()


def _covers(rule: str, path: str) -> bool:
    """Whether a rule applies to all that another one applies to."""
    if not rule.endswith("*"):
        if path.endswith("*") or rule.count("/") != path.count("/"):
            return False
        return all(
            ours in ("+", theirs) for ours, theirs in zip(rule.split("/"), path.split("/"), strict=True)
        )
    *ahead, last = rule[:-1].split("/")
    parts = path.split("/")
    if len(parts) <= len(ahead) or not parts[len(ahead)].startswith(last):
        return False
    return all(ours in ("+", theirs) for ours, theirs in zip(ahead, parts, strict=False)) and (
        "*" not in "/".join(parts[: len(ahead)])
    )
