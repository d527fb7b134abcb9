"""Open one record on one custody path, and prove the key that comes out."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.authentic import Record
from pipeline.context import Context, Estate
from pipeline.custody import passphrase, recover
from pipeline.custody.interface import Binding, Holder
from pipeline.custody.section import PathEntry
from pipeline.errors import Code, OrgkeyError
from pipeline.results import Proof
from pipeline.secret import Secret

if TYPE_CHECKING:
    from pipeline.keys.proofs import Prestarted


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
    """

    proofs: dict[str, Proof]
    seconds: dict[str, float]
    code: Code
    notes: tuple[str, ...] = ()
    expired_public: bool = False
    raw: Secret | None = field(default=None, repr=False)


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
    context: Context,
    estate: Estate,
    record: Record,
    path: PathEntry,
    *,
    public: bytes,
    prestarted: Prestarted | None = None,
) -> Opened:
    """Recover the passphrase on one path and prove the key that it opens. Failures are results.

    Args:
        context: The run.
        estate: The driller's.
        record: An authentic record.
        path: One of its custody paths.
        public: The public part to judge by: the live key's, else the record's.
        prestarted: PGPy's process, started while something else was waited for.
    """
    from pipeline.keys import proofs as keyproofs

    started = time.monotonic()
    try:
        raw = recover_passphrase(record, path.name, estate.openers(record.manifest.custody))
    except OrgkeyError as error:
        return Opened(
            {"recover": Proof(False, (), error.message)}, {"recover": time.monotonic() - started}, error.code
        )
    recovered = time.monotonic()
    proofs = {"recover": Proof(True, tuple(need.holder for need in path.needs))}
    seconds = {"recover": recovered - started}
    context.say(f"path {path.name}: the escrow passphrase is back, proving the key")
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
        proofs["unlock"] = Proof(False, (), error.message)
        worst = error.code if error.code is Code.DEADLINE else Code.PROOF_FAILED
        return Opened(proofs, seconds | {"prove": time.monotonic() - recovered}, worst, raw=raw)
    seconds["prove"] = time.monotonic() - recovered
    proofs |= {name: Proof(item.ok, item.by, item.problem) for name, item in report.results.items()}
    code = Code.DEGRADED if report.degraded else Code.OK if report.ok else Code.PROOF_FAILED
    return Opened(proofs, seconds, code, tuple(report.notes), report.expired_public, raw)
