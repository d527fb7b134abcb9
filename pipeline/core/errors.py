"""The tree of errors and the table of exit codes.

Every error that the program raises on purpose descends from :class:`OrgkeyError` and carries a code,
what happened, and what to do about it. Only the command line's boundary turns one into an exit.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import ClassVar, Self


class Code(IntEnum):
    """Exit codes; the one table that docs, JSON documents and schedule units are made from.

    Attributes:
        meaning: One sentence for people.
        retry: Whether running the same command again, unchanged and later, can succeed.
        remedy: What to do about it.
    """

    meaning: str
    retry: bool
    remedy: str

    OK = 0, "all that was asked is done and verified", False, "nothing is left to do"
    INTERNAL = (
        1,
        "internal error",
        False,
        "run it again with -vv, and report the defect with what that prints; it has no secret in it",
    )
    USAGE = (
        2,
        "usage or configuration",
        False,
        "correct the option or setting that is named; `orgkey explain config` has all settings",
    )
    LOCAL_FILES = (
        3,
        "local files: disk, state, output exists",
        False,
        "make room, correct the permissions, or name a new output file; then run the same command again",
    )
    PROGRAM_MISSING = 4, "a required program is missing", False, "install the program that is named"
    PUBLIC_ONLY = 10, "public key only", False, "export the keypair, not the public key"
    UNPROTECTED = (
        11,
        "secret key without a passphrase",
        False,
        "export the keypair again, with a passphrase; `--accept unprotected` takes it as it is",
    )
    WRONG_PASSPHRASE = (
        12,
        "wrong passphrase",
        False,
        "give the passphrase that was typed when the key was exported; the Ignition Key's is another one",
    )
    NOT_A_KEY = (
        13,
        "not an OpenPGP key, or damaged",
        False,
        "export the keypair again, and copy the file as a binary one",
    )
    NOT_PINNED = (
        14,
        "not the pinned fingerprint",
        False,
        "compare the fingerprint with the one that the server shows; where its key was regenerated, "
        "see `orgkey explain key-replaced`",
    )
    EXPIRED = (
        15,
        "expired, revoked, or not yet valid",
        False,
        "let the server renew its key, and export it again; `--accept expired` takes an expired one, "
        "never a revoked one",
    )
    INCOMPLETE = (
        16,
        "incomplete: gnu-dummy, card stub, missing secrets, no self-signatures or user id, cannot sign "
        "or encrypt",
        False,
        "export the keypair from the server itself, not from a keyring that got a part of it",
    )
    CERTIFICATES = (
        17,
        "more than one Organization Certificate",
        False,
        "remove the old Organization Certificates on the server, make a backup, and export again: a "
        "backup with several does not restore",
    )
    SEVERAL_KEYS = (
        18,
        "several keys, and none chosen",
        False,
        "choose one with --fingerprint, or export only that one",
    )
    UNSUPPORTED = (
        19,
        "key version, protection or algorithm that cannot be handled",
        False,
        "keep the export itself and its passphrase, apart, in two safes; nothing was escrowed",
    )
    UNREACHABLE = (
        20,
        "a target or holder cannot be reached",
        True,
        "see that the server that is named runs and answers (`orgkey doctor`), then run the same "
        "command again",
    )
    DENIED = (
        21,
        "permission denied",
        False,
        "correct the login or the right that is named (`orgkey doctor`) before the next try: Vault "
        "locks a login out after some refusals",
    )
    CONFLICT = (
        22,
        "conflict: that place already holds something else",
        False,
        "nothing was overwritten: find out what is there (`orgkey list`), and who wrote it",
    )
    INTEGRITY = (
        23,
        "integrity: a copy is not authentic or not whole",
        False,
        "`orgkey verify` names the copy, `orgkey repair` writes it anew from a good one; see `orgkey "
        "explain drill-failed`",
    )
    DEGRADED = (
        24,
        "degraded: enough, not all",
        True,
        "the work is done, on fewer copies or paths than planned: see `orgkey status`, then `orgkey repair`",
    )
    DEADLINE = (
        25,
        "deadline passed",
        True,
        "find out which server is slow, or raise the deadline that is named; then run the same command again",
    )
    PROOF_FAILED = (
        30,
        "a proof failed in a drill",
        False,
        "do not rely on this record: see `orgkey explain drill-failed`, and escrow the key again while "
        "there is an export",
    )
    NOT_ENOUGH_SHARES = (
        31,
        "not enough shares (the missing holder is named)",
        False,
        "bring in the holder that is named, or take another path with --via",
    )
    WRONG_SHARE = (
        32,
        "a share is wrong (named)",
        False,
        "ask the one who is named for the share of this epoch; nothing else has to be repeated",
    )
    STALE = (
        40,
        "stale: the gate or the plan is broken",
        False,
        "`orgkey status` names each broken rule, and what mends it",
    )
    LEDGER_BROKEN = (
        41,
        "ledger broken",
        False,
        "change nothing in the state directory; see `orgkey explain ledger-broken`",
    )
    PENDING = (
        42,
        "changes pending (`infra plan`)",
        False,
        "read what the plan shows, then `orgkey infra apply`",
    )
    LOCKED = (
        50,
        "another run holds the lock",
        True,
        "wait for the other run of this key on this host to end, then run the same command again",
    )
    INTERRUPTED = 130, "interrupted; resumable", True, "run the same command again"

    def __new__(cls, number: int, meaning: str = "", retry: bool = False, remedy: str = "") -> Self:
        """A row of the table, or the member that a number stands for."""
        member = int.__new__(cls, number)
        member._value_, member.meaning, member.retry, member.remedy = number, meaning, retry, remedy
        return member

    @property
    def label(self) -> str:
        """The code's name as it appears in JSON documents, for example ``not-pinned``."""
        return self.name.lower().replace("_", "-")


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
