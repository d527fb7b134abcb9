"""Holders whose keys are known to everybody: what opens the golden records, offline and for ever.

They seal as Vault Transit and AWS KMS are described in a manifest, but with AES-256-GCM under a key that is
the SHA-256 of a fixed text, and the record's binding as associated data. Nothing real is ever given to them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.core.errors import OrgkeyError
from pipeline.core.finding import Finding
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Coordinates, Holder, SealedShare
from pipeline.custody.shares.manifest_section import CustodySection
from pipeline.provision.desired import Site
from pipeline.sources.backups.sources import BackupSource
from pipeline.storage.interface import Retainer, Stored, Target
from pipeline.storage.ledger_mirror import Mirror

TRANSIT: Coordinates = {
    "address": "https://vault.example.com:8200",
    "namespace": None,
    "mount": "transit",
    "key": "orgkey-escrow",
    "key_version": 1,
}
KMS: Coordinates = {
    "key_arn": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "region": "eu-central-1",
    "endpoint_url": None,
}
PEOPLE: Coordinates = {"members": ["first custodian", "second custodian", "third custodian"]}
_SUFFIXES = {"vault-transit": "transit", "aws-kms": "kms", "golden-people": "asc"}


@dataclass
class GoldenHolder:
    """A holder with a published key."""

    name: str
    kind: str
    coordinates: Coordinates
    unattended: bool = True
    size: int = 1

    def _cipher(self, index: int) -> AESGCM:
        return AESGCM(hashlib.sha256(f"orgkey golden {self.name} {index}".encode()).digest())

    def describe(self) -> Coordinates:
        """The coordinates of a real one."""
        return self.coordinates

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        """Nonce, then ciphertext."""
        sealed = []
        for index, share in enumerate(shares, 1):
            nonce = os.urandom(12)
            data = nonce + self._cipher(index).encrypt(nonce, share.reveal(), binding.text().encode())
            sealed.append(SealedShare(index, _SUFFIXES[self.kind], data, f"{self.name} {index}"))
        return sealed

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        """Open what :meth:`seal` made."""
        nonce, data = sealed.data[:12], sealed.data[12:]
        return Secret(self._cipher(sealed.index).decrypt(nonce, data, binding.text().encode()))

    def check(self) -> list[Finding]:
        """Nothing to say."""
        return []


def machines() -> dict[str, Holder]:
    """The two machines of the unattended path."""
    return {
        "vault": GoldenHolder("vault", "vault-transit", TRANSIT),
        "aws": GoldenHolder("aws", "aws-kms", KMS),
    }


def people() -> GoldenHolder:
    """Three custodians; their kind is nobody's, so that only their words open a share."""
    return GoldenHolder("people", "golden-people", PEOPLE, unattended=False, size=3)


def custodians(names: Sequence[str]) -> Holder:
    """A group as the program has it, with the committed certificates, judged at the time of the records."""
    from datetime import UTC, datetime, timedelta

    from pipeline.config.holders import Custodian, OpenpgpHolderConfig
    from pipeline.core.clock import Deadline, SystemClock
    from pipeline.custody.holders.openpgp import CustodianGroup
    from tests.support import people

    class Then(SystemClock):
        def now(self) -> datetime:
            return datetime(2025, 6, 1, tzinfo=UTC) + timedelta(days=5)

    members = tuple(Custodian(fingerprint=people.FINGERPRINTS[name]) for name in names)
    item = OpenpgpHolderConfig(kind="openpgp", members=members, certificates=str(people.CERTIFICATES))
    return CustodianGroup("custodians", item, deadline=Deadline(120), clock=Then())


class Sheets:
    """Paper that is not printed but kept, for ``golden.json``."""

    kind = "paper"
    name = "sheets"
    unattended = False

    def __init__(self, keepers: Sequence[str]) -> None:
        self.size = len(keepers)
        self.printed: list[Secret] = []
        self._keepers = list(keepers)

    def describe(self) -> Coordinates:
        """As paper does."""
        return {"kept_by": self._keepers}

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        """Placards; the words are kept."""
        self.printed = list(shares)
        return [
            SealedShare(number, "txt", f"on paper, kept by {keeper}\n".encode(), keeper)
            for number, keeper in enumerate(self._keepers, 1)
        ]

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        """Never."""
        raise NotImplementedError

    def check(self) -> list[Finding]:
        """Nothing to say."""
        return []


@dataclass(frozen=True)
class GoldenEstate:
    """An estate with the golden records as its target, and those holders.

    Attributes:
        places: The targets, by name.
    """

    places: Mapping[str, Target]

    def targets(self) -> dict[str, Target]:
        """The targets."""
        return dict(self.places)

    def retainers(self) -> dict[str, Retainer[Stored]]:
        """None."""
        return {}

    def entry_retainers(self) -> dict[str, Retainer[str]]:
        """None."""
        return {}

    def holders(self) -> dict[str, Holder]:
        """The two machines."""
        return machines()

    def openers(self, section: CustodySection) -> dict[str, Holder]:
        """The machines that the record names, if it names them as they were described."""
        known = machines()
        return {
            name: known[name]
            for name, said in section.holders.items()
            if name in known and (said.kind, said.coordinates) == (known[name].kind, known[name].describe())
        }

    def seals(self) -> dict[str, tuple[str, str] | OrgkeyError]:
        """None."""
        return {}

    def logins(self) -> list[Finding]:
        """Nothing is lacking."""
        return []

    def certificates(self) -> list[Finding]:
        """None."""
        return []

    def backups(self, places: Sequence[str] = (), *, whole: bool = True) -> list[BackupSource]:  # noqa: ARG002, RUF100
        """None."""
        return []

    def mirrors(self, fingerprint: str) -> dict[str, Mirror]:
        return {}

    def patient_mirrors(self, fingerprint: str) -> dict[str, Mirror]:
        return self.mirrors(fingerprint)

    def heads(self, fingerprint: str) -> dict[str, Mirror]:
        return {}

    def sites(self) -> list[Site]:
        return []

    def request_ids(self) -> dict[str, Sequence[str]]:
        """None."""
        return {}
