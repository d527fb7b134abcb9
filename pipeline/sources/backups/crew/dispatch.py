"""The dispatch process: it carries tickets to a crew of readers, and answers back; it knows neither.

Apart from the process that has the logins and the Org Key, since a crew's machine may send anything. It has
no login, no configuration and an empty environment. Both sides talk in lines of JSON over pipes: first comes
what the crew is (``Crew``), then the tickets; back come ``{"id", "answer"}`` or ``{"id", "lost"}``, in
any order.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pipeline.core import hardening
from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.sources.backups.crew.readers import SETTING, Crew, Readers


def _readers(crew: Crew, deadline: Deadline) -> Readers:
    if crew.engine == "folder":
        from pipeline.sources.backups.crew.folder_readers import FolderReaders

        return FolderReaders(Path(crew.folder), deadline)
    from pipeline.sources.backups.crew.dask_readers import DaskReaders

    return DaskReaders(crew, deadline)


def failure(error: OrgkeyError) -> dict[str, Any]:
    """Put an error into JSON."""
    return {"code": int(error.code), "message": error.message, "hint": error.hint}


def _carry() -> None:
    crew = Crew(**json.loads(sys.stdin.readline()))
    readers = _readers(crew, Deadline(crew.seconds, setting=SETTING))
    for line in sys.stdin:
        readers.submit(*json.loads(line))
    for ticket_id, found in readers.results():
        lost = {"lost": failure(found)} if isinstance(found, OrgkeyError) else {"answer": found}
        _say({"id": ticket_id} | lost)


def _say(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)  # noqa: T201 - the pipe to the parent


def main() -> None:
    """Carry what the parent sends, and end."""
    hardening.harden()
    error = isolated(_carry, "dispatch")
    if isinstance(error, OrgkeyError):
        _say({"failed": failure(error)})


if __name__ == "__main__":
    main()
