"""Who holds shares, and which holders together suffice."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config._base import FilePath, Fingerprint, Short, Strict, Text
from pipeline.config.places import ApiPath, AwsPlace, Party, VaultPlace

_ARN = re.compile(r"arn:[\w-]+:kms:([a-z0-9-]+):\d{12}:")


def kms_region(key_id: object) -> str | None:
    """The region that a KMS key's ARN names; ``None`` where it is not an ARN."""
    match = _ARN.match(key_id) if isinstance(key_id, str) else None
    return match[1] if match else None


class TransitHolderConfig(Party, VaultPlace):
    """``[holder.*]`` of kind ``vault-transit``: a Transit key, derived, not exportable."""

    kind: Literal["vault-transit"]
    mount: ApiPath = "transit"
    key: ApiPath = "orgkey-escrow"


class KmsHolderConfig(Party, AwsPlace):
    """``[holder.*]`` of kind ``aws-kms``: a symmetric KMS key."""

    kind: Literal["aws-kms"]
    key_id: Text

    @model_validator(mode="before")
    @classmethod
    def _region_of_the_key(cls, value: Any) -> Any:
        if isinstance(value, dict) and "region" not in value and (region := kms_region(value.get("key_id"))):
            return {**value, "region": region}
        return value


class TokenConfig(Short):
    """One of ``also``: a further certificate of a custodian, or an encryption subkey of one."""

    ALONE = "fingerprint"
    fingerprint: Fingerprint
    subkey: Fingerprint | None = None


class Custodian(TokenConfig):
    """One of ``members``: a person, by the fingerprint of their OpenPGP certificate.

    ``also`` names what else opens this person's one share: the certificate of a second card, for example.
    """

    name: str = Field("", max_length=80)
    contact: str = Field("", max_length=200)
    also: tuple[TokenConfig, ...] = Field((), max_length=7)

    @property
    def tokens(self) -> tuple[TokenConfig, ...]:
        """Everything that opens this person's share."""
        return (self, *self.also)

    @field_validator("name", "contact")
    @classmethod
    def _line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("it is one line of printable text")
        return value


class OpenpgpHolderConfig(Strict):
    """``[holder.*]`` of kind ``openpgp``: custodians, each with a share encrypted to their certificate.

    ``members`` are pinned by fingerprint; ``certificates``, a file or a folder, only supplies what is
    encrypted to: what lies there for nobody in ``members`` is never used.
    """

    kind: Literal["openpgp"]
    members: tuple[Custodian, ...] = Field(min_length=2, max_length=16)
    certificates: FilePath

    @field_validator("members")
    @classmethod
    def _distinct(cls, value: tuple[Custodian, ...]) -> tuple[Custodian, ...]:
        if len({member.fingerprint for member in value}) != len(value):
            raise ValueError("a custodian is named twice")
        return value

    @property
    def size(self) -> int:
        """How many shares it takes."""
        return len(self.members)


def check_tokens(members: Iterable[Custodian]) -> None:
    """See that each certificate is one person's, who is called by the same one in every group.

    Raises:
        ValueError: It is not so, or what opens a share is not told apart.
    """
    owner: dict[str, str] = {}
    for member in members:
        for token in member.tokens:
            if owner.setdefault(token.fingerprint, member.fingerprint) != member.fingerprint:
                raise ValueError(
                    f"the certificate {token.fingerprint} is of two custodians: "
                    f"{owner[token.fingerprint]} and {member.fingerprint}"
                )
            same = [one.subkey for one in member.tokens if one.fingerprint == token.fingerprint]
            if len(same) > 1 and (None in same or len(set(same)) < len(same)):
                raise ValueError(
                    f"the certificate {token.fingerprint} is named {len(same)} times; "
                    "give each a subkey of its own"
                )


class PaperHolderConfig(Strict):
    """``[holder.*]`` of kind ``paper``: sheets for sealed envelopes, printed at escrow, stored nowhere.

    ``kept_by`` names who keeps each sheet. ``print_command`` gets one PDF for each sheet on its standard
    input, for example ``["lpr", "-P", "vault-room"]``.
    """

    kind: Literal["paper"]
    kept_by: tuple[str, ...] = Field(min_length=1, max_length=16)
    print_command: tuple[str, ...] = Field(min_length=1)
    timeout_seconds: float = Field(60.0, gt=0, le=600)

    @field_validator("kept_by")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value) or not all(
            re.fullmatch(r"[\x20-\x7e]{1,80}", item) for item in value
        ):
            raise ValueError("each sheet has a keeper of its own, named in 1 to 80 ASCII characters")
        return value

    @property
    def size(self) -> int:
        """How many shares it takes."""
        return len(self.kept_by)


HolderConfig = Annotated[
    TransitHolderConfig | KmsHolderConfig | OpenpgpHolderConfig | PaperHolderConfig,
    Field(discriminator="kind"),
]


class NeedConfig(Short):
    """One holder that a path needs; for a group, how many of its members."""

    ALONE = "holder"
    holder: str
    threshold: int = Field(1, ge=1, le=16)


class PathConfig(Strict):
    """``[path.*]``: holders that together suffice."""

    needs: tuple[NeedConfig, ...] = Field(min_length=1, max_length=16)
