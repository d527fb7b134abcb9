"""The manifest: what a record is, what it holds, and who can open it; signed by the Org Key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter

from pipeline.core.clock import parse_stamp, stamp
from pipeline.core.errors import IntegrityProblem, UsageProblem
from pipeline.custody.shares.manifest_section import EXACTLY, CustodySection, Hex32, Sha256

SCHEMA = "orgkey.record/1"
_SCHEMA = re.compile(r"^orgkey\.record/([1-9][0-9]{0,5})\Z")


@dataclass(frozen=True, slots=True)
class Reference:
    """Another record that this one follows or replaces.

    Attributes:
        epoch: The name of its epoch.
        sha256: The digest of its bytes, lower-case hexadecimal.
    """

    epoch: Annotated[str, Field(pattern="^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")]
    sha256: Sha256

    __pydantic_config__ = EXACTLY


@dataclass(frozen=True)
class Manifest:
    """The signed description of a record.

    Attributes:
        record_id: 128 random bits, 32 lower-case hexadecimal digits, minted before anything is split.
        created: When the record was minted; whole seconds.
        fingerprint: The Org Key's, 40 upper-case hexadecimal digits.
        key_state: Digest of the canonical secret and public packets, independent of salts.
        key: The key in words: algorithm, dates, user ids, subkeys.
        members: SHA-256 of every other member, by name; the manifest and its signature excepted.
        custody: Holders, paths, commitments, check codes and the witness's public key.
        plan: Digest of the custody plan that the record follows.
        previous: The authentic epoch before this one, as far as its maker knew.
        supersedes: The epoch that this one replaces by intent.
        program: Name and version of the program that made it.
        original: SHA-256 of the export as it came in; ``None`` where the record does not say it.
    """

    record_id: Hex32
    created: Annotated[datetime, BeforeValidator(lambda value: parse_stamp(value))]
    fingerprint: Annotated[str, Field(pattern="^[0-9A-F]{40}$")]
    key_state: Sha256
    key: Mapping[str, Any]
    members: Mapping[str, Sha256]
    custody: Annotated[CustodySection, BeforeValidator(CustodySection.from_json)]
    plan: Sha256
    previous: Reference | None
    supersedes: Reference | None
    program: Annotated[str, Field(pattern="^[ -~]{1,80}$")]
    original: Sha256 | None = None  # records of version 0.1 do not have it

    __pydantic_config__ = EXACTLY

    @property
    def epoch(self) -> str:
        """The name of the record's epoch."""
        return epoch_name(self.created, self.record_id)

    @property
    def refreshed(self) -> bool:
        """Whether it carries on the secret and the shares of the record that it replaces."""
        return self.supersedes is not None and self.supersedes.epoch.endswith(f"-{self.record_id[:8]}")

    def to_bytes(self) -> bytes:
        """Write the manifest as canonical JSON (RFC 8785), the bytes that are signed."""
        import rfc8785

        document = {"schema": SCHEMA, **asdict(self), "created": stamp(self.created)}
        if self.original is None:
            del document["original"]
        return rfc8785.dumps(document)


def epoch_name(created: datetime, record_id: str) -> str:
    """Name an epoch: ``YYYYMMDDTHHMMSSZ-<first 8 hex of the record id>``."""
    return f"{created:%Y%m%dT%H%M%SZ}-{record_id[:8]}"


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest whose signature has been checked already.

    Raises:
        UsageProblem: It was written in a newer schema than this program knows.
        IntegrityProblem: It is not a manifest.
    """
    try:
        document = json.loads(data)
        match = _SCHEMA.match(document["schema"])
    except (ValueError, RecursionError, KeyError, TypeError):
        raise _odd("it is not a JSON document with a schema") from None
    if match and int(match[1]) > 1:
        raise UsageProblem(
            f"this record was written in the newer schema {document['schema']}",
            hint="upgrade orgkey-escrow on this host; the record itself is authentic",
        )
    try:
        if document.pop("schema") != SCHEMA or document.get("original", "") is None:
            raise ValueError("schema")
        return _reader().validate_python(document)
    except (ValueError, TypeError, AttributeError):
        raise _odd("a field is missing, is unknown, or has a form that it never has") from None


@cache
def _reader() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)


def _odd(why: str) -> IntegrityProblem:
    return IntegrityProblem(f"the manifest is damaged: {why}", hint="use another copy of this epoch")
