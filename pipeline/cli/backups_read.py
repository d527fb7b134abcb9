"""`orgkey backups read`: for machines of a crew; no configuration, no state."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.cli.command import COPY_CODES, WHERE, Invocation, command, opt
from pipeline.core import files
from pipeline.core.errors import Code


@command(
    "orgkey backups read --ticket ticket.json --crew-key-file crew.key",
    (*COPY_CODES, Code.CONFLICT, Code.UNSUPPORTED, Code.PROGRAM_MISSING),
    shared=("quiet", "verbose"),
)
def read(
    call: Invocation,
    ticket: Path = opt("--ticket", "The ticket; - for standard input. $NAME is that variable.", "FILE|-"),
    crew_key_file: Path = opt("--crew-key-file", "The crew's key, which opens it.", "FILE"),
    output: Path | None = opt(
        "--output",
        "Write the answer there instead of on standard output; none where a later try may find one (20, 25). "
        "$NAME is that variable.",
        "FILE",
        WHERE,
    ),
) -> Code:
    """Read the backup of one ticket, and answer with what it was.

    For machines of a crew, which need to read the backups, and nothing else: neither a configuration nor a
    login but the one with which they read a bucket. The backup is read as a stream, in a process apart. The
    answer is one line of JSON; the exit code is that of what was found.
    """
    from pipeline.sources.backups import read_backup
    from pipeline.sources.backups.crew.answer import Answer
    from pipeline.sources.backups.crew.crew_key import CrewKey
    from pipeline.sources.backups.crew.read_ticket import read_ticket
    from pipeline.sources.backups.crew.ticket import LONGEST
    from pipeline.sources.backups.worker_client import WorkerClient

    key = CrewKey.load(crew_key_file)
    line = files.read_named(Path("/dev/stdin") if str(ticket) == "-" else _filled(ticket), LONGEST).decode(
        errors="replace"
    )
    with WorkerClient() as reader:
        answer = read_ticket(line, key, reader)
    code, problem = read_backup.verdict(Answer.read(answer).reading().outcome)
    if output is not None and code in (Code.UNREACHABLE, Code.DEADLINE):
        call.out.warn(f"{output} was not written: a later try may find an answer")
    elif output is not None:
        files.replace(_filled(output), f"{answer}\n".encode())
    else:
        call.out.emit({}, [answer])
    if problem is not None:
        call.out.warn(problem)
    return code


def _filled(path: Path) -> Path:
    """For schedulers that give a job its number in a variable, and have no shell."""
    return Path(os.path.expandvars(path))
