"""`orgkey backups verify`."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from pipeline.cli import backups_map
from pipeline.cli.command import COPY_CODES, Invocation, command, opt, since_day
from pipeline.cli.documents.backups import BackupsVerifyDocument, VerifiedBackupItem
from pipeline.cli.output import hints, table
from pipeline.cli.transfer import Transfer
from pipeline.core.errors import Code, UsageProblem
from pipeline.core.text import amount, counted

if TYPE_CHECKING:
    from pipeline.workflows.backups.verify import VerifiedBackup, VerifyOutcome


@command(
    "orgkey backups verify /srv/backups/today.pgp",
    (*COPY_CODES, Code.STALE, Code.UNSUPPORTED),
    takes=["unseal"],
    job="backups",
)
def verify(
    call: Invocation,
    places: list[str] | None = backups_map.PLACES,
    newest: int | None = opt("--newest", "Only so many of each place, by date.", "N"),
    part: str | None = opt(
        "--part",
        "Only one of N parts, which together are all; next/N takes the one that waits longest.",
        "K/N",
    ),
    unread_for: float | None = opt(
        "--unread-for", "Only what nobody has read to its end for so many days, or was changed since.", "DAYS"
    ),
    since: str | None = opt("--since", "Only what was written on that day or later.", "DATE"),
    jobs: int = opt("--jobs", "How many are read at once.", "N", default=0),
    engine: str = opt(
        "--engine", "gpg reads everything; auto leaves to it what only it knows.", "auto|gpg", default="auto"
    ),
) -> Code:
    """Open backups with the escrowed key, and prove that they are whole.

    Each is read as a stream: it decrypts, its integrity code is right, it decompresses, and the archive
    inside lists to its end. Nothing of it is written to disk, however large it is. What was read is entered
    in the ledger by its digest, and compared with what was verified before.

    Needs the targets and the holders, under the driller's logins: the key that opens is the escrowed one.
    """
    if engine not in ("auto", "gpg"):
        raise UsageProblem(f"--engine {engine} is not known", hint="give auto or gpg")
    for option, value in (("--newest", newest), ("--unread-for", unread_for), ("--jobs", jobs)):
        if value is not None and value < (option == "--newest"):
            raise UsageProblem(f"{option} {value:g} is too small", hint="give a positive number")
    from pipeline.workflows.backups.crew_readings import CrewRequest
    from pipeline.workflows.backups.selection import BackupPart, Selection
    from pipeline.workflows.backups.verify import VerifyRequest, verify_backups

    context = call.context()
    sources = context.backends("driller").backups(places or ())
    names = Counter(source.name for source in sources)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise UsageProblem(f"{twice} is named twice", hint="name each backup once")
    configured = frozenset(context.config.backups)
    result = verify_backups(
        context,
        VerifyRequest(
            sources,
            lambda chosen: Transfer(call.out, [source.size for source in chosen]),
            Selection(newest, BackupPart.of(part) if part else None, unread_for, since_day(since)),
            configured.intersection(places) if places else configured,
            "gpg" if engine == "gpg" else "auto",
            jobs or len(os.sched_getaffinity(0)),
            call.unseal_request(context.deadline),
            CrewRequest.of(context.config.readers),
        ),
    )
    code = result.code
    if not sources:
        code = Code.STALE
        call.out.warn("no backup is there")
    backups = tuple(VerifiedBackupItem.of(item, seconds=round(item.seconds, 3)) for item in result.backups)
    document = BackupsVerifyDocument(backups=backups, left=result.left, exit_code=code)
    return call.answer(document, lines(result, code))


def lines(result: VerifyOutcome, code: Code) -> list[str]:
    """What a person reads."""
    rows = []
    for item in result.backups:
        held = "-"
        if item.reading:
            found = item.reading.found
            entries = f", {counted(found.entries, 'entry')}" if found.entries is not None else ""
            held = f"{found.container}{entries}, {amount(found.size)}"
        rows.append((item.source.name, _verdict(item), held, item.origin if item.ok else "-", _how(item)))
    problems = [f"{item.source.name}: {item.problem}" for item in result.backups if item.problem]
    good = sum(item.ok for item in result.backups)
    return [
        *table(("backup", "", "holds", "made by", "read"), rows),
        "",
        *(f"  - {line}" for line in problems),
        *hints(item.hint for item in result.backups),
        *([f"{counted(result.left, 'other backup')} not to be read in this run"] if result.left else []),
        f"{good} of {len(result.backups)} backups verified; exit code {int(code)}: {code.meaning}",
    ]


def _verdict(item: VerifiedBackup) -> str:
    if item.suspicious:
        return str(item.recorded.history).upper()
    if item.ok:
        return "verified"
    if item.reading is None:
        return "FAILED"
    if item.reading.integrity == "none":
        return "NOT PROTECTED"
    return "EMPTY" if item.reading.found.nothing else "INCOMPLETE"


def _how(item: VerifiedBackup) -> str:
    if not item.reading:
        return "-"
    rate = f" ({amount(item.source.size / item.seconds)}/s)" if item.source.size and item.seconds else ""
    by = f", by {item.recorded.worker}" if item.recorded.worker else ""
    return f"{item.seconds:.2f} s{rate}, {item.reading.engine}{by}"
