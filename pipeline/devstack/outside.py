"""Servers outside the stack: used in place of its own, and only when these variables say so.

| variable | meaning |
|---|---|
| ``ORGKEY_STACK_VAULT_ADDR`` | address of a Vault or OpenBao |
| ``ORGKEY_STACK_VAULT_TOKEN_FILE`` | a token that may make mounts, policies and AppRoles there |
| ``ORGKEY_STACK_S3_ENDPOINT`` | URL of an S3 service |
| ``ORGKEY_STACK_S3_CREDENTIALS_FILE`` | credentials file: profiles ``writer`` and ``driller``, see below |
| ``ORGKEY_STACK_S3_BUCKET`` | the bucket, when it is not ``orgkey`` |

The credentials file has the form of ``~/.aws/credentials``; all profiles may hold the same key, and there may
be ``auditor`` and ``retention``, too. With a profile ``default``, an administrator's, the bucket is made
where it is missing, and the server is tried: what it lacks of what records need is said at the start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import UsageProblem


@dataclass(frozen=True, slots=True)
class Outside:
    """Which servers are not ours; nothing of them is ever stopped or wiped.

    Attributes:
        vault_address: Address of Vault.
        vault_token_file: An administrator's token for it.
        s3_endpoint: URL of S3.
        s3_credentials_file: Credentials for it.
        s3_bucket: The bucket there.
    """

    vault_address: str | None = None
    vault_token_file: Path | None = None
    s3_endpoint: str | None = None
    s3_credentials_file: Path | None = None
    s3_bucket: str = "orgkey"

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Outside:
        """Read the variables.

        Raises:
            UsageProblem: A server is named without the file that lets us in.
        """
        env = os.environ if env is None else env
        token = env.get("ORGKEY_STACK_VAULT_TOKEN_FILE")
        credentials = env.get("ORGKEY_STACK_S3_CREDENTIALS_FILE")
        made = cls(
            vault_address=(env.get("ORGKEY_STACK_VAULT_ADDR") or "").rstrip("/") or None,
            vault_token_file=Path(token) if token else None,
            s3_endpoint=(env.get("ORGKEY_STACK_S3_ENDPOINT") or "").rstrip("/") or None,
            s3_credentials_file=Path(credentials) if credentials else None,
            s3_bucket=env.get("ORGKEY_STACK_S3_BUCKET") or "orgkey",
        )
        for address, file, name in (
            (made.vault_address, made.vault_token_file, "ORGKEY_STACK_VAULT_TOKEN_FILE"),
            (made.s3_endpoint, made.s3_credentials_file, "ORGKEY_STACK_S3_CREDENTIALS_FILE"),
        ):
            if address and not (file and file.is_file()):
                raise UsageProblem(
                    f"{address} is named as an outside server, but {name} names no file",
                    hint="see `orgkey stack up --help`",
                )
        return made
