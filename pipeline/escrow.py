"""The main story: take an export, and leave behind copies that are proven to restore."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline import drill as drills
from pipeline import journal, mint
from pipeline.authentic import Record, open_record
from pipeline.context import Context, Estate
from pipeline.custody import paths, posture
from pipeline.drill import Drill
from pipeline.errors import Code, IntegrityProblem, LocalFilesProblem, OrgkeyError, Stale, first_of
from pipeline.manifest import Reference
from pipeline.place import Placed, place
from pipeline.secret import Secret
from pipeline.survey import Reader
from pipeline.targets.interface import Receipt, Slot, Target

if TYPE_CHECKING:
    from pipeline.keys import UnlockedKey
    from pipeline.keys.proofs import Prestarted


@dataclass(frozen=True)
class Escrow:
    """What an escrow achieved.

    Attributes:
        record: The record that is now stored.
        placed: Where it is, and where it is not.
        drill: The closing test restore; ``None`` when it was not asked for or could not start.
        resumed: Whether an interrupted run was finished.
        already: Whether the key was escrowed like this before.
        code: How the run ends.
        proven: Whether a drill has proven the epoch, now or before.
        kinds: The kind of every target, by name.
        domains: The failure domain of every target, by name.
    """

    record: Record
    placed: Placed
    drill: Drill | None
    resumed: bool
    already: bool
    code: Code
    proven: bool
    kinds: Mapping[str, str]
    domains: Mapping[str, str]


@dataclass(frozen=True)
class Rehearsal:
    """What an escrow would do.

    Attributes:
        fingerprint: The key's.
        action: In words.
        epoch: The stored or interrupted epoch that would be taken up, if any.
        targets: Where copies would go.
        paths: The custody paths.
    """

    fingerprint: str
    action: str
    epoch: str | None
    targets: tuple[str, ...]
    paths: tuple[paths.Path, ...]


@dataclass(frozen=True)
class _Chosen:
    record: Record
    entry: journal.Entry
    confirmed: Mapping[str, Receipt]
    resumed: bool = False
    already: bool = False


def escrow(
    context: Context,
    data: bytes,
    passphrase: Secret,
    *,
    accept: frozenset[str] = frozenset(),
    with_drill: bool = True,
) -> Escrow:
    """Escrow a keypair export.

    Args:
        context: The run.
        data: The export.
        passphrase: Opens it.
        accept: Judgements on the export that the operator overrides.
        with_drill: Whether to prove the stored copies at the end.

    Returns:
        The outcome, also when it is degraded or a proof failed: see ``code``.

    Raises:
        OrgkeyError: Nothing that counts was stored; a later run starts again or resumes.
    """
    from pipeline import keys
    from pipeline.keys import gnupg, proofs

    posture.require_no_single_party(context.config)
    with journal.lock(context.root):
        gnupg.sweep_orphans()
        try:
            key = keys.load(data, passphrase, pin=context.fingerprint, accept=accept, now=context.clock.now())
            context.say(f"key {key.fingerprint} is open and complete")
            with ExitStack() as stack:
                # PGPy takes longest to load: let it, while the servers are talked to.
                prestarted = stack.enter_context(proofs.Prestarted()) if with_drill else None
                return _escrow(context, key, passphrase, accept=accept, prestarted=prestarted)
        except OrgkeyError as error:
            _remember_failure(context, error)
            raise


def _remember_failure(context: Context, error: OrgkeyError) -> None:
    """Enter a failure in the ledger; that it cannot be kept must not hide the failure itself."""
    try:
        context.record_event(
            "escrow-failed", {"code": int(error.code), "name": error.code.label, "message": error.message}
        )
    except OrgkeyError as unkept:
        context.say(f"warning: the ledger has no entry of this: {unkept.message}")


def _escrow(
    context: Context,
    key: UnlockedKey,
    passphrase: Secret,
    *,
    accept: frozenset[str],
    prestarted: Prestarted | None,
) -> Escrow:
    writer = context.estate("writer")
    targets = writer.targets()
    plan = _plan(context, writer)
    chosen = _unfinished(context, key, plan) or _stored(context, targets, key, plan)
    if isinstance(chosen, _Chosen):
        how = "resuming the interrupted" if chosen.resumed else "the key is stored already: checking"
        context.say(f"{how} epoch {chosen.record.epoch}")
    else:
        context.say("minting a new record: re-wrapping the key, splitting and sealing its escrow passphrase")
        chosen = _mint(context, key, plan, chosen, passphrase)
    record = chosen.record
    placed = place(
        targets,
        Slot(record.fingerprint, record.epoch),
        record.data,
        confirmed=chosen.confirmed,
        remember=chosen.entry.add_receipt,
        beside=chosen.already,
    )
    for receipt in placed.receipts.values():
        context.say(f"{receipt.target}: stored and read back, {receipt.location}")
    for name, failure in placed.failures.items():
        context.say(f"{name}: {failure.message}")
    code = placed.code(context.config.policy.copies)
    result = Escrow(
        record,
        placed,
        None,
        chosen.resumed,
        chosen.already,
        code,
        chosen.entry.proven() is not None,
        {name: target.kind for name, target in targets.items()},
        {name: target.domain for name, target in targets.items()},
    )
    if code in (Code.OK, Code.DEGRADED) and prestarted and not result.proven:
        drill = drills.drill(
            context,
            drills.Request(epochs=frozenset({record.epoch}), targets=tuple(placed.receipts)),
            prestarted,
        )
        result = replace(
            result, drill=drill, code=first_of([code, drill.code]), proven=drill.proved(record.sha256)
        )
    context.record_event("escrow", _event(result, accept))
    return result


def rehearse(context: Context, data: bytes, passphrase: Secret, *, accept: frozenset[str]) -> Rehearsal:
    """Say what :func:`escrow` would do, and change nothing anywhere.

    Args:
        context: The run.
        data: The export.
        passphrase: Opens it.
        accept: Judgements on the export that the operator overrides.

    Raises:
        OrgkeyError: What would make the escrow fail before it writes.
    """
    from pipeline import keys

    posture.require_no_single_party(context.config)
    key = keys.load(data, passphrase, pin=context.fingerprint, accept=accept, now=context.clock.now())
    writer = context.estate("writer")
    targets = writer.targets()
    plan = _plan(context, writer)
    chosen = _unfinished(context, key, plan)
    action = "resume an interrupted epoch"
    if chosen is None:
        stored = _stored(context, targets, key, plan, begin=False)
        action = "mint a new epoch"
        if isinstance(stored, _Chosen):
            chosen = stored
            action = "check the stored epoch, and write the copies that are missing"
    return Rehearsal(
        key.fingerprint, action, chosen.record.epoch if chosen else None, tuple(targets), plan.paths
    )


def _plan(context: Context, writer: Estate) -> mint.Plan:
    """The custody plan as the configuration has it and the holders describe themselves today."""
    holders = writer.holders()
    return mint.Plan(
        paths=paths.from_config(context.config, holders),
        holders=holders,
        openers=context.estate("driller").holders(),
        descriptions=paths.describe(holders, holders),
    )


def _mint(
    context: Context,
    key: UnlockedKey,
    plan: mint.Plan,
    previous: Reference | None,
    passphrase: Secret,
) -> _Chosen:
    record = mint.mint(
        key,
        plan,
        now=context.clock.now(),
        deadline=context.deadline,
        previous=previous,
        export_passphrase=passphrase,
    )
    return _Chosen(record, context.journal.begin(record.epoch, record.data), {})


def _unfinished(context: Context, key: UnlockedKey, plan: mint.Plan) -> _Chosen | None:
    """The epoch that an earlier run left unproven: interrupted, or stored and not drilled."""
    for entry in reversed(context.journal.entries()):
        data = entry.record_bytes()
        if data is None or entry.proven():
            continue
        try:
            record = open_record(
                data, context.pins, deadline=context.deadline, now=context.clock.now(), epoch=entry.epoch
            )
        except IntegrityProblem as error:
            raise LocalFilesProblem(
                f"the sealed record of the interrupted epoch in {entry.path} is damaged: {error.message}",
                hint="the state is rebuilt from the targets: move that directory away and run this again",
            ) from error
        if record.manifest.key_state == key.key_state and record.manifest.plan == plan.digest:
            receipts = entry.receipts()
            whole = set(receipts) >= set(context.config.target)
            return _Chosen(record, entry, receipts, resumed=not whole, already=whole)
    return None


def _stored(
    context: Context,
    targets: Mapping[str, Target],
    key: UnlockedKey,
    plan: mint.Plan,
    *,
    begin: bool = True,
) -> _Chosen | Reference | None:
    """The stored epoch that holds this key already; else a reference to the latest one.

    Targets that cannot be reached are left for the writing to report.

    Raises:
        Stale: The key is stored, but under another custody plan.
    """
    survey = Reader(targets, context.pins, context.deadline, context.clock.now()).survey(
        context.fingerprint, journal=context.journal
    )
    latest = survey.newest()
    if latest is None or latest.record is None:
        return None
    record = latest.record
    if record.manifest.key_state != key.key_state:
        return Reference(latest.name, record.sha256.hex)
    if record.manifest.plan != plan.digest:
        raise Stale(
            f"epoch {latest.name} holds this key under another custody plan than the configuration's",
            hint="put the old [path.*] and [holder.*] back; a plan is changed by rotation, "
            "`orgkey custody rotate`, which this version does not have yet",
        )
    confirmed = {
        copy.target: Receipt(
            copy.target,
            copy.kind,
            copy.domain,
            copy.location,
            copy.version,
            record.sha256,
            copy.retain_until,
            None if copy.slot.epoch == latest.name else copy.slot.epoch,
        )
        for copy in latest.good
    }
    entry = context.journal.entry(latest.name)
    if begin:
        entry = entry or context.journal.begin(latest.name, record.data)
        for receipt in confirmed.values():
            entry.add_receipt(receipt)
    return _Chosen(record, entry or journal.Entry(latest.name, context.root), confirmed, already=True)


def _event(result: Escrow, accept: frozenset[str]) -> dict[str, Any]:
    return {
        "epoch": result.record.epoch,
        "record_sha256": result.record.sha256.hex,
        "copies": {
            name: {"location": receipt.location, "version": receipt.version}
            for name, receipt in result.placed.receipts.items()
        },
        "failures": {name: int(error.code) for name, error in result.placed.failures.items()},
        "accepted": sorted(accept),
        "resumed": result.resumed,
        "already": result.already,
        "proven": result.proven,
        "code": int(result.code),
    }
