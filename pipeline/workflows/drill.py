"""The test restore: from stored copies alone, prove that the key comes back and works.

A drill is given the targets, the holders and the pin; never the key, and nothing of the run that wrote
the record. Every distinct record is opened on every custody path that needs no person.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from pipeline.archive import live_key as lives
from pipeline.archive.catalog import Copy, Epoch, Reader, choose, passed_over
from pipeline.archive.run import Estate, KeyScope
from pipeline.core.clock import stamp
from pipeline.core.digest import Digest
from pipeline.core.errors import Code, OrgkeyError, UsageProblem, first_of
from pipeline.core.isolation import isolated
from pipeline.core.secret import Secret
from pipeline.custody.shares import passphrase
from pipeline.custody.shares.manifest_section import PathEntry
from pipeline.evidence import statement as certificate
from pipeline.evidence.ledger import witnessed
from pipeline.evidence.ledger.drill_results import NOT_REACHED, PROOFS, Proof, Result
from pipeline.evidence.ledger.events import DrillEvent, Failure
from pipeline.record.verify import Record
from pipeline.sources.backups.sources import BackupSource
from pipeline.unseal import ceremony
from pipeline.unseal.ceremony import UNATTENDED, UnsealRequest
from pipeline.unseal.unseal import UnsealedEpoch, unseal_and_prove


@dataclass(frozen=True)
class DrillRequest:
    """What is to be drilled.

    Attributes:
        epochs: Names of epochs; ``None`` for all, empty for the latest.
        targets: Only copies at these; all when empty.
        nonce: A verifier's nonce for the certificate.
        unseal: How they are opened; on every path that needs no people where none is named or meant.
        backups: Backups of the server that the recovered key has to open, as a last proof.
    """

    epochs: Collection[str] | None = ()
    targets: tuple[str, ...] = ()
    nonce: str | None = None
    unseal: UnsealRequest = UNATTENDED
    backups: tuple[BackupSource, ...] = ()


_HINTS: Final = {
    Code.PROOF_FAILED: "take another epoch (`orgkey list`), and escrow the key again from a new export; "
    "docs/runbooks/drill-failed.md has the order",
}
"""What to do about what no error of its own says."""
_UNREAD: Final = frozenset({
    Code.UNREACHABLE, Code.DENIED, Code.DEADLINE, Code.CONFLICT, Code.DEGRADED, Code.UNSUPPORTED,
    Code.LOCAL_FILES, Code.PROGRAM_MISSING,
})  # fmt: skip
"""What keeps a backup from being read says nothing of the key."""


@dataclass(frozen=True)
class Drill:
    """The outcome of a drill.

    Attributes:
        results: One for each copy and path.
        code: How the run ends.
    """

    results: tuple[Result, ...]
    code: Code

    @property
    def passed(self) -> bool:
        """Whether every result passed, and there is one."""
        return bool(self.results) and all(result.passed for result in self.results)

    @property
    def held(self) -> bool:
        """Whether anything was tried: a ceremony that too few people came to is no failed one."""
        return any(result.held for result in self.results) or not self.results

    @property
    def hints(self) -> tuple[str, ...]:
        """What to do about what went wrong, each once."""
        return tuple(dict.fromkeys(item.hint for item in self.results if not item.passed and item.hint))

    @property
    def rto_seconds(self) -> float:
        """The slowest way from a stored copy to a proven key, in seconds."""
        return max((result.seconds.get("total", 0.0) for result in self.results), default=0.0)

    @property
    def certificate(self) -> str | None:
        """The newest epoch's certificate."""
        made = [result for result in self.results if result.certificate]
        return max(made, key=lambda result: result.epoch).certificate if made else None

    def proved(self, digest: Digest) -> bool:
        """Whether a record was proven through all copies and paths that were tried."""
        return _proved(self.results, digest)


@dataclass(frozen=True)
class Former:
    """What became of the drill of one former key.

    Attributes:
        fingerprint: The key's.
        drill: The outcome; ``None`` when nothing could be drilled.
        problem: Why nothing could.
        code: How it ends.
    """

    fingerprint: str
    drill: Drill | None
    problem: str | None
    code: Code


def drill(context: KeyScope, request: DrillRequest) -> Drill:
    """Run a drill and keep its evidence.

    It holds the key's lock: two at once would each begin the same epoch in the journal, and lose what the
    other one has proven.

    Args:
        context: The run.
        request: What is to be drilled.

    Returns:
        The outcome, also when proofs failed: see ``code``.

    Raises:
        Locked: Another run works on this key on this host.
        OrgkeyError: Nothing could be drilled at all, or the evidence could not be kept.
    """
    with context.locked("drill-refused"):
        return within(context, request)


