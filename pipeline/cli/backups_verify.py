"""`orgkey backups verify`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import backups_map, ceremony_prompt, jobs, options, shares
from pipeline.cli.options import Common
from pipeline.cli.output import table
from pipeline.cli.transfer import Transfer, amount
from pipeline.core.errors import Code, UsageProblem

if TYPE_CHECKING:
    from pipeline.workflows.backups.verify import Outcome, Verified


@jobs.job("backups", "backups verify")
def verify(
    places: backups_map.Places = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine", metavar="auto|gpg", help="gpg reads everything; auto leaves to it what only it knows."
        ),
    ] = "auto",
    via: Annotated[
        str | None, typer.Option("--via", metavar="PATH", help="Open the epochs by this custody path.")
    ] = None,
    share: shares.ShareFiles = None,
    share_fd: shares.ShareFds = None,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Open backups with the escrowed key, and prove that they are whole.

    Each is read as a stream: it decrypts, its integrity code is right, it decompresses, and the archive
    inside lists to its end. Nothing of it is written to disk, however large it is.

    Needs the targets and the holders, under the driller's logins: the key that opens is the escrowed one.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    if engine not in ("auto", "gpg"):
        raise UsageProblem(f"--engine {engine} is not known", hint="give auto or gpg")
    context = common.context(out)
    from pipeline.workflows.backups import verify as opening

    sources = context.estate("driller").backups(places or ())
    names = Counter(source.name for source in sources)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise UsageProblem(f"{twice} is named twice", hint="name each backup once")
    result = opening.verify(
        context,
        opening.Request(
            sources,
            "gpg" if engine == "gpg" else "auto",
            via,
            shares.read(share, context.deadline, share_fd),
            ceremony_prompt.at_terminal(out, context.deadline),
            lambda source: Transfer(out, source.name, source.size).add,
        ),
    )
    code = result.code
    if not result.backups:
        code = Code.STALE
        out.warn("no backup is there")
    out.emit(document(result, code), lines(result, code))
    return code


def document(result: Outcome, code: Code) -> dict[str, Any]:
    """The document orgkey.backups-verify/1."""
    return {
        "schema": "orgkey.backups-verify/1",
        "backups": [_backup(item) for item in result.backups],
        "exit_code": int(code),
    }


def _backup(item: Verified) -> dict[str, Any]:
    read = item.reading
    return {
        "source": item.source.name,
        "ok": item.ok,
        "bytes": item.source.size,
        "content_bytes": read.found.size if read else None,
        "container": read.found.container if read else None,
        "entries": read.found.entries if read else None,
        "compression": read.compression if read else None,
        "integrity": read.integrity if read else None,
        "engine": read.engine if read else None,
        "fingerprint": item.key.fingerprint if item.key else None,
        "epoch": item.key.epoch.name if item.key else None,
        "seconds": round(item.seconds, 3),
        "problem": item.problem,
        "exit_code": int(item.code),
    }


def lines(result: Outcome, code: Code) -> list[str]:
    """What a person reads."""
    rows = []
    for item in result.backups:
        held = "-"
        if item.reading:
            found = item.reading.found
            entries = f", {found.entries} entries" if found.entries is not None else ""
            held = f"{found.container}{entries}, {amount(found.size)}"
        verdict = "verified" if item.ok else "NOT PROTECTED" if item.reading else "FAILED"
        rows.append((item.source.name, verdict, held, _how(item)))
    told = [f"{item.source.name}: {item.problem}" for item in result.backups if item.problem]
    good = sum(item.ok for item in result.backups)
    return [
        *table(("backup", "", "holds", "read"), rows),
        "",
        *(f"  - {line}" for line in told),
        f"{good} of {len(result.backups)} backups verified; exit code {int(code)}: {code.meaning}",
    ]


def _how(item: Verified) -> str:
    if not item.reading:
        return "-"
    rate = f" ({amount(item.source.size / item.seconds)}/s)" if item.source.size and item.seconds else ""
    return f"{item.seconds:.2f} s{rate}, {item.reading.engine}"
