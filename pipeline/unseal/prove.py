"""Open one record on one custody path, with machines or with people, and prove the key that comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pipeline.archive.run import Estate, KeyScope
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, NotEnoughShares, NotHeld, OrgkeyError, first_of
from pipeline.core.isolation import isolated
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Holder
from pipeline.custody.shares import passphrase, recover
from pipeline.custody.shares.section import PathEntry
from pipeline.evidence.ledger.drill_results import Proof
from pipeline.record.tar import ORIGINAL
from pipeline.record.verify import Record
from pipeline.unseal import ceremony
from pipeline.unseal.ceremony import Ask, Gathered, Given

if TYPE_CHECKING:
    from pipeline.openpgp.proofs import Prestarted


@dataclass
class Opened:
    """What one record gave on one path; shared by all copies with the same digest.

    Attributes:
        proofs: Those that were reached.
        seconds: By stage: ``recover``, ``prove``.
        code: ``OK`` or the code of what went wrong.
        notes: For people.
        expired_public: Whether proofs were made at a time inside the public part's validity.
        raw: The escrow passphrase, when it came back.
        gathered: What people brought.
        held: Whether anything was tried; a ceremony that too few people came to is not held.
        hint: What to do about what went wrong.
    """

    proofs: dict[str, Proof]
    seconds: dict[str, float]
    code: Code
    notes: tuple[str, ...] = ()
    expired_public: bool = False
    raw: Secret | None = field(default=None, repr=False)
    gathered: Gathered = field(default_factory=Gathered)
    held: bool = True
    hint: str | None = None


@dataclass(frozen=True)
class Way:
    """How a record is to be opened.

    Attributes:
        path: Only this custody path.
        shares: Words that people brought.
        ask: How people are asked for more, where somebody is there.
        others: Other records of the same key, to name the epoch that a wrong share is of.
    """

    path: str | None = None
    shares: tuple[Given, ...] = field(default=(), repr=False)
    ask: Ask | None = None
    others: Sequence[Record] = ()


@dataclass(frozen=True)
class Recovered:
    """An escrow passphrase that came back.

    Attributes:
        raw: Its 32 bytes.
        path: The custody path that gave it.
        gathered: What people brought for it.
    """

    raw: Secret = field(repr=False)
    path: str
    gathered: Gathered


def open_by(record: Record, estate: Estate, way: Way) -> Recovered:
    """Get a record's escrow passphrase back: on the path that is named or that shares are of, or by machines.

    Args:
        record: An authentic record.
        estate: Whose logins open machines' shares.
        way: How.

    Raises:
        UsageProblem: The record has no such path.
        OrgkeyError: No path opens it; each is told with its reason.
    """
    section = record.manifest.custody
    openers = estate.openers(section)
    name = way.path or ceremony.meant(record, way.shares, way.others)
    if name is not None:
        entry = section.path(name)
        machines = _machines_open(record, entry, openers)
        gathered = ceremony.gather(
            record, entry, set(openers), way.shares, way.ask, way.others, first=machines
        )
        return Recovered(recover_passphrase(record, name, openers, gathered.shares), name, gathered)
    failures: dict[str, OrgkeyError] = {}
    attended = [entry for entry in section.paths if {need.holder for need in entry.needs} - set(openers)]
    for entry in (entry for entry in section.paths if entry not in attended):
        raw = isolated(partial(recover_passphrase, record, entry.name, openers), f"custody path {entry.name}")
        if not isinstance(raw, OrgkeyError):
            return Recovered(raw, entry.name, Gathered())
        failures[entry.name] = raw
    for entry in attended:
        people = sorted({need.holder for need in entry.needs} - set(openers))
        try:
            if way.ask is None or len(attended) > 1:  # which of several is not for the program to choose
                raise NotEnoughShares(
                    f"it needs the shares of {' and '.join(people)}",
                    hint=f"bring them with --via {entry.name}: at a terminal, or with --share FILE",
                )
            because = [f"{name}: {error.message}" for name, error in failures.items()]
            machines = _machines_open(record, entry, openers)
            gathered = ceremony.gather(
                record, entry, set(openers), (), way.ask, way.others, because, machines
            )
            together = recover_passphrase(record, entry.name, openers, gathered.shares)
            return Recovered(together, entry.name, gathered)
        except OrgkeyError as error:
            failures[entry.name] = error
    worst = first_of(error.code for error in failures.values())
    chosen = next(error for error in failures.values() if error.code is worst)
    if len(failures) == 1 and not isinstance(chosen, NotEnoughShares):
        raise chosen
    told = "; ".join(f"{name}: {error.message}" for name, error in failures.items())
    hints = [error.hint for error in failures.values() if isinstance(error, NotEnoughShares)]
    hint = chosen.hint if chosen.hint in hints or not hints else f"{chosen.hint}; or: {hints[0]}"
    raise type(chosen)(f"no custody path opens this record: {told}", hint=hint)


def _machines_open(
    record: Record, entry: PathEntry, openers: Mapping[str, Holder]
) -> Callable[[Collection[str]], None]:
    """Make sure that a path's machines open their shares, before people are asked for theirs."""
    binding = Binding(record.fingerprint, record.manifest.record_id)

    def check(brought: Collection[str]) -> None:
        for share in entry.shares:
            if share.holder in openers and share.holder not in brought:
                recover.open_share(entry, share, record.members, openers[share.holder], binding)

    return check


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
    binding = Binding(record.fingerprint, record.manifest.record_id)
    return recover.recover(record.manifest.custody, record.members, path, openers, binding, tuple(shares))


