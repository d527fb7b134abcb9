"""The seam between the proofs and the implementations of OpenPGP that they are made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pipeline.core.clock import Deadline
from pipeline.core.process import Cancellation
from pipeline.core.secret import Secret
from pipeline.openpgp.proofs.userkey import UserKey
from pipeline.openpgp.proofs.views import Views


class Task(StrEnum):
    """What the recovered key must show."""

    UNLOCK = "unlock"
    FINGERPRINT = "fingerprint"
    SIGN = "sign"
    CERTIFY = "certify"
    DECRYPT = "decrypt"
    NEGATIVE = "negative"


@dataclass(frozen=True)
class Job:
    """What one implementation is given.

    Attributes:
        tsk: The stored keypair as it was read.
        views: The same, laid into the frame of the public part.
        resigned: The public part with fresh self-signatures by the recovered key, when it has expired.
        passphrase: What opens the keypair.
        wrong: What must not open it.
        user: The user key to certify.
        user_id: Which of its user ids this implementation certifies.
        nonce: What this implementation signs.
        plaintext: What this implementation encrypts to the public part, for others to decrypt.
        now: The present time.
        deadline: When to stop.
        cancellation: Ends programs in flight.
    """

    tsk: bytes
    views: Views
    resigned: bytes | None
    passphrase: Secret
    wrong: Secret
    user: UserKey
    user_id: str
    nonce: bytes
    plaintext: bytes
    now: datetime
    deadline: Deadline
    cancellation: Cancellation


class TakesNoPart(Exception):
    """An implementation cannot work with this key, or not on this host: that says nothing about the key."""


@dataclass(frozen=True)
class Refutation:
    """What an implementation has found against the key: another content, an open door, a wrong passphrase."""

    reason: str


@dataclass(frozen=True)
class NoPart:
    """A task that an implementation takes no part in: algorithm, feature or policy."""

    reason: str


@dataclass(frozen=True)
class Product:
    """Something made with the recovered key; not trusted until another implementation has checked it."""

    data: bytes


@dataclass(frozen=True)
class Done:
    """A task without a product."""


Outcome = Done | Product | Refutation | NoPart


@dataclass(frozen=True)
class Made:
    """What one implementation made.

    Attributes:
        outcomes: By task: unlock, fingerprint (the product is its hexadecimal digits), sign (a detached
            signature), certify (the user key with the certification), negative.
        message: The job's plaintext encrypted to the public part, or why there is none.
        seconds: Wall time.
    """

    outcomes: Mapping[Task, Outcome]
    message: Product | NoPart
    seconds: float = 0.0


@dataclass(frozen=True)
class Exhibit:
    """What one implementation made, as the others get it to check.

    Attributes:
        maker: Its name.
        nonce: What it was told to sign.
        signature: Its detached signature, if any.
        user_id: The user id it was told to certify.
        certified: The user key with its certification, if any.
        message: Its message, if any.
    """

    maker: str
    nonce: bytes
    signature: bytes | None
    user_id: str
    certified: bytes | None
    message: bytes | None


@dataclass(frozen=True)
class ExhibitVerdict:
    """What one implementation says about another's exhibit.

    Attributes:
        ok: Whether it holds; ``None`` when this implementation cannot judge.
        reason: Why not.
    """

    ok: bool | None
    reason: str = ""


@dataclass(frozen=True)
class CheckedExhibits:
    """What one implementation found.

    Attributes:
        signatures: By maker.
        certifications: By maker.
        plaintexts: What it decrypted, by the maker of the message.
        seconds: Wall time.
    """

    signatures: Mapping[str, ExhibitVerdict] = field(default_factory=dict)
    certifications: Mapping[str, ExhibitVerdict] = field(default_factory=dict)
    plaintexts: Mapping[str, Product | Refutation | NoPart] = field(default_factory=dict)
    seconds: float = 0.0


def first_opened(
    exhibits: Sequence[Exhibit], decrypt: Callable[[bytes], Product | Refutation | NoPart]
) -> dict[str, Product | Refutation | NoPart]:
    """Decrypt the first message that an implementation understands: the others make newer forms, too.

    Args:
        exhibits: What others made.
        decrypt: How one is decrypted.

    Returns:
        What came out, by its maker; where none opens, why, for each.
    """
    found: dict[str, Product | Refutation | NoPart] = {}
    for one in exhibits:
        if one.message:
            found[one.maker] = decrypt(one.message)
            if isinstance(found[one.maker], Product):
                return {one.maker: found[one.maker]}
    return found


class Prover(Protocol):
    """One implementation of OpenPGP, for one set of proofs."""

    name: str

    def absent(self, job: Job) -> str | None:
        """Why it takes no part at all: not installed, or it accepts nothing of this key."""
        ...

    def make(self, job: Job) -> Made:
        """Show the known answer; then open the keypair, sign, certify, encrypt, and try a wrong passphrase.

        Whatever it raises is the reason why it takes no part, except an end of the run.
        """
        ...

    def check(self, job: Job, exhibits: list[Exhibit]) -> CheckedExhibits:
        """Judge what others made with the public part, and decrypt their messages."""
        ...

    def close(self) -> None:
        """End programs, remove temporary files; safe to repeat."""
        ...
