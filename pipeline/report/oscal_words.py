"""OSCAL's small parts: identifiers, properties, and text in its markup."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pipeline.core.clock import stamp
from pipeline.core.text import printable
from pipeline.report.model import Report

NAMESPACE: Final = uuid.UUID("6a3f2c58-1f0e-4c55-9d0b-7f3e52c4a9d1")
"""Of this program's identifiers, and the name of its properties."""
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>^~|])")
_NO_TOKEN: Final = re.compile(r"[^\w.-]", re.ASCII)


@dataclass(frozen=True)
class Names:
    """Identifiers of version 5 (RFC 9562), from the key for what lasts, from the run for what it said.

    Args:
        report: The report.
    """

    report: Report

    def always(self, *parts: str) -> str:
        """An identifier that is the same in every report of this key."""
        return _identifier(self.report.key.fingerprint, *parts)

    def once(self, *parts: str) -> str:
        """An identifier of this report."""
        report = self.report
        return _identifier(report.key.fingerprint, report.run, stamp(report.generated), *parts)

    def copy(self, target: str) -> str:
        """A target's."""
        return self.always("copy", target)

    def path(self, name: str) -> str:
        """A custody path's."""
        return self.always("path", name)

    @cached_property
    def key(self) -> str:
        """The Org Key's."""
        return self.always("key")

    @cached_property
    def tool(self) -> str:
        """This program's."""
        return self.always("tool", self.report.program)

    @property
    def origins(self) -> list[dict[str, Any]]:
        """Who says it: this program."""
        return [{"actors": [{"type": "tool", "actor-uuid": self.tool}]}]


def _identifier(*parts: str) -> str:
    return str(uuid.uuid5(NAMESPACE, "\0".join(parts)))


def prop(name: str, value: object) -> dict[str, str]:
    """A property of this program's own; its value is one line that is not empty."""
    return {"name": name, "ns": f"urn:uuid:{NAMESPACE}", "value": line(str(value))}


def line(text: str) -> str:
    """Foreign text as one line that is not empty."""
    return printable(" ".join(text.split())) or "-"


def markup(text: str) -> str:
    """Foreign text as one line of OSCAL's markup, in which nothing of it is markup."""
    return _SPECIAL.sub(r"\\\1", line(text))


def token(text: str) -> str:
    """A name without what tokens cannot have."""
    clean = _NO_TOKEN.sub("_", text)
    return clean if re.match(r"[A-Za-z_]", clean) else f"_{clean}"


def control_id(name: str) -> str:
    """A control's id in OSCAL's catalogues, for example ``cp-9.1`` for ``CP-9(1)``."""
    return re.sub(r"\((\d+)\)", r".\1", name).lower()
