"""The table of exit codes, and which of several a run ends with."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Self


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
