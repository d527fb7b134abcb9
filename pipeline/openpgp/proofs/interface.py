"""The seam between the proofs and the implementations of OpenPGP that they are made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

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


EXCHANGED: Final = (Task.SIGN, Task.CERTIFY, Task.DECRYPT)
"""The tasks whose products the others check, or decrypt."""


@dataclass(frozen=True)
class Job:
    """What one implementation is given.

    Attributes:
        name: The implementation's.
        views: The stored keypair, as it was read and laid into the frame of the public part.
        resigned: The public part with fresh self-signatures by the recovered key, when it has expired.
        passphrase: What opens the keypair.
        wrong: What must not open it.
        user: The user key to certify.
        nonce: What this implementation signs.
        plaintext: What this implementation encrypts to the public part, for others to decrypt.
        deadline: When to stop.
        cancellation: Ends programs in flight.
    """

    name: str
    views: Views
    resigned: bytes | None
    passphrase: Secret
    wrong: Secret
    user: UserKey
    nonce: bytes
    plaintext: bytes
    deadline: Deadline
    cancellation: Cancellation

    @property
    def user_id(self) -> str:
        """The one of the user key's user ids that this implementation certifies."""
        return self.user.user_ids[self.name]


class TakesNoPart(Exception):
    """An implementation cannot work with this key, or not on this host: that says nothing about the key."""


@dataclass(frozen=True)
class Outcome:
    """What came of one task, or what one implementation says about what another made.

    Attributes:
        ok: Whether it was done, or holds. False speaks against the key: another content, an open door, a
            wrong passphrase. ``None`` where the implementation takes no part: algorithm, feature or policy.
        reason: Why it is not.
        product: What was made with the recovered key; not trusted until another implementation has checked
            it.
    """

    ok: bool | None
    reason: str = ""
    product: bytes | None = None


DONE: Final = Outcome(True)


def produced(data: bytes) -> Outcome:
    """Something was made, or decrypted."""
    return Outcome(True, product=data)


def refuted(reason: str) -> Outcome:
    """Something speaks against the key."""
    return Outcome(False, reason)


def no_part(reason: str) -> Outcome:
    """The implementation takes no part in this task."""
    return Outcome(None, reason)


@dataclass(frozen=True)
class Made:
    """What one implementation made, as the others get it to check.

    Attributes:
        job: What it was told to do.
        outcomes: By task; the products are: for fingerprint its hexadecimal digits, for sign a detached
            signature, for certify the user key with the certification, for decrypt the job's plaintext
            encrypted to the public part.
    """

    job: Job
    outcomes: Mapping[Task, Outcome]

    def product(self, task: Task) -> bytes:
        """What was made for a task; empty where nothing was."""
        outcome = self.outcomes.get(task)
        return (outcome.product if outcome else None) or b""


Verdicts = dict[tuple[Task, str], Outcome]
"""What one implementation says, by task and maker."""


def first_opened(others: Sequence[Made], decrypt: Callable[[bytes], Outcome]) -> Verdicts:
    """Decrypt the first message that an implementation understands: the others make newer forms, too.

    Args:
        others: What others made.
        decrypt: How one is decrypted.

    Returns:
        What came out, by its maker; where none opens, why, for each.
    """
    found: Verdicts = {}
    for one in others:
        if message := one.product(Task.DECRYPT):
            found[Task.DECRYPT, one.job.name] = outcome = decrypt(message)
            if outcome.ok:
                return {(Task.DECRYPT, one.job.name): outcome}
    return found


class Prover(Protocol):
    """One implementation of OpenPGP, for one set of proofs."""

    name: str

    def absent(self, job: Job) -> str | None:
        """Why it takes no part at all: not installed, or it accepts nothing of this key."""
        ...

    def make(self, job: Job) -> dict[Task, Outcome]:
        """Show the known answer; then open the keypair, sign, certify, encrypt, and try a wrong passphrase.

        Whatever it raises is the reason why it takes no part, except an end of the run.
        """
        ...

    def check(self, job: Job, others: Sequence[Made]) -> Verdicts:
        """Judge what others made with the public part, and decrypt their messages."""
        ...

    def close(self) -> None:
        """End programs, remove temporary files; safe to repeat."""
        ...
