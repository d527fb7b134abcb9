"""The test restore: from stored copies alone, prove that the key comes back and works.

A drill is given the targets, the holders and the pin; never the key, and nothing of the run that wrote
the record. Every distinct record is opened on every custody path that needs no person.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from pipeline.archive import live_key
from pipeline.archive.catalog import Catalog, Copy, Epoch, EpochState
from pipeline.archive.run import KeyScope
from pipeline.core.digest import Digest
from pipeline.core.errors import Code, OrgkeyError, UsageProblem, first_of
from pipeline.core.isolation import isolated
from pipeline.core.proof import Proof
from pipeline.custody.shares import passphrase
from pipeline.custody.shares.manifest_section import PathEntry
from pipeline.evidence.ledger.drill_results import NOT_REACHED, PROOFS, Result, slowest
from pipeline.record.verify import Record
from pipeline.sources.backups.sources import BackupSource
from pipeline.unseal import ceremony
from pipeline.unseal.ceremony import UNATTENDED, UnsealRequest
from pipeline.unseal.unseal import UnsealedEpoch, unseal_and_prove
from pipeline.workflows.drill_evidence import DrillEvidence, proved


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
    Code.PROOF_FAILED: "take another epoch (`orgkey list`), and escrow a new export with --new-epoch; "
    "`orgkey explain drill-failed` has the order",
}
"""What to do about what no error of its own says."""
_UNREAD: Final = frozenset({
    Code.UNREACHABLE, Code.DENIED, Code.DEADLINE, Code.CONFLICT, Code.DEGRADED, Code.UNSUPPORTED,
    Code.LOCAL_FILES, Code.PROGRAM_MISSING,
})  # fmt: skip
"""What keeps a backup from being read proves nothing of the key, nor of the copy that it came from."""


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
        """Whether anything was tried: a ceremony that too few people came to did not fail."""
        return any(result.held for result in self.results) or not self.results

    @property
    def hints(self) -> tuple[str, ...]:
        """What to do about what went wrong, each once."""
        return tuple(
            dict.fromkeys(item.hint for item in self.results if item.code is not Code.OK and item.hint)
        )

    @property
    def rto_seconds(self) -> float | None:
        """The slowest way from a stored copy to a proven key, in seconds; ``None`` where nothing passed."""
        return slowest(self.results)

    @property
    def certificate(self) -> str | None:
        """The newest epoch's certificate."""
        made = [result for result in self.results if result.certificate]
        return max(made, key=lambda result: result.epoch).certificate if made else None

    def proved(self, digest: Digest) -> bool:
        """Whether a record was proven through all copies and paths that were tried."""
        return proved(self.results, digest)


@dataclass(frozen=True)
class FormerDrill:
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


def drill(scope: KeyScope, request: DrillRequest) -> Drill:
    """Run a drill and keep its evidence.

    It holds the key's lock: two at once would each begin the same epoch in the journal, and lose what the
    other one has proven.

    Returns:
        The outcome, also when proofs failed: see ``code``.

    Raises:
        Locked: Another run works on this key on this host.
        OrgkeyError: Nothing could be drilled at all, or the evidence could not be kept.
    """
    with scope.locked("drill-refused"):
        return within(scope, request)


def within(scope: KeyScope, request: DrillRequest) -> Drill:
    """The same, as a part of a run that holds the key's lock already."""
    archive = scope.archive("driller")
    for damaged in scope.journal.damaged().values():
        scope.reporter.warn(f"what this host knew is left out: {damaged.message}; {damaged.hint}")
    if request.targets:
        archive = archive.at(request.targets)
    if request.epochs:
        archive = replace(archive, journal=None)
    with scope.prover():
        catalog = archive.catalog(request.epochs or None, everything=request.epochs is None)
        scope.deadline.require_clock()  # proofs are signatures, and those are judged by time
        chosen = catalog.choose(request.epochs)
        if request.epochs is not None and not request.epochs:
            chosen = _with_newest(scope, catalog, chosen[0], request.unseal)
            known = {*scope.config.policy.known_false, *(epoch.name for epoch in chosen)}
            for line in catalog.passed_over(chosen[0].name, known_false=known):
                scope.reporter.warn(line)
        _require_one_ceremony(scope, chosen, request)
        results: list[Result] = []
        for epoch in chosen:
            where = ", ".join(copy.target for copy in epoch.copies)
            scope.reporter.progress(f"drilling epoch {epoch.name} from {where}")
            results += _drill_epoch(scope, epoch, request, catalog.records(other_than=epoch.record))
    codes = [result.code for result in results] + [error.code for error in catalog.unreachable.values()]
    return Drill(tuple(results), first_of(codes))


