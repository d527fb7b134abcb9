"""Open one record on one custody path, with machines or with people, and prove the key that comes out."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pipeline.archive.backends import HolderBackends
from pipeline.archive.run import KeyScope
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, NotEnoughShares, NotHeld, OrgkeyError, first_of
from pipeline.core.isolation import isolated
from pipeline.core.proof import Proof
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Holder
from pipeline.custody.shares import passphrase, recover
from pipeline.custody.shares.manifest_section import PathEntry
from pipeline.record.tar import ORIGINAL
from pipeline.record.verify import Record
from pipeline.unseal import ceremony
from pipeline.unseal.ceremony import UNATTENDED, GatheredShares, UnsealRequest

_OWN_TROUBLE: Final = frozenset({Code.LOCAL_FILES, Code.INTERRUPTED})
"""What this host's own trouble ends with: no verdict on the key, and nothing for the ledger to keep."""


@dataclass(frozen=True)
class Unsealed:
    """An escrow passphrase that came back.

    Attributes:
        raw: Its 32 bytes.
        path: The custody path that gave it.
        gathered: What people brought for it.
    """

    raw: Secret = field(repr=False)
    path: str
    gathered: GatheredShares


@dataclass
class UnsealedEpoch:
    """What one record gave on one path; shared by all copies with the same digest.

    Attributes:
        proofs: Those that were reached.
        seconds: By stage: ``gather``, ``recover``, ``prove``.
        code: ``OK`` or the code of what went wrong.
        notes: For people.
        expired_public: Whether proofs were made at a time inside the public part's validity.
        raw: The escrow passphrase, when it came back.
        gathered: What people brought.
        held: Whether anything was tried; a ceremony that too few people came to is not held.
        hint: What to do about what went wrong.
    """

    proofs: dict[str, Proof] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    code: Code = Code.OK
    notes: tuple[str, ...] = ()
    expired_public: bool = False
    raw: Secret | None = field(default=None, repr=False)
    gathered: GatheredShares = field(default_factory=GatheredShares)
    held: bool = True
    hint: str | None = None

    def fail(self, proof: str, error: OrgkeyError) -> UnsealedEpoch:
        """End here, with an error in the place of a proof."""
        self.proofs[proof] = Proof(False, (), error.message)
        self.code, self.hint, self.held = error.code, error.hint, not isinstance(error, NotHeld)
        return self


@dataclass(frozen=True)
class _Opening:
    """A record, the holders that open shares of it, and other records of the same key."""

    record: Record
    openers: Mapping[str, Holder]
    others: Sequence[Record]

    def people(self, path: PathEntry) -> list[str]:
        """The groups whose shares no machine opens."""
        return sorted({need.holder for need in path.needs} - set(self.openers))

    def gather(self, path: PathEntry, request: UnsealRequest, because: Sequence[str] = ()) -> GatheredShares:
        """Collect people's shares; the machines' are tried before anybody is asked."""
        machines = partial(self._machines_open, path)
        return ceremony.gather(self.record, path, set(self.openers), request, self.others, because, machines)

    def by(self, path: PathEntry, request: UnsealRequest, because: Sequence[str] = ()) -> Unsealed:
        """Get the escrow passphrase back on one path."""
        gathered = self.gather(path, request, because)
        raw = recover_passphrase(self.record, path.name, self.openers, gathered.shares)
        return Unsealed(raw, path.name, gathered)

    def _machines_open(self, path: PathEntry, brought: Collection[str]) -> None:
        record = self.record
        for share in path.shares:
            if share.holder in self.openers and share.holder not in brought:
                recover.open_share(path, share, record.members, self.openers[share.holder], record.binding)


def unseal(
    record: Record,
    holders: HolderBackends,
    request: UnsealRequest = UNATTENDED,
    others: Sequence[Record] = (),
) -> Unsealed:
    """Get a record's escrow passphrase back: on the path that is named or that shares are of, or by machines.

    Args:
        record: An authentic record.
        holders: Whose logins open machines' shares.
        request: On which path, and with which shares.
        others: Other records of the same key, to name the epoch that a wrong share is of.

    Raises:
        UsageProblem: The record has no such path.
        OrgkeyError: No path opens it; each is told with its reason.
    """
    section = record.manifest.custody
    opening = _Opening(record, holders.openers(section), others)
    name = request.path or ceremony.path_of(record, request.shares, others)
    if name is not None:
        return opening.by(section.path(name), request)
    failures: dict[str, OrgkeyError] = {}
    attended = [path for path in section.paths if opening.people(path)]
    for path in sorted(section.paths, key=lambda path: path in attended):
        people = opening.people(path)
        if people and (request.ask is None or len(attended) > 1):
            # Which of several is not for the program to choose.
            failures[path.name] = NotEnoughShares(
                f"it needs the shares of {' and '.join(people)}",
                hint=f"bring the shares with --via {path.name}: at a terminal, or with --share FILE",
            )
            continue
        because = [f"{name}: {error.message}" for name, error in failures.items()]
        asked = request if people else UNATTENDED
        opened = isolated(partial(opening.by, path, asked, because), f"custody path {path.name}")
        if not isinstance(opened, OrgkeyError):
            return opened
        failures[path.name] = opened
    raise _no_path(failures)


