"""The ``custody`` section of a manifest: paths, holders, commitments, the witness's public key.

Reading is strict: an unknown, missing or malformed field is an integrity problem, since the manifest
around it carries the schema's number and says which fields there are. The fields' types say their forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.core.errors import IntegrityProblem, UsageProblem
from pipeline.custody.shares import paths
from pipeline.custody.shares.commitments import CODES
from pipeline.custody.shares.paths import GroupNumber, HolderDescription, Name, PathNeed

Hex32 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Label = Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,200}$")]
Member = Annotated[str, Field(pattern=r"^[a-z0-9./-]{1,100}\.[a-z][a-z0-9]{0,15}$")]
Identifier = Annotated[int, Field(strict=True, ge=0, lt=1 << 15)]
PublicPem = Annotated[
    str, Field(pattern="^-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]{40,200}\n-----END PUBLIC KEY-----\n$")
]
EXACTLY: Final = ConfigDict(extra="forbid")
"""No field may be there that is not known."""


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

    holder: Name
    index: GroupNumber
    label: Label
    member: Member
    salt: Hex32
    commitment: Sha256
    checks: tuple[Sha256, ...]

    __pydantic_config__ = EXACTLY

    @property
    def suffix(self) -> str:
        """The ending of the member's name, which tells how the share is encrypted."""
        return self.member.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class PathEntry:
    """What the manifest says of one custody path.

    Attributes:
        name: The path's name.
        identifier: The SLIP-39 identifier of its split.
        needs: What it needs, all of it, in the order of the SLIP-39 groups.
        shares: Its shares, by need and index.
    """

    name: Name
    identifier: Identifier
    needs: tuple[PathNeed, ...]
    shares: tuple[ShareEntry, ...]

    __pydantic_config__ = EXACTLY

    @property
    def path(self) -> paths.Path:
        """The path without its split."""
        return paths.Path(self.name, self.needs)

    def shares_of(self, holder: str) -> tuple[ShareEntry, ...]:
        """One holder's shares, by index."""
        return tuple(share for share in self.shares if share.holder == holder)

    def check(self) -> None:
        """Make sure that needs and shares fit together, and that every member has its share's name.

        Raises:
            UsageProblem: SLIP-39 cannot express a need.
            ValueError: They do not; it says which.
        """
        for need in self.needs:
            paths.check_need(self.name, need)
        expected = [
            (need.holder, index, member_name(self.name, need.holder, index, need.size, ""))
            for need in self.needs
            for index in range(1, need.size + 1)
        ]
        found = [
            (share.holder, share.index, share.member.removesuffix(share.suffix)) for share in self.shares
        ]
        if not self.needs or len({need.holder for need in self.needs}) != len(self.needs):
            raise ValueError("needs")
        if found != expected or any(len(share.checks) not in (0, CODES) for share in self.shares):
            raise ValueError("shares")


@dataclass(frozen=True, slots=True)
class CustodySection:
    """The whole section.

    Attributes:
        holders: Kind and coordinates of each holder that a path needs, by name.
        paths: The custody paths, sorted by name.
        witness: The witness's public key in PEM.
    """

    holders: Mapping[Name, HolderDescription]
    paths: tuple[PathEntry, ...]
    witness: PublicPem

    __pydantic_config__ = EXACTLY

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
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> CustodySection:
        """Read what :meth:`to_json` wrote.

        Raises:
            IntegrityProblem: It is malformed, or does not fit together.
        """
        try:
            section = _reader().validate_python(value)
        except ValidationError as error:
            where = error.errors()[0]["loc"]
            parts = (f"[{one}]" if isinstance(one, int) else f".{one}" for one in where)
            raise _bad("custody" + "".join(parts)) from None
        names = [entry.name for entry in section.paths]
        if not names or names != sorted(set(names)):
            raise _bad("custody.paths")
        for number, entry in enumerate(section.paths):
            try:
                entry.check()
            except (UsageProblem, ValueError) as error:
                raise _bad(f"custody.paths[{number}]: {error}") from None
        if len({entry.identifier for entry in section.paths}) != len(names):
            raise _bad("custody.paths: identifiers are not distinct")
        if {need.holder for entry in section.paths for need in entry.needs} != set(section.holders):
            raise _bad("custody.holders")
        return section


@cache
def _reader() -> TypeAdapter[CustodySection]:
    return TypeAdapter(CustodySection)


def member_name(path: str, holder: str, index: int, size: int, suffix: str) -> str:
    """The record's member for a share: ``custody/<path>/<holder>[-N].<suffix>``, N in a group only."""
    number = f"-{index}" if size > 1 else ""
    return f"custody/{path}/{holder}{number}.{suffix}"


def _bad(where: str) -> IntegrityProblem:
    return IntegrityProblem(
        f"the manifest's {where} is not as it should be",
        hint="restore from another copy; `orgkey verify` names the good ones",
    )