def _with_newest(
    scope: KeyScope, catalog: Catalog, latest: Epoch, request: UnsealRequest
) -> tuple[Epoch, ...]:
    """The latest epoch, and the newest complete one where another host has made it since (ADR 46).

    Where people are needed for one of them, the other alone; the latest where they are for both.
    """
    newer = [epoch for epoch in catalog.after(latest) if epoch.state is EpochState.COMPLETE]
    found = []
    for epoch in (latest, *newer[-1:]):
        alone = {path.name for path in unattended_paths(scope, epoch.record)} if epoch.record else set()
        if not request.shares and (request.path in alone if request.path else alone):
            found.append(epoch)
    return tuple(found) or (latest,)


def drill_former(scope: KeyScope, request: DrillRequest) -> tuple[FormerDrill, ...]:
    """Drill every former key of the configuration: old backups still need them.

    Raises:
        OrgkeyError: The evidence could not be kept.
    """
    return tuple(_drill_former(key, request) for key in scope.former())


def _drill_former(scope: KeyScope, request: DrillRequest) -> FormerDrill:
    scope.reporter.progress(f"former key {scope.fingerprint}")
    try:
        with scope.locked():
            done = within(scope, request)
    except OrgkeyError as error:
        if error.code is Code.LOCAL_FILES:
            raise  # evidence that cannot be kept is a failure
        # Nothing is stored, or every path needs people: the old backups may not open any more.
        code = Code.STALE if isinstance(error, UsageProblem) else error.code
        way = f"; {error.hint} (--fingerprint {scope.fingerprint})" if code is Code.STALE else ""
        return FormerDrill(scope.fingerprint, None, f"{error.message}{way}", code)
    return FormerDrill(scope.fingerprint, done, None, done.code)


def _require_one_ceremony(scope: KeyScope, chosen: Sequence[Epoch], request: DrillRequest) -> None:
    """People bring the shares of one epoch; those of another are foreign to it.

    Raises:
        UsageProblem: Several epochs were asked for, on a path that needs people.
    """
    if len(chosen) == 1:
        return
    for record in (epoch.record for epoch in chosen if epoch.record):
        alone = {path.name for path in unattended_paths(scope, record)}
        if request.unseal.shares or request.unseal.path not in {None, *alone}:
            raise UsageProblem(
                f"a drill with people is of one epoch, and {len(chosen)} were asked for",
                hint="name it with --epoch ID, or leave --epoch out for the latest",
            )


def _drill_epoch(
    scope: KeyScope, epoch: Epoch, request: DrillRequest, others: Sequence[Record]
) -> list[Result]:
    """Drill every copy of one epoch on every path, each distinct record once, and keep the evidence."""
    live = live_key.live(scope, epoch)
    opened: dict[tuple[str, str], UnsealedEpoch] = {}
    records: dict[str, Record] = {}
    results: list[Result] = []
    for copy in epoch.copies:
        if copy.record is None:
            results.append(_bad_copy(epoch, copy))
            continue
        digest = copy.record.sha256.hex
        records[digest] = copy.record
        public = live.public or copy.record.public
        for path in _paths(scope, copy.record, request.unseal, others):
            if (digest, path.name) not in opened:
                opened[digest, path.name] = unseal_and_prove(
                    scope, copy.record, path, request.unseal, others, public=public
                )
                if request.backups:
                    _open_backups(scope, copy.record, opened[digest, path.name], request.backups)
            results.append(_result(epoch, copy, copy.record, path, opened[digest, path.name]))
    raws = {digest: item.raw for (digest, _), item in opened.items() if item.raw}
    evidence = DrillEvidence(scope, epoch, results)
    for digest, raw in raws.items():
        evidence.certify(records[digest], raw, request.nonce, live)
    evidence.keep({digest: (records[digest], raw) for digest, raw in raws.items()})
    return evidence.results


