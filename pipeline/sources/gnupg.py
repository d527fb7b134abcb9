"""An export out of a GnuPG keyring: for a key that an administrator already imported somewhere."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from pipeline.core import log
from pipeline.core.clock import Deadline
from pipeline.core.errors import LocalFilesProblem, UsageProblem, WrongPassphrase
from pipeline.core.secret import Secret, SecretSource
from pipeline.core.typed_text import oddity
from pipeline.sources.interface import LARGEST, STILL_A_KEY, Export, NoExport


class GnupgSource:
    """Has gpg export the pinned secret key.

    The keyring is the operator's own, and so is its agent; an agent that only runs because of this
    export is ended with it, since it would keep the passphrase.

    Args:
        fingerprint: The Org Key's, 40 hexadecimal digits. A keyring holds many keys: the pin chooses.
        passphrase: Asked once, for the key's passphrase; gpg protects its export with the same one.
        home: The keyring's directory; gpg's own choice without it.
        seconds: How long gpg may take.
        limit: Most bytes that the export may have.
    """

    kind = "gnupg"

    def __init__(
        self,
        fingerprint: str,
        passphrase: SecretSource,
        *,
        home: Path | None = None,
        seconds: float = 60.0,
        limit: int = LARGEST,
    ) -> None:
        self._fingerprint = fingerprint
        self._passphrase = passphrase
        self._home = home
        self._seconds = seconds
        self._limit = limit

    def fetch(self, deadline: Deadline) -> Export:
        """Run gpg; see :class:`pipeline.sources.interface.ExportSource`."""
        from pipeline.core import process

        gpg = process.find("gpg")
        if self._home is not None and not self._home.is_dir():
            raise LocalFilesProblem(
                f"there is no keyring at {self._home}",
                hint="correct source.path, the GNUPGHOME of that key",
            )
        passphrase = self._passphrase()
        if b"\n" in passphrase.reveal():
            raise UsageProblem(
                "gpg takes no passphrase with a line break in it",
                hint="export the key with another passphrase, and give the file",
            )
        agent_was_running = self._agent(deadline, "/bye")
        try:
            done = process.run(
                [
                    *(gpg, *self._where(), "--batch", "--no-tty", "--pinentry-mode", "loopback"),
                    *("--passphrase-fd", "0", "--status-fd", "2", "--export-secret-keys", self._fingerprint),
                ],
                stdin=passphrase.reveal() + b"\n",
                timeout=deadline.limit(self._seconds),
                env=_environment(),
                max_output=self._limit,
            )
        finally:
            if not agent_was_running:
                self._agent(deadline, "KILLAGENT", "/bye")
        # A part that could not be exported is skipped.
        if done.returncode != 0 or not done.stdout or b"ERROR export_keys" in done.stderr:
            raise self._failure(done.stderr, passphrase)
        return Export(done.stdout, f"the keyring {self._home or 'of this user'}")

    def finish(self, export: Export, note: str) -> tuple[str, ...]:
        """Leave the keyring as it is."""
        return (f"the key stays in {export.origin}: {STILL_A_KEY}",)

    def _where(self) -> tuple[str, ...]:
        return () if self._home is None else ("--homedir", str(self._home))

    def _agent(self, deadline: Deadline, *words: str) -> bool:
        """Speak to the keyring's agent, without starting one, and say whether one was there."""
        from pipeline.core import process

        program = shutil.which("gpg-connect-agent")
        if program is None:
            return True  # cannot tell: then it is not ours to end
        # Ending an agent is tidying up, and has to happen after the deadline too.
        seconds = min(10.0, max(1.0, deadline.left()))
        done = process.run(
            [program, *self._where(), "--no-autostart", *words],
            timeout=seconds,
            env=_environment(),
            max_output=4096,
        )
        # It ends with 0 either way.
        return b"no gpg-agent running" not in done.stderr

    def _failure(self, stderr: bytes, passphrase: Secret) -> Exception:
        status = stderr.decode(errors="replace")
        said = log.last_words(_without_status(stderr))
        # 11 is GPG_ERR_BAD_PASSPHRASE; the upper bits say which part of GnuPG reports it.
        # A user id stands among the words, too.
        numbers = [int(word) for word in status.split() if re.fullmatch(r"[0-9]{1,10}", word)]
        codes = [number & 0xFFFF for number in numbers if number > 0xFFFF]
        if 11 in codes or "bad passphrase" in status.lower():
            note = oddity(passphrase.reveal())
            return WrongPassphrase(
                f"gpg says that the passphrase does not open the secret key {self._fingerprint}",
                hint=f"give its passphrase{'; this one is odd: ' + note if note else ''}",
            )
        if "nothing exported" in status.lower():
            return NoExport(
                f"the keyring {self._home or 'of this user'} has no secret key {self._fingerprint}",
                hint="import the keypair there, or name another keyring in source.path",
            )
        return UsageProblem(
            f"gpg cannot export {self._fingerprint}" + (f": {said}" if said else ""),
            hint="try `gpg --export-secret-keys` by hand; a key on a card cannot be exported",
        )


def _without_status(stderr: bytes) -> bytes:
    return b"\n".join(line for line in stderr.splitlines() if not line.startswith(b"[GNUPG:]"))


def _environment() -> dict[str, str]:
    """What gpg needs to find its home and agent, with messages in English, since some are read."""
    from pipeline.core import environment

    kept = {name: value for name in ("GNUPGHOME", "HOME", "USER") if (value := os.environ.get(name))}
    return environment.clean_environment(kept)
