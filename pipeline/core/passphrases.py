"""Where passphrases come from: a file, an inherited descriptor, a command, or a person at a terminal.

Never an argument or an environment value, which other processes can read.
"""

from __future__ import annotations

import getpass
import logging
import os
import select
import shlex
import stat
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.core import files, log, typed_text
from pipeline.core.errors import DeadlinePassed, LocalFilesProblem, UsageProblem
from pipeline.core.secret import Secret, SecretSource
from pipeline.core.text import shell_word

LARGEST: Final = 64 * 1024  # bytes; a passphrase is shorter, so this is a wrong file
SECONDS: Final = 60.0  # for a pipe to deliver, and for a command to end
ATTEMPTS: Final = 3  # at typing the same passphrase twice

_log = logging.getLogger(__name__)


def from_options(
    prompt: str,
    *,
    file: Path | None = None,
    fd: int | None = None,
    command: str | Sequence[str] | None = None,
    confirm: bool = False,
    new: bool = False,
    option_names: str,
    seconds: float = SECONDS,
) -> SecretSource:
    """Choose how a secret will be read; nothing is read yet.

    Args:
        prompt: What a person is asked for, for example ``passphrase of the export``.
        file: A file or pipe that holds it; exactly one trailing newline is stripped.
        fd: An inherited descriptor; as above, and it can be read once.
        command: A command that prints it, as words or as one line that is split like a shell would
            (no shell runs).
        confirm: Whether a person types it twice.
        new: Whether it is a passphrase that is only being chosen: one that nobody can type is refused.
        option_names: How the options are called, for messages: ``--export-passphrase-file/-fd/-command``.
        seconds: How long a pipe or command may take.

    Returns:
        A function that reads the secret; every problem with it is raised when it is called.

    Raises:
        UsageProblem: More than one way is given.
    """
    if sum(way is not None for way in (file, fd, command)) > 1:
        raise UsageProblem(f"only one of {option_names} can be given", hint="leave the others away")
    if file is not None:
        return lambda: _from_file(file, seconds, new)
    if fd is not None:
        return lambda: _from_descriptor(fd, seconds, new)
    if command is not None:
        words = _words(command, option_names)
        return lambda: _from_command(words, seconds, new)
    return Typed(prompt, confirm, new, option_names)


def _words(command: str | Sequence[str], option_names: str) -> list[str]:
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError:  # its text may quote the command
        raise UsageProblem(
            f"the command of {option_names} has a quote without its end", hint="close it, or escape it"
        ) from None
    if not words:
        raise UsageProblem(f"the command of {option_names} is empty", hint="name a program")
    return words


class Once:
    """Reads a source at most once, however often it is asked; for pipes and people.

    The secret lives as long as this does: keep it in a local name.

    Args:
        source: Where the secret comes from.
    """

    def __init__(self, source: SecretSource) -> None:
        self._source = source
        self._read: list[Secret] = []
        self.typed = isinstance(source, Typed)

    def __call__(self) -> Secret:
        """The secret."""
        if not self._read:
            self._read.append(self._source())
        return self._read[0]

    def forget(self) -> None:
        """Have the next call ask again: what was typed was wrong."""
        self._read.clear()


def early(source: SecretSource) -> SecretSource:
    """Read now what nobody types: a file that cannot be used is told before people bring their shares."""
    read = Once(source)
    if not read.typed:
        read()
    return read


def interactive() -> bool:
    """Whether a person can be asked: a terminal is open, and this program was started from it."""
    if not any(stream is not None and stream.isatty() for stream in (sys.__stdin__, sys.__stderr__)):
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def answerable() -> bool:
    """Whether a person can be asked what is answered on standard input, as a passphrase is not."""
    return interactive() and sys.stdin is not None and sys.stdin.isatty()


def standard_input(limit: int, what: str) -> bytes:
    """Read what was piped in.

    Args:
        limit: How many bytes are read at most.
        what: What is expected there, for errors.

    Raises:
        LocalFilesProblem: It is closed, a terminal, or cannot be read.
    """
    if sys.stdin is None or sys.stdin.isatty():
        state = "closed" if sys.stdin is None else "a terminal"
        raise LocalFilesProblem(
            f"standard input is {state}, {what} cannot be read from it", hint="pipe it in, or name a file"
        )
    with files.os_errors("cannot read standard input", hint="pipe it in, or name a file"):
        return sys.stdin.buffer.read(limit)


def _finish(value: bytes, origin: str, new: bool) -> Secret:
    """Strip one newline, keep it out of the logs, mention what is odd."""
    secret = log.redact(Secret(value.removesuffix(b"\n")))
    if not len(secret):
        raise UsageProblem(f"{origin} gave no passphrase, it is empty", hint="check what it contains")
    for reading in typed_text.readings(secret.reveal())[1:]:
        log.redact(Secret(reading))
    if new:
        if reason := typed_text.unfit(secret.reveal()):
            raise UsageProblem(
                f"the passphrase from {origin} cannot be typed: {reason}",
                hint="choose one line of text, in UTF-8; nothing was written",
            )
        if note := _weak(secret):
            _log.warning("the passphrase from %s %s", origin, note)
    if note := typed_text.oddity(secret.reveal()):
        _log.warning("the passphrase from %s is used as it stands, but %s", origin, note)
    return secret


