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
from typing import Any, Final

from pipeline.core.errors import UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.shares import commitments, slip39
from pipeline.custody.shares.commitments import CODES, Place
from pipeline.custody.shares.manifest_section import DIGEST, NAME, SALT

SCHEMA: Final = "orgkey.challenge/1"
LARGEST: Final = 1 << 20
"""Of a challenge file, in bytes; one share has some two thousand."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One share of which a code is asked.

    Attributes:
        path: The custody path.
        holder: The holder's name.
        index: The share's number.
        salt: Of the commitment; 32 lower-case hexadecimal digits.
        commitment: To the share; 64 lower-case hexadecimal digits.
        number: Which code, 0 to 63.
        code_hash: The published hash of that code.
        sealed: The share as the record has it, encrypted to the custodian; armored.
    """

    path: str
    holder: str
    index: int
    salt: str
    commitment: str
    number: int
    code_hash: str
    sealed: str

    def place(self, record_id: str) -> Place:
        """Where the share belongs."""
        return Place(record_id, self.path, self.holder, self.index)


@dataclass(frozen=True, slots=True)
class Older:
    """A share that the same custodian had in an older epoch."""

    epoch: str
    record_id: str
    path: str
    holder: str
    index: int
    salt: str
    commitment: str


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

    fingerprint: str
    epoch: str
    record_id: str
    custodian: str
    name: str
    shares: tuple[Asked, ...]
    older: tuple[Older, ...] = ()

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

    asked: Asked
    code: str


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
        shares = tuple(Asked(**item) for item in document.pop("shares"))
        older = tuple(Older(**item) for item in document.pop("older"))
        challenge = Challenge(shares=shares, older=older, **document)
        _check(challenge)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UsageProblem(
            "this file is not a challenge of orgkey", hint="ask the operator for the file as it was written"
        ) from None
    return challenge


def _check(challenge: Challenge) -> None:
    head = (challenge.fingerprint, challenge.epoch, challenge.custodian, challenge.name)
    if not all(isinstance(text, str) and 0 < len(text) <= 300 and text.isprintable() for text in head):
        raise ValueError("head")
    _texts(SALT, challenge.record_id)  # of the same form
    if not 1 <= len(challenge.shares) <= 64:
        raise ValueError("shares")
    for asked in challenge.shares:
        _texts(NAME, asked.path, asked.holder)
        _texts(SALT, asked.salt)
        _texts(DIGEST, asked.commitment, asked.code_hash)
        _numbers((asked.index, 1, 16), (asked.number, 0, CODES - 1))
        if not isinstance(asked.sealed, str) or not asked.sealed.isascii():
            raise ValueError("sealed")
    for old in challenge.older:
        _texts(NAME, old.path, old.holder)
        _texts(SALT, old.salt, old.record_id)
        _texts(DIGEST, old.commitment)
        _numbers((old.index, 1, 16))
        if not isinstance(old.epoch, str) or not old.epoch.isprintable():
            raise ValueError("epoch")


def _texts(form: Any, *values: object) -> None:
    if not all(isinstance(value, str) and form.fullmatch(value) for value in values):
        raise ValueError("text")


def _numbers(*ranges: tuple[object, int, int]) -> None:
    for value, low, high in ranges:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError("number")


def answer(challenge: Challenge, words: Secret, what: str) -> RevealedCode:
    """Prove one share.

    The code is given only for a share that fits its commitment, and only if it is the code whose hash was
    published: a challenge that was tampered with gets nothing.

    Args:
        challenge: What the operator asks.
        words: The share.
        what: What errors call it.

    Raises:
        WrongShare: It is no share, damaged, an older one or a foreign one; said which.
    """
    try:
        words = slip39.normalise(words)
    except WrongShare as error:
        raise WrongShare(f"{what}: {error.message}", hint=error.hint) from None
    for asked in challenge.shares:
        place = asked.place(challenge.record_id)
        if commitments.verify(asked.commitment, asked.salt, place, words):
            return RevealedCode(asked, _code(asked, place, words))
    damage = slip39.damage(words)
    if damage:
        raise WrongShare(
            f"{what} is damaged: {damage}",
            hint="compare it word by word with the original, and try again; tell the operator if it stays so",
        )
    for old in challenge.older:
        place = Place(old.record_id, old.path, old.holder, old.index)
        if commitments.verify(old.commitment, old.salt, place, words):
            raise WrongShare(
                f"{what} is of the older epoch {old.epoch} ({place}), not of {challenge.epoch}",
                hint="find the newer share, or decrypt the one that came with the challenge; "
                "destroy the old one when the operator says so",
            )
    raise WrongShare(
        f"{what} is whole, but not one that {challenge.name} has in epoch {challenge.epoch}",
        hint="it is another custodian's, another key's or of an epoch unknown here; tell the operator",
    )


def _code(asked: Asked, place: Place, words: Secret) -> str:
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
