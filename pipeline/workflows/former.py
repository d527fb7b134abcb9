"""Drills of former Org Keys, which old backups still need, along with the present one's."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.archive.context import Context
from pipeline.core.errors import Code, OrgkeyError, UsageProblem
from pipeline.workflows import drill as drills
from pipeline.workflows.drill import Drill, Request


@dataclass(frozen=True)
class Former:
    """What became of the drill of one former key.

    Attributes:
        fingerprint: The key's.
        drill: The outcome; ``None`` when nothing could be drilled.
        problem: Why nothing could.
        code: How it ends.
    """

    fingerprint: str
    drill: Drill | None
    problem: str | None
    code: Code


def drill(context: Context, request: Request) -> tuple[Former, ...]:
    """Drill every former key of the configuration.

    Args:
        context: The run, for the present key.
        request: What is to be drilled of each.

    Raises:
        OrgkeyError: The evidence could not be kept.
    """
    key = context.config.key
    listed = dict.fromkeys(key.former if key else ())
    return tuple(_drill(context.of(one), request) for one in listed if one != context.fingerprint)


def _drill(context: Context, request: Request) -> Former:
    context.reporter.progress(f"former key {context.fingerprint}")
    try:
        done = drills.drill(context, request)
    except OrgkeyError as error:
        if error.code is Code.LOCAL_FILES:
            raise  # evidence that cannot be kept is a failure
        # Nothing is stored, or every path needs people: the old backups may not open any more.
        code = Code.STALE if isinstance(error, UsageProblem) else error.code
        return Former(context.fingerprint, None, error.message, code)
    return Former(context.fingerprint, done, None, done.code)