def _no_path(failures: Mapping[str, OrgkeyError]) -> OrgkeyError:
    worst = first_of(error.code for error in failures.values())
    cause = next(error for error in failures.values() if error.code is worst)
    if len(failures) == 1 and not isinstance(cause, NotEnoughShares):
        return cause
    reasons = "; ".join(f"{name}: {error.message}" for name, error in failures.items())
    hint = "; or: ".join(dict.fromkeys([cause.hint, *(error.hint for error in failures.values())]))
    return type(cause)(f"no custody path opens this record: {reasons}", hint=hint)


def recover_passphrase(
    record: Record, path: str, openers: Mapping[str, Holder], shares: Collection[Secret] = ()
) -> Secret:
    """Get a record's escrow passphrase back on one path.

    Args:
        record: An authentic record.
        path: The path's name.
        openers: The holders.
        shares: Words that people brought.

    Returns:
        The 32 bytes.

    Raises:
        OrgkeyError: A holder does not open, a share is wrong, or too few are there.
    """
    section, members = record.manifest.custody, record.members
    return recover.recover(section, members, path, openers, record.binding, tuple(shares))


def unseal_and_prove(
    scope: KeyScope,
    record: Record,
    path: PathEntry,
    request: UnsealRequest = UNATTENDED,
    others: Sequence[Record] = (),
    *,
    public: bytes,
) -> UnsealedEpoch:
    """Recover the passphrase on one path and prove the key that it opens. Failures are results.

    Args:
        scope: The key; the driller's logins open.
        record: An authentic record.
        path: One of its custody paths.
        request: What people brought, and how they are asked for more.
        others: Other records of the same key.
        public: The public part to judge by: the live key's, else the record's.
    """
    from pipeline.openpgp.proofs import prove

    opening = _Opening(record, scope.backends("driller").openers(record.manifest.custody), others)
    made = UnsealedEpoch()
    started = time.monotonic()
    try:
        if opening.people(path):
            made.gathered = opening.gather(path, request)
            made.seconds["gather"] = made.gathered.seconds
        made.raw = recover_passphrase(record, path.name, opening.openers, made.gathered.shares)
    except OrgkeyError as error:
        if error.code in _OWN_TROUBLE:
            raise
        return made.fail("recover", error)
    finally:
        recovered = time.monotonic()
        made.seconds["recover"] = recovered - started - made.gathered.seconds
    made.proofs["recover"] = Proof(True, tuple(need.holder for need in path.needs))
    scope.reporter.progress(f"path {path.name}: the escrow passphrase is back, proving the key")
    written = passphrase.written(made.raw)
    try:
        report = prove(
            record.keypair,
            written,
            public,
            record.fingerprint,
            deadline=scope.deadline,
            now=scope.clock.now(),
            single_ok=scope.config.policy.single_implementation,
            prestarted=scope.take_prover(),
        )
    except OrgkeyError as error:
        if error.code in _OWN_TROUBLE:
            raise
        return made.fail("unlock", error)
    finally:
        made.seconds["prove"] = time.monotonic() - recovered
    made.proofs |= report.results
    made.code, made.notes, made.expired_public = report.code, tuple(report.notes), report.expired_public
    if record.manifest.original is not None:
        made.proofs["original"] = original = _original(record, written)
        made.code = first_of([made.code, Code.OK if original.ok else Code.PROOF_FAILED])
    return made


def _original(record: Record, written: Secret) -> Proof:
    """Whether the export comes out as it went in."""
    from pipeline.openpgp.key import sealing

    try:
        export = sealing.unseal(record.members[ORIGINAL], written)
    except OrgkeyError as error:
        return Proof(False, (), error.message)
    if sha256(export).hex != record.manifest.original:
        return Proof(False, (), "another export comes out than was escrowed")
    return Proof(True, (sealing.BY,))
