"""Records that are named by where they lie, for a restore with neither configuration nor state."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.config.places import (
    S3TargetConfig,
    TargetConfig,
    VaultTargetConfig,
    ambient_client_pair,
    ambient_region,
)
from pipeline.core import files
from pipeline.core.errors import LocalFilesProblem, UsageProblem
from pipeline.record.tar import MAX_BYTES
from pipeline.storage.interface import Slot
from pipeline.wiring.backends import ConfiguredBackends

RECORDS: Final = "name a stored record: EPOCH.tar of a target, or record.tar of a kit; not an export"


def read_record(place: str, backends: ConfiguredBackends) -> bytes:
    """Read a record from anywhere.

    Args:
        place: A file, ``s3://BUCKET/[PREFIX/]FPR/EPOCH.tar[?version=ID]`` or
            ``vault://HOST:PORT/MOUNT/[PREFIX/]FPR/EPOCH[?version=N]``.
        backends: Whose logins are used for Vault and S3; AWS's own variables name an endpoint.

    Raises:
        UsageProblem: The place has none of these forms.
        OrgkeyError: It cannot be read.
    """
    if place.partition(":")[0].lower() not in ("s3", "vault"):
        with files.os_errors(f"cannot read {place}"):
            data = files.read_regular(files.expanded(Path(place)), MAX_BYTES)
        if data is None or len(data) > MAX_BYTES:
            what = "is not a regular file" if data is None else "is larger than any record"
            raise LocalFilesProblem(f"{place} {what}", hint=RECORDS)
        return data
    try:
        item, slot, version = _named(place)
    except ValueError:
        raise UsageProblem(
            f"{place} does not name a record",
            hint="it looks like s3://BUCKET/PREFIX/FPR/EPOCH.tar or vault://HOST:PORT/MOUNT/PREFIX/FPR/EPOCH",
        ) from None
    return backends.target("record", item).get(slot, version)


def addresses(place: str) -> list[str]:
    """The addresses that an operator names by naming a record's place: Vault's, where it lies there."""
    try:
        item = _named(place)[0]
    except ValueError:
        return []
    return [item.address] if isinstance(item, VaultTargetConfig) else []


def _named(place: str) -> tuple[TargetConfig, Slot, str | None]:
    """Take the address of a record apart.

    Raises:
        ValueError: It is malformed.
    """
    parts = urlsplit(place)
    keys = [unquote(part) for part in parts.path.split("/") if part]
    shape = 3 if parts.scheme == "vault" else 2
    if not parts.netloc or len(keys) < shape:
        raise ValueError("a part is missing")
    item: TargetConfig
    if parts.scheme == "s3":
        item = S3TargetConfig(
            kind="s3",
            controlled_by=("record",),
            bucket=parts.netloc,
            prefix="/".join(keys[:-2]),
            region=ambient_region(),
            path_style=True,
        )
    else:
        scheme = "http" if parts.hostname in ("127.0.0.1", "localhost", "::1") else "https"
        item = VaultTargetConfig(
            kind="vault",
            controlled_by=("record",),
            address=f"{scheme}://{parts.netloc}",
            ca_file=os.environ.get("VAULT_CACERT") or None,
            **ambient_client_pair(),
            namespace=os.environ.get("VAULT_NAMESPACE"),
            mount=keys[0],
            prefix="/".join(keys[1:-2]),
        )
    slot = Slot(keys[-2].upper(), keys[-1].removesuffix(".tar"))
    return item, slot, parse_qs(parts.query).get("version", [None])[0]
