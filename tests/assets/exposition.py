"""A strict reader of Prometheus' text exposition, written from its description for the tests."""

from __future__ import annotations

import re

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
_HELP = re.compile(rf"# HELP ({_NAME}) ((?:[^\\\n]|\\\\|\\n)*)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram|summary|untyped)")
_SAMPLE = re.compile(
    rf"({_NAME})(?:\{{((?:{_LABEL},)*(?:{_LABEL}))\}})? ([-+]?[0-9]+(?:\.[0-9]+)?|NaN|[+-]Inf)"
)

Labels = tuple[tuple[str, str], ...]


def parse(text: str) -> dict[tuple[str, Labels], float]:
    """Read an exposition.

    Args:
        text: The file.

    Returns:
        Values by name and sorted labels.

    Raises:
        ValueError: A line has another form, or a rule of the format is broken.
    """
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    found: dict[tuple[str, Labels], float] = {}
    helped: set[str] = set()
    typed: set[str] = set()
    family = ""
    for line in text.splitlines():
        if match := _HELP.fullmatch(line):
            if match[1] in helped:
                raise ValueError(f"a second HELP: {line}")
            helped.add(match[1])
        elif match := _TYPE.fullmatch(line):
            if match[1] in typed:
                raise ValueError(f"a second TYPE: {line}")
            family = match[1]
            typed.add(family)
        elif match := _SAMPLE.fullmatch(line):
            if match[1] != family or family not in helped:
                raise ValueError(f"outside its family: {line}")
            labels = tuple(sorted(_labels(match[2] or "")))
            if (match[1], labels) in found or len(dict(labels)) != len(labels):
                raise ValueError(f"twice: {line}")
            found[match[1], labels] = float(match[match.lastindex or 0])
        else:
            raise ValueError(f"no line of the format: {line!r}")
    odd = [name for name in typed if re.search(r"_(milliseconds|minutes|hours|days|percent)\Z", name)]
    if odd:
        raise ValueError(f"no base unit: {odd}")
    return found


def _labels(text: str) -> list[tuple[str, str]]:
    plain = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
    return [
        (name, re.sub(r'\\["\\n]', lambda match: plain[match[0]], value))
        for name, value in re.findall(_LABEL, text)
    ]
