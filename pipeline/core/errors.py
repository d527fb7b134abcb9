"""The tree of errors.

Every error that the program raises on purpose descends from :class:`OrgkeyError` and carries a code,
what happened, and what to do about it. Only the command line's boundary turns one into an exit.
"""

from __future__ import annotations

from typing import ClassVar

from pipeline.core.exit_codes import Code as Code
from pipeline.core.exit_codes import first_of as first_of


class OrgkeyError(Exception):
    """Root of every error raised on purpose.

    Args:
        message: What happened, lower case, no final period, never a secret.
        hint: What to do about it.
    """

    code: ClassVar[Code] = Code.INTERNAL

    def __init_subclass__(cls, code: Code | None = None) -> None:
        """Give a class the code that it stands for; without one it has its parent's."""
        cls.code = code or cls.code

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageProblem(OrgkeyError, code=Code.USAGE):
    """The command or its configuration is not usable as given."""


class LocalFilesProblem(OrgkeyError, code=Code.LOCAL_FILES):
    """A local file cannot be read or written, or is in the way."""


class ClockProblem(LocalFilesProblem):
    """Something is dated in the future by this host's clock: one clock is wrong, not known which."""


class ProgramMissing(OrgkeyError, code=Code.PROGRAM_MISSING):
    """A program that this run needs is not installed."""


class PublicOnly(OrgkeyError, code=Code.PUBLIC_ONLY):
    """The export holds no secret key."""


class Unprotected(OrgkeyError, code=Code.UNPROTECTED):
    """The export's secret key has no passphrase."""


class WrongPassphrase(OrgkeyError, code=Code.WRONG_PASSPHRASE):
    """A passphrase does not open a secret key or subkey."""


class NotAKey(OrgkeyError, code=Code.NOT_A_KEY):
    """The bytes are not an OpenPGP key, or are damaged."""


class NotPinned(OrgkeyError, code=Code.NOT_PINNED):
    """The key is not the one whose fingerprint is pinned."""


class Expired(OrgkeyError, code=Code.EXPIRED):
    """The key has expired, was revoked, or is not valid yet."""


class Incomplete(OrgkeyError, code=Code.INCOMPLETE):
    """Something that a restore needs is missing from the key."""


class TooManyCertificates(OrgkeyError, code=Code.CERTIFICATES):
    """More than one Organization Certificate is attached to the Org Key."""


class SeveralKeys(OrgkeyError, code=Code.SEVERAL_KEYS):
    """The export holds several keys, and none was chosen."""


class Unsupported(OrgkeyError, code=Code.UNSUPPORTED):
    """A key version, protection or algorithm that cannot be handled."""


class Unreachable(OrgkeyError, code=Code.UNREACHABLE):
    """A target or holder did not answer, or answered that it cannot serve.

    Args:
        message: What happened.
        hint: What to do about it.
        again: Whether the same call, made again within this run, may succeed.
        retry_after: Seconds that the server asked to be left alone for.
        silent: Whether a time-out ended the call: nothing came, for as long as a call may take.
    """

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


class Denied(OrgkeyError, code=Code.DENIED):
    """A target or holder refused this identity."""


class Conflict(OrgkeyError, code=Code.CONFLICT):
    """The place already holds something else."""


class IntegrityProblem(OrgkeyError, code=Code.INTEGRITY):
    """A copy is not authentic or not whole."""


class Degraded(OrgkeyError, code=Code.DEGRADED):
    """Enough was done to count, not all that was asked."""


class DeadlinePassed(OrgkeyError, code=Code.DEADLINE):
    """The time allowed for a call or for the whole run is over."""


class ProofFailed(OrgkeyError, code=Code.PROOF_FAILED):
    """A drill did not prove what it set out to prove."""


class NotEnoughShares(OrgkeyError, code=Code.NOT_ENOUGH_SHARES):
    """Shares are missing; the message names the missing holder."""


class NotHeld(NotEnoughShares):
    """A ceremony ended before enough people had brought their shares: nothing was tried, nothing failed."""


class WrongShare(OrgkeyError, code=Code.WRONG_SHARE):
    """A share does not match its commitment; the message names it."""


class Stale(OrgkeyError, code=Code.STALE):
    """What is stored no longer fits the gate or the plan."""


class LedgerBroken(OrgkeyError, code=Code.LEDGER_BROKEN):
    """The ledger's chain does not hold."""


class Locked(OrgkeyError, code=Code.LOCKED):
    """Another run on this host works on the same key."""


class Interrupted(OrgkeyError, code=Code.INTERRUPTED):
    """A signal ended the run; the next run resumes it."""


def error_of(code: Code) -> type[OrgkeyError]:
    """The class of errors that has a code.

    Args:
        code: Neither ``OK`` nor one that only a whole run can end with.
    """
    return next((kind for kind in OrgkeyError.__subclasses__() if kind.code is code), OrgkeyError)
