"""The ``custody`` section of a manifest: paths, holders, commitments, the witness's public key.

Reading is strict: an unknown, missing or malformed field is an integrity problem, since the manifest
around it carries the schema's number and says which fields there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.core.errors import IntegrityProblem, UsageProblem
from pipeline.custody.shares import paths
from pipeline.custody.shares.commitments import CODES
from pipeline.custody.shares.paths import HolderDescription, PathNeed

T = TypeVar("T")

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
SUFFIX = re.compile(r"[a-z][a-z0-9]{0,15}")
SALT = re.compile(r"[0-9a-f]{32}")
DIGEST = re.compile(r"[0-9a-f]{64}")
IDENTIFIERS = 1 << 15


@dataclass(frozen=True, slots=True)
class ShareEntry:
    """What the manifest says of one share.

    Attributes:
        holder: Whose it is.
        index: 1 for a machine; 1 to n for the members of a group.
        label: For people: the holder's name, a custodian's fingerprint.
        member: The record's member that holds it, encrypted.
        salt: Of the commitment; 32 lower-case hexadecimal digits.
        commitment: See :mod:`pipeline.custody.shares.commitments`; 64 lower-case hexadecimal digits.
        checks: Hashes of the one-time check codes; empty for a machine.
    """

    holder: str
    index: int
    label: str
    member: str
    salt: str
    commitment: str
    checks: tuple[str, ...]

    @property
    def suffix(self) -> str:
        """The ending of the member's name, which tells how the share is encrypted."""
        return self.member.rpartition(".")[2]

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "holder": self.holder,
            "index": self.index,
            "label": self.label,
            "member": self.member,
            "salt": self.salt,
            "commitment": self.commitment,
            "checks": list(self.checks),
        }

    @classmethod
    def from_json(cls, value: object, where: str) -> ShareEntry:
        """Read what :meth:`to_json` wrote.

        Raises:
            IntegrityProblem: It has another form.
        """
        names = ("holder", "index", "label", "member", "salt", "commitment", "checks")
        fields = _fields(value, where, names)
        entry = cls(
            holder=_text(fields["holder"], f"{where}.holder", NAME),
            index=_number(fields["index"], f"{where}.index", 1, paths.MAX_GROUP),
            label=_text(fields["label"], f"{where}.label", re.compile(r"[\x20-\x7e]{1,200}")),
            member=_text(fields["member"], f"{where}.member", re.compile(r"[a-z0-9./-]{1,120}")),
            salt=_text(fields["salt"], f"{where}.salt", SALT),
            commitment=_text(fields["commitment"], f"{where}.commitment", DIGEST),
            checks=_list(fields["checks"], f"{where}.checks", lambda item, at: _text(item, at, DIGEST)),
        )
        if len(entry.checks) not in (0, CODES):
            raise _bad(f"{where}.checks")
        return entry


@dataclass(frozen=True, slots=True)
class PathEntry:
    """What the manifest says of one custody path.

    Attributes:
        name: The path's name.
        identifier: The SLIP-39 identifier of its split.
        needs: What it needs, all of it, in the order of the SLIP-39 groups.
        shares: Its shares, by need and index.
    """

    name: str
    identifier: int
    needs: tuple[PathNeed, ...]
    shares: tuple[ShareEntry, ...]

    @property
    def path(self) -> paths.Path:
        """The path without its split."""
        return paths.Path(self.name, self.needs)

    def shares_of(self, holder: str) -> tuple[ShareEntry, ...]:
        """One holder's shares, by index."""
        return tuple(share for share in self.shares if share.holder == holder)

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "name": self.name,
            "identifier": self.identifier,
            "needs": [
                {"holder": need.holder, "threshold": need.threshold, "size": need.size} for need in self.needs
            ],
            "shares": [share.to_json() for share in self.shares],
        }

    @classmethod
    def from_json(cls, value: object, where: str) -> PathEntry:
        """Read what :meth:`to_json` wrote.

        Raises:
            IntegrityProblem: It has another form.
        """
        fields = _fields(value, where, ("name", "identifier", "needs", "shares"))
        entry = cls(
            name=_text(fields["name"], f"{where}.name", NAME),
            identifier=_number(fields["identifier"], f"{where}.identifier", 0, IDENTIFIERS - 1),
            needs=_list(fields["needs"], f"{where}.needs", _need),
            shares=_list(fields["shares"], f"{where}.shares", ShareEntry.from_json),
        )
        entry._check(where)
        return entry

    def _check(self, where: str) -> None:
        """Needs and shares fit together, and every member has the name that its share gives it."""
        if not self.needs or len({need.holder for need in self.needs}) != len(self.needs):
            raise _bad(f"{where}.needs")
        try:
            for need in self.needs:
                paths.check_need(self.name, need)
        except UsageProblem:
            raise _bad(f"{where}.needs") from None
        expected = [(need.holder, index) for need in self.needs for index in range(1, need.size + 1)]
        if [(share.holder, share.index) for share in self.shares] != expected:
            raise _bad(f"{where}.shares")
        sizes = {need.holder: need.size for need in self.needs}
        for share in self.shares:
            name = member_name(self.name, share.holder, share.index, sizes[share.holder], share.suffix)
            if share.member != name or not SUFFIX.fullmatch(share.suffix):
                raise _bad(f"{where}.shares: {share.holder} {share.index}: member")


