"""Holders that live in memory: AES-GCM under keys of their own, bound like the real ones."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.core.errors import NotEnoughShares, OrgkeyError, UsageProblem, WrongShare
from pipeline.core.finding import Finding
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Coordinates, Holder, SealedShare
from pipeline.custody.shares import paths


class MemoryHolder:
    """A machine (one key), or a group of people (a key for each) of whom some are here."""

    def __init__(self, name: str, size: int = 1) -> None:
        self.name = name
        self.kind = "memory" if size == 1 else "memory-group"
        self.unattended = size == 1
        self.size = size
        self.here = set(range(1, size + 1))
        self.failure: OrgkeyError | None = None
        self.version = 1
        self.calls: list[str] = []
        self._keys = [secrets.token_bytes(32) for _ in range(size)]

    def describe(self) -> Coordinates:
        self.calls.append("describe")
        return {"where": self.name, "key_version": self.version}

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        self.calls.append("seal")
        if len(shares) != self.size:
            raise UsageProblem("wrong number of shares", hint="")
        sealed = []
        for index, (key, share) in enumerate(zip(self._keys, shares, strict=True), 1):
            nonce = secrets.token_bytes(12)
            data = nonce + AESGCM(key).encrypt(nonce, share.reveal(), binding.text().encode())
            sealed.append(SealedShare(index, "mem", data, f"{self.name} {index}"))
        return sealed

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        self.calls.append(f"open {sealed.index}")
        if self.failure is not None:
            raise self.failure
        if sealed.index not in self.here:
            raise NotEnoughShares(f"holder {self.name}: member {sealed.index} is not here", hint="")
        key = self._keys[sealed.index - 1]
        try:
            return Secret(AESGCM(key).decrypt(sealed.data[:12], sealed.data[12:], binding.text().encode()))
        except InvalidTag:
            raise WrongShare("the ciphertext is damaged", hint="") from None

    def check(self) -> list[Finding]:
        return []


@dataclass
class Plan:
    """A plan, its holders, and a record to bind to."""

    sizes: dict[str, int]
    needs: dict[str, dict[str, int]]
    holders: dict[str, MemoryHolder] = field(init=False)
    binding: Binding = field(init=False)

    def __post_init__(self) -> None:
        self.holders = {name: MemoryHolder(name, size) for name, size in self.sizes.items()}
        self.binding = Binding("A" * 40, secrets.token_hex(16))

    @property
    def everybody(self) -> dict[str, Holder]:
        return dict(self.holders)

    @property
    def paths(self) -> tuple[paths.Path, ...]:
        return tuple(
            paths.Path(
                name,
                tuple(paths.PathNeed(holder, count, self.sizes[holder]) for holder, count in needs.items()),
            )
            for name, needs in self.needs.items()
        )


class Plans:
    """Makes plans; session-wide, so that property tests may use it."""

    def two_machines(self) -> Plan:
        return Plan({"vault": 1, "aws": 1}, {"unattended": {"vault": 1, "aws": 1}})

    def with_people(self) -> Plan:
        return Plan(
            {"vault": 1, "aws": 1, "custodians": 5},
            {"people": {"custodians": 3}, "unattended": {"vault": 1, "aws": 1}},
        )

    def of(self, sizes: dict[str, int], needs: dict[str, dict[str, int]]) -> Plan:
        return Plan(sizes, needs)


@pytest.fixture(scope="session")
def plans() -> Plans:
    return Plans()