def drill_former(context: KeyScope, request: DrillRequest) -> tuple[Former, ...]:
    """Drill every former key of the configuration: old backups still need them.

    Raises:
        OrgkeyError: The evidence could not be kept.
    """
    return tuple(_drill_former(key, request) for key in context.former())


def _drill_former(context: KeyScope, request: DrillRequest) -> Former:
    context.reporter.progress(f"former key {context.fingerprint}")
    try:
        with context.locked():
            done = within(context, request)
    except OrgkeyError as error:
        if error.code is Code.LOCAL_FILES:
            raise  # evidence that cannot be kept is a failure
        # Nothing is stored, or every path needs people: the old backups may not open any more.
        code = Code.STALE if isinstance(error, UsageProblem) else error.code
        return Former(context.fingerprint, None, error.message, code)
    return Former(context.fingerprint, done, None, done.code)


def within(context: KeyScope, request: DrillRequest) -> Drill:
    """The same, as a part of a run that holds the key's lock already."""
    with context.prover():
        return _drill(context, request)


def _drill(context: KeyScope, request: DrillRequest) -> Drill:
    estate = context.backends("driller")
    targets = estate.targets()
    unknown = set(request.targets) - set(targets)
    if unknown:
        raise UsageProblem(
            f"no target is called {', '.join(sorted(unknown))}",
            hint="the configuration has " + ", ".join(sorted(targets)),
        )
    if request.targets:
        targets = {name: targets[name] for name in request.targets}
    reader = Reader.of(context, targets)
    survey = reader.survey(
        context.fingerprint,
        journal=None if request.epochs else context.journal,
        epochs=request.epochs or None,
        everything=request.epochs is None,
    )
    context.deadline.require_clock()  # proofs are signatures, and those are judged by time
    results: list[Result] = []
    chosen = choose(survey, request.epochs)
    _require_one_ceremony(estate, chosen, request)
    if request.epochs is not None and not request.epochs:
        for line in passed_over(survey, chosen[0]):
            context.reporter.warn(line)
    for epoch in chosen:
        context.reporter.progress(
            f"drilling epoch {epoch.name} from {', '.join(copy.target for copy in epoch.copies)}"
        )
        others = tuple(other.record for other in survey.epochs if other.record and other is not epoch)
        results.extend(_drill_epoch(context, estate, epoch, request, others))
    codes = [result.code for result in results] + [error.code for error in survey.unreachable.values()]
    return Drill(tuple(results), first_of(codes))


def _require_one_ceremony(estate: Estate, chosen: Sequence[Epoch], request: DrillRequest) -> None:
    """People bring the shares of one epoch; those of another are foreign to it.

    Raises:
        UsageProblem: Several epochs were asked for, on a path that needs people.
    """
    if len(chosen) == 1:
        return
    for record in (epoch.record for epoch in chosen if epoch.record):
        alone = {path.name for path in unattended_paths(estate, record)}
        named = request.unseal.path
        if request.unseal.shares or (named is not None and named not in alone):
            raise UsageProblem(
                f"a drill with people is of one epoch, and {len(chosen)} were asked for",
                hint="name it with --epoch ID, or leave --epoch out for the latest",
            )


def _drill_epoch(
    context: KeyScope,
    estate: Estate,
    epoch: Epoch,
    request: DrillRequest,
    others: Sequence[Record] = (),
) -> list[Result]:
    """Drill every copy of one epoch on every path, each distinct record once, and keep the evidence."""
    lived = lives.live(context, epoch)
    opened: dict[tuple[str, str], UnsealedEpoch] = {}
    records: dict[str, Record] = {}
    results: list[Result] = []
    for copy in epoch.copies:
        if copy.record is None:
            results.append(_bad_copy(epoch, copy))
            continue
        digest = copy.record.sha256.hex
        records[digest] = copy.record
        wanted = request.unseal.path or ceremony.path_of(copy.record, request.unseal.shares, others)
        for path in _paths(estate, copy.record, wanted):
            if (digest, path.name) not in opened:
                opened[digest, path.name] = unseal_and_prove(
                    context,
                    copy.record,
                    path,
                    request.unseal,
                    others,
                    public=lived.public or copy.record.public,
                )
                if request.backups:
                    _open_backups(context, copy.record, opened[digest, path.name], request.backups)
            results.append(_result(epoch, copy, copy.record, path, opened[digest, path.name]))
    made = {
        digest: _certify(context, estate, record, epoch.copies, results, opened, request.nonce, lived)
        for digest, record in records.items()
    }
    results = [
        replace(result, certificate=made[result.record_sha256.hex]) if result.record_sha256 else result
        for result in results
    ]
    for result in results:
        if not result.held:
            message = result.proofs["recover"].problem
            context.record_event(
                Failure(event="drill-not-held", epoch=epoch.name, path=result.path, message=message)
            )
            break  # the people are the same for every copy
    held = [result for result in results if result.held]
    if not held:
        return results
    told = witnessed.results(held)
    signed = [
        witnessed.sign(told, record, raw, context.clock.now())
        for digest, record in records.items()
        if (raw := _recovered(opened, digest)) is not None
    ]
    _remember(context, epoch, held, {"results": told, "witnessed": signed})
    return results


