"""GnuPG, driven for one purpose in a home of its own.

Every call is a batch call with a passphrase from a pipe; what it says is read from its status lines
(GnuPG's doc/DETAILS), its log goes to a file in the home.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from pipeline.core import environment, process
from pipeline.core.clock import Deadline
from pipeline.core.errors import ProofFailed
from pipeline.core.host_limits import EXHAUSTION, no_room, own_trouble, require_room
from pipeline.core.secret import Secret
from pipeline.openpgp.gnupg.home import WHAT, Home

CALL_SECONDS: Final = 60.0
"""The longest that one call of gpg may take."""

_EXHAUSTED: Final = (*EXHAUSTION, "out of core", "Out of memory")
"""How gpg and its agent end a line when the host has run out of something."""
_LEAST_ROOM: Final = 64 << 10

# libgpg-error's codes, the low 16 bits of what status lines carry.
BAD_PASSPHRASE: Final = 11
CORRUPTED_PROTECTION: Final = 106
_SECRET_IMPORTED: Final = 16
_CHATTER: Final = re.compile(
    r"imported|processed|new \w+( \w+)?:|unchanged|not changed|keys read|w/o user IDs|may be caused by|"
    r"import from|faked"
)
"""Lines of gpg's log that count or comment; the reason is another."""
_VALID_STATES: Final = {
    "GOODSIG": "good",
    "EXPSIG": "signature expired",
    "EXPKEYSIG": "key expired",
    "REVKEYSIG": "key revoked",
}


