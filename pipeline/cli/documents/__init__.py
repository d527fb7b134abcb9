"""The documents that `--json` prints, by the command's group; what they are made of is in `core`."""

from __future__ import annotations

from pipeline.core.documents import Document, Part, at
from pipeline.core.errors import Code


class ProblemItem(Part):
    """What is wrong, and what to do.

    Attributes:
        code: The exit code that it stands for.
        name: The name of that code, for example ``not-pinned``.
        message: What happened.
        hint: What to do.
    """

    code: Code
    name: str = at("code.label")
    message: str
    hint: str


class ErrorDocument(Document, schema="orgkey.error/1", printed_by="any command that has no result"):
    """Why a command has no result.

    Attributes:
        error: What happened, and what to do.
    """

    error: ProblemItem
