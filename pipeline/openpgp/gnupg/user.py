"""The gpg of the person at this machine: their home, their agent, their smart card, their pinentry."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

from pipeline.core import log, process
from pipeline.core.clock import Deadline
from pipeline.core.errors import NotEnoughShares
from pipeline.core.secret import Secret

SECONDS: Final = 300.0
"""How long a person may take to find the card and type the PIN."""


def looks_encrypted(data: bytes) -> bool:
    """Whether this is an OpenPGP message, armored or binary, and not plain words."""
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"-----BEGIN PGP MESSAGE-----") or bool(text and text[0] & 0x80)


def decrypt(data: bytes, what: str, deadline: Deadline) -> Secret:
    """Have a message opened by this person's gpg; what comes out stays in memory.

    Args:
        data: The message.
        what: What it is, for errors.
        deadline: Bounds it, together with :data:`SECONDS`.

    Returns:
        The content, kept out of the logs.

    Raises:
        NotEnoughShares: gpg does not open it: the key is not here, or the passphrase was wrong.
        ProgramMissing, DeadlinePassed: gpg is missing, or not done in time.
    """
    environment = dict(os.environ)
    with suppress(OSError, ValueError, AttributeError):
        environment.setdefault("GPG_TTY", os.ttyname(sys.stdin.fileno()))  # where pinentry asks
    done = process.run(
        ["gpg", "--quiet", "--no-greeting", "--decrypt"],
        stdin=data,
        timeout=deadline.limit(SECONDS),
        env=environment,
        max_output=1 << 20,
    )
    if done.returncode != 0 or not done.stdout:
        told = log.last_words(done.stderr) or f"it ended with code {done.returncode}"
        raise NotEnoughShares(
            f"gpg cannot open {what}: {told}",
            hint="open it where its custodian's key or card is; `gpg --list-packets` says whose it is",
        )
    return log.redact(Secret(done.stdout))
