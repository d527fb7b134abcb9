"""A ceremony at a terminal: people bring their shares, one at a time."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipeline.cli import shares
from pipeline.cli.output import counted, printable, spaced
from pipeline.core import files, log, passphrases
from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError, UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.core.text import shell_word
from pipeline.custody.shares.slip39 import WORDS, unknown
from pipeline.openpgp.gnupg import user as own_gpg
from pipeline.unseal import relay
from pipeline.unseal.ceremony import Ask, Brought, Gathering, Person

_MENU: Final = "[w]ords, [f]ile, [d]ecrypt here with gpg, [h]and over, [q]uit"


def at_terminal(deadline: Deadline) -> Ask | None:
    """How people are asked, where somebody is there: at the terminal, also with ``--quiet``.

    Args:
        deadline: Of the run; the people's own time does not count.
    """
    if not passphrases.interactive():
        return None

    def ask(gathering: Gathering) -> None:
        with deadline.paused(), _terminal() as terminal:
            _Ceremony(gathering, terminal).hold()
        deadline.renew()

    return ask


def question(text: str) -> str:
    """Ask a person at the terminal for one line that shows; nothing where the input has ended.

    Raises:
        UsageProblem: The terminal cannot be used.
    """
    with _terminal() as terminal:
        try:
            return terminal.line(printable(text), seen=True).decode(errors="surrogateescape").strip()
        except EOFError:
            return ""


class _Terminal:
    """Lines from the terminal itself, whatever standard input is; typed unseen unless a question says so.

    Echo is off for the whole ceremony, not for one prompt: the rest of a sheet that is pasted line by line
    must not appear when the program has already moved on.
    """

    def __init__(self, handle: int, seen: list[int | list[bytes | int]]) -> None:
        self._handle = handle
        self._seen = seen

    def line(self, question: str, *, seen: bool = False) -> bytes:
        """Ask for one line; what is typed shows only when ``seen``.

        Raises:
            EOFError: The person has ended the input.
        """
        if seen:  # before the question, since an answer to it must not be flushed away
            termios.tcsetattr(self._handle, termios.TCSAFLUSH, self._seen)
        try:
            sys.stderr.write(f"{question}: ")
            sys.stderr.flush()
            data = b""
            while not data.endswith(b"\n"):
                piece = os.read(self._handle, 4096)
                if not piece:
                    raise EOFError
                data += piece
            return data.rstrip(b"\r\n")
        finally:
            if seen:
                self.hide()
            else:
                sys.stderr.write("\n")

    def hide(self) -> None:
        """Show nothing of what is typed."""
        hidden = list(self._seen)
        assert isinstance(hidden[3], int)
        hidden[3] &= ~termios.ECHO
        termios.tcsetattr(self._handle, termios.TCSADRAIN, hidden)


@contextmanager
def _terminal() -> Iterator[_Terminal]:
    try:
        handle = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageProblem(
            f"the terminal cannot be used: {error.strerror or error}", hint="bring shares with --share FILE"
        ) from error
    try:
        seen = termios.tcgetattr(handle)
        terminal = _Terminal(handle, seen)
        terminal.hide()
        try:
            yield terminal
        finally:
            termios.tcsetattr(handle, termios.TCSAFLUSH, seen)  # what was pasted too much goes unseen, too
    finally:
        os.close(handle)


class _Ceremony:
    """One gathering at one terminal."""

    def __init__(self, gathering: Gathering, terminal: _Terminal) -> None:
        self._gathering = gathering
        self._terminal = terminal

    def hold(self) -> None:
        """Ask until there is enough, or somebody gives up."""
        self._introduce()
        while not self._gathering.complete:
            self._say("")
            self._missing()
            try:
                if self._step():
                    return
            except EOFError:
                return
            except WrongShare as error:
                self._say(f"not accepted: {error.message}")
                self._say(f"  {error.hint}")
            except OrgkeyError as error:
                self._say(f"{error.message}; {error.hint}")
        self._say("that is enough")

    def _step(self) -> bool:
        """Ask once, and do it; whether the ceremony ends before there is enough."""
        answer = self._unseen(_MENU)
        whole = answer.strip().lower()
        if whole in (b"q", b"quit"):
            return True
        if whole in (b"h", b"hand over"):
            return self._hand_over()
        letter, rest = (*answer.split(None, 1), b"", b"")[:2]  # the answer to the next question, perhaps
        choice, typed = letter.lower(), rest.strip().decode(errors="surrogateescape")
        if choice in (b"w", b"words"):
            self._typed(rest or self._unseen("words of the share"))
        elif choice in (b"f", b"file"):
            self._file(typed or self._seen("File"))
        elif choice in (b"d", b"decrypt"):
            self._decrypt(typed)
        elif rest:  # a share, pasted right here
            self._typed(answer)
        elif choice:
            self._say("this is not one of the answers; type one of the letters in brackets")
        return False

    def _introduce(self) -> None:
        gathering = self._gathering
        record = gathering.record
        self._say(f"Ceremony for {spaced(record.fingerprint)}")
        self._say(f"epoch {record.epoch}, custody path {gathering.path.name}")
        for reason in gathering.because:
            self._say(f"no machine opens it; {reason}")
        self._say(
            "Each share is checked when it arrives. What you type is not shown, and words are never kept."
        )

    def _missing(self) -> None:
        gathering = self._gathering
        for need in gathering.needs:
            self._say(f"holder {need.holder}: {gathering.count(need)} of {need.threshold} needed are there")
        for number, person in gathering.numbered.items():
            self._say(f"  {number}. {_called(person)}")

    def _take(self, shares: list[Brought]) -> None:
        for item in shares:
            accepted = self._gathering.add(item.words, item.what)
            state = "was here already" if accepted.again else "accepted"
            self._say(f"{state}: {_called(accepted.person)}")

    def _typed(self, text: bytes) -> None:
        """Take a share that is typed or pasted, over any number of lines.

        Raises:
            WrongShare: A word is not in the list, whatever would come after it.
        """
        while 0 < len(words := b" ".join(shares.split(text)).split()) < WORDS:
            if wrong := unknown([word.decode(errors="replace") for word in words]):
                raise WrongShare(wrong, hint="type the share again, from its first word")
            more = self._unseen(f"{len(words)} of {WORDS} words; more, or an empty line")
            if not more.strip():
                break
            text += b"\n" + more
        what = "the share that was typed"
        found = [Brought(log.redact(Secret(share)), what) for share in shares.split(text)]
        if not found:
            self._say("nothing was typed")
        self._take(found)

    def _file(self, place: str) -> None:
        if place:
            self._take(shares.read_one(place, Deadline(own_gpg.SECONDS)))

    def _decrypt(self, number: str) -> None:
        """Open a custodian's share from the record, with that custodian's key at this machine."""
        people = [person for person in self._gathering.absent if person.kind == "openpgp"]
        if not people:
            raise UsageProblem("nobody's share can be decrypted here", hint="type the words instead")
        number = number or self._seen("Whose (the number above)")
        person = self._gathering.numbered.get(int(number)) if number.isdecimal() else None
        if person not in people or person is None:
            raise UsageProblem(
                "this number is not a custodian of the list", hint="give the number before the name"
            )
        what = f"the share of {person.name}"
        data = self._gathering.record.members[person.share.member]
        self._take([Brought(own_gpg.decrypt(data, what, Deadline(own_gpg.SECONDS)), what)])

    def _hand_over(self) -> bool:
        """Write what was collected for the next operator, encrypted; the ceremony ends here."""
        if not self._gathering.shares:
            raise UsageProblem("there is no share to hand over yet", hint="the next operator can just begin")
        certificate = relay.read_certificate(self._path("Certificate file of the next operator"))
        self._say(f"next operator: {printable(certificate.name)}")
        self._say(f"fingerprint:   {spaced(certificate.fingerprint)}")
        if self._seen("Has that operator confirmed this fingerprint? [y/N]").lower() not in ("y", "yes"):
            return False
        path = self._path("New file")
        files.write_new(path, relay.encrypt(self._gathering.shares, certificate))
        self._say(
            f"{path} holds {counted(len(self._gathering.shares), 'share')}, encrypted to the next operator,"
        )
        self._say(f"who goes on with: --via {self._gathering.path.name} --share {shell_word(path)}")
        return True

    def _unseen(self, question: str) -> bytes:
        return self._terminal.line(question)

    def _seen(self, question: str) -> str:
        return self._terminal.line(question, seen=True).decode(errors="surrogateescape").strip()

    def _path(self, question: str) -> Path:
        return files.expanded(Path(self._seen(question)))  # no shell has seen it

    def _say(self, line: str) -> None:
        # A ceremony is a conversation: it is shown even with --quiet.
        sys.stderr.write(printable(log.without_logins(line)) + "\n")
        sys.stderr.flush()


def _called(person: Person) -> str:
    return person.name if person.name == person.share.label else f"{person.name} ({person.share.label})"
