"""What every section of the configuration is made of."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from pipeline.core import files
from pipeline.core.errors import LocalFilesProblem
from pipeline.core.typed_text import fingerprint

LONGEST_DAYS = 36500
"""A century: nobody asks for more, and a date that far away can still be written."""
NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,39}\Z")


class Beside(str):
    """A path that is written relative to the configuration's folder.

    Attributes:
        written: As it is written: the same for all hosts, wherever each has that folder.
    """

    __slots__ = ("written",)
    written: str


def expand(value: str, info: ValidationInfo) -> str:
    """Expand a leading ``~`` and ``$CREDENTIALS_DIRECTORY`` (systemd), nothing else.

    A relative path is read from the configuration's folder, wherever a command is started.

    Args:
        value: What is written.
        info: Its context is that folder; without one the path stays as it is.
    """
    if not value:
        raise ValueError("it is empty")
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    for spelled in ("${CREDENTIALS_DIRECTORY}", "$CREDENTIALS_DIRECTORY"):
        if spelled in value:
            if credentials is None:
                raise ValueError("$CREDENTIALS_DIRECTORY is not set here")
            value = value.replace(spelled, credentials)
    try:
        path = files.expanded(Path(value))
    except LocalFilesProblem as error:
        raise ValueError(error.message) from None
    if path.is_absolute() or info.context is None:
        return str(path)
    beside = Beside(info.context / path)
    beside.written = str(path)
    return beside


def fingerprint_of(value: str) -> str:
    """Read a fingerprint of 40 hexadecimal digits, spaced or not."""
    read = fingerprint(value)
    if read is None:
        raise ValueError("a fingerprint has 40 hexadecimal digits; a key id is not enough")
    return read


def matching(pattern: str, words: str, *, end: str = "") -> Callable[[str], str]:
    """A validator of a text.

    Args:
        pattern: What all of it has to match.
        words: What is said where it does not.
        end: What is taken off the end of one that does.
    """

    def validate(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(words)
        return value.rstrip(end) if end else value

    return validate


FilePath = Annotated[str, AfterValidator(expand)]
"""A path, with what :func:`expand` expands."""
Fingerprint = Annotated[str, AfterValidator(fingerprint_of)]
Text = Annotated[str, AfterValidator(matching(r"(?s).+", "it is empty"))]
"""A text that says something: an empty one is what a template makes of a variable that is not set."""


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known: which one is close to it."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


class Strict(BaseModel):
    """Frozen, and without a setting that nobody knows.

    Attributes:
        TOGETHER: Two settings of which one is never given without the other.
        EXCLUSIVE: Two settings of which at most one is given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)
    TOGETHER: ClassVar[tuple[str, ...]] = ()
    EXCLUSIVE: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if len({getattr(self, name) is None for name in self.TOGETHER}) > 1:
            raise ValueError(f"{' and '.join(self.TOGETHER)} go together")
        if sum(getattr(self, name) is not None for name in self.EXCLUSIVE) > 1:
            raise ValueError(f"{' and '.join(self.EXCLUSIVE)} exclude each other")
        return self


class Short(Strict):
    """A table that can be written as a text where one setting says it all.

    Attributes:
        ALONE: That setting.
    """

    ALONE: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {cls.ALONE: value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A text alone means that setting."""
        return {"anyOf": [{"type": "string"}, handler(core_schema)]}
