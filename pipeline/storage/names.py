"""Names of places for records, checked before they become part of a path or an address."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pipeline.core.errors import IntegrityProblem, UsageProblem
from pipeline.storage.interface import Slot

MAX_RECORD = 4 * 1024 * 1024
"""Bytes that are read at most, whatever lies there: what a record may have, far above any real one."""

_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_EPOCH = re.compile(r"([0-9]{8}T[0-9]{6}Z-[0-9a-f]{8})(?:-r[1-9][0-9]?)?")
"""A slot's name: the epoch's, with ``-r<n>`` where a repair had to leave a damaged place alone."""


def checked_fingerprint(fingerprint: str) -> str:
    """Return ``fingerprint`` when it is 40 upper-case hexadecimal digits.

    Raises:
        UsageProblem: It is not, and must not become part of a path.
    """
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise UsageProblem(
            f"{fingerprint!r} is not a fingerprint", hint="give all 40 hexadecimal digits, in upper case"
        )
    return fingerprint


def is_epoch(name: str) -> bool:
    """Whether ``name`` is the name of an epoch; other names in a listing are somebody else's."""
    return _EPOCH.fullmatch(name) is not None


def epoch_of(slot: Slot) -> str:
    """The epoch that a slot's name stands for."""
    match = _EPOCH.fullmatch(slot.epoch)
    return match[1] if match else slot.epoch


def checked_epoch(epoch: str) -> str:
    """Return ``epoch`` when it has the form of an epoch's name.

    Raises:
        UsageProblem: It has not, and must not become part of a path.
    """
    if not is_epoch(epoch):
        raise UsageProblem(
            f"{epoch!r} is not an epoch",
            hint="one looks like 20260131T080000Z-0a1b2c3d; see `orgkey list`",
        )
    return epoch


def epoch_time(epoch: str) -> datetime:
    """When an epoch's record was made, by its name."""
    return datetime.strptime(epoch[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def checked(slot: Slot) -> Slot:
    """Return ``slot`` when both its names are well-formed.

    Raises:
        UsageProblem: One is not.
    """
    checked_fingerprint(slot.fingerprint)
    checked_epoch(slot.epoch)
    return slot


def too_large(location: str) -> IntegrityProblem:
    """The error for something that is not a record, judging by its size."""
    return IntegrityProblem(
        f"{location} is too large to be a record (limit {MAX_RECORD // (1024 * 1024)} MiB)",
        hint="look at what was stored there; `orgkey repair` restores a copy from another target",
    )


def nothing_there(location: str, why: str = "holds no record") -> IntegrityProblem:
    """The error for a copy that cannot be read because it is not there."""
    return IntegrityProblem(
        f"{location} {why}",
        hint="`orgkey list` shows what each target holds; `orgkey repair` copies a record from a good copy",
    )
