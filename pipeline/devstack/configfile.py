"""An `orgkey.toml` for the stack: one Vault, one S3, the unattended path."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.core.resources import infra_path
from pipeline.core.templates import filled_text
from pipeline.devstack.stack import Stack
from pipeline.devstack.state import IDENTITIES, Layout
from pipeline.devstack.vault import KV_MOUNT, TRANSIT_KEY, TRANSIT_MOUNT
from pipeline.devstack.wire import REGION


def render(
    stack: Stack, *, fingerprint: str | None = None, kv_prefix: str = "records", s3_prefix: str = "orgkey"
) -> str:
    """Write the configuration of a running stack, from `infra/stack/orgkey.toml.j2`.

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

    def quote(value: object) -> str:
        # A basic string of TOML takes the escapes of JSON, but for DEL, which no path or URL here has.
        return json.dumps(str(value), ensure_ascii=False)

    return filled_text(
        infra_path("stack", "orgkey.toml.j2").read_text(),
        **{name: stack.endpoint(name) for name in ("vault", "s3", "kms")},
        directory=stack.layout.root,
        layout=stack.layout,
        aws={name: str(_login(stack.layout, name)) for name in IDENTITIES[1:]},
        state=stack.state,
        fingerprint=fingerprint,
        kv_mount=KV_MOUNT,
        kv_prefix=kv_prefix,
        transit_mount=TRANSIT_MOUNT,
        transit_key=TRANSIT_KEY,
        s3_prefix=s3_prefix,
        region=REGION,
        quote=quote,
    )


def _login(layout: Layout, name: str) -> Path:
    """A role's credentials file; the first role's where an outside S3 has one key for several."""
    files = [path for role in IDENTITIES[1:] if (path := layout.aws_credentials(role)).exists()]
    own = layout.aws_credentials(name)
    return next((path for path in files if own.exists() and path.read_bytes() == own.read_bytes()), own)
