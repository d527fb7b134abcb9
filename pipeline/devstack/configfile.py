"""An `orgkey.toml` for the stack: one Vault, one S3, the unattended path."""

from __future__ import annotations

import json

from pipeline.devstack.stack import Stack
from pipeline.devstack.vault import KV_MOUNT, TRANSIT_KEY, TRANSIT_MOUNT
from pipeline.devstack.wire import REGION

HEAD = """\
# orgkey.toml for the local stack in {directory}
# Written by `orgkey stack config`. For trying and testing: everything here runs on this host.
"""
PIN = """
[key]
fingerprint = {fingerprint}  # the pin: only this Org Key is escrowed and believed
"""
TARGETS = """
# Two places that hold the record, in two failure domains.
[target.vault]
kind = "vault"
domain = "vault"
controlled_by = ["vault-admins"]  # who can read, write or wipe it
address = {vault}
mount = {kv}
prefix = {kv_prefix}

[target.s3]
kind = "s3"
domain = "s3"
controlled_by = ["aws-admins"]
region = {region}
endpoint_url = {s3}
bucket = {bucket}
prefix = {s3_prefix}
path_style = true{owner}
lock_mode = "GOVERNANCE"  # COMPLIANCE cannot be shortened by anyone; try with this first
lock_days = 1

# Two holders, run by different people; neither can open the escrow alone.
[holder.vault]
kind = "vault-transit"
domain = "vault"
controlled_by = ["vault-admins"]
address = {vault}
mount = {transit}
key = {transit_key}

[holder.aws]
kind = "aws-kms"
domain = "aws"
controlled_by = ["aws-admins"]
region = {region}
endpoint_url = {kms}
key_id = {kms_key}

[path.unattended]
needs = ["vault", "aws"]
"""
IDENTITY = """
[identity.{name}.vault]  # {may}
role_id_file = {role_id}
secret_id_file = {secret_id}

[identity.{name}.aws]
credentials_file = {credentials}
"""
CLOUD_IDENTITY = """
[identity.{name}.aws]  # {may}
credentials_file = {credentials}
"""
AUDITOR = """
[identity.auditor.vault]  # may list records and read the ledger's heads, no record and no share
role_id_file = {role_id}
secret_id_file = {secret_id}
"""
TAIL = """
[policy]
copies = 2
max_drill_age_days = 8  # `orgkey status` is broken when the last test restore is older
accept_single_loss = true  # for trying only: with one path, the loss of either holder ends every restore
"""
MAY = {"writer": "may write and seal", "driller": "may read and open"}
MAY_IN_CLOUD = {
    "auditor": "sees what there is, and reads the ledger",
    "retention": "extends the retention of records",
}


def render(
    stack: Stack, *, fingerprint: str | None = None, kv_prefix: str = "records", s3_prefix: str = "orgkey"
) -> str:
    """Write the configuration of a running stack.

    Args:
        stack: The stack; it has been up.
        fingerprint: The pin, 40 hexadecimal digits; ``None`` for no pin yet.
        kv_prefix: Where records lie in KV; the identities reach what is below ``records``.
        s3_prefix: Where records lie in the bucket; the identities reach what is below ``orgkey``.

    Returns:
        TOML that :func:`pipeline.config.parse` accepts.

    Raises:
        UsageProblem: There is no stack.
    """
    state, layout = stack.state, stack.layout
    owner = f"\nexpected_bucket_owner = {_quote(state.bucket_owner)}" if state.bucket_owner else ""
    parts = [HEAD.format(directory=layout.root)]
    if fingerprint is not None:
        parts.append(PIN.format(fingerprint=_quote(fingerprint)))
    values = {
        "vault": stack.endpoint("vault"),
        "s3": stack.endpoint("s3"),
        "kms": stack.endpoint("kms"),
        "kv": KV_MOUNT,
        "kv_prefix": kv_prefix,
        "s3_prefix": s3_prefix,
        "region": REGION,
        "bucket": state.bucket,
        "transit": TRANSIT_MOUNT,
        "transit_key": TRANSIT_KEY,
        "kms_key": state.kms_key,
    }
    parts.append(TARGETS.format(owner=owner, **{name: _quote(value) for name, value in values.items()}))
    for name, may in MAY.items():
        files = {
            "role_id": layout.role_id(name),
            "secret_id": layout.secret_id(name),
            "credentials": layout.aws_credentials(name),
        }
        parts.append(
            IDENTITY.format(name=name, may=may, **{key: _quote(str(path)) for key, path in files.items()})
        )
    for name, may in MAY_IN_CLOUD.items():
        path = layout.aws_credentials(name)
        if path.exists():  # an outside server may not know it
            parts.append(CLOUD_IDENTITY.format(name=name, may=may, credentials=_quote(str(path))))
    auditor = {"role_id": layout.role_id("auditor"), "secret_id": layout.secret_id("auditor")}
    parts.append(AUDITOR.format(**{key: _quote(str(path)) for key, path in auditor.items()}))
    return "".join([*parts, TAIL])


def _quote(text: str) -> str:
    # A basic string of TOML takes the escapes of JSON, but for DEL, which no path or URL here has.
    return json.dumps(text, ensure_ascii=False)
