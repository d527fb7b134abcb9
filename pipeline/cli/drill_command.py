"""`orgkey drill`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import completion
from pipeline.cli.command import COPY_CODES, WHERE, Invocation, command, epoch_option, epochs, opt
from pipeline.cli.documents.escrow import DrillDocument
from pipeline.cli.output import hints, printable, spaced, table
from pipeline.core.errors import Code, UsageProblem, first_of
from pipeline.core.proof import Proof
from pipeline.evidence import timestamp
from pipeline.evidence.ledger.drill_results import NOT_REACHED, Result
from pipeline.sources.backups.sources import Unlisted
from pipeline.workflows import drill as story
from pipeline.workflows.drill import Drill, FormerDrill


@command(
    "orgkey drill --from s3 --via custodians",
    (*COPY_CODES, Code.PROOF_FAILED),
    takes=["unseal"],
    job="drill",
)
def drill(
    call: Invocation,
    source: list[str] | None = opt(
        "--from", "Only this target's copies; repeatable.", "TARGET", WHERE, autocompletion=completion.TARGETS
    ),
    epoch: str = epoch_option("latest"),
    nonce: str | None = opt("--nonce", "A verifier's nonce, to be in the certificate.", "TEXT"),
    backup: list[str] | None = opt(
        "--backup",
        "Have the recovered key open this backup too: a file, a folder or s3://; repeatable.",
        "PLACE",
    ),
) -> Code:
    """Restore from the stored copies, and prove that the key works.

    The recovered key signs, certifies and decrypts, each checked by independent implementations.

    Needs the targets and the holders, under the driller's logins; never the export. Writes a certificate
    that others can verify with gpg and openssl.

    Without --epoch it proves the latest epoch, and the newest complete one where another host made it since.

    Former Org Keys of the configuration are drilled too, unless an option names a key, an epoch, a path, a
    share or a backup.

    With --via and a path that needs people it is a ceremony: they bring their shares, one at a time, and the
    certificate says who took part, whether two different people did, and how long it took.
    """
    context = call.context()
    backups = tuple(context.backends("driller").backups(backup)) if backup else ()
    if backup and not backups:
        raise UsageProblem(
            f"no backup is at {' or '.join(backup)}", hint="name one that is there, or leave --backup out"
        )
    for item in backups:
        if isinstance(item, Unlisted):
            raise item.error
    once = next((item.name for item in backups if not item.again), None)
    if once is not None:
        raise UsageProblem(
            f"{once} can be read only once, and a drill opens a backup for every path",
            hint="give a file, a folder or s3://; `orgkey backups verify` reads a pipe",
        )
    for item in backups:
        if item.path is not None and item.state is None:
            item.start()  # says why it cannot be read, before anybody brings a share
    request = story.DrillRequest(
        epochs=epochs(epoch),
        targets=tuple(source or ()),
        nonce=_nonce(nonce),
        unseal=call.unseal_request(context.deadline),
        backups=backups,
    )
    result = story.drill(context, request)
    former: tuple[FormerDrill, ...] = ()
    if call.fingerprint is None and not (request.epochs or call.via or request.unseal.shares or backup):
        former = story.drill_former(context, request)
    code = first_of([result.code, *(item.code for item in former)])
    shown = [*_former(former), *lines(result)]
    if code is not Code.OK and result.passed:  # of a former key, or with a warning
        shown.append(f"exit code {int(code)}: {code.meaning}")
    return call.answer(DrillDocument.about(result, former, code), shown)


def _nonce(value: str | None) -> str | None:
    if value is not None and not (1 <= len(value) <= 256 and value.isprintable()):
        raise UsageProblem("--nonce is not usable", hint="give 1 to 256 printable characters")
    return value


def _former(former: Sequence[FormerDrill]) -> list[str]:
    shown: list[str] = []
    for item in former:
        shown.append(f"former key {spaced(item.fingerprint)}")
        shown += lines(item.drill) if item.drill else [f"drill FAILED: {item.problem}"]
        shown.append("")
    return shown


def lines(result: Drill) -> list[str]:
    """What a person reads; copies that are the same record share a table."""
    groups: dict[tuple[object, ...], list[Result]] = {}
    for item in result.results:
        alike = tuple((name, proof.ok, proof.by, proof.problem) for name, proof in item.proofs.items())
        groups.setdefault((item.epoch, item.path, item.code, alike), []).append(item)
    shown: list[str] = []
    for items in groups.values():
        shown += [*_group(items), ""]
    if result.certificate:
        stamped = timestamp.state(Path(result.certificate)).state
        shown.append(f"certificate {result.certificate}")
        shown[-1] += "" if stamped == "none" else f", time-stamp {stamped}"
    if result.passed and result.rto_seconds is not None:
        shown.append(f"drill passed; RTO {result.rto_seconds:.2f} s (slowest copy and path)")
    else:
        shown.append("drill FAILED" if result.held else "drill not held: too few people brought a share")
    return [*shown, *hints(result.hints)]


def _group(items: list[Result]) -> list[str]:
    first = items[0]
    copies = ", ".join(item.copy for item in items)
    failed = "FAILED" if first.held else "not held"
    verdict = "passed" if first.passed else f"{failed} ({int(first.code)}: {first.code.meaning})"
    path = "" if first.path == "-" else f" by path {first.path}"
    shown = [f"drill of {first.epoch} from {copies}{path}: {verdict}"]
    rows = [(name, *_proof(proof)) for name, proof in first.proofs.items() if first.held]
    shown += [] if first.held else [f"  {printable(first.proofs['recover'].problem or '')}"]
    shown += ["  " + line for line in table(("proof", "result", "by"), rows)] if rows else []
    shown += [f"  note: {printable(note)}" for note in first.notes]
    if first.participants:
        dual = "two or more people took part" if first.dual_control else "NO DUAL CONTROL: one person alone"
        shown.append(f"  people: {', '.join(map(printable, first.names or first.participants))}; {dual}")
    if first.expired_public:
        shown.append("  note: the public part has expired meanwhile; proven at a time inside its validity")
    for item in items:
        stages = ", ".join(f"{name} {value:.2f}" for name, value in item.seconds.items() if name != "total")
        shown.append(f"  {item.copy}: {item.seconds.get('total', 0.0):.2f} s ({stages})")
    return shown


def _proof(proof: Proof) -> tuple[str, str]:
    """How a proof ended and who showed it; why not, also where one implementation agreed."""
    if proof.problem == NOT_REACHED:
        return "-", NOT_REACHED
    text = "; ".join(part for part in (", ".join(proof.by), proof.problem) if part)
    return "ok" if proof.ok else "FAILED", printable(text) or "-"
