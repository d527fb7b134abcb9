"""The gpg of the person at this machine: their home, their agent, their smart card, their pinentry."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pipeline.core import log, process, typed_text
from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, LocalFilesProblem, NotEnoughShares
from pipeline.core.secret import Secret

SECONDS: Final = 300.0
"""How long a person may take to find the card and type the PIN."""
_LOOK_SECONDS: Final = 20.0
"""How long gpg may take to list its keys or to read a card, where that only makes a message better."""

# libgpg-error's codes, the low 16 bits of what status lines carry.
_BAD_PIN: Final = 87
_NO_SCDAEMON: Final = frozenset({60, 119})
_NO_CARD: Final = frozenset({91, 109, 110, 112})
"""The card in the reader is another one, was reset, was taken out, or there is none."""
_CANCELLED: Final = frozenset({62, 99, 198})
_FIRST: Final = frozenset(bytes([octet]) for octet in b"\x84\x85\x86\x87\x8c\x8d\x8e\x8f\xc1\xc3")
"""With what a binary message begins: a session key for a key or for a passphrase (RFC 4880 section 4.2)."""
_AGAIN: Final = "try again, or take another token of the same custodian"
_PINENTRY: Final = (
    "gpg finds no way to ask for a PIN or passphrase",
    "install a pinentry (on Debian: apt install pinentry-curses), and try again at a terminal",
)
_SCDAEMON: Final = (
    "gpg has no program for smart cards on this machine",
    "install it (on Debian: apt install scdaemon pcscd), and try again",
)
_BLOCKED: Final = (
    "the PIN of the card is blocked, after too many wrong ones",
    "its custodian unblocks it with the Admin PIN (`gpg --card-edit`, then admin, passwd, 2) or the reset "
    "code; or take another token, or the share of another custodian",
)
_PLAIN: Final = {
    _BAD_PIN: _BLOCKED,  # where no tries are left
    130: _BLOCKED,
    11: ("the passphrase is wrong", "try again; gpg asks for the passphrase of the custodian's own key"),
    85: _PINENTRY,
    86: _PINENTRY,
    0x8066: _PINENTRY,  # ENOTTY
}
"""What happened and what to do, by code; the first that is there tells most."""


class OpeningCancelled(NotEnoughShares):
    """The person who was asked for a passphrase or a PIN gave none."""


def message_in(data: bytes) -> bytes | None:
    """The OpenPGP message in what somebody brought: armored, with whatever a mail has around it, or binary.

    Returns:
        The message; ``None`` where there is none, as in plain words of any encoding.
    """
    if data[:1] in _FIRST:
        try:
            data.decode()
        except UnicodeDecodeError:
            return data
    text = typed_text.decoded(data)
    start = text.find(b"-----BEGIN PGP MESSAGE-----")
    return text[start:] if start >= 0 else None


def decrypt(data: bytes, what: str, deadline: Deadline) -> Secret:
    """Have a message opened by this person's gpg; what comes out stays in memory.

    Args:
        data: The message.
        what: What it is, for errors.
        deadline: Bounds it, together with :data:`SECONDS`.

    Returns:
        The content, kept out of the logs.

    Raises:
        NotEnoughShares: gpg does not open it: said why, and what helps.
        OpeningCancelled: The person was asked, and gave no answer.
        ProgramMissing, DeadlinePassed: gpg is missing, or not done in time.
    """
    done = _gpg("--status-fd", "2", "--decrypt", stdin=data, seconds=deadline.limit(SECONDS))
    # What is wrong with a signature in it also ends gpg with an error; the share shows itself what it is.
    opened = done.returncode == 0 or b"\n[GNUPG:] DECRYPTION_OKAY\n" in b"\n" + done.stderr
    if not opened or not done.stdout:
        kind, reason, hint = _reason(done)
        raise kind(f"gpg cannot open {what}: {reason}", hint=hint)
    return log.redact(Secret(done.stdout))


def _gpg(*words: str, stdin: bytes = b"", seconds: float) -> process.Completed:
    environment = dict(os.environ)
    for stream in (sys.stdin, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            environment.setdefault("GPG_TTY", os.ttyname(stream.fileno()))  # where pinentry asks
    command = ["gpg", "--no-greeting", *words]
    return process.run(command, stdin=stdin, timeout=seconds, env=environment, max_output=1 << 20)


def _reason(done: process.Completed) -> tuple[type[NotEnoughShares], str, str]:
    """Why gpg did not open a message, and what to do.

    Its status lines tell (GnuPG's doc/DETAILS). To a key that it does not have at all, and to one whose card
    nobody put in, it says the same; its list of keys tells these apart.
    """
    from pipeline.openpgp.gnupg.driver import GpgResult, status_lines

    said = GpgResult(done.returncode, b"", status_lines(done.stderr))
    keys = [line[0] for line in said.lines("ENC_TO") if re.fullmatch("[0-9A-F]{16}", "".join(line[:1]))]
    failed = [line[1] for line in said.lines("ERROR") if line[0] == "pkdecrypt_failed" and line[1:]]
    codes = {int(code) & 0xFFFF for code in failed if code.isdigit()}
    if _BAD_PIN in codes and (left := _tries_left()) != 0:
        more = "" if left is None else f"; tries left before the card blocks: {left}"
        return NotEnoughShares, f"the PIN is wrong{more}", _AGAIN
    for code, both in _PLAIN.items():
        if code in codes:
            return NotEnoughShares, *both
    places = _places(keys)
    cards = sorted(place for place in places if len(place) > 1)
    insert = f"put in the card {' or '.join(map(_number, cards))}"
    if cards and codes & _NO_SCDAEMON:
        return NotEnoughShares, *_SCDAEMON
    if cards and (not codes or codes & _NO_CARD):
        told = "the key is on a smart card that is not in a reader of this machine"
        return NotEnoughShares, told, f"{insert}, and {_AGAIN}"
    if codes & _CANCELLED:
        asked = "a card or its PIN" if cards else "a passphrase"
        hint = f"{insert}, and {_AGAIN}" if cards else _AGAIN
        return OpeningCancelled, f"gpg asked for {asked}, and got none", hint
    if keys and not cards and "+" not in places:
        return (
            NotEnoughShares,
            f"gpg has no secret key for it on this machine; it is encrypted to {' or '.join(keys)}",
            "open it where its custodian's key or card is; gpg gets to know a card by "
            "`gpg --import CERTIFICATE` and then `gpg --card-status`, with the card in the reader",
        )
    lines = [line for line in done.stderr.splitlines() if not line.startswith(b"[GNUPG:]")]
    told = log.last_words(b"\n".join(lines)) or f"it ended with code {done.returncode}"
    return (
        NotEnoughShares,
        told,
        "open it where its custodian's key or card is; `gpg --list-packets` says whose it is",
    )


def _places(keys: Sequence[str]) -> set[str]:
    """Where the secret parts of keys are: ``+`` here, ``#`` nowhere, or the serial number of a card."""
    lines = [line.split(":") for line in (_listed("--list-secret-keys", *keys) if keys else ())]
    return {line[14] for line in lines if line[0] in ("sec", "ssb") and len(line) > 14 and line[4] in keys}


def _tries_left() -> int | None:
    shown = (line.split(":") for line in _listed("--card-status"))
    return next((int(line[1]) for line in shown if line[0] == "pinretry" and line[1].isdigit()), None)


def _listed(*words: str) -> list[str]:
    """What gpg lists for programs; nothing where it does not answer, since it only helps a message."""
    with suppress(DeadlinePassed, LocalFilesProblem):
        done = _gpg("--batch", "--with-colons", *words, seconds=_LOOK_SECONDS)
        return done.stdout.decode(errors="replace").splitlines()
    return []


def _number(card: str) -> str:
    """A card as gpg calls it when it speaks to people: manufacturer and serial number of an OpenPGP card."""
    return f"{card[16:20]} {card[20:28]}" if card.startswith("D27600012401") else card
