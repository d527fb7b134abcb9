"""`orgkey backups verify`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pipeline.cli import backups_map
from pipeline.cli.command import Invocation, command
from pipeline.cli.documents.backups import BackupsVerifyDocument, VerifiedBackupItem
from pipeline.cli.help import COPY_CODES, SHARE_CODES
from pipeline.cli.options import UNSEAL, opt
from pipeline.cli.output import table
from pipeline.cli.transfer import Transfer, amount
from pipeline.core.errors import Code, UsageProblem

if TYPE_CHECKING:
    from pipeline.workflows.backups.verify import VerifiedBackup, VerifyOutcome


@command(
    "orgkey backups verify /srv/backups/today.pgp",
    (*COPY_CODES, *SHARE_CODES, Code.STALE, Code.UNSUPPORTED),
    takes=UNSEAL,
    job="backups",
    words="backups verify",
)
def verify(
    call: Invocation,
    places: list[str] | None = backups_map.PLACES,
    engine: str = opt(
        "--engine", "gpg reads everything; auto leaves to it what only it knows.", "auto|gpg", default="auto"
    ),
) -> Code:
    """Open backups with the escrowed key, and prove that they are whole.

    Each is read as a stream: it decrypts, its integrity code is right, it decompresses, and the archive
    inside lists to its end. Nothing of it is written to disk, however large it is.

    Needs the targets and the holders, under the driller's logins: the key that opens is the escrowed one.
    """
    if engine not in ("auto", "gpg"):
        raise UsageProblem(f"--engine {engine} is not known", hint="give auto or gpg")
    from pipeline.workflows.backups.verify import VerifyRequest, verify_backups

    context = call.context()
    sources = context.backends("driller").backups(places or ())
    names = Counter(source.name for source in sources)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise UsageProblem(f"{twice} is named twice", hint="name each backup once")
    result = verify_backups(
        context,
        VerifyRequest(
            sources,
            "gpg" if engine == "gpg" else "auto",
            call.unseal_request(context.deadline),
            lambda source: Transfer(call.out, source.name, source.size).add,
        ),
    )
    code = result.code
    if not result.backups:
        code = Code.STALE
        call.out.warn("no backup is there")
    backups = tuple(VerifiedBackupItem.of(item, seconds=round(item.seconds, 3)) for item in result.backups)
    return call.answer(BackupsVerifyDocument(backups=backups, exit_code=code), lines(result, code))


def lines(result: VerifyOutcome, code: Code) -> list[str]:
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
    problems = [f"{item.source.name}: {item.problem}" for item in result.backups if item.problem]
    good = sum(item.ok for item in result.backups)
    return [
        *table(("backup", "", "holds", "read"), rows),
        "",
        *(f"  - {line}" for line in problems),
        f"{good} of {len(result.backups)} backups verified; exit code {int(code)}: {code.meaning}",
    ]


def _how(item: VerifiedBackup) -> str:
    if not item.reading:
        return "-"
    rate = f" ({amount(item.source.size / item.seconds)}/s)" if item.source.size and item.seconds else ""
    return f"{item.seconds:.2f} s{rate}, {item.reading.engine}"
