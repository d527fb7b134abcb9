"""What servers' keys as holders have in common: one share, and a key that is read before it is used."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from pipeline.core.errors import OrgkeyError, UsageProblem, WrongShare
from pipeline.core.finding import Finding, Level
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Coordinates, SealedShare

if TYPE_CHECKING:
    from pipeline.config.places import AwsPlace, VaultPlace

T = TypeVar("T")


class Machine(ABC, Generic[T]):
    """Seals one share to a server's key.

    Args:
        name: The holder's name.
    """

    unattended = True
    size = 1
    suffix: ClassVar[str]

    def __init__(self, name: str) -> None:
        self.name = name
        self.what = f"holder {name}"

    @abstractmethod
    def _read(self) -> T:
        """Ask the server for the key."""

    @abstractmethod
    def _accept(self, facts: T) -> None:
        """Refuse a key that cannot be trusted with a share."""

    @abstractmethod
    def _encrypt(self, plaintext: bytes, binding: Binding) -> bytes:
        """Have the server encrypt."""

    @cached_property
    def _sound(self) -> T:
        """The key's facts, read once; refused when it cannot be trusted with a share."""
        facts = self._read()
        self._accept(facts)
        return facts

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        """Encrypt the one share.

        Raises:
            UsageProblem: There is no such key, or it cannot be trusted with a share.
            Unreachable, Denied, DeadlinePassed: The server does not answer, or refuses.
        """
        if len(shares) != 1:
            raise UsageProblem(f"{self.what} takes one share, not {len(shares)}", hint="a machine is 1 of 1")
        return [SealedShare(1, self.suffix, self._encrypt(shares[0].reveal(), binding), self.name)]

    def _damaged(self, why: str = "the ciphertext is damaged, or of another record or key") -> WrongShare:
        return WrongShare(
            f"{self.what} cannot open its share: {why}",
            hint="take another copy with --from, or another path with --via",
        )

    def _failed(self, error: OrgkeyError) -> Finding:
        return Finding(Level.FAIL, self.what, error.message, error.hint, error.code)


def way(place: VaultPlace | AwsPlace) -> Coordinates:
    """The way to a holder's server: the authority that is trusted, and the proxy.

    They say who may read or answer what is sent there, so they are part of the custody plan and of the
    manifest. A file is named and not digested: an authority's bundle is renewed by the system, and whoever
    can replace the file has more than the configuration. A proxy's login is left out.

    Raises:
        UsageProblem: The proxy's file cannot be read.
    """
    from pipeline.providers import proxy

    file, handed = place.written_ca_file, os.environ.get("CREDENTIALS_DIRECTORY")
    if file and handed and Path(file).is_relative_to(handed):  # each unit has a directory of its own
        file = f"$CREDENTIALS_DIRECTORY/{Path(file).relative_to(handed)}"
    return {"ca_file": file, "proxy": proxy.configured(place)}
