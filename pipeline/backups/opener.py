"""The recovered key, at work in a private gpg home: it gives the session keys of messages.

Only this step needs the key. gpg is shown the recipients' packets and a first bit of each message, never
the whole of it, so every algorithm that gpg knows is served (RSA, ECDH, ElGamal; hidden recipients too).
"""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Self

from pipeline.backups.engine import SessionKey
from pipeline.backups.head import Head
from pipeline.clock import Deadline
from pipeline.keys.armor import dearmor
from pipeline.keys.gnupg import GnuPG
from pipeline.secret import Secret


class Opener:
    """Gives session keys; a context manager.

    Args:
        keypair: The complete transferable secret key, armored or binary.
        passphrase: What protects it.
        fingerprint: The key's.
        deadline: Bounds every call.

    Raises:
        ProgramMissing: On entry, when gpg is not installed.
        GnuPGRefused: On entry, when it does not take the key.
    """

    def __init__(self, keypair: bytes, passphrase: Secret, fingerprint: str, deadline: Deadline) -> None:
        self._keypair = keypair
        self._passphrase = passphrase
        self._fingerprint = fingerprint
        self._gpg = GnuPG(deadline)

    def __enter__(self) -> Self:
        self._gpg.__enter__()
        try:
            self._gpg.import_keys(dearmor(self._keypair), {self._fingerprint: True})
        except BaseException:
            self._gpg.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gpg.__exit__(kind, error, trace)

    def session_key(self, head: Head) -> SessionKey | None:
        """Get what a message is encrypted with.

        Args:
            head: The message's.

        Returns:
            ``None`` when it is not encrypted to this key.
        """
        # gpg then fails on the data, which is only its beginning; its log would have the key in it.
        answer = self._gpg.call(
            "--logger-file", "/dev/null", "--show-session-key", "--decrypt",
            stdin=head.stub, passphrase=self._passphrase,
        )  # fmt: skip
        for (word,) in (line for line in answer.lines("SESSION_KEY") if len(line) == 1):
            algorithm, _, digits = word.partition(":")
            with suppress(ValueError):
                return SessionKey(int(algorithm), Secret(bytes.fromhex(digits)))
        return None
