"""Play the story of a custodian with smart cards, and print it. Run: ``python -m tools.card``.

Everything is real but the cards, which are software: gpg, its agent, scdaemon and pinentry, pcscd, OpenBao
and versitygw, and the commands as they are installed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from pipeline.devstack.programs import cache_root
from tools.card.reader import Card, Reader, build, require_programs
from tools.card.terminal import CANCEL, Answer, Terminal

ASKED: Final = "PIN ___"
"""How pinentry asks."""
PIN: Final = "123456"
ADMIN_PIN: Final = "12345678"
"""The PINs that every OpenPGP card begins with."""
_FOREIGN: Final = ("VAULT_", "BAO_", "AWS_", "ORGKEY_", "GNUPGHOME", "GPG_")


def step(text: str) -> None:
    """Begin a part of the transcript."""
    print(f"\n== {text}", flush=True)


class Story:
    """What happens, in its order.

    Args:
        work: A private directory with a short name.
        reader: The card reader that everybody uses.
        cards: Alice's two cards.
    """

    def __init__(self, work: Path, reader: Reader, cards: tuple[Card, Card]) -> None:
        self._work = work
        self._reader = reader
        self._cards = cards
        self.machines: list[Terminal] = []
        self._operator = self._machine("operator")
        self._alice = self._machine("alice")
        self._others = [self._machine("bob"), self._machine("carol")]

    def _machine(self, name: str) -> Terminal:
        """A person's machine, with a gpg of its own."""
        place = self._work / name
        (place / "gnupg").mkdir(mode=0o700, parents=True)
        (place / "gnupg" / "scdaemon.conf").write_text("disable-ccid\n")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
        own = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(place),
            "GNUPGHOME": str(place / "gnupg"),
            "LC_ALL": "C.UTF-8",
            "ORGKEY_STACK_CACHE": str(cache_root()),
            "ORGKEY_STACK_DIR": str(self._work / "stack"),
            "ORGKEY_STATE_DIR": str(self._work / "state"),
            "ORGKEY_CONFIG": str(self._work / "orgkey.toml"),
            "ORGKEY_LAB_DIR": str(self._work / "server"),
        }
        self.machines.append(
            Terminal(name, self._work, {**kept, **own, **self._reader.environment}, str(self._work))
        )
        return self.machines[-1]

    def end(self) -> None:
        """End everything that the machines run."""
        self._operator.quiet("orgkey", "stack", "down", "--wipe")
        for machine in self.machines:
            machine.quiet("gpgconf", "--kill", "all")
        for card in self._cards:
            card.end()

    # -- beforehand ----------------------------------------------------------------------------------

    def make_keys(self) -> None:
        """Alice has an encryption subkey on each of two cards, Bob and Carol have files."""
        step("Alice's key has two encryption subkeys, and each moves onto a card")
        gpg = partial(self._alice.quiet, "gpg", "--batch", "--passphrase", "")
        gpg("--quick-gen-key", "Alice <alice@example.com>", "ed25519", "cert", "never")
        self._fingerprint = self._listed(self._alice, "fpr")[0]
        for _ in self._cards:
            gpg("--quick-add-key", self._fingerprint, "cv25519", "encr", "never")
        self._subkeys = self._listed(self._alice, "fpr")[1:]
        folder = self._work / "certificates"
        folder.mkdir()
        (folder / "alice.asc").write_bytes(gpg("--armor", "--export", self._fingerprint))
        (self._work / "admin-pin").write_text(ADMIN_PIN)
        for number, card in enumerate(self._cards, 1):
            card.insert(self._reader)
            words = ["--pinentry-mode", "loopback", "--passphrase-file", "admin-pin", "--command-fd", "0"]
            dialogue = f"key {number}\nkeytocard\n2\nsave\n".encode()
            told = ["--status-fd", "1", "--no-tty", "--edit-key", self._fingerprint]
            self._alice.quiet("gpg", *words, *told, data=dialogue)
            self._alice.run("gpg", "--card-status")
            card.remove()
        self._alice.run("gpg", "--list-secret-keys")
        members = []
        for machine in self._others:
            who = f"{machine.name.title()} <{machine.name}@example.com>"
            quiet = partial(machine.quiet, "gpg", "--batch", "--passphrase", "")
            quiet("--quick-gen-key", who, "future-default", "default", "never")
            members.append(self._listed(machine, "fpr")[0])
            (folder / f"{machine.name}.asc").write_bytes(quiet("--armor", "--export", members[-1]))
        first, second = self._subkeys
        self._holder = f"""
[holder.custodians]
kind = "openpgp"
members = [
  {{ fingerprint = "{self._fingerprint}", subkey = "{first}", name = "Alice", also = [
    {{ fingerprint = "{self._fingerprint}", subkey = "{second}" }},
  ] }},
  "{members[0]}",
  "{members[1]}",
]
certificates = "{folder}"
[path.custodians]
needs = [{{ holder = "custodians", threshold = 2 }}]
"""

    def _listed(self, machine: Terminal, kind: str) -> list[str]:
        lines = machine.quiet("gpg", "--batch", "--with-colons", "--list-secret-keys").decode().splitlines()
        return [line.split(":")[9] for line in lines if line.startswith(f"{kind}:")]

    def escrow(self) -> None:
        """An Org Key is escrowed, with a path of these custodians."""
        step("An Org Key is escrowed; Alice's one share is encrypted to both of her cards")
        run, quiet = self._operator.run, self._operator.quiet
        for name in ("ignition", "export-passphrase", "new-passphrase"):
            (self._work / name).write_text(f"{name} of a throwaway key")
        quiet("orgkey", "lab", "setup", "acme.example", "--ignition-passphrase-file", "ignition")
        passphrase = ["--export-passphrase-file", "export-passphrase"]
        quiet("orgkey", "lab", "export", "keypair", "--out", ".", *passphrase)
        (export,) = self._work.glob("0x*.asc")
        quiet("orgkey", "stack", "up")
        pin = json.loads(quiet("orgkey", "inspect", str(export), "--json"))["fingerprint"]
        quiet("orgkey", "stack", "config", "--out", "orgkey.toml", "--fingerprint", pin)
        with (self._work / "orgkey.toml").open("a") as config:
            config.write(self._holder)
        print(self._holder)
        run("orgkey", "config", "validate")
        run("orgkey", "escrow", str(export), *passphrase)
        run("orgkey", "custody", "posture")
        quiet("orgkey", "custody", "challenge", "--out", ".")
        self._challenges = {
            name: path
            for path in self._work.glob("challenge-*.json")
            for name, print_ in (
                ("alice", self._fingerprint),
                ("bob", self._listed(self._others[0], "fpr")[0]),
            )
            if path.stem.endswith(print_[-16:])
        }

    # -- what happens to cards -----------------------------------------------------------------------

    def _check(
        self, *answers: Answer, code: int = 0, tells: Sequence[str] = (), who: Terminal | None = None
    ) -> None:
        """Alice proves her share, or fails with what a person needs to know."""
        words = ["orgkey", "custody", "check", "--challenge", str(self._challenges["alice"])]
        (who or self._alice).run(*words, answers=answers, code=code, tells=tells)

    def _pull_out(self, card: Card) -> str:
        """Take a card out, and type the PIN nevertheless."""
        card.remove()
        return PIN

    def check_in(self) -> None:
        """Alice's share opens with either card, each alone."""
        first, second = self._cards
        step("Alice proves her share at home, with her first card alone")
        first.insert(self._reader)
        self._check((ASKED, PIN), tells=["is good"])
        first.remove()
        step("With her second card alone: gpg knows both, asks for the first one, and she has it go on")
        second.insert(self._reader)
        self._check((first.number, CANCEL), (ASKED, PIN), tells=["is good"])
        second.remove()

    def failures(self) -> None:
        """What goes wrong at home: no card, a wrong PIN, a blocked one, a machine that knows no card."""
        first, second = self._cards
        step("No card is in the reader: gpg has stubs, and asks for each card; Alice has none with her")
        none = (first.number, CANCEL), (second.number, CANCEL)
        self._check(*none, code=31, tells=[f"put in the card {first.number} or {second.number}"])
        step("A machine that has never seen the card, nor her certificate")
        first.insert(self._reader)
        self._check(code=31, tells=["gpg has no secret key for it", "gpg --card-status"], who=self._others[0])
        step("A wrong PIN, twice, then the right one")
        wrong = (ASKED, "000000"), (second.number, CANCEL)
        for left in (2, 1):
            self._check(
                *wrong, code=31, tells=[f"the PIN is wrong; tries left before the card blocks: {left}"]
            )
        self._check((ASKED, PIN), tells=["is good"])
        first.remove()
        first.insert(self._reader)
        step("The card is pulled out while gpg asks for its PIN, and put in again")
        pulled = (ASKED, partial(self._pull_out, first)), (second.number, CANCEL)
        self._check(*pulled, code=31, tells=["not in a reader", f"put in the card {first.number}"])
        first.insert(self._reader)
        self._check((ASKED, PIN), tells=["is good"])
        step("Three wrong ones block the PIN; the card was taken out, which closes it again")
        first.remove()
        first.insert(self._reader)
        for told in ("the PIN is wrong", "the PIN is wrong", "the PIN of the card is blocked"):
            self._check(*wrong, code=31, tells=[told])
        step("The right one does not help any more")
        right = (ASKED, PIN), (second.number, CANCEL)
        self._check(*right, code=31, tells=["the PIN of the card is blocked", "Admin PIN"])
        step("She unblocks it as the hint says, and her share opens again")
        shell = "gpg/card>"
        self._alice.run(
            *("gpg", "--card-edit"),
            answers=[
                *((shell, "admin"), (shell, "passwd"), ("Your selection", "2")),
                *((ASKED, ADMIN_PIN), (ASKED, PIN), (ASKED, PIN)),
                *(("Your selection", "q"), (shell, "quit")),
            ],
        )
        self._check((ASKED, PIN), tells=["is good"])
        first.remove()

    def exports(self) -> None:
        """A keypair export whose secret is on a card is told from one whose secret is nowhere."""
        step("An export of a key that is on a card, and one that lacks a secret, are not taken for a keypair")
        for what, kind in (("on a smart card", "keys"), ("a gnu-dummy", "subkeys")):
            exported = self._alice.quiet("gpg", "--batch", f"--export-secret-{kind}", self._fingerprint)
            (self._work / f"{kind}.gpg").write_bytes(exported)
            self._operator.run("orgkey", "inspect", f"{kind}.gpg", code=16, tells=[what])

    def ceremony(self) -> None:
        """The Org Key comes back by Alice's second card and Bob's words, though the card is pulled out."""
        step("A ceremony on the operator's machine: Alice brings her second card, Bob a file")
        card = self._cards[1]
        sealed = json.loads(self._challenges["bob"].read_text())["shares"][0]["sealed"]
        words = self._others[0].quiet("gpg", "--batch", "--decrypt", data=sealed.encode())
        (self._work / "bob.txt").write_bytes(words)
        card.insert(self._reader)
        self._operator.run("gpg", "--import", str(self._work / "certificates" / "alice.asc"))
        self._operator.quiet("gpg", "--card-status")

        def put_in() -> str:
            card.insert(self._reader)
            return "d"

        menu, whose = "[q]uit", "Whose"
        self._operator.run(
            *("orgkey", "restore", "--via", "custodians", "--out", "keypair.asc"),
            *("--new-passphrase-file", "new-passphrase"),
            answers=[
                *((menu, "d"), (whose, "1"), (ASKED, "000000")),
                *((menu, "d"), (whose, "1"), (ASKED, partial(self._pull_out, card))),
                *((menu, put_in), (whose, "1"), (ASKED, PIN)),
                *((menu, "f"), ("File", "bob.txt")),
            ],
            tells=[
                "the PIN is wrong; tries left before the card blocks: 2",
                "accepted: Alice",
                "accepted: Bob",
                "that is enough",
            ],
        )
        self._operator.run("orgkey", "inspect", "keypair.asc", "--export-passphrase-file", "new-passphrase")


def main() -> None:
    """Play it."""
    os.umask(0o077)
    require_programs()
    program = build()
    work = Path(tempfile.mkdtemp(prefix="card-", dir="/tmp"))  # short: agents' sockets lie in it
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        place = work / "reader"
        place.mkdir()
        reader = stack.enter_context(Reader(place))
        cards = (Card(program, work / "card-1", 1), Card(program, work / "card-2", 2))
        story = Story(work, reader, cards)
        stack.callback(story.end)
        story.make_keys()
        story.escrow()
        story.check_in()
        story.failures()
        story.exports()
        story.ceremony()
        print("\nEverything went as it should.")


if __name__ == "__main__":
    main()
