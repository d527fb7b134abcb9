"""Text for people: foreign words made harmless, lengths of time, sizes, fingerprints."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any, Final

_FINGERPRINT: Final = re.compile(r"(?<![\w/.:=-])[0-9A-F]{40}(?![\w/.=-])")


def printable(text: str) -> str:
    """Foreign text made harmless: control and bidi characters, and bytes that are not UTF-8, are escaped."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def json_lines(document: Mapping[str, Any]) -> str:
    """A document as JSON for people, too: what is not printable in its texts is escaped as JSON has it."""
    lines = json.dumps(document, indent=2, ensure_ascii=False).split("\n")
    return "\n".join(
        line
        if line.isprintable()
        # Outside of strings JSON has nothing that would need it.
        else "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)
        for line in lines
    )


def one_line(text: str) -> str:
    """Foreign text for paper and mail: one line of at most 200 characters that all show."""
    return "".join(char if char.isprintable() else "?" for char in text)[:200]


def shell_word(value: str | PathLike[str]) -> str:
    """A path or a name as it is typed in a shell, for the commands that hints name."""
    text = fspath(value)
    if not text.isprintable():  # bash's own form, of which the screen escapes nothing
        quoted = "".join(f"\\{char}" if char in "\\'" else _escaped(char) for char in text)
        return f"$'{quoted}'"
    # A relative path that begins with a hyphen would be an option.
    return shlex.quote(f"./{text}" if text.startswith("-") and isinstance(value, PathLike) else text)


def encodable(text: str) -> str:
    """Text that any UTF-8 file can hold: bytes of file names that are not UTF-8 are escaped."""
    return "".join(_escaped(char) if "\ud800" <= char <= "\udfff" else char for char in text)


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    if "\udc80" <= char <= "\udcff":  # a byte of a file name
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def age(seconds: float | None) -> str:
    """A length of time for people."""
    if seconds is None:
        return "never"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def amount(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def counted(number: int, noun: str) -> str:
    """A number of things, for people: "no copies", "1 copy", "2 copies"."""
    plural = noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"
    return f"{number or 'no'} {noun if number == 1 else plural}"


def some(names: Sequence[str]) -> str:
    """The first three of many names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def grouped(text: str) -> str:
    """Text for people, the fingerprints in it in groups; those in paths and addresses stay."""
    return _FINGERPRINT.sub(lambda found: spaced(found[0]), text)


def spaced(fingerprint: str) -> str:
    """A fingerprint in groups of four, as people compare them."""
    groups = [fingerprint[index : index + 4] for index in range(0, len(fingerprint), 4)]
    return " ".join(groups[:5]) + "  " + " ".join(groups[5:])


def who_alone(parties: Sequence[str], hosts: Sequence[str]) -> str:
    """Who gets the key alone, in words: parties of the plan, and hosts whose logins open a path.

    Args:
        parties: Names of parties.
        hosts: Names of hosts.
    """
    if not hosts:
        return ", ".join(parties) or "nobody"
    plan = ", ".join(parties) if parties else "no party of the plan"
    return f"{plan}; but {', '.join(hosts)} {'do' if len(hosts) > 1 else 'does'}"
