"""Reading the credentials of an identity, at the moment of a login."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UsageProblem
from pipeline.secret import Secret

if TYPE_CHECKING:
    from pipeline.config import VaultIdentity


def read_secret(path: str | None, called: str) -> Secret:
    """Read a credential from a file, without the line end that editors leave.

    Raises:
        UsageProblem: It cannot be read, is empty, or is no text.
    """
    try:
        text = Path(path or "").read_bytes().strip()
    except OSError as error:
        raise UsageProblem(
            f"cannot read the {called} in {path}: {error.strerror or error}",
            hint="correct the identity's files in the configuration",
        ) from error
    if not text or not text.isascii():
        raise UsageProblem(f"{path} holds no {called}", hint="write it there, as plain text on one line")
    return Secret(text)


def read_token(identity: VaultIdentity | None) -> Secret:
    """Read the token that an identity names, or the one that Vault's own command would use.

    Raises:
        UsageProblem: There is none.
    """
    if identity is not None:
        return read_secret(identity.token_file, "token")
    if ambient := os.environ.get("VAULT_TOKEN", "").strip():
        return Secret(ambient)
    kept = Path.home() / ".vault-token"
    if kept.is_file():
        return read_secret(str(kept), "token")
    raise UsageProblem(
        "no login for vault is configured",
        hint="add [identity.writer] and [identity.driller], or set VAULT_TOKEN, or run `vault login`",
    )
