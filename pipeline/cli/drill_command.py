"""`orgkey drill`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import ceremony_prompt, jobs, options, shares
from pipeline.cli.options import Common
from pipeline.cli.output import printable, spaced, table
from pipeline.core.errors import Code, OrgkeyError, UsageProblem, first_of

if TYPE_CHECKING:
    from pipeline.evidence.ledger.drill_results import Proof, Result
    from pipeline.workflows.drill import Drill
    from pipeline.workflows.former import Former


@jobs.job("drill")
def drill(
    source: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="TARGET", help="Only this target's copies; repeatable."),
    ] = None,
    via: Annotated[str | None, typer.Option("--via", metavar="PATH", help="Only this custody path.")] = None,
    epoch: options.EpochChoice = "latest",
    share: shares.ShareFiles = None,
    share_fd: shares.ShareFds = None,
    nonce: Annotated[
        str | None,
        typer.Option("--nonce", metavar="TEXT", help="A verifier's nonce, to be in the certificate."),
    ] = None,
    backup: Annotated[
        list[str] | None,
        typer.Option(
            "--backup",
            metavar="PLACE",
            help="Have the recovered key open this backup too: a file, a folder or s3://; repeatable.",
        ),
    ] = None,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Restore from the stored copies, and prove that the key works.

    The recovered key signs, certifies and decrypts, each checked by independent implementations.

    Needs the targets and the holders, under the driller's logins; never the export. Writes a certificate
    that others can verify with gpg and openssl.

    Former Org Keys of the configuration are drilled too, unless an option names a key, an epoch, a path, a
    share or a backup.

    With --via and a path that needs people it is a ceremony: they bring their shares, one at a time, and the
    certificate says who took part, whether two different people did, and how long it took.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    context = common.context(out)
    from pipeline.workflows import drill as story
    from pipeline.workflows import publish as store

    backups = tuple(context.estate("driller").backups(backup)) if backup else ()
    once = next((item.name for item in backups if not item.again), None)
    if once is not None:
        raise UsageProblem(
            f"{once} can be read only once, and a drill opens a backup for every path",
            hint="give a file, a folder or s3://; `orgkey backups verify` reads a pipe",
        )
    request = story.Request(
        epochs=options.epochs(epoch),
        targets=tuple(source or ()),
        path=via,
        nonce=_nonce(nonce),
        shares=shares.read(share, context.deadline, share_fd),
        ask=ceremony_prompt.at_terminal(out, context.deadline),
        backups=backups,
    )
    try:
        result = story.drill(context, request)
    except OrgkeyError as error:
        if error.code is not Code.LOCKED:  # nothing was refused: another run is at it
            store.remember_failure(context, "drill-refused", error)
        raise
    former: tuple[Former, ...] = ()
    if fingerprint is None and not (request.epochs or via or request.shares or backup):
        from pipeline.workflows import former as formers

        former = formers.drill(context, request)
    code = first_of([result.code, *(item.code for item in former)])
    out.emit(document(result, former, code), [*_former(former), *lines(result)])
    return code


def _nonce(value: str | None) -> str | None:
    if value is not None and not (1 <= len(value) <= 256 and value.isprintable()):
        raise UsageProblem("--nonce is not usable", hint="give 1 to 256 printable characters")
    return value


def document(result: Drill, former: Sequence[Former] = (), code: Code | None = None) -> dict[str, Any]:
    """The document orgkey.drill/1.

    Args:
        result: The drill of the key that was asked for.
        former: Those of former keys.
        code: How the run ends, where that is not how the drill ends.
    """
    return {
        "schema": "orgkey.drill/1",
        "passed": result.passed,
        "held": result.held,
        "results": _results(result),
        "rto_seconds": round(result.rto_seconds, 3),
        "certificate": result.certificate,
        "timestamp": _stamped(result),
        "former": [
            {
                "fingerprint": item.fingerprint,
                "passed": item.drill is not None and item.drill.passed,
                "results": _results(item.drill) if item.drill else [],
                "rto_seconds": round(item.drill.rto_seconds, 3) if item.drill else None,
                "certificate": item.drill.certificate if item.drill else None,
                "problem": item.problem,
                "exit_code": int(item.code),
            }
            for item in former
        ],
        "exit_code": int(result.code if code is None else code),
    }


def _stamped(result: Drill) -> str | None:
    """Whether the certificate is time-stamped; ``None`` where there is none."""
    from pathlib import Path

    from pipeline.evidence import timestamp

    return timestamp.state(Path(result.certificate)).state if result.certificate else None


def _results(result: Drill) -> list[dict[str, Any]]:
    from pipeline.evidence.ledger.drill_results import result_json

    return [
        {**result_json(item), "hint": item.hint, "certificate": item.certificate, "exit_code": int(item.code)}
        for item in result.results
    ]


def _former(former: Sequence[Former]) -> list[str]:
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
    if result.passed:
        shown.append(f"drill passed; RTO {result.rto_seconds:.2f} s (slowest copy and path)")
    else:
        shown.append("drill FAILED" if result.held else "drill not held: too few people brought a share")
        shown += [f"hint: {printable(hint)}" for hint in result.hints]
    if result.certificate:
        stamped = _stamped(result)
        shown.append(
            f"certificate {result.certificate}" + ("" if stamped == "none" else f", time-stamp {stamped}")
        )
    return shown


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
    from pipeline.evidence.ledger.drill_results import NOT_REACHED

    if proof.problem == NOT_REACHED:
        return "-", NOT_REACHED
    told = "; ".join(part for part in (", ".join(proof.by), proof.problem) if part)
    return "ok" if proof.ok else "FAILED", printable(told) or "-"
