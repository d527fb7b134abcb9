"""A configuration with everything in it, and changes to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tomlkit

PIN = "0123456789ABCDEF0123456789ABCDEF01234567"
GOOD = f"""
[key]
fingerprint = "{PIN}"
[source]
kind = "inbox"
path = "/srv/orgkey/inbox"
[target.vault-eu]
kind = "vault"
address = "https://vault.example.com:8200/"
domain = "dc-1"
controlled_by = ["vault-admins"]
[target.s3-eu]
kind = "s3"
bucket = "records"
prefix = "/orgkey/"
lock_mode = "COMPLIANCE"
lock_days = 365
controlled_by = ["aws-admins"]
[target.disk]
kind = "directory"
path = "/mnt/disk"
controlled_by = ["ops"]
[holder.vault]
kind = "vault-transit"
address = "https://vault.example.com:8200"
controlled_by = ["vault-admins"]
[holder.aws]
kind = "aws-kms"
key_id = "alias/orgkey"
region = "eu-central-1"
controlled_by = ["aws-admins"]
[path.unattended]
needs = ["vault", "aws"]
[identity.writer.vault]
role_id_file = "/etc/orgkey/role-id"
secret_id_file = "/etc/orgkey/secret-id"
[identity.writer.aws]
profile = "writer"
[identity.driller.vault]
token_file = "/run/token"
[identity.driller.at.s3-eu]
credentials_file = "/etc/orgkey/aws"
[policy]
copies = 2
"""


def changed(change: Callable[[Any], object]) -> bytes:
    document: Any = tomlkit.parse(GOOD)
    change(document)
    return tomlkit.dumps(document).encode()


def put(place: str, value: object) -> Callable[[Any], object]:
    """Set ``a.b.c`` to a value; a value of ``None`` takes it away."""
    *way, last = place.split("/")

    def change(document: Any) -> None:
        for step in way:
            if step not in document:
                document[step] = tomlkit.table()
            document = document[step]
        if value is None:
            del document[last]
        else:
            document[last] = value

    return change