def _open_backups(
    scope: KeyScope, record: Record, opened: UnsealedEpoch, backups: Sequence[BackupSource]
) -> None:
    """Have the recovered key open real backups, and add what came of it to the proofs."""
    from pipeline.sources.backups import prove

    if opened.raw is None:
        opened.proofs["backup"] = Proof(False, (), NOT_REACHED)
        return
    started = time.monotonic()
    deadline = scope.backup_deadline()
    by: list[str] = []
    problems: list[str] = []
    codes: list[Code] = []
    for source in backups:
        scope.reporter.progress(f"opening the backup {source.name}")
        result = isolated(
            partial(
                prove.opens,
                source, record.keypair, passphrase.written(opened.raw), record.fingerprint, deadline,
            ),
            "it",
        )  # fmt: skip
        if isinstance(result, OrgkeyError):
            if result.code in _UNREAD:
                codes.append(result.code)
                opened.notes += (f"the backup {source.name} was not read: {result.message}",)
                opened.hint = opened.hint or result.hint
            else:
                codes.append(Code.PROOF_FAILED)
                problems.append(f"{source.name}: {result.message}")
            continue
        by.append(result.engine)
        if result.integrity == "none":
            opened.notes += (f"{source.name} has no integrity code: an alteration would not be noticed",)
        if result.found.nothing:
            opened.notes += (f"{source.name} holds nothing",)
    opened.seconds["backup"] = time.monotonic() - started
    if by or problems:
        opened.proofs["backup"] = Proof(not problems, tuple(dict.fromkeys(by)), "; ".join(problems) or None)
    opened.code = first_of([opened.code, *codes])


def unattended_paths(scope: KeyScope, record: Record) -> list[PathEntry]:
    """The custody paths of a record that need no person, by name."""
    section = record.manifest.custody
    machines = set(scope.backends("driller").openers(section))
    return [path for path in section.paths if {need.holder for need in path.needs} <= machines]


def command(
    record: Record | None, path: str | None = None, *, epoch: str | None = None, former: str | None = None
) -> str:
    """The command that proves a record: as a ceremony where only people can do it.

    Args:
        record: The record.
        path: The custody path that is to be proven; any when ``None``.
        epoch: Its name, where it is not the latest.
        former: The key's fingerprint, where it is not the present one.
    """
    paths = record.manifest.custody.paths if record else ()
    attended = [entry.name for entry in paths if any(share.checks for share in entry.shares)]
    words = ["orgkey drill", *([f"--epoch {epoch}"] if epoch else [])]
    words += [f"--fingerprint {former}"] if former else []
    if path in attended:
        words.append(f"--via {path}")
    elif attended and len(attended) == len(paths):
        words.append(f"--via {attended[0]}")
    return " ".join(words)


def _paths(
    scope: KeyScope, record: Record, request: UnsealRequest, others: Sequence[Record]
) -> list[PathEntry]:
    """The path that was asked for, or that shares are of; else all that need no person."""
    section = record.manifest.custody
    wanted = request.path or ceremony.path_of(record, request.shares, others)
    if wanted is not None:
        paths = [path for path in section.paths if path.name == wanted]
        problem = f"epoch {record.epoch} has no custody path called {wanted}"
    else:
        paths = unattended_paths(scope, record)
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
            "authentic": Proof(False, (), copy.problem if read else NOT_REACHED),
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
