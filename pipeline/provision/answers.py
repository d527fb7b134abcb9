"""Fields of a server's answer, each of the kind that it has to be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from pipeline.core.errors import Unreachable
from pipeline.provision.files import ROLE_FIELDS, bare

T = TypeVar("T")
_PARTS = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_FACTOR = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


class Answer:
    """An answer of which each field is read as what it should be; ``None`` where it is not there.

    Args:
        data: The answer.
        what: What it was asked for, ``https://vault.example.com:8200, sys/mounts``.

    Raises:
        Unreachable: It, or a field of it that is read, is of another kind.
    """

    def __init__(self, data: Any, what: str) -> None:
        self._what = what
        if not isinstance(data, Mapping):
            self._odd(f"is {_shown(data)}")
        self.data: Mapping[str, Any] = data

    def inner(self, name: str) -> Answer | None:
        """An object."""
        value = self.data.get(name)
        return None if value is None else Answer(value, f"{self._what}, {name}")

    def text(self, name: str) -> str | None:
        """Text."""
        return self._read(name, _text)

    def flag(self, name: str) -> bool | None:
        """True or false."""
        return self._read(name, _flag)

    def number(self, name: str) -> int | None:
        """A whole number."""
        return self._read(name, _number)

    def length(self, name: str) -> int | None:
        """A length of time, in seconds."""
        return self._read(name, _length)

    def expiry(self, name: str) -> int | None:
        """A length of time, in seconds; a negative one, which switches expiry off, is 0 like none."""
        return self._read(name, _expiry)

    def words(self, name: str) -> list[str] | None:
        """A list of texts."""
        return self._read(name, _words)

    def role(self) -> dict[str, Any]:
        """The fields of a role that are compared."""
        readers: dict[type, Callable[[str], Any]] = {
            bool: self.flag,
            int: self.number,
            str: self.length,
            list: self._addresses,
        }
        found = {name: readers[kind](name) for name, kind in ROLE_FIELDS.items() if name != "token_type"}
        return found | {"token_type": self.text("token_type"), "token_policies": self.words("token_policies")}

    def _addresses(self, name: str) -> list[str] | None:
        found = self.words(name)
        return None if found is None else sorted({_address(item) for item in found})

    def _read(self, name: str, reader: Callable[[Any], T]) -> T | None:
        value = self.data.get(name)
        if value is None:
            return None
        try:
            return reader(value)
        except ValueError:
            self._odd(f"says {name} = {_shown(value)}")

    def _odd(self, said: str) -> NoReturn:
        raise Unreachable(
            f"{self._what}: the server's answer {said}",
            hint="check that the address is that of a vault, with no proxy that changes answers",
            again=False,
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _number(value: Any) -> int:
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise ValueError
    return value


def _length(value: Any) -> int:
    if not isinstance(value, str):
        return _number(value)
    if value.isascii() and value.isdigit():
        return int(value[:18])
    parts = _PARTS.findall(value)
    if not parts or "".join(map("".join, parts)) != value:
        raise ValueError
    # What is shorter than a second is still not "without an end".
    exact = sum(float(count) * _FACTOR[unit] for count, unit in parts)
    return max(int(exact), int(exact > 0))


def _expiry(value: Any) -> int:
    if isinstance(value, str) and value.startswith("-"):
        _length(value[1:])  # it is a length all the same
        return 0
    return max(0, _length(value))


def _words(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError
    return value


def _address(item: str) -> str:
    try:
        return bare(item)
    except ValueError:
        return item  # it differs from whatever is wanted
