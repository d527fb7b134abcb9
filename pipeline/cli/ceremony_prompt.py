"""A ceremony at a terminal: people bring their shares, one at a time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from pipeline.cli.output import Output, printable, spaced
from pipeline.errors import OrgkeyError, UsageProblem, WrongShare

if TYPE_CHECKING:
    from pipeline.ceremony import Ask, Gathering, Person
    from pipeline.clock import Deadline
    from pipeline.secret import Secret

_MENU: Final = "[w]ords, [f]ile, [d]ecrypt here with gpg, [h]and over, [q]uit"


def at_terminal(out: Output, deadline: Deadline) -> Ask | None:
    """How people are asked, where somebody is there.

    Args:
        out: Where the ceremony speaks.
        deadline: Of the run; the people's own time does not count.
    """
    from pipeline import inputs

    if not inputs.interactive():
        return None

    def ask(gathering: Gathering) -> None:
        with deadline.paused():
            _Ceremony(out, gathering).hold()

    return ask


class _Ceremony:
    """One gathering at one terminal."""

    def __init__(self, out: Output, gathering: Gathering) -> None:
        self._out = out
        self._gathering = gathering

    def hold(self) -> None:
        """Ask until there is enough, or somebody gives up."""
        self._introduce()
        while not self._gathering.complete:
            self._say("")
            self._missing()
            choice = self._ask(_MENU).lower()[:1]
            try:
                if choice == "q":
                    return
                if choice == "h":
                    if self._hand_over():
                        return
                elif choice == "w":
                    self._take([self._typed()], "the share that was typed")
                elif choice == "f":
                    self._file()
                elif choice == "d":
                    self._decrypt()
            except WrongShare as error:
                self._say(f"not accepted: {error.message}")
                self._say(f"  {error.hint}")
            except OrgkeyError as error:
                self._say(f"{error.message}; {error.hint}")
        self._say("that is enough")

    def _introduce(self) -> None:
        gathering = self._gathering
        record = gathering.record
        self._say(f"Ceremony for {spaced(record.fingerprint)}")
        self._say(f"epoch {record.epoch}, custody path {gathering.path.name}")
        self._say("Each share is checked when it arrives. Words are never shown and never kept.")

    def _missing(self) -> None:
        gathering = self._gathering
        for need in gathering.needs:
            self._say(f"holder {need.holder}: {gathering.count(need)} of {need.threshold} needed are there")
        for number, person in enumerate(gathering.absent, 1):
            self._say(f"  {number}. {_called(person)}")

    def _take(self, shares: list[Secret], what: str) -> None:
        for words in shares:
            accepted = self._gathering.add(words, what)
            state = "is here already" if accepted.again else "accepted"
            self._say(f"{state}: {_called(accepted.person)}")

    def _typed(self) -> Secret:
        from pipeline import inputs, logs
        from pipeline.cli import shares
        from pipeline.secret import Secret

        typed = inputs.from_options("words of the share", option_names="--share")()
        found = shares.split(typed.reveal())
        return logs.redact(Secret(found[0])) if found else typed

    def _file(self) -> None:
        from pipeline.cli import shares
        from pipeline.clock import Deadline
        from pipeline.keys import own_gpg

        place = self._ask("File")
        if place:
            self._take(shares.read_one(place, Deadline(own_gpg.SECONDS)), f"the share in {place}")

    def _decrypt(self) -> None:
        """Open a custodian's share from the record, with that custodian's key at this machine."""
        from pipeline.clock import Deadline
        from pipeline.keys import own_gpg

        people = [person for person in self._gathering.absent if person.kind == "openpgp"]
        if not people:
            raise UsageProblem("nobody's share can be decrypted here", hint="type the words instead")
        names = self._gathering.absent
        choice = self._ask("Whose (the number above)")
        if (
            not choice.isdecimal()
            or not 1 <= int(choice) <= len(names)
            or names[int(choice) - 1] not in people
        ):
            raise UsageProblem("there is no such custodian", hint="give the number before the name")
        person = names[int(choice) - 1]
        what = f"the share of {person.name}"
        data = self._gathering.record.members[person.share.member]
        self._take([own_gpg.decrypt(data, what, Deadline(own_gpg.SECONDS))], what)

    def _hand_over(self) -> bool:
        """Write what was collected for the next operator, encrypted; the ceremony ends here."""
        from pipeline import files, handover

        if not self._gathering.shares:
            raise UsageProblem("there is no share to hand over yet", hint="the next operator can just begin")
        certificate = handover.read_certificate(Path(self._ask("Certificate file of the next operator")))
        self._say(f"next operator: {printable(certificate.name)}")
        self._say(f"fingerprint:   {spaced(certificate.fingerprint)}")
        if not typer.confirm("Has that operator confirmed this fingerprint?", err=True):
            return False
        path = Path(self._ask("New file"))
        files.write_new(path, handover.encrypt(self._gathering.shares, certificate))
        self._say(f"{path} holds {len(self._gathering.shares)} share(s), encrypted to the next operator,")
        self._say(f"who goes on with: --via {self._gathering.path.name} --share {path}")
        return True

    def _ask(self, question: str) -> str:
        return str(typer.prompt(question, default="", show_default=False, err=True)).strip()

    def _say(self, line: str) -> None:
        # A ceremony is a conversation: it is shown even with --quiet.
        sys.stderr.write("".join(char if char.isprintable() else "?" for char in line) + "\n")
        sys.stderr.flush()


def _called(person: Person) -> str:
    return person.name if person.name == person.share.label else f"{person.name} ({person.share.label})"
