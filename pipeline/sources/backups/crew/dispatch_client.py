"""The parent's side of :mod:`pipeline.sources.backups.crew.dispatch`: starts it, and trusts nothing of it."""

from __future__ import annotations

import importlib.util
import json
import selectors
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from pipeline.core import process
from pipeline.core.clock import Deadline
from pipeline.core.errors import IntegrityProblem, OrgkeyError, ProgramMissing, Unreachable
from pipeline.sources.backups.crew.readers import Carried, Crew, encoded, late

_DISPATCH: Final = "pipeline.sources.backups.crew.dispatch"
_GRACE_SECONDS: Final = 10.0
"""So much later than its own deadline dispatch is ended."""
_LOOK_SECONDS: Final = 0.5
_CHUNK: Final = 1 << 16
_LONGEST: Final = 1 << 20
"""Characters of a line that dispatch sends; an answer is shorter."""


def require(crew: Crew) -> None:
    """See that what the crew's engine needs is installed.

    Raises:
        ProgramMissing: It is not.
    """
    if crew.engine == "dask" and importlib.util.find_spec("distributed") is None:
        raise ProgramMissing(
            'engine = "dask" of [readers] needs Dask, which is not installed',
            hint="install it (pip install 'orgkey-escrow[dask]'), or choose another engine",
        )


def carried(
    crew: Crew, tickets: Mapping[str, str], deadline: Deadline
) -> Iterator[tuple[str, str | OrgkeyError]]:
    """Have tickets carried to a crew.

    Args:
        crew: Who reads.
        tickets: Lines, by their tickets' ids.
        deadline: Ends dispatch a little after its own has passed.

    Yields:
        Each ticket's id with the line that came back for it or the reason why none did. Nothing is known of
        such a line yet but its length. An id that is not a ticket's, or comes again, ends the process: it is
        passed on, and what is still open is lost.

    Raises:
        ProgramMissing: What the engine needs is not installed.
        LocalFilesProblem: The system cannot start the process.
        Interrupted: A signal ended the run.
    """
    require(crew)
    child = process.start(process.isolated(_DISPATCH), stderr=subprocess.DEVNULL)
    try:
        lines = [encoded(crew), *(json.dumps(item) for item in tickets.items())]
        threading.Thread(target=_feed, args=(child, lines), name="tickets", daemon=True).start()
        open_ids = set(tickets)
        why: OrgkeyError | None = None
        for line in _lines(child, deadline):
            said = Carried.of_line(line.decode(errors="replace"), _LONGEST)
            if said is None or said.id is None:
                why = said.lost.error() if said and said.lost else _hostile()
                continue
            yield said.id, said.lost.error() if said.lost else said.answer or ""
            if said.id not in open_ids:
                why = _hostile()
                break
            open_ids.remove(said.id)
    finally:
        process.end(child)
    if why is None:
        why = late(deadline) if deadline.left() <= 0 else _ended()
    for ticket_id in sorted(open_ids):
        yield ticket_id, why


def _feed(child: subprocess.Popen[bytes], lines: list[str]) -> None:
    assert child.stdin
    with suppress(OSError, ValueError), child.stdin as pipe:
        for line in lines:
            piece = memoryview(line.encode() + b"\n")
            while piece:
                piece = piece[pipe.write(piece) or 0 :]


def _lines(child: subprocess.Popen[bytes], deadline: Deadline) -> Iterator[bytes]:
    """Its lines, until it ends or the time is over; one that is too long ends it, too."""
    assert child.stdout
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        ends = deadline.clock.monotonic() + deadline.left() + _GRACE_SECONDS
        while deadline.clock.monotonic() < ends and len(rest) <= _LONGEST:
            if deadline.left() > 0:
                deadline.check()  # a signal ends the run
            if not selector.select(_LOOK_SECONDS):
                continue
            if not (chunk := child.stdout.read(_CHUNK)):
                return
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole


def _ended() -> Unreachable:
    return Unreachable(
        "dispatch ended before its time",
        hint="free memory; if memory was not short, report this as a defect",
    )


def _hostile() -> IntegrityProblem:
    return IntegrityProblem(
        "dispatch sent what it never sends: somebody of the crew has got into it",
        hint="no login and no key was within reach there; see which machines hold the crew's certificates",
    )