def _weak(secret: Secret) -> str | None:
    """What is said of a new passphrase that protects nothing."""
    length = len(secret.reveal().decode(errors="replace"))
    if length >= typed_text.SHORT:
        return None
    return f"has {length} characters: whoever gets the file can guess it"


def _from_file(path: Path, seconds: float, new: bool) -> Secret:
    origin = f"the file {path}"
    with files.os_errors(f"cannot read {origin}"):
        # O_NONBLOCK: opening a named pipe without a writer would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        facts = os.fstat(handle)
        if stat.S_ISREG(facts.st_mode) and facts.st_mode & _others(path):
            _log.warning("%s can be read by others; chmod 600 %s", origin, shell_word(path))
        return _finish(_drain(handle, origin, seconds), origin, new)
    finally:
        os.close(handle)


def _others(path: Path) -> int:
    """The permission bits that let others in.

    The access list of systemd's credentials, and the group that Kubernetes gives a volume, show as a right
    of the group to read; only this service is in it.
    """
    handed = os.environ.get("CREDENTIALS_DIRECTORY")
    return 0o037 if handed and path.is_relative_to(handed) else 0o077


def _from_descriptor(fd: int, seconds: float, new: bool) -> Secret:
    origin = f"descriptor {fd}"
    if fd < 0:
        raise UsageProblem(f"{origin} is not a descriptor", hint="give a number from 0 up")
    return _finish(_drain(fd, origin, seconds), origin, new)


def _drain(handle: int, origin: str, seconds: float) -> bytes:
    """Read to the end, bounded in size and time."""
    data = b""
    ends = time.monotonic() + seconds
    with files.os_errors(
        f"cannot read {origin}", hint="check that it is open for reading and not a directory"
    ):
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        while len(data) <= LARGEST:
            if not poller.poll(max(0.0, ends - time.monotonic()) * 1000):
                raise DeadlinePassed(
                    f"{origin} did not deliver a passphrase within {seconds:g} s",
                    hint="check that something writes to it and then closes it",
                )
            piece = os.read(handle, LARGEST + 1 - len(data))
            if not piece:
                return data
            data += piece
    raise UsageProblem(
        f"{origin} holds more than {LARGEST} bytes, that is not a passphrase", hint="check which file this is"
    )


def _from_command(words: Sequence[str], seconds: float, new: bool) -> Secret:
    from pipeline.core import environment, process

    origin = f"the command {words[0]}"
    try:
        done = process.run(
            words, timeout=seconds, env=environment.operators_environment(), max_output=LARGEST
        )
    except DeadlinePassed as error:
        raise DeadlinePassed(
            f"{origin} gave no passphrase within {seconds:g} s",
            hint="run it by hand: it must neither ask questions nor wait",
        ) from error
    if done.returncode != 0:
        raise UsageProblem(
            f"{origin} ended with code {done.returncode} and no passphrase",
            hint=log.last_words(done.stderr) or "run it by hand to see why",
        )
    return _finish(done.stdout, origin, new)


@dataclass(frozen=True)
class Typed:
    """A secret that a person types.

    Attributes:
        prompt: What is asked for.
        confirm: Whether it is typed twice.
        new: Whether it is only being chosen.
        option_names: How the options are called that give it otherwise.
    """

    prompt: str
    confirm: bool
    new: bool
    option_names: str

    def __call__(self) -> Secret:
        """Ask for it.

        Raises:
            UsageProblem: This is not running in a terminal, or nothing usable was typed.
        """
        if not interactive():
            raise UsageProblem(
                f"the {self.prompt} is needed, and this is not running in a terminal",
                hint=f"give {self.option_names}",
            )
        empty = 0  # slips do not count: people may have brought their shares for this one answer
        while empty < ATTEMPTS:
            typed = _ask(f"{self.prompt}: ")
            # As the terminal sent it; what is not UTF-8 comes back as the same bytes.
            secret = log.redact(Secret(typed.encode(errors="surrogateescape")))
            if not typed:
                empty += 1
                sys.stderr.write("nothing was typed\n")
            elif self.new and (reason := typed_text.unfit(secret.reveal())):
                sys.stderr.write(f"choose another one: {reason}\n")
            elif self.confirm and _ask(f"{self.prompt}, again: ") != typed:
                sys.stderr.write("the two differ\n")
            else:
                if self.new and (note := _weak(secret)):
                    sys.stderr.write(f"warning: this passphrase {note}\n")
                return secret
        raise UsageProblem(
            f"no {self.prompt} after {ATTEMPTS} attempts", hint=f"run it again, or give {self.option_names}"
        )


def _ask(prompt: str) -> str:
    try:
        with warnings.catch_warnings():
            # getpass falls back to echoing what is typed, with a warning: rather not at all.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(prompt)
    except EOFError:
        return ""
    except (getpass.GetPassWarning, UnicodeDecodeError) as error:
        raise UsageProblem(
            "this terminal cannot take a passphrase without showing it, or not in UTF-8",
            hint="give it by file, descriptor or command",
        ) from error
