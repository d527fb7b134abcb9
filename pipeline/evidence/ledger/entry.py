"""One entry of the ledger: how it is written, and what makes it sound.

An entry is canonical JSON (RFC 8785), so its meaning has one spelling only, and carries the SHA-256 of the
one before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipeline import __version__
from pipeline.core import log
from pipeline.core.clock import parse_stamp, stamp
from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import IntegrityProblem
from pipeline.core.text import encodable

SCHEMA: Final = "orgkey.ledger/1"
HEAD_SCHEMA: Final = "orgkey.ledger-head/1"
LARGEST: Final = 4 * 1024 * 1024
"""Bytes of an entry that are read at most; real ones have a few thousand."""

_HEX = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_PLAIN_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,14})\.[0-9]{0,14}[1-9]")
_FIELDS: Final[dict[str, type]] = {
    "schema": str,
    "sequence": int,
    "previous": str,
    "at": str,
    "fingerprint": str,
    "event": str,
    "run": str,
    "program": str,
    "details": dict,
}
_MORE: Final[dict[str, type]] = {"rechained_from": dict}
"""What an entry of 0.1 may have besides: where it stood before a fork."""
_PLACE: Final = frozenset({"sequence", "previous", "rechained_from"})


@dataclass(frozen=True)
class Head:
    """The end of the chain.

    Attributes:
        sequence: Number of the last entry; 0 when there is none.
        digest: SHA-256 of its file; of nothing when there is none.
    """

    sequence: int
    digest: Digest


START: Final = Head(0, sha256(b""))
"""What the first entry follows."""


class Malformed(IntegrityProblem):
    """Bytes that are not a sound entry; its message says why, for a sentence about the entry."""

    def __init__(self, why: str) -> None:
        super().__init__(why, hint="keep the folder as it is and find out who could write to it")


def write(
    before: Head, fingerprint: str, event: str, details: Mapping[str, Any], *, now: datetime, run: str
) -> bytes:
    """Write the entry that follows ``before``.

    Args:
        before: The entry before it.
        fingerprint: The key's.
        event: What happened.
        details: JSON values; never a secret.
        now: When.
        run: The correlation id of the run.
    """
    import rfc8785

    return rfc8785.dumps(
        {
            "schema": SCHEMA,
            "sequence": before.sequence + 1,
            "previous": before.digest.hex,
            "at": stamp(now),
            "fingerprint": fingerprint,
            "event": event,
            "run": run,
            "program": f"orgkey-escrow {__version__}",
            "details": _text(log.document_without_logins(details)),
        }
    )


def _text(value: Any) -> Any:
    """A JSON value whose texts are text: bytes of file names that are not UTF-8 are escaped."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, Mapping):
        return {encodable(str(name)): _text(item) for name, item in value.items()}
    return [_text(item) for item in value] if isinstance(value, list | tuple) else value


def sense(entry: Mapping[str, Any]) -> str:
    """SHA-256 over what an entry of 0.1 says, wherever it stands: 0.1 wrote entries again behind a fork.

    Args:
        entry: A sound entry.
    """
    kept = {name: value for name, value in entry.items() if name not in _PLACE}
    return sha256(json.dumps(kept, sort_keys=True).encode()).hex


def write_head(number: int, entry: bytes) -> bytes:
    """Write what is kept of a head elsewhere: it vouches for the entry and for all before it.

    Args:
        number: The entry's.
        entry: Its bytes; written again, the head is the same.
    """
    import rfc8785

    return rfc8785.dumps(
        {
            "schema": HEAD_SCHEMA,
            "sequence": number,
            "sha256": sha256(entry).hex,
            "at": str(json.loads(entry)["at"]),
        }
    )


def parse_head(data: bytes) -> Head | None:
    """Read it; ``None`` when it is malformed."""
    try:
        told = json.loads(data)
        head = Head(int(told["sequence"]), Digest("sha256", str(told["sha256"])))
        return head if told["schema"] == HEAD_SCHEMA and _HEX.fullmatch(head.digest.hex) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def parse(data: bytes, number: int, fingerprint: str | None = None) -> dict[str, Any]:
    """Read an entry and check everything that it alone can show.

    Args:
        data: Its bytes.
        number: Which entry it should be.
        fingerprint: Whose ledger it should be of, where that is known.

    Raises:
        Malformed: It is not a sound entry of that number.
    """
    if len(data) > LARGEST:
        raise Malformed("is larger than an entry can be")
    plain = _Plain()
    try:
        entry = json.loads(
            data, parse_float=plain.number, parse_int=plain.integer, parse_constant=plain.constant
        )
    except (ValueError, RecursionError):
        raise Malformed("is not JSON") from None
    if not isinstance(entry, dict):
        raise Malformed("is another document than an entry")
    _check(entry, number, fingerprint)
    if not _canonical(entry, data, plain.plain):
        raise Malformed("is not written canonically (RFC 8785)")
    return entry


def _check(entry: Mapping[str, Any], number: int, fingerprint: str | None) -> None:
    if entry.get("schema") != SCHEMA:
        raise Malformed(f"has another schema than {SCHEMA}")
    if not _FIELDS.keys() <= entry.keys() <= _FIELDS.keys() | _MORE.keys():
        raise Malformed("has other fields than an entry")
    for name, kind in (_FIELDS | _MORE).items():
        if name in entry and type(entry[name]) is not kind:
            raise Malformed(f"has another {name} than an entry")
    if entry["sequence"] != number:
        raise Malformed(f"says that it is entry {entry['sequence']}")
    if not _HEX.fullmatch(entry["previous"]):
        raise Malformed("has another previous than an entry")
    if not _FINGERPRINT.fullmatch(entry["fingerprint"]) or fingerprint not in (None, entry["fingerprint"]):
        raise Malformed("is of another key")
    try:
        moment = parse_stamp(entry["at"])
    except ValueError:
        moment = None
    if moment is None or stamp(moment) != entry["at"]:
        raise Malformed("has no time")


class _Plain:
    """Notes numbers whose canonical form Python's own writer may not have."""

    def __init__(self) -> None:
        self.plain = True

    def number(self, text: str) -> float:
        self.plain = self.plain and _PLAIN_FLOAT.fullmatch(text) is not None
        return float(text)

    def integer(self, text: str) -> int:
        self.plain = self.plain and len(text) < 16
        if len(text) > 40:  # Python refuses thousands of digits with an error of its own
            raise ValueError
        return int(text)

    def constant(self, text: str) -> float:
        raise ValueError(text)


def _canonical(entry: Mapping[str, Any], data: bytes, plain: bool) -> bool:
    """Whether the bytes are the canonical ones of what they say.

    Python's own writer agrees with RFC 8785 on ASCII and plain numbers, and is some ten times as fast.
    """
    try:
        if plain and data.isascii():
            text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            if text.encode() == data:
                return True
        import rfc8785

        return rfc8785.dumps(dict(entry)) == data
    except (ValueError, RecursionError):  # rfc8785's own errors are ValueErrors
        return False
