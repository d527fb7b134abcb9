"""The tree of errors and the table of exit codes.

Every error that the program raises on purpose descends from :class:`OrgkeyError` and carries a code,
what happened, and what to do about it. Only the command line's boundary turns one into an exit.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """Exit codes; the one table that docs, JSON documents and schedule units are made from."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    LOCAL_FILES = 3
    PROGRAM_MISSING = 4
    PUBLIC_ONLY = 10
    UNPROTECTED = 11
    WRONG_PASSPHRASE = 12
    NOT_A_KEY = 13
    NOT_PINNED = 14
    EXPIRED = 15
    INCOMPLETE = 16
    CERTIFICATES = 17
    SEVERAL_KEYS = 18
    UNSUPPORTED = 19
    UNREACHABLE = 20
    DENIED = 21
    CONFLICT = 22
    INTEGRITY = 23
    DEGRADED = 24
    DEADLINE = 25
    PROOF_FAILED = 30
    NOT_ENOUGH_SHARES = 31
    WRONG_SHARE = 32
    STALE = 40
    LEDGER_BROKEN = 41
    PENDING = 42
    LOCKED = 50
    INTERRUPTED = 130

    @property
    def label(self) -> str:
        """The code's name as it appears in JSON documents, for example ``not-pinned``."""
        return self.name.lower().replace("_", "-")

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return MEANINGS[self][0]

    @property
    def retry(self) -> bool:
        """Whether running the same command again, unchanged and later, can succeed."""
        return MEANINGS[self][1]


# code -> (meaning, does an unattended retry make sense)
MEANINGS: dict[Code, tuple[str, bool]] = {
    Code.OK: ("all that was asked is done and verified", False),
    Code.INTERNAL: ("internal error", False),
    Code.USAGE: ("usage or configuration", False),
    Code.LOCAL_FILES: ("local files: disk, state, output exists", False),
    Code.PROGRAM_MISSING: ("a required program is missing", False),
    Code.PUBLIC_ONLY: ("public key only", False),
    Code.UNPROTECTED: ("secret key without a passphrase", False),
    Code.WRONG_PASSPHRASE: ("wrong passphrase", False),
    Code.NOT_A_KEY: ("not an OpenPGP key, or damaged", False),
    Code.NOT_PINNED: ("not the pinned fingerprint", False),
    Code.EXPIRED: ("expired, revoked, or not yet valid", False),
    Code.INCOMPLETE: (
        "incomplete: gnu-dummy, card stub, missing secrets, no self-signatures or user id, "
        "cannot sign or encrypt",
        False,
    ),
    Code.CERTIFICATES: ("more than one Organization Certificate", False),
    Code.SEVERAL_KEYS: ("several keys, and none chosen", False),
    Code.UNSUPPORTED: ("key version, protection or algorithm that cannot be handled", False),
    Code.UNREACHABLE: ("a target or holder cannot be reached", True),
    Code.DENIED: ("permission denied", False),
    Code.CONFLICT: ("conflict: that place already holds something else", False),
    Code.INTEGRITY: ("integrity: a copy is not authentic or not whole", False),
    Code.DEGRADED: ("degraded: enough, not all", True),
    Code.DEADLINE: ("deadline passed", True),
    Code.PROOF_FAILED: ("a proof failed in a drill", False),
    Code.NOT_ENOUGH_SHARES: ("not enough shares (the missing holder is named)", False),
    Code.WRONG_SHARE: ("a share is wrong (named)", False),
    Code.STALE: ("stale: the gate or the plan is broken", False),
    Code.LEDGER_BROKEN: ("ledger broken", False),
    Code.PENDING: ("changes pending (`infra plan`)", False),
    Code.LOCKED: ("another run holds the lock", True),
    Code.INTERRUPTED: ("interrupted; resumable", True),
}

# When a run meets several problems at once, the first of these is its exit code.
PRECEDENCE: tuple[Code, ...] = (
    Code.LEDGER_BROKEN,
    Code.INTEGRITY,
    Code.PROOF_FAILED,
    Code.CONFLICT,
    Code.WRONG_SHARE,
    Code.NOT_ENOUGH_SHARES,
    Code.DENIED,
    Code.UNREACHABLE,
    Code.DEADLINE,
    Code.STALE,
    Code.DEGRADED,
)

# The same for what `inspect` finds in an export.
INSPECT_PRECEDENCE: tuple[Code, ...] = (
    Code.NOT_A_KEY,
    Code.UNSUPPORTED,
    Code.SEVERAL_KEYS,
    Code.NOT_PINNED,
    Code.PUBLIC_ONLY,
    Code.INCOMPLETE,
    Code.WRONG_PASSPHRASE,
    Code.UNPROTECTED,
    Code.EXPIRED,
    Code.CERTIFICATES,
)


