"""How a record's holders are reached: as configured, else by the tools' own variables and the record."""

from __future__ import annotations

import os

from pipeline import config as settings
from pipeline.config import Config
from pipeline.custody.paths import Description
from pipeline.errors import UsageProblem


def reach(config: Config | None, name: str, description: Description) -> settings.HolderConfig:
    """Say how the holder of a record is reached today.

    Args:
        config: The configuration, whose word on the way there counts; ``None`` where there is none.
        name: The holder's name.
        description: What the authentic manifest says of it; which key is used stays its word.

    Raises:
        UsageProblem: Record and environment name no usable address.
    """
    try:
        return _today(config, name, description)
    except (KeyError, ValueError):
        raise UsageProblem(
            f"holder {name} cannot be reached as the record and this environment say",
            hint="VAULT_ADDR and AWS_ENDPOINT_URL_KMS are addresses like https://vault.example.com:8200; "
            "or configure the holder",
        ) from None


def _today(config: Config | None, name: str, description: Description) -> settings.HolderConfig:
    known = config.holder.get(name) if config else None
    told = description.coordinates
    if description.kind == "vault-transit":
        here = known if isinstance(known, settings.TransitHolder) else None
        pair = settings.ambient_client_pair()
        return settings.TransitHolder(
            kind="vault-transit",
            controlled_by=("record",),
            address=here.address if here else os.environ.get("VAULT_ADDR") or str(told["address"]),
            namespace=here.namespace if here else _optional(told.get("namespace")),
            ca_file=here.ca_file if here else os.environ.get("VAULT_CACERT"),
            **({name: getattr(here, name) for name in pair} if here else pair),
            proxy=here.proxy if here else None,
            proxy_file=here.proxy_file if here else None,
            mount=str(told["mount"]),
            key=str(told["key"]),
        )
    cloud = known if isinstance(known, settings.KmsHolder) else None
    return settings.KmsHolder(
        kind="aws-kms",
        controlled_by=("record",),
        region=str(told["region"]),
        endpoint_url=cloud.endpoint_url
        if cloud
        else os.environ.get("AWS_ENDPOINT_URL_KMS") or _optional(told.get("endpoint_url")),
        ca_file=cloud.ca_file if cloud else None,
        proxy=cloud.proxy if cloud else None,
        proxy_file=cloud.proxy_file if cloud else None,
        key_id=str(told["key_arn"]),
    )


def _optional(value: object) -> str | None:
    return None if value is None else str(value)