def _open_backups(
    context: KeyScope, record: Record, opened: UnsealedEpoch, backups: Sequence[BackupSource]
) -> None:
    """Have the recovered key open real backups, and add what came of it to the proofs."""
    from pipeline.sources.backups import prove

    if opened.raw is None:
        opened.proofs["backup"] = Proof(False, (), NOT_REACHED)
        return
    started = time.monotonic()
    deadline = context.backup_deadline()
    by: list[str] = []
    problems: list[str] = []
    codes: list[Code] = []
    for source in backups:
        context.reporter.progress(f"opening the backup {source.name}")
        result = isolated(
            partial(
                prove.opens,
                source, record.keypair, passphrase.written(opened.raw), record.fingerprint, deadline,
            ),
            "it",
        )  # fmt: skip
        if isinstance(result, OrgkeyError):
            problems.append(f"{source.name}: {result.message}")
            codes.append(Code.PROOF_FAILED)
            if result.code in _UNREAD:
                codes[-1], opened.hint = result.code, opened.hint or result.hint
            continue
        by.append(result.engine)
        if result.integrity == "none":
            opened.notes += (f"{source.name} has no integrity code: an alteration would not be noticed",)
    opened.seconds["backup"] = time.monotonic() - started
    opened.proofs["backup"] = Proof(not problems, tuple(dict.fromkeys(by)), "; ".join(problems) or None)
    opened.code = first_of([opened.code, *codes])


def unattended_paths(estate: Estate, record: Record) -> list[PathEntry]:
    """The custody paths of a record that need no person, by name."""
    section = record.manifest.custody
    machines = set(estate.openers(section))
    return [path for path in section.paths if {need.holder for need in path.needs} <= machines]


def _paths(estate: Estate, record: Record, wanted: str | None) -> list[PathEntry]:
    """The path that was asked for, else all that need no person."""
    section = record.manifest.custody
    if wanted is not None:
        paths = [path for path in section.paths if path.name == wanted]
        problem = f"epoch {record.epoch} has no custody path called {wanted}"
    else:
        paths = unattended_paths(estate, record)
        problem = f"every custody path of epoch {record.epoch} needs people"
    if not paths:
        names = ", ".join(path.name for path in section.paths)
        raise UsageProblem(problem, hint=f"name one with --via; it has {names}")
    return paths


def _bad_copy(epoch: Epoch, copy: Copy) -> Result:
    read = copy.sha256 is not None
    return Result(
        epoch.name,
        copy.target,
        "-",
        None,
        {
            "digest": Proof(read, ("sha256",) if read else (), None if read else copy.problem),
            "authentic": Proof(False, (), copy.problem),
        },
        {"fetch": copy.seconds, "total": copy.seconds},
        copy.code,
        hint=copy.hint,
    )


def _result(epoch: Epoch, copy: Copy, record: Record, path: PathEntry, opened: UnsealedEpoch) -> Result:
    proofs = {
        "digest": Proof(True, ("sha256",)),
        "authentic": Proof(True, ("manifest signature",)),
        **opened.proofs,
    }
    seconds = {"fetch": copy.seconds, **opened.seconds}
    names = (*PROOFS, *(name for name in proofs if name not in PROOFS))
    key_seconds = sum(value for stage, value in seconds.items() if stage != "backup")
    return Result(
        epoch.name,
        copy.target,
        path.name,
        record.sha256,
        {name: proofs.get(name, Proof(False, (), NOT_REACHED)) for name in names},
        seconds | {"total": key_seconds},
        first_of([copy.code, opened.code]),
        (*opened.notes, *([f"copy {copy.target}: {copy.problem}"] if copy.problem else [])),
        opened.expired_public,
        participants=tuple(person.share.label for person in opened.gathered.people),
        dual_control=opened.gathered.dual_control if opened.gathered.people else None,
        names=tuple(person.name for person in opened.gathered.people),
        held=opened.held,
        hint=opened.hint or _HINTS.get(opened.code),
    )


