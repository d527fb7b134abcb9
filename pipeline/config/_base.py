"""What every section of the configuration is made of."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from pipeline.core import files
from pipeline.core.errors import LocalFilesProblem

LONGEST_DAYS = 36500
"""A century: nobody asks for more, and a date that far away can still be written."""
NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,39}\Z")


def expand(value: str) -> str:
    """Expand a leading ``~`` and ``$CREDENTIALS_DIRECTORY`` (systemd), nothing else."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    for spelled in ("${CREDENTIALS_DIRECTORY}", "$CREDENTIALS_DIRECTORY"):
        if spelled in value:
            if credentials is None:
                raise ValueError("$CREDENTIALS_DIRECTORY is not set here")
            value = value.replace(spelled, credentials)
    try:
        return str(files.expanded(Path(value)))
    except LocalFilesProblem as error:
        raise ValueError(error.message) from None


def fingerprint_of(value: str) -> str:
    """Read a fingerprint of 40 hexadecimal digits, spaced or not."""
    text = re.sub(r"[\s:]", "", value).upper().removeprefix("0X")
    if not re.fullmatch(r"[0-9A-F]{40}", text):
        raise ValueError("a fingerprint has 40 hexadecimal digits; a key id is not enough")
    return text


FilePath = Annotated[str, AfterValidator(expand)]
"""A path, with what :func:`expand` expands."""
Fingerprint = Annotated[str, AfterValidator(fingerprint_of)]


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known: which one is close to it."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


class Strict(BaseModel):
    """Frozen, and without a setting that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)
