"""Reading the credentials of an identity, at the moment of a login."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core import log
from pipeline.core.errors import UsageProblem
from pipeline.core.secret import Secret
from pipeline.core.typed_text import decoded
from pipeline.providers.text import is_sendable

if TYPE_CHECKING:
    from pipeline.config.identities import VaultIdentity


_ON_ONE_LINE = "as plain text on one line"


def read_secret(path: str | None, called: str, *, public: bool = False) -> Secret:
    """Read a credential from a file, without the line end that editors leave; nothing will show it.

    Args:
        path: The file.
        called: What messages call it.
        public: Whether it is not a secret, and may be shown.

    Raises:
        UsageProblem: It cannot be read, is empty, or is not one line of printable ASCII without spaces.
    """
    try:
        text = decoded(Path(path or "").read_bytes()).strip()
    except OSError as error:
        raise UsageProblem(
            f"cannot read the {called} in {path}: {error.strerror or error}",
            hint="correct the identity's files in the configuration, or the file's owner and permissions",
        ) from error
    if not text or not is_sendable(text.decode("latin-1")):
        raise UsageProblem(f"{path} holds no {called}", hint=f"write it there, {_ON_ONE_LINE}")
    return Secret(text) if public else log.redact_login(Secret(text))


def read_token(identity: VaultIdentity | None, role: str) -> Secret:
    """Read the token that an identity names, or the one that Vault's own command would use.

    Args:
        identity: How to log in; ``None`` for ``VAULT_TOKEN`` or ``~/.vault-token``.
        role: Whose login it is, for the hint.

    Raises:
        UsageProblem: There is none, or it is not one line of printable ASCII.
    """
    if identity is not None:
        return read_secret(identity.token_file, "token")
    if ambient := os.environ.get("VAULT_TOKEN", "").strip():
        if not is_sendable(ambient):
            raise UsageProblem(
                "the variable VAULT_TOKEN holds no token", hint=f"set it again, {_ON_ONE_LINE}"
            )
        return log.redact_login(Secret(ambient))
    kept = Path.home() / ".vault-token"
    if kept.is_file():
        return read_secret(str(kept), "token")
    raise UsageProblem(
        "no login for vault is configured",
        hint=f"add [identity.{role}], or set VAULT_TOKEN, or run `vault login`",
    )