def _certify(
    context: KeyScope,
    estate: Estate,
    record: Record,
    copies: Sequence[Copy],
    results: Sequence[Result],
    opened: Mapping[tuple[str, str], UnsealedEpoch],
    nonce: str | None,
    lived: lives.Live,
) -> str | None:
    """Issue the certificate of one record, when its passphrase came back and its key signs."""
    raw = _recovered(opened, record.sha256.hex)
    if raw is None:
        return None
    now = context.clock.now()
    body = certificate.build(
        record,
        [result for result in results if result.record_sha256 in (None, record.sha256)],
        nonce=nonce or secrets.token_hex(16),
        nonce_from="verifier" if nonce else "random",
        at=now,
        run=context.run_id,
        public_from="live" if lived.public else "record",
        requests=estate.request_ids(),
        ledger_head=context.ledger.head(),
        ledger_host=context.ledger.host,
        copies=[
            {
                "target": copy.target,
                "domain": copy.domain,
                "location": copy.location,
                "version": copy.version,
                "sha256": copy.sha256.hex if copy.sha256 else None,
            }
            for copy in copies
        ],
        rto_objective=context.config.policy.rto_seconds,
    )
    try:
        path = certificate.keep(
            context.root / certificate.FOLDER, record, body, raw, now=now, deadline=context.deadline
        )
    except OrgkeyError as error:
        if error.code is Code.LOCAL_FILES:
            raise  # evidence that cannot be kept is a failure
        # A key that does not sign has failed its proof already, and is reported by it.
        context.reporter.progress(f"no certificate for {record.epoch}: {error.message}")
        return None
    _stamp(context, path)
    return str(path)


def _stamp(context: KeyScope, path: Path) -> None:
    """Have the certificate's time stamped where that is configured; and those that still wait for it."""
    from pipeline.evidence import timestamp

    settings = context.config.certificate
    if settings.timestamp is None:
        return
    made = timestamp.ask(path, settings, seconds=context.deadline.limit(settings.timestamp_seconds))
    if made.state == "stamped":
        timestamp.ask_all(path.parent, settings, limit=context.deadline.limit)
    else:
        context.reporter.warn(f"the certificate's time-stamp is pending: {made.reason}")


def _proved(results: Sequence[Result], digest: Digest) -> bool:
    tried = [result for result in results if result.record_sha256 == digest]
    return bool(tried) and all(result.passed for result in tried)


def _recovered(opened: Mapping[tuple[str, str], UnsealedEpoch], record: str) -> Secret | None:
    """The escrow passphrase of a record, by any path that brought it back."""
    return next((item.raw for (digest, _), item in opened.items() if digest == record and item.raw), None)


def _remember(context: KeyScope, epoch: Epoch, results: Sequence[Result], told: Mapping[str, Any]) -> None:
    """Enter the drill in the ledger, then mark the epoch as proven where it is."""
    certificates = sorted({result.certificate for result in results if result.certificate})
    context.record_event(
        DrillEvent.model_validate({"epoch": epoch.name, **told, "certificates": certificates})
    )
    proven = [result for result in results if result.record_sha256 and _proved(results, result.record_sha256)]
    if not proven or proven[0].record_sha256 is None:
        return
    entry = context.journal.entry(epoch.name) or context.journal.begin(epoch.name, None)
    before = entry.proven() or {}
    plan = next(
        copy.record.manifest.custody.plan_digest()
        for copy in epoch.copies
        if copy.record and copy.record.sha256 == proven[0].record_sha256
    )
    if before.get("record_sha256") != proven[0].record_sha256.hex:
        before = {}
    entry.mark_proven(
        {
            "record_sha256": proven[0].record_sha256.hex,
            "plan": plan,
            "at": stamp(context.clock.now()),
            "copies": sorted({result.copy for result in proven}),
            # What was proven on other paths stays proven: machines and people are drilled apart.
            "paths": sorted({result.path for result in proven} | set(before.get("paths", ()))),
            "certificate": proven[0].certificate,
            "rto_seconds": round(max(result.seconds["total"] for result in proven), 3),
        }
    )
