"""What opens a share of the escrow passphrase."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import StrictInt

from pipeline.core.finding import Finding
from pipeline.core.secret import Secret

Coordinates = Mapping[str, str | StrictInt | bool | list[str] | None]


@dataclass(frozen=True, slots=True)
class Binding:
    """What a sealed share is bound to, so that it cannot be passed off as another record's.

    Attributes:
        fingerprint: The Org Key's fingerprint, 40 upper-case hexadecimal digits.
        record_id: The record's id, 32 lower-case hexadecimal digits.
    """

    fingerprint: str
    record_id: str

    def text(self) -> str:
        """The binding as one line: ``<fingerprint>:<record id>``."""
        return f"{self.fingerprint}:{self.record_id}"

    def transit_context(self) -> str:
        """Transit's derivation context: that line, in base64."""
        return base64.b64encode(self.text().encode()).decode()

    def mapping(self) -> dict[str, str]:
        """The binding as names and values; KMS's encryption context."""
        return {"fingerprint": self.fingerprint, "record_id": self.record_id}


@dataclass(frozen=True, slots=True)
class SealedShare:
    """A share, encrypted to its holder.

    Attributes:
        index: 1 for a machine; 1 to n for the members of a group.
        suffix: ``transit``, ``kms`` or ``asc``; the ending of the member's name in the record.
        data: The bytes of that member.
        label: Whose it is, for people: a holder's name, a custodian's fingerprint.
    """

    index: int
    suffix: str
    data: bytes
    label: str


HOLDER_CALLS: Final = {"describe": "describe", "seal": "seal shares", "open": "open a share"}
"""What is tried again. Sealing twice gives two ciphertexts of one share; only the last one is kept."""


class Holder(Protocol):
    """Who or what opens shares. Machines hold one share, a group of custodians one for each member."""

    name: str
    kind: str
    unattended: bool
    size: int  # how many shares it takes: 1 for a machine, n for a group of n

    def describe(self) -> Coordinates:
        """Where and how its shares are opened, for the manifest: addresses, key names, versions. No secret.

        Called when a record is minted; may ask the server for the key's current version.

        Raises:
            Unreachable, Denied, UsageProblem: The server or the key is not as configured.
        """
        ...

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        """Encrypt shares (SLIP-39 mnemonics), one for each member, in the order of the members.

        Raises:
            Unreachable, Denied, UsageProblem: As above.
        """
        ...

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        """Decrypt one share and return its words.

        Raises:
            WrongShare: The ciphertext is damaged or bound to something else.
            NotEnoughShares: This holder cannot open it here (a custodian's secret key is not on this host).
            Unreachable, Denied: The server does not answer, or refuses.
        """
        ...

    def check(self) -> list[Finding]:
        """Say what `doctor` should know. Never raises for what the server answers."""
        ...