@dataclass(frozen=True, slots=True)
class CustodySection:
    """The whole section.

    Attributes:
        holders: Kind and coordinates of each holder that a path needs, by name.
        paths: The custody paths, sorted by name.
        witness: The witness's public key in PEM.
    """

    holders: Mapping[str, HolderDescription]
    paths: tuple[PathEntry, ...]
    witness: str

    def path(self, name: str) -> PathEntry:
        """The path of that name.

        Raises:
            UsageProblem: There is none.
        """
        for entry in self.paths:
            if entry.name == name:
                return entry
        raise UsageProblem(
            f"the record has no custody path {name!r}",
            hint="its paths are: " + ", ".join(entry.name for entry in self.paths),
        )

    def plan_digest(self) -> str:
        """The digest of the plan that this section carries out (:func:`.paths.plan_digest`)."""
        return paths.plan_digest([entry.path for entry in self.paths], self.holders)

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "holders": {
                name: {"kind": item.kind, "coordinates": dict(item.coordinates)}
                for name, item in sorted(self.holders.items())
            },
            "paths": [entry.to_json() for entry in self.paths],
            "witness": self.witness,
        }

    @classmethod
    def from_json(cls, value: object) -> CustodySection:
        """Read what :meth:`to_json` wrote.

        Raises:
            IntegrityProblem: It has another form, or does not fit together.
        """
        fields = _fields(value, "custody", ("holders", "paths", "witness"))
        if not isinstance(fields["holders"], dict):
            raise _bad("custody.holders")
        holders = {
            _text(name, "custody.holders", NAME): _holder(item, f"custody.holders.{name}")
            for name, item in fields["holders"].items()
        }
        entries = _list(fields["paths"], "custody.paths", PathEntry.from_json)
        names = [entry.name for entry in entries]
        if not names or names != sorted(set(names)):
            raise _bad("custody.paths")
        if len({entry.identifier for entry in entries}) != len(entries):
            raise _bad("custody.paths: identifiers are not distinct")
        if {need.holder for entry in entries for need in entry.needs} != set(holders):
            raise _bad("custody.holders")
        pem = r"-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]{40,200}\n-----END PUBLIC KEY-----\n"
        return cls(holders, entries, _text(fields["witness"], "custody.witness", re.compile(pem)))


def member_name(path: str, holder: str, index: int, size: int, suffix: str) -> str:
    """The record's member for a share: ``custody/<path>/<holder>[-N].<suffix>``, N in a group only."""
    number = f"-{index}" if size > 1 else ""
    return f"custody/{path}/{holder}{number}.{suffix}"


def _bad(where: str) -> IntegrityProblem:
    return IntegrityProblem(
        f"the manifest's {where} is not as it should be",
        hint="restore from another copy; `orgkey verify` names the good ones",
    )


def _fields(value: object, where: str, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise _bad(where)
    return value


def _text(value: object, where: str, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise _bad(where)
    return value


def _number(value: object, where: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _bad(where)
    return value


def _list(value: object, where: str, read: Callable[[object, str], T]) -> tuple[T, ...]:
    if not isinstance(value, list):
        raise _bad(where)
    return tuple(read(item, f"{where}[{number}]") for number, item in enumerate(value))


def _need(value: object, where: str) -> PathNeed:
    fields = _fields(value, where, ("holder", "threshold", "size"))
    return PathNeed(
        _text(fields["holder"], f"{where}.holder", NAME),
        _number(fields["threshold"], f"{where}.threshold", 1, paths.MAX_GROUP),
        _number(fields["size"], f"{where}.size", 1, paths.MAX_GROUP),
    )


def _holder(value: object, where: str) -> HolderDescription:
    fields = _fields(value, where, ("kind", "coordinates"))
    coordinates = fields["coordinates"]
    if not isinstance(coordinates, dict):
        raise _bad(f"{where}.coordinates")
    for key, item in coordinates.items():
        if isinstance(item, list):
            if not all(isinstance(member, str) for member in item):
                raise _bad(f"{where}.coordinates.{key}")
        elif not isinstance(item, str | int | bool | None):
            raise _bad(f"{where}.coordinates.{key}")
    return HolderDescription(_text(fields["kind"], f"{where}.kind", NAME), coordinates)
