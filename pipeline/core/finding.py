"""What `doctor` and the checks behind it say about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.core.errors import Code


class Level(StrEnum):
    """How bad a finding is; ``unseen`` is what was not looked at, of which nothing is known."""

    OK = "ok"
    UNSEEN = "unseen"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: ``ok``, ``unseen`` (not looked at), ``warn`` or ``fail``.
        subject: What was looked at, for example ``target vault-eu``.
        message: What was seen.
        hint: What to do; empty when all is well.
        code: The exit code that a failure stands for.
    """

    level: Level
    subject: str
    message: str
    hint: str = ""
    code: Code = Code.OK
