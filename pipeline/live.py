"""The live public key: what the server gives out today, where the configuration says how to get it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.context import Context
from pipeline.survey import Epoch

MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Live:
    """How the live key stands to the escrowed one.

    Attributes:
        state: ``same``, ``renewed``, ``replaced`` or ``unknown``.
        public: The live public part, when it is the pinned key's.
    """

    state: str
    public: bytes | None = None


def live(context: Context, epoch: Epoch | None) -> Live:
    """Read the live key and compare it. The pin decides: another key is never taken for the Org Key.

    Only a file can be asked (``key.live`` as a path, kept fresh by the operator); an address of a key
    server gives ``unknown``.

    Args:
        context: The run.
        epoch: The escrowed epoch to compare with.
    """
    place = context.config.key.live if context.config.key else None
    record = epoch.record if epoch else None
    if place is None or record is None:
        return Live("unknown")
    if "://" in place:
        context.say(f"the live key is not looked up at {place}: this version reads it from a file only")
        return Live("unknown")
    from pipeline.keys import compare_public

    try:
        with Path(place).expanduser().open("rb") as stream:
            data = stream.read(MAX_BYTES)
    except OSError as error:
        context.say(f"warning: the live key cannot be read from {place}: {error.strerror or error}")
        return Live("unknown")
    state = compare_public(record.public, data)
    return Live(state, data if state in ("same", "renewed") else None)