class GnuPGRefused(ProofFailed):
    """gpg did not do what it was asked.

    Attributes:
        bad_passphrase: Whether a wrong passphrase was the reason.
        corrupted: Whether its agent cannot read what it has stored itself.
    """

    def __init__(
        self, message: str, *, hint: str, bad_passphrase: bool = False, corrupted: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.bad_passphrase = bad_passphrase
        self.corrupted = corrupted


@dataclass(frozen=True)
class GpgResult:
    """What one call of gpg said.

    Attributes:
        returncode: Its exit status.
        output: Its standard output.
        status: Its status lines, each split into keyword and arguments.
    """

    returncode: int
    output: bytes
    status: tuple[tuple[str, ...], ...]

    def lines(self, keyword: str) -> list[tuple[str, ...]]:
        """The arguments of every status line of that keyword."""
        return [line[1:] for line in self.status if line[0] == keyword]


@dataclass(frozen=True)
class Verification:
    """What gpg says about one detached signature whose mathematics hold.

    Attributes:
        state: ``good``, ``key expired``, ``key revoked`` or ``signature expired``.
        primary: Fingerprint of the primary key of the key or subkey that made it.
    """

    state: str
    primary: str


class GnuPG(Home):
    """gpg in a fresh home of its own; a context manager that ends its agent and removes the home.

    Args:
        deadline: When to stop.
        moment: The time that gpg believes in, unless a call says otherwise; now when ``None``.
        cancellation: Lets another thread end the call in flight.

    Raises:
        ProgramMissing: On entry, when gpg is not installed.
    """

    def __init__(
        self,
        deadline: Deadline,
        *,
        moment: datetime | None = None,
        cancellation: process.Cancellation | None = None,
    ) -> None:
        super().__init__()
        self.deadline = deadline
        self.moment = moment
        self.cancellation = cancellation

    def __enter__(self) -> Self:
        process.find("gpg")
        return super().__enter__()

    @property
    def home(self) -> Path:
        """The GNUPGHOME."""
        return self.path

    def call(
        self, *arguments: str, stdin: bytes = b"", passphrase: Secret | None = None, real_time: bool = False
    ) -> GpgResult:
        """Run gpg once, whatever its exit status.

        Args:
            arguments: Options and command, after the standing ones.
            stdin: What gpg reads.
            passphrase: What it gives its agent.
            real_time: Ignore ``moment``.

        Raises:
            ProgramMissing, DeadlinePassed, Interrupted: As :func:`pipeline.core.process.run`.
        """
        options = ["--homedir", str(self.home), "--batch", "--no-tty", "--yes", "--status-fd", "2"]
        options += ["--logger-file", str(self.home / "log"), "--pinentry-mode", "loopback"]
        if self.moment is not None and not real_time:
            options += ["--faked-system-time", self.moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S!")]
        (self.home / "log").unlink(missing_ok=True)
        with own_trouble(WHAT), ExitStack() as stack:
            inherited: Sequence[int] = ()
            if passphrase is not None:
                inherited = (stack.enter_context(process.secret_fd(passphrase)),)
                options += ["--passphrase-fd", str(inherited[0])]
            done = process.run(
                ["gpg", *options, *arguments],
                stdin=stdin,
                timeout=self.deadline.limit(CALL_SECONDS),
                env=environment.clean_environment({"GNUPGHOME": str(self.home)}),
                pass_fds=inherited,
                cancellation=self.cancellation,
            )
        if done.returncode:
            self._require_host()
        return GpgResult(done.returncode, done.stdout, status_lines(done.stderr))

    def _require_host(self) -> None:
        """Tell a host without room, memory or descriptors from what gpg has to say about a key.

        Raises:
            LocalFilesProblem: The host is to blame.
        """
        said = [line.removesuffix(".") for line in self._log()]
        if any(line.endswith(_EXHAUSTED) for line in said):
            raise no_room(WHAT, next(line for line in said if line.endswith(_EXHAUSTED)))
        require_room(self.home, _LEAST_ROOM, WHAT)

    def demand(self, what: str, answer: GpgResult) -> GpgResult:
        """Insist that a call, the last one, did what it was for.

        Args:
            what: What that was, for the message.
            answer: What came of it.

        Raises:
            GnuPGRefused: It did not; with the last words of gpg's log.
        """
        if answer.returncode == 0:
            return answer
        told = [line[-1] for word in ("FAILURE", "ERROR") for line in answer.lines(word) if line]
        codes = {int(code) & 0xFFFF for code in told if code.isdigit()}
        bad = BAD_PASSPHRASE in codes
        reason = "bad passphrase" if bad else self._last_words(answer.returncode)
        raise GnuPGRefused(
            f"gpg cannot {what}: {reason}",
            hint="see what gpg itself says about the key: gpg --show-keys --with-subkey-fingerprint",
            bad_passphrase=bad,
            corrupted=CORRUPTED_PROTECTION in codes,
        )

    def _last_words(self, status: int) -> str:
        if status < 0:
            return f"it was ended by signal {-status}"
        told = [line for line in self._log() if line and not _CHATTER.search(line)]
        return told[-1] if told else "it does not say why"

    def _log(self) -> list[str]:
        try:
            lines = (self.home / "log").read_text(errors="replace").split("\n")
        except OSError:
            return []
        # Each line begins with date, time and process.
        return [line.partition("] ")[2].strip() for line in lines]

    def import_keys(self, data: bytes, expected: Mapping[str, bool]) -> None:
        """Import keys, and make sure that it is exactly these.

        gpg's exit status is not enough: a truncated key exits 2 but reports a secret key, a primary
        key without its secret exits 0.

        Args:
            data: One or several transferable keys, binary.
            expected: Fingerprint of each primary key (upper case), and whether its secret comes along.

        Raises:
            GnuPGRefused: gpg took less, more or other keys.
        """
        answer = self.demand("import the key", self.call("--import", stdin=data))
        taken: dict[str, int] = {}
        for flags, fingerprint in answer.lines("IMPORT_OK"):
            taken[fingerprint] = taken.get(fingerprint, 0) | int(flags)
        found = {fingerprint: bool(flags & _SECRET_IMPORTED) for fingerprint, flags in taken.items()}
        if found != dict(expected):
            names = [f"{name}{' (secret)' if own else ''}" for name, own in sorted(found.items())]
            raise GnuPGRefused(
                f"gpg imported other keys than it was given: {', '.join(names) or 'none'}",
                hint="the record may hold another key than its public part says",
            )

    def sign(self, data: bytes, maker: str, passphrase: Secret, *, digest: str = "SHA512") -> bytes:
        """Make a detached signature.

        Args:
            data: What is signed.
            maker: A fingerprint; with an exclamation mark behind it, that very key or subkey.
            passphrase: Its passphrase.
            digest: The digest's name. It is always given: gpg's own choice is SHA-1 for old DSA keys.

        Raises:
            GnuPGRefused: gpg did not make one.
        """
        options = ("--digest-algo", digest, "--local-user", maker)
        return self.demand(
            "sign", self.call(*options, "--detach-sign", stdin=data, passphrase=passphrase)
        ).output

    def certify(
        self, user: str, user_id: str, fingerprint: str, passphrase: Secret, *, digest: str = "SHA512"
    ) -> bytes:
        """Certify one user id of another key.

        Args:
            user: The other key's fingerprint; it was imported.
            user_id: The user id, whole.
            fingerprint: The key that certifies.
            passphrase: Its passphrase.
            digest: As for :meth:`sign`.

        Returns:
            The other key with the certification, binary.

        Raises:
            GnuPGRefused: gpg did not make one.
        """
        options = ("--local-user", fingerprint, "--cert-digest-algo", digest)
        self.demand("certify", self.call(*options, "--quick-sign-key", user, user_id, passphrase=passphrase))
        return self.demand("export", self.call("--export", user)).output

    def encrypt(self, data: bytes, *recipients: str, armor: bool = False) -> bytes:
        """Encrypt to keys, always with AES-256: some keys prefer ciphers that are not to last.

        Args:
            data: What is encrypted.
            recipients: Fingerprints; with an exclamation mark behind one, that very subkey.
            armor: Whether the message is armored.

        Raises:
            GnuPGRefused: gpg cannot use a key for that.
        """
        options = [*(["--armor"] if armor else []), "--cipher-algo", "AES256"]
        options += [word for recipient in recipients for word in ("--recipient", recipient)]
        return self.demand("encrypt", self.call(*options, "--encrypt", stdin=data)).output

    def decrypt(self, message: bytes, passphrase: Secret) -> bytes:
        """Decrypt a message.

        Raises:
            GnuPGRefused: gpg did not decrypt it, or its integrity protection does not hold.
        """
        answer = self.demand("decrypt", self.call("--decrypt", stdin=message, passphrase=passphrase))
        if not answer.lines("DECRYPTION_OKAY"):
            raise GnuPGRefused(
                "gpg cannot decrypt: the message is not protected",
                hint="encrypt it again with a current program",
            )
        return answer.output

    def verify(self, data: bytes, signature: bytes) -> Verification | None:
        """Check one detached signature, and judge the key as of now, not as of ``moment``.

        Args:
            data: What was signed.
            signature: The signature, exactly one.

        Returns:
            ``None`` when there is not exactly one signature, or it is not over this data.

        Raises:
            GnuPGRefused: gpg cannot tell: it does not take the key, the algorithm or the form.
        """
        path = self.home / "signature"
        with own_trouble(WHAT):
            path.write_bytes(signature)
        answer = self.call("--verify", str(path), "-", stdin=data, real_time=True)
        if answer.lines("BADSIG") or len(answer.lines("NEWSIG")) != 1:
            return None
        valid = answer.lines("VALIDSIG")
        states = [state for keyword, state in _VALID_STATES.items() if answer.lines(keyword)]
        if len(valid) != 1 or len(states) != 1:
            self.demand("check the signature", replace(answer, returncode=answer.returncode or 2))
        if states[0] != "signature expired":
            self.demand("check the signature", answer)
        return Verification(states[0], valid[0][9])

    def certifications(self, user: str) -> dict[tuple[str, str], set[str]]:
        """Check every signature on another key's user ids, without gpg's cache of earlier results.

        Returns:
            By user id, and the key id (16 hexadecimal digits) of who made it: ``!`` for a signature whose
            mathematics hold, ``-`` for one whose do not, something else where gpg cannot tell.

        Raises:
            GnuPGRefused: There is no such key.
        """
        listed = self.call("--no-sig-cache", "--with-colons", "--check-sigs", user)
        answer = self.demand("check the certification", listed)
        found: dict[tuple[str, str], set[str]] = {}
        user_id = ""
        for line in answer.output.decode(errors="replace").split("\n"):
            fields = line.split(":")
            if fields[0] in {"pub", "uid", "sub", "uat"}:
                user_id = fields[9] if fields[0] == "uid" else ""
            elif fields[0] == "sig" and user_id:
                found.setdefault((user_id, fields[4]), set()).add(fields[1])
        return found


def status_lines(text: bytes) -> tuple[tuple[str, ...], ...]:
    """Cut gpg's status lines at line feeds and single spaces, the only ones that are gpg's own.

    The rest of a line may be foreign text, a user id for example, with any other space or line end.
    """
    mark = b"[GNUPG:] "
    return tuple(
        tuple(line.removeprefix(mark).decode(errors="replace").split(" "))
        for line in text.split(b"\n")
        if line.startswith(mark) and len(line) > len(mark)
    )