def first_of(codes: Iterable[Code], order: tuple[Code, ...] = PRECEDENCE) -> Code:
    """Choose the code that a run with several problems ends with.

    Args:
        codes: The codes met; may be empty.
        order: The order of precedence; codes outside it come before all of it, lowest number first.

    Returns:
        The code to exit with, ``Code.OK`` when there is none.
    """
    met = {code for code in codes if code is not Code.OK}
    if not met:
        return Code.OK
    outside = sorted(met - set(order))
    if outside:
        return outside[0]
    return next(code for code in order if code in met)


class OrgkeyError(Exception):
    """Root of every error raised on purpose.

    Args:
        message: What happened, lower case, no final period, never a secret.
        hint: What to do about it.
    """

    code: ClassVar[Code] = Code.INTERNAL

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageProblem(OrgkeyError):
    """The command or its configuration is not usable as given."""

    code = Code.USAGE


class LocalFilesProblem(OrgkeyError):
    """A local file cannot be read or written, or is in the way."""

    code = Code.LOCAL_FILES


class ClockProblem(LocalFilesProblem):
    """Something is dated in the future by this host's clock: one clock is wrong, not known which."""


class ProgramMissing(OrgkeyError):
    """A program that this run needs is not installed."""

    code = Code.PROGRAM_MISSING


class PublicOnly(OrgkeyError):
    """The export holds no secret key."""

    code = Code.PUBLIC_ONLY


class Unprotected(OrgkeyError):
    """The export's secret key has no passphrase."""

    code = Code.UNPROTECTED


class WrongPassphrase(OrgkeyError):
    """A passphrase does not open a secret key or subkey."""

    code = Code.WRONG_PASSPHRASE


class NotAKey(OrgkeyError):
    """The bytes are not an OpenPGP key, or are damaged."""

    code = Code.NOT_A_KEY


class NotPinned(OrgkeyError):
    """The key is not the one whose fingerprint is pinned."""

    code = Code.NOT_PINNED


class Expired(OrgkeyError):
    """The key has expired, was revoked, or is not valid yet."""

    code = Code.EXPIRED


class Incomplete(OrgkeyError):
    """Something that a restore needs is missing from the key."""

    code = Code.INCOMPLETE


class TooManyCertificates(OrgkeyError):
    """More than one Organization Certificate is attached to the Org Key."""

    code = Code.CERTIFICATES


class SeveralKeys(OrgkeyError):
    """The export holds several keys, and none was chosen."""

    code = Code.SEVERAL_KEYS


class Unsupported(OrgkeyError):
    """A key version, protection or algorithm that cannot be handled."""

    code = Code.UNSUPPORTED


class Unreachable(OrgkeyError):
    """A target or holder did not answer, or answered that it cannot serve.

    Args:
        message: What happened.
        hint: What to do about it.
        again: Whether the same call, made again within this run, may succeed.
        retry_after: Seconds that the server asked to be left alone for.
        silent: Whether a time-out ended the call: nothing came, for as long as a call may take.
    """

    code = Code.UNREACHABLE

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        again: bool = True,
        retry_after: float | None = None,
        silent: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.again = again
        self.retry_after = retry_after
        self.silent = silent


class Archived(Unreachable):
    """An object has to be brought back from an archive before it can be read."""


class Denied(OrgkeyError):
    """A target or holder refused this identity."""

    code = Code.DENIED


class Conflict(OrgkeyError):
    """The place already holds something else."""

    code = Code.CONFLICT


class IntegrityProblem(OrgkeyError):
    """A copy is not authentic or not whole."""

    code = Code.INTEGRITY


class Degraded(OrgkeyError):
    """Enough was done to count, not all that was asked."""

    code = Code.DEGRADED


class DeadlinePassed(OrgkeyError):
    """The time allowed for a call or for the whole run is over."""

    code = Code.DEADLINE


class ProofFailed(OrgkeyError):
    """A drill did not prove what it set out to prove."""

    code = Code.PROOF_FAILED


class NotEnoughShares(OrgkeyError):
    """Shares are missing; the message names the missing holder."""

    code = Code.NOT_ENOUGH_SHARES


class NotHeld(NotEnoughShares):
    """A ceremony ended before enough people had brought their shares: nothing was tried, nothing failed."""


class WrongShare(OrgkeyError):
    """A share does not match its commitment; the message names it."""

    code = Code.WRONG_SHARE


class Stale(OrgkeyError):
    """What is stored no longer fits the gate or the plan."""

    code = Code.STALE


class LedgerBroken(OrgkeyError):
    """The ledger's chain does not hold."""

    code = Code.LEDGER_BROKEN


class Locked(OrgkeyError):
    """Another run on this host works on the same key."""

    code = Code.LOCKED


class Interrupted(OrgkeyError):
    """A signal ended the run; the next run resumes it."""

    code = Code.INTERRUPTED


def error_of(code: Code) -> type[OrgkeyError]:
    """The class of errors that has a code.

    Args:
        code: Neither ``OK`` nor one that only a whole run can end with.
    """
    return next((kind for kind in OrgkeyError.__subclasses__() if kind.code is code), OrgkeyError)
