"""Addresses that are secrets: read late, and kept out of every log line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.core import log, passphrases
from pipeline.core.errors import OrgkeyError, UsageProblem
from pipeline.core.secret import Secret
from pipeline.core.typed_text import decoded

_SHORTEST: Final = 6
_LONG: Final = 12
_WORDS: Final = re.compile(r"[a-z]+(?:[-_.][a-z]+)*")


def read(file: str | None, command: Sequence[str] | None, what: str, seconds: float) -> tuple[str, ...]:
    """The addresses that a file holds or a command prints, one a line; lines with ``#`` are comments.

    Args:
        file: The file.
        command: The command.
        what: The setting's name.
        seconds: How long a pipe or a command may take.

    Raises:
        UsageProblem: It cannot be read, or has no address.
    """
    source = passphrases.from_options(
        "", file=Path(file) if file else None, command=command, option_names=what, seconds=seconds
    )
    try:
        lines = Secret(decoded(source().reveal())).text().splitlines()
    except OrgkeyError as error:
        raise UsageProblem(
            f"{what} cannot be used: {error.message.replace('passphrase', 'address')}", hint=error.hint
        ) from error
    found = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    for address in found:
        conceal(address)
    if not found:
        raise UsageProblem(f"{what} has no address", hint="write one a line")
    return found


def conceal(address: str) -> None:
    """Keep an address and its telling parts out of every log line: libraries quote paths, not the whole.

    Words are not tokens: an address may end in a job's name, which must not vanish from every line.
    """
    log.redact(Secret(address))
    _, _, rest = address.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    way = rest.removeprefix(authority)
    login, _, server = authority.rpartition("@")
    parts = re.split(r"[/?&=@#:]+", f"{login}:{way}")
    if "." not in server and not server.startswith("localhost"):
        parts += server.split(":")  # a service of apprise without a server of its own: a token stands there
    telling = [part for part in parts if len(part) >= _SHORTEST and not _WORDS.fullmatch(part)]
    password = login.partition(":")[2]
    for part in (*telling, *([password] if len(password) >= _SHORTEST else [])):
        log.redact(Secret(part))
    if len(way) >= _LONG:
        log.redact(Secret(way))
