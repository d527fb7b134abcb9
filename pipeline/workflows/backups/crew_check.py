"""Whether a crew can be given tickets, for `doctor`; what is said of its certificates is in `providers`."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.config.sections import ReadersSection
from pipeline.core import files
from pipeline.core.errors import LocalFilesProblem, UsageProblem
from pipeline.core.finding import Finding, Level
from pipeline.sources.backups.crew.folder_readers import MAKE_IT, inside
from pipeline.workflows.backups.crew_readings import CrewRequest

_SUBJECT = "readers"


def key(readers: ReadersSection) -> list[Finding]:
    """Whether the engine is installed, and something can be sealed to the crew's key.

    Raises:
        ProgramMissing: What the engine needs is not installed.
        UsageProblem: Nothing can be sealed to the key.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    crew = CrewRequest.of(readers)
    if crew is None:
        return []
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(crew.key))
    except ValueError:  # a point of low order
        raise UsageProblem(
            f"crew_key of [readers] is not a crew's public key: nothing can be sealed to {readers.crew_key}",
            hint="pin what `orgkey backups crew init` shows",
        ) from None
    return [Finding(Level.OK, _SUBJECT, f"tickets are sealed to {readers.crew_key}; engine {readers.engine}")]


def folder(readers: ReadersSection) -> list[Finding]:
    """Whether tickets can be put where the engine ``folder`` has them.

    Raises:
        LocalFilesProblem: They cannot.
    """
    if readers.engine != "folder" or readers.folder is None:
        return []
    place = Path(readers.folder)
    with files.os_errors(f"cannot use {place}", hint=MAKE_IT):
        there = set(place.iterdir())
    for path in (place, *(path for path in inside(place) if path in there)):
        if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise LocalFilesProblem(f"this user cannot write to {path}", hint=MAKE_IT)
    return [Finding(Level.OK, _SUBJECT, f"{place} can be written to")]
