"""The environment of the programs that are started: next to nothing, or what an operator's own needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Build the environment that a program gets: the search path, a UTF-8 locale and ``extra``.

    Nothing else of the caller's environment is handed on: no credentials, proxies or GNUPGHOME.
    """
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        **(extra or {}),
    }


PASSED: Final = (
    "CREDENTIALS_DIRECTORY", "CUPS_SERVER", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "GNUPGHOME", "GPG_TTY",
    "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "LPDEST", "PASSWORD_STORE_DIR", "PATH", "PRINTER",
    "SHELL", "SSH_AUTH_SOCK", "TMPDIR", "TZ", "USER", "WAYLAND_DISPLAY", "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
)  # fmt: skip
"""What an operator's own command gets of our environment: enough to find programs, agents and its settings.
Logins that this program was started with are not among it."""


def operators_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Build the environment of a command that the operator has named.

    Args:
        environ: Where :data:`PASSED` is taken from; the process's own without it.
    """
    own = os.environ if environ is None else environ
    return {name: own[name] for name in PASSED if name in own}
