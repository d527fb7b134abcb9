"""A check-in's challenge, and the custodian's answer to it.

The operator's file asks for one numbered check code of each share that a custodian has
(:mod:`pipeline.custody.shares.commitments`). It carries the salted commitments of these shares, and of the
same custodian's shares in older epochs, so that the custodian's own machine can tell a good share from an
old or a damaged one without configuration or network. Nothing in it is secret, and nothing but the code goes
back.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Final

from pydantic import AfterValidator, Field, TypeAdapter

from pipeline.core.errors import UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.shares import commitments, slip39
from pipeline.custody.shares.commitments import CODES, Place
from pipeline.custody.shares.manifest_section import EXACTLY, Hex32, Sha256
from pipeline.custody.shares.paths import GroupNumber, Name

SCHEMA: Final = "orgkey.challenge/1"
LARGEST: Final = 1 << 20
"""Of a challenge file, in bytes; one share has some two thousand."""


def _line(text: str) -> str:
    if not 0 < len(text) <= 300 or not text.isprintable():
        raise ValueError("not one printable line")
    return text


Line = Annotated[str, AfterValidator(_line)]


@dataclass(frozen=True)
class _CommittedShare:
    """A share, by its place and its commitment.

    Attributes:
        path: The custody path.
        holder: The holder's name.
        index: The share's number.
        salt: Of the commitment; 32 lower-case hexadecimal digits.
        commitment: To the share; 64 lower-case hexadecimal digits.
    """

    path: Name
    holder: Name
    index: GroupNumber
    salt: Hex32
    commitment: Sha256

    __pydantic_config__ = EXACTLY

    def is_of(self, record_id: str, words: Secret) -> Place | None:
        """Where the share belongs, when it is this one."""
        place = Place(record_id, self.path, self.holder, self.index)
        return place if commitments.verify(self.commitment, self.salt, place, words) else None


@dataclass(frozen=True)
class ChallengedShare(_CommittedShare):
    """One share of which a code is asked.

    Attributes:
        number: Which code, 0 to 63.
        code_hash: The published hash of that code.
        sealed: The share as the record has it, encrypted to the custodian; armored.
    """

    number: Annotated[int, Field(strict=True, ge=0, lt=CODES)]
    code_hash: Sha256
    sealed: Annotated[str, Field(pattern=r"^[\x00-\x7f]*$")]


@dataclass(frozen=True)
class Older(_CommittedShare):
    """A share that the same custodian had in an older epoch."""

    epoch: Line
    record_id: Hex32


@dataclass(frozen=True, slots=True)
class Challenge:
    """What one custodian is asked.

    Attributes:
        fingerprint: The Org Key's.
        epoch: The epoch that is meant.
        record_id: Its record's id.
        custodian: The fingerprint of the custodian's certificate, or a keeper of paper.
        name: What the custodian is called.
        shares: What is asked.
        older: Shares of older epochs, to recognise them.
    """

    fingerprint: Line
    epoch: Line
    record_id: Hex32
    custodian: Line
    name: Line
    shares: Annotated[tuple[ChallengedShare, ...], Field(min_length=1, max_length=64)]
    older: tuple[Older, ...] = ()

    __pydantic_config__ = EXACTLY

    def to_bytes(self) -> bytes:
        """The file, ASCII."""
        document = {"schema": SCHEMA} | asdict(self)
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode("ascii")


@dataclass(frozen=True, slots=True)
class RevealedCode:
    """A code that proves one share.

    Attributes:
        asked: The share.
        code: To be given to the operator; worth nothing to anybody else.
    """

    asked: ChallengedShare
    code: str


def plain(custodian: str) -> str:
    """A custodian's name or fingerprint as it is compared."""
    return "".join(custodian.split()).upper()


def read(data: bytes) -> Challenge:
    """Read a challenge file, from whomever it came.

    Raises:
        UsageProblem: It is none.
    """
    try:
        if len(data) > LARGEST:
            raise ValueError("too large")
        document = json.loads(data)
        if document.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        return _reader().validate_python(document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UsageProblem(
            "this file is not a challenge of orgkey", hint="ask the operator for the file as it was written"
        ) from None


@cache
def _reader() -> TypeAdapter[Challenge]:
    return TypeAdapter(Challenge)


def answer(challenge: Challenge, words: Secret, what: str) -> RevealedCode:
    """Prove one share.

    The code is given only for a share that fits its commitment, and only if it is the code whose hash was
    published: a challenge that was tampered with gets nothing.

    Args:
        challenge: What the operator asks.
        words: The share.
        what: What errors call it.

    Raises:
        WrongShare: It is not a share, is damaged, older or foreign; the message says which.
    """
    try:
        words = slip39.normalise(words)
    except WrongShare as error:
        raise WrongShare(f"{what}: {error.message}", hint=error.hint) from None
    for asked in challenge.shares:
        if place := asked.is_of(challenge.record_id, words):
            return RevealedCode(asked, _code(asked, place, words))
    damage = slip39.damage(words)
    if damage:
        raise WrongShare(
            f"{what} is damaged: {damage}",
            hint="compare it word by word with the original, and try again; tell the operator if it stays so",
        )
    for old in challenge.older:
        if place := old.is_of(old.record_id, words):
            raise WrongShare(
                f"{what} is of the older epoch {old.epoch} ({place}), not of {challenge.epoch}",
                hint="find the newer share, or decrypt the one that came with the challenge; "
                "destroy the old one when the operator says so",
            )
    raise WrongShare(
        f"{what} is whole, but not one that {challenge.name} has in epoch {challenge.epoch}",
        hint="it is another custodian's, another key's or of an epoch unknown here; tell the operator",
    )


def _code(asked: ChallengedShare, place: Place, words: Secret) -> str:
    code = commitments.code(place, asked.number, words)
    if not hmac.compare_digest(commitments.code_hash(asked.salt, place, asked.number, code), asked.code_hash):
        raise WrongShare(
            f"the share is good ({place}), but the challenge asks for a code that was never published",
            hint="the challenge was changed on its way: ask the operator for it again, by another way",
        )
    return code.text()


def answers(challenge: Challenge, given: Sequence[tuple[str, Secret]]) -> list[RevealedCode]:
    """Prove several shares; each is proven once, in the order of the challenge.

    Raises:
        WrongShare: One of them is not good.
    """
    found = {item.asked: item for what, words in given for item in [answer(challenge, words, what)]}
    return [found[asked] for asked in challenge.shares if asked in found]