def open_and_prove(
    context: KeyScope,
    estate: Estate,
    record: Record,
    path: PathEntry,
    *,
    public: bytes,
    way: Way = Way(),
    prestarted: Prestarted | None = None,
) -> Opened:
    """Recover the passphrase on one path and prove the key that it opens. Failures are results.

    Args:
        context: The run.
        estate: The driller's.
        record: An authentic record.
        path: One of its custody paths.
        public: The public part to judge by: the live key's, else the record's.
        way: What people brought, and how they are asked for more.
        prestarted: PGPy's process, started while something else was waited for.
    """
    from pipeline.openpgp import proofs as keyproofs

    started = time.monotonic()
    openers = estate.openers(record.manifest.custody)
    seconds: dict[str, float] = {}
    gathered = Gathered()
    try:
        if {need.holder for need in path.needs} - set(openers):
            machines = _machines_open(record, path, openers)
            gathered = ceremony.gather(
                record, path, set(openers), way.shares, way.ask, way.others, first=machines
            )
            seconds["gather"] = gathered.seconds
        raw = recover_passphrase(record, path.name, openers, gathered.shares)
    except OrgkeyError as error:
        seconds["recover"] = time.monotonic() - started - gathered.seconds
        return Opened(
            {"recover": Proof(False, (), error.message)},
            seconds,
            error.code,
            gathered=gathered,
            held=not isinstance(error, NotHeld),
            hint=error.hint,
        )
    recovered = time.monotonic()
    proofs = {"recover": Proof(True, tuple(need.holder for need in path.needs))}
    seconds["recover"] = recovered - started - gathered.seconds
    context.reporter.progress(f"path {path.name}: the escrow passphrase is back, proving the key")
    single_ok = context.config.policy.single_implementation
    try:
        report = keyproofs.prove(
            record.keypair,
            passphrase.written(raw),
            public,
            record.fingerprint,
            deadline=context.deadline,
            now=context.clock.now(),
            single_ok=single_ok,
            prestarted=prestarted,
        )
    except OrgkeyError as error:
        if error.code in (Code.LOCAL_FILES, Code.INTERRUPTED):
            raise  # this host's own trouble: no verdict on the key
        proofs["unlock"] = Proof(False, (), error.message)
        seconds["prove"] = time.monotonic() - recovered
        return Opened(proofs, seconds, error.code, raw=raw, gathered=gathered, hint=error.hint)
    seconds["prove"] = time.monotonic() - recovered
    proofs |= {name: Proof(item.ok, item.by, item.problem) for name, item in report.results.items()}
    code = report.code
    if (original := _original(record, passphrase.written(raw))) is not None:
        proofs["original"] = original
        code = first_of([code, Code.OK if original.ok else Code.PROOF_FAILED])
    return Opened(proofs, seconds, code, tuple(report.notes), report.expired_public, raw, gathered)


def _original(record: Record, written: Secret) -> Proof | None:
    """Whether the export comes out as it went in; ``None`` where the record does not say what went in."""
    from pipeline.openpgp.key import sealing

    if record.manifest.original is None:
        return None
    try:
        came = sealing.unseal(record.members[ORIGINAL], written)
    except OrgkeyError as error:
        return Proof(False, (), error.message)
    if sha256(came).hex != record.manifest.original:
        return Proof(False, (), "another export comes out than was escrowed")
    return Proof(True, (sealing.BY,))
