"""Who may do what: the data that permission tests run and that the table in the docs is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Identity = Literal["writer", "driller", "auditor", "planner", "retention"]
# Whose rights are shown at AWS, where the planner has no login; and at Vault.
IDENTITIES: tuple[Identity, ...] = ("writer", "driller", "auditor", "retention")
AT_VAULT: tuple[Identity, ...] = ("writer", "driller", "auditor", "planner", "retention")


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    Attributes:
        name: What it is called in tests, for example ``kv-make-record``.
        what: What it does, for people.
        call: The API's name for it, for example ``s3:DeleteObjectVersion``.
        allowed: The identities that may; all others are refused.
        why: A word where a reader would ask.
        untested: Identities whose cell no server here can show; ``why`` says what is missing.
    """

    name: str
    what: str
    call: str
    allowed: frozenset[Identity] = frozenset()
    why: str = ""
    untested: frozenset[Identity] = frozenset()


def by(*identities: Identity) -> frozenset[Identity]:
    """The identities that may."""
    return frozenset(identities)
