"""The dispatch process: it carries tickets to a crew of readers, and answers back; it knows neither.

Apart from the process that has the logins and the Org Key, since a crew's machine may send anything. It has
no login, no configuration and an empty environment. Both sides talk in lines of JSON over pipes: first comes
what the crew is (``Crew``), then the tickets; back comes one ``Carried`` for each, in any order.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipeline.core import hardening
from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.sources.backups.crew.answer import AnsweredError
from pipeline.sources.backups.crew.readers import SETTING, Carried, Crew, Readers


def _readers(crew: Crew, deadline: Deadline) -> Readers:
    if crew.engine == "folder":
        from pipeline.sources.backups.crew.folder_readers import FolderReaders

        return FolderReaders(Path(crew.folder), deadline)
    from pipeline.sources.backups.crew.dask_readers import DaskReaders

    return DaskReaders(crew, deadline)


def _carry() -> None:
    crew = Crew(**json.loads(sys.stdin.readline()))
    readers = _readers(crew, Deadline(crew.seconds, setting=SETTING))
    for line in sys.stdin:
        readers.submit(*json.loads(line))
    for ticket_id, found in readers.results():
        _say(ticket_id, found)


def _say(ticket_id: str | None, found: str | OrgkeyError) -> None:
    lost = AnsweredError.of(found) if isinstance(found, OrgkeyError) else None
    line = Carried(id=ticket_id, answer=None if lost else str(found), lost=lost).line()
    print(line, flush=True)  # noqa: T201 - the pipe to the parent


def main() -> None:
    """Carry what the parent sends, and end."""
    hardening.harden()
    error = isolated(_carry, "dispatch")
    if isinstance(error, OrgkeyError):
        _say(None, error)


if __name__ == "__main__":
    main()
