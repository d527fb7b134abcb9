"""How a record's holders are reached: only where the operator's own words, not the record's alone, lead.

A record says where its holders were when it was made. A login is not sent there for that alone: whoever
holds that address today would get it. With a configuration, only servers that it names are contacted.
Without one, an address counts when the tools' own variables name the same, when the operator names it, or
when a person says yes to it at a terminal.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

from pipeline.config import Config
from pipeline.config.holders import HolderConfig, KmsHolderConfig, TransitHolderConfig
from pipeline.config.places import AwsPlace, VaultPlace, ambient_client_pair
from pipeline.core.errors import NotEnoughShares, UsageProblem
from pipeline.core.text import shell_word
from pipeline.custody.shares.paths import HolderDescription

_AWS: Final = "AWS"
"""Stands for its own endpoints."""
_PORTS: Final = {"http": 80, "https": 443}
_ADDRESS: Final = re.compile(r"(?i:https?)://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._~/-]*)?")

H = TypeVar("H", TransitHolderConfig, KmsHolderConfig)
R = TypeVar("R", VaultPlace, KmsHolderConfig)


@dataclass(frozen=True)
class Consent:
    """Which addresses an operator without a configuration wants to be contacted.

    Attributes:
        addresses: Those that were named.
        ask: Shows a holder's name and an address to a person, and says whether a login may go there;
            ``None`` where nobody can be asked.
    """

    addresses: Collection[str] = ()
    ask: Callable[[str, str], bool] | None = None


def reach(
    config: Config | None, name: str, description: HolderDescription, consent: Consent = Consent()
) -> HolderConfig:
    """Say how the holder of a record is reached today.

    Args:
        config: The configuration, whose word on the way there counts; ``None`` where there is none.
        name: The holder's name.
        description: What the authentic manifest says of it; which key is used stays its word.
        consent: What the operator allows; it counts only without a configuration.

    Raises:
        NotEnoughShares: Nobody but the record names its address.
        UsageProblem: Record and environment name no usable address.
    """
    try:
        if description.kind == "vault-transit":
            return _transit(config, name, description, consent)
        return _kms(config, name, description, consent)
    except (KeyError, ValueError):
        raise UsageProblem(
            f"holder {name} cannot be reached as the record and this environment say",
            hint="VAULT_ADDR and AWS_ENDPOINT_URL_KMS are addresses like https://vault.example.com:8200; "
            "or configure the holder",
        ) from None


def _transit(
    config: Config | None, name: str, description: HolderDescription, consent: Consent
) -> TransitHolderConfig:
    told = description.coordinates
    key = {"mount": str(told["mount"]), "key": str(told["key"])}
    recorded, namespace = str(told["address"]), _optional(told.get("namespace"))
    if config is not None:
        here = _place(
            config,
            name,
            TransitHolderConfig,
            VaultPlace,
            lambda place: place.namespace == (namespace or None) and _same(place.address, recorded),
        )
        if here is None:
            raise _not_configured(name, recorded, 'kind "vault-transit", address, mount and key')
        return _as_holder(here, TransitHolderConfig, "vault-transit", key)
    return TransitHolderConfig(
        kind="vault-transit",
        controlled_by=("record",),
        address=_agreed(name, recorded, os.environ.get("VAULT_ADDR") or None, "VAULT_ADDR", consent),
        namespace=namespace,
        ca_file=os.environ.get("VAULT_CACERT") or None,
        **ambient_client_pair(),
        **key,
    )


def _kms(
    config: Config | None, name: str, description: HolderDescription, consent: Consent
) -> KmsHolderConfig:
    told = description.coordinates
    key = {"region": str(told["region"]), "key_id": str(told["key_arn"])}
    recorded = _optional(told.get("endpoint_url"))
    if config is not None:
        here = _place(
            config,
            name,
            KmsHolderConfig,
            KmsHolderConfig,
            lambda place: (
                place.region == key["region"] and _same(place.endpoint_url or _AWS, recorded or _AWS)
            ),
        )
        if here is None:
            raise _not_configured(
                name,
                recorded or f"AWS KMS in {key['region']}",
                'kind "aws-kms", region, key_id, and endpoint_url where it is not AWS\'s own',
            )
        return _as_holder(here, KmsHolderConfig, "aws-kms", key)
    variables = ("AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL")
    named = next((value for variable in variables if (value := os.environ.get(variable))), None)
    endpoint = None
    if recorded or named:  # else AWS's own, where no record can lead to
        endpoint = _agreed(name, recorded or _AWS, named, variables[0], consent)
    return KmsHolderConfig(kind="aws-kms", controlled_by=("record",), endpoint_url=endpoint, **key)


# -- with a configuration ---------------------------------------------------------------------------


def _place(
    config: Config, name: str, holder: type[H], reached: type[R], same: Callable[[R], bool]
) -> H | R | None:
    """The configured holder of that name; else another configured place at the same server."""
    known = config.holder.get(name)
    if isinstance(known, holder):
        return known
    places = (*config.holder.values(), *config.target.values())
    return next((place for place in places if isinstance(place, reached) and same(place)), None)


def _as_holder(place: VaultPlace | AwsPlace, holder: type[H], kind: str, key: dict[str, str]) -> H:
    """A holder that is reached as a configured place is, for the key that the record names."""
    shared = holder.model_fields.keys() & type(place).model_fields.keys() - {"kind", "unsealed_by"}
    known = {field: getattr(place, field) for field in shared} | {"controlled_by": ("record",)}
    return holder(kind=kind, **{**known, **key})


def _not_configured(name: str, address: str, fields: str) -> NotEnoughShares:
    return NotEnoughShares(
        f"holder {name} was not asked: only the record names {address}, the configuration does not",
        hint=f"if you trust that server with a login, add [holder.{name}] with {fields}; "
        "or take another path with --via",
    )


# -- without one ------------------------------------------------------------------------------------


def _agreed(name: str, recorded: str, named: str | None, variable: str, consent: Consent) -> str:
    """The one address that a login may be sent to.

    Raises:
        NotEnoughShares: No address is allowed.
    """
    allowed = {canonical(item) for item in consent.addresses}
    agreed = named is not None and canonical(named) == canonical(recorded)
    permitted = [item for item in (named, recorded) if item and canonical(item) in allowed - {_AWS}]
    chosen = permitted[0] if permitted else named or recorded
    if not _private(chosen):
        raise NotEnoughShares(
            f"holder {name} was not asked: {chosen} would take a login over the network in the clear",
            hint="use an https:// address; or restore on the host of that server",
        )
    if not (agreed or permitted or (consent.ask and consent.ask(name, chosen))):
        raise NotEnoughShares(
            f"holder {name} was not asked: the record says that it is at {recorded}, "
            + (f"{variable} says {named}" if named else "and nothing on this host confirms that"),
            hint=f"if you trust {chosen} with your login, give --allow-address {shell_word(chosen)}; "
            + (f"else unset {variable}" if recorded == _AWS else f"or set {variable} to the record's"),
        )
    return chosen


def _private(address: str) -> bool:
    """Whether what is sent there stays on this host, or is encrypted on its way."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme != "http" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _same(one: str, other: str) -> bool:
    try:
        return canonical(one) == canonical(other)
    except ValueError:
        return False


def canonical(address: str) -> str:
    """An address as it is compared: two spellings of one server are the same server.

    Args:
        address: ``https://HOST[:PORT]``, or with a path behind it.

    Raises:
        ValueError: It is malformed. Nothing is left that two programs might read in two ways.
    """
    if address == _AWS:
        return address
    if not _ADDRESS.fullmatch(address):
        raise ValueError("an address looks like https://vault.example.com:8200")
    parts = urlsplit(address)
    if not parts.hostname:
        raise ValueError("an address has a host")
    port = parts.port or _PORTS[parts.scheme]
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"


def _optional(value: object) -> str | None:
    return None if value is None else str(value)
