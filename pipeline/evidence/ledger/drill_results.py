"""What a drill found out: proofs, by copy and path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.core.digest import Digest
from pipeline.core.documents import Part, Seconds, at
from pipeline.core.errors import Code
from pipeline.core.proof import Proof

PROOFS = ("digest", "authentic", "recover", "unlock", "fingerprint", "sign", "certify", "decrypt", "negative")
"""What a drill proves, in order. Behind them ``original``, the export, where the record has its digest, and
``backup`` where one was given."""

NOT_REACHED = "not reached"
"""The problem of a proof that was not tried, since one before it failed."""


@dataclass(frozen=True)
class Result:
    """What one copy proved on one path.

    Attributes:
        epoch: The epoch's name.
        copy: The target whose copy it was.
        path: The custody path; ``-`` when the copy was not good enough to try one.
        record_sha256: Digest of the record, when the copy is authentic.
        proofs: By name, see :data:`PROOFS`.
        seconds: By stage: ``fetch``, ``gather`` (people's own time), ``recover``, ``prove``, ``backup``;
            ``total`` is the way to a proven key, without the last.
        code: ``OK`` or the code of what went wrong.
        notes: For people: why an implementation took no part, and the like.
        expired_public: Whether the public part had expired, so that proofs were made at a time inside it.
        certificate: The signed certificate's file, when one was made.
        participants: Whose shares people brought: fingerprints of certificates, keepers of paper.
        dual_control: Whether at least two different people took part; ``None`` where none had to.
        names: What the participants are called.
        held: Whether anything was tried; a ceremony that too few people came to is not held.
        hint: What to do about what went wrong.
    """

    epoch: str
    copy: str
    path: str
    record_sha256: Digest | None
    proofs: Mapping[str, Proof]
    seconds: Mapping[str, float]
    code: Code
    notes: tuple[str, ...] = ()
    expired_public: bool = False
    certificate: str | None = None
    participants: tuple[str, ...] = ()
    dual_control: bool | None = None
    names: tuple[str, ...] = ()
    held: bool = True
    hint: str | None = None

    @property
    def passed(self) -> bool:
        """Whether everything was proven, even if by fewer implementations than wanted."""
        return bool(self.proofs) and all(proof.ok for proof in self.proofs.values())


def slowest(results: Iterable[Result]) -> float | None:
    """The slowest way from a stored copy to a proven key, in seconds; ``None`` where nothing was proven."""
    return max((one.seconds["total"] for one in results if one.passed), default=None)


class ProvedItem(Part):
    """What one copy proved on one path, as a certificate and an entry of the ledger have it.

    Attributes:
        epoch: The epoch.
        copy: The target whose copy it was.
        path: The custody path; ``-`` when the copy was not good enough to try one.
        record_sha256: SHA-256 of the record, or null.
        passed: Whether everything was proven.
        proofs: ``digest``, ``authentic``, ``recover``, ``unlock``, ``fingerprint``, ``sign``, ``certify``,
            ``decrypt`` and ``negative``; ``original`` where the record has the export's digest, and with
            ``--backup`` also ``backup``. What each shows is in
            [design.md](../design.md#drill-and-certificate).
        seconds: By stage: ``fetch``, ``gather``, ``recover``, ``prove``, ``total``, and ``backup``, which is
            not in the total; ``gather``, the people's own time, only where a path needs people.
        expired_public: Whether the public part had expired.
        participants: Fingerprints of the custodians and keepers of paper who brought a share, by share.
        dual_control: Whether at least two different people took part; null where nobody had to.
        notes: For people.
    """

    epoch: str
    copy: str
    path: str
    record_sha256: str | None = at("record_sha256.hex")
    passed: bool
    proofs: Mapping[str, Proof]
    seconds: Mapping[str, Seconds]
    expired_public: bool
    participants: tuple[str, ...]
    dual_control: bool | None
    notes: tuple[str, ...]
