"""`orgkey backups crew init`."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.command import SPEAKING, WHERE, Invocation, command, opt
from pipeline.cli.documents.backups import CrewInitDocument
from pipeline.core import files
from pipeline.core.errors import Code


@command("orgkey backups crew init --output crew.key", shared=SPEAKING)
def init(
    call: Invocation,
    output: Path = opt("--output", "Where the crew's key is written; nothing may be there.", "FILE", WHERE),
) -> Code:
    """Make the key with which a crew's machines open their tickets.

    The file goes to those machines, and nowhere else. Who makes tickets has the public half alone.
    """
    from pipeline.sources.backups.crew.crew_key import CrewKey

    key = CrewKey.generate()
    files.write_new(output, key.pem())
    return call.answer(CrewInitDocument(file=output, crew_key=key.public))
