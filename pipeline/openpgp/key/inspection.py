"""What `orgkey inspect` says about an export."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipeline.core.clock import stamp
from pipeline.core.errors import Code, first_of
from pipeline.core.exit_codes import INSPECT_PRECEDENCE
from pipeline.core.secret import Secret
from pipeline.openpgp.format import signatures as sig
from pipeline.openpgp.key.model import TransferableKey
from pipeline.openpgp.key.preflight import Examination, examine
from pipeline.openpgp.key.validity import ComponentValidity, KeyValidity, user_ids

SCHEMA = "orgkey.inspect/1"


@dataclass(frozen=True)
class Inspection:
    """The classification of an export.

    Attributes:
        code: The exit code: ``Code.OK``, or the first problem's by precedence.
        document: The document ``orgkey.inspect/1``.
    """

    code: Code
    document: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against escrowing this export."""
        return self.code is Code.OK

    @property
    def fingerprint(self) -> str | None:
        """The chosen key's fingerprint, if there is one."""
        found: str | None = self.document["fingerprint"]
        return found

    @property
    def problems(self) -> list[dict[str, Any]]:
        """Every problem: ``code``, ``name``, ``message``, ``hint``; in order of precedence."""
        found: list[dict[str, Any]] = self.document["problems"]
        return found


def inspect(
    data: bytes, *, pin: str | None = None, passphrase: Secret | None = None, now: datetime
) -> Inspection:
    """Classify an export by its content. Never raises for what the bytes are.

    Args:
        data: The file.
        pin: The fingerprint that the key must have; it also chooses among several.
        passphrase: With it, also that every secret part unlocks, its checksum holds, and it fits.
        now: The present time, with a zone.

    Raises:
        UsageProblem: The pin is not a fingerprint.
    """
    found = examine(data, pin=pin, passphrase=passphrase, now=now)
    code = first_of((problem.code for problem in found.problems), INSPECT_PRECEDENCE)
    document: dict[str, Any] = {"schema": SCHEMA, "verdict": code.label, "exit_code": int(code)}
    document |= _key_fields(found)
    document["problems"] = [
        {
            "code": int(problem.code),
            "name": problem.code.label,
            "message": problem.message,
            "hint": problem.hint,
        }
        for problem in found.problems
    ]
    document["notes"] = [*found.notes, *(f"warning: {warning}" for warning in found.warnings)]
    return Inspection(code, document)


_FIELDS: Final = (
    "fingerprint", "key_id", "user_ids", "algorithm", "created", "expires", "layout", "protection", "subkeys",
    "organization_certificates",
)  # fmt: skip
_LISTS: Final = ("user_ids", "subkeys", "organization_certificates")


def _key_fields(found: Examination) -> dict[str, Any]:
    if found.key is None or found.judgement is None:
        return {name: [] if name in _LISTS else None for name in _FIELDS}
    certificates = [one.to_json() for one in found.certificates]
    return describe(found.key, found.judgement) | {"organization_certificates": certificates}


def describe(key: TransferableKey, judgement: KeyValidity) -> dict[str, Any]:
    """The fields of a key that documents show, nothing secret among them."""
    primary = part(judgement.primary)
    return {
        "fingerprint": primary["fingerprint"],
        "key_id": primary["key_id"],
        "user_ids": user_ids(key),
        "algorithm": primary["algorithm"],
        "created": primary["created"],
        "expires": primary["expires"],
        "layout": "two-block" if key.parts > 1 else "single",
        "protection": primary["protection"],
        "subkeys": [part(one) for one in judgement.subkeys],
    }


def part(standing: ComponentValidity) -> dict[str, Any]:
    """What documents show of the primary key or of a subkey."""
    component, public = standing.component, standing.public
    uses = {"certify": sig.CERTIFY, "sign": sig.SIGN, "encrypt": sig.ENCRYPT}
    return {
        "fingerprint": public.fingerprint,
        "key_id": public.key_id,
        "algorithm": public.name,
        "created": stamp(public.created),
        "expires": stamp(standing.expires) if standing.expires else None,
        "usage": [name for name, flag in uses.items() if standing.flags & flag],
        "revoked": standing.revoked,
        "protection": component.protection.describe() if component.protection else None,
    }
