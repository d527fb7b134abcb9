"""The recovered key, at work in a private gpg home: it gives the session keys of messages.

Only this step needs the key. gpg is shown the recipients' packets and a first bit of each message, never
the whole of it, so every algorithm that gpg knows is served (RSA, ECDH, ElGamal; hidden recipients too).
"""

from __future__ import annotations

import re
from contextlib import suppress
from types import TracebackType
from typing import Self

from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError, Unsupported
from pipeline.core.secret import Secret
from pipeline.openpgp.format.armor import dearmor
from pipeline.openpgp.gnupg.driver import GnuPG, GnuPGRefused
from pipeline.openpgp.proofs.renewal import signed_anew
from pipeline.sources.backups.engine import SessionKey
from pipeline.sources.backups.message_header import MessageHeader


class SessionKeys:
    """Gives session keys; a context manager.

    Args:
        keypair: The complete transferable secret key, armored or binary.
        passphrase: What protects it.
        fingerprint: The key's.
        deadline: Bounds every call.

    Raises:
        ProgramMissing: On entry, when gpg is not installed.
        Unsupported: On entry, when it does not take the key.
    """

    def __init__(self, keypair: bytes, passphrase: Secret, fingerprint: str, deadline: Deadline) -> None:
        self._keypair = keypair
        self._passphrase = passphrase
        self._fingerprint = fingerprint
        self._deadline = deadline
        self._gpg = GnuPG(deadline)
        self._signed_anew = False

    def __enter__(self) -> Self:
        self._gpg.__enter__()
        try:
            self._import()
        except BaseException:
            self._gpg.__exit__(None, None, None)
            raise
        return self

    def _import(self) -> None:
        try:
            self._gpg.import_keys(dearmor(self._keypair), {self._fingerprint: True})
        except GnuPGRefused as refused:
            try:
                self._import_signed_anew()
            except OrgkeyError as error:
                raise Unsupported(
                    f"gpg does not take the key: {refused.message}; and {error.message}",
                    hint="nothing is wrong with the key or the backup because of that: restore the key, and "
                    "open the backup with a program that takes it, such as sq",
                ) from error

    def _import_signed_anew(self) -> None:
        """Let gpg have the key with self-signatures that it takes: not, for example, P-521 with SHA-256."""
        self._signed_anew = True
        self._gpg.__exit__(None, None, None)  # what gpg kept of the first attempt would be in the way
        self._gpg = GnuPG(self._deadline).__enter__()
        self._gpg.import_keys(signed_anew(self._keypair, self._passphrase), {self._fingerprint: True})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gpg.__exit__(kind, error, trace)

    def session_key(self, header: MessageHeader) -> SessionKey | None:
        """Get what a message is encrypted with.

        Args:
            header: The message's.

        Returns:
            ``None`` when it is not encrypted to this key.

        Raises:
            Unsupported: gpg tells the key in a form, or the message names it in one, that is not understood.
        """
        found = self._ask(header)
        if found is None and header.newer:
            raise Unsupported(
                "it names its recipients in the form of RFC 9580, which this gpg does not read",
                hint="open it with a program of RFC 9580, such as sq, after `orgkey restore`",
            )
        if found is None and not self._signed_anew:
            with suppress(OrgkeyError):  # gpg may have left out the very subkey that it is for
                self._import_signed_anew()
                found = self._ask(header)
        return found

    def _ask(self, header: MessageHeader) -> SessionKey | None:
        # gpg then fails on the data, which is only its beginning; its log would have the key in it.
        answer = self._gpg.call(
            "--logger-file", "/dev/null", "--show-session-key", "--decrypt",
            stdin=header.stub, passphrase=self._passphrase,
        )  # fmt: skip
        for line in answer.lines("SESSION_KEY"):
            # "9:HEX", or "9.2:HEX" where the data is authenticated by mode 2.
            match = re.fullmatch(r"(\d+)(?:\.\d+)?:((?:[0-9A-Fa-f]{2})+)", " ".join(line))
            if match is None:
                raise Unsupported(
                    "gpg tells its session key in a form that is not understood here",
                    hint="this is a defect: report it with the version of gpg",
                )
            return SessionKey(int(match[1]), Secret(bytes.fromhex(match[2])))
        return None
