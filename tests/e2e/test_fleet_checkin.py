"""A custodian of many keys: one file asks, one answers, and each key's ledger gets what is its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.custodian import Custodian, at_own_machine
from tests.support import forkserver, people
from tests.support.commandline import ORGKEY, Desk, end_gpg, gpg, next_second, orgkey
from tests.support.people import FINGERPRINTS

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

BOB = FINGERPRINTS["bob"]


class Keys:
    """Three keys of one firm: Bob holds two shares of Berlin, one of Paris, and Rome has machines alone."""

    def __init__(self, folder: Path, place: Callable[[], Place]) -> None:
        self.folder = folder
        self.mail = folder / "mail"
        self.mail.mkdir()
        certificates = people.folder(folder / "certificates", people.NAMES)
        berlin = people.tables(certificates) + (
            '[path.mixed]\nneeds = ["vault", { holder = "custodians", threshold = 2 }]\n'
        )
        paris = people.tables(certificates, members=("bob", "carol", "frank"), threshold=2)
        self.desks = {
            name: self._desk(name, place(), key, more)
            for name, key, more in (
                ("berlin", "ed25519", berlin), ("paris", "nistp256", paris), ("rome", "nistp384", "")
            )
        }  # fmt: skip

    def _desk(self, name: str, place: Place, key: str, more: str) -> Desk:
        folder = self.folder / name
        folder.mkdir()
        desk = Desk(place, folder, key=key, more=more)
        desk.config = desk.config.rename(self.folder / f"{name}.toml")
        desk.state = self.folder / "state"
        desk.escrow("--no-drill")
        return desk

    def run(self, command: str, *words: str, configs: str = "*", expect: int = 0) -> Any:
        line = ["fleet", command, *words, "--configs", f"{self.folder}/{configs}.toml", "--json"]
        line += ["--state-dir", str(self.folder / "state")]
        return orgkey(self.folder, *line, expect=expect).document

    def challenge(self, *words: str) -> Path:
        made = self.run("challenge", "--custodian", BOB, "--out", str(self.mail), *words)
        (item,) = made["challenges"]
        assert (item["custodian"], item["keys"], made["problems"]) == (BOB, ["berlin", "paris"], {})
        return Path(item["file"])

    def confirm(self, answer: Path | dict[str, Any], *, configs: str = "*", expect: int = 0) -> Any:
        if isinstance(answer, dict):
            path = self.folder / "changed.json"
            path.write_text(json.dumps(answer))
            answer = path
        return self.run("confirm", str(answer), configs=configs, expect=expect)

    def checked_in(self, name: str) -> int:
        """How many check-ins the key's ledger has."""
        entries = self.desks[name].ask("ledger", "show", "--last", "1000")["entries"]
        return sum(item["event"] == "check-in" for item in entries)


@pytest.fixture
def keys(stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path) -> Keys:
    return Keys(tmp_path, lambda: fresh_place(stack))


@pytest.fixture
def bob() -> Iterator[Custodian]:
    with at_own_machine("bob") as custodian:
        yield custodian


def test_one_file_asks_for_all_keys_and_one_answers(keys: Keys, bob: Custodian) -> None:
    everybody = keys.run("challenge", "--out", str(keys.mail))
    asked = {item["custodian"]: item["keys"] for item in everybody["challenges"]}
    assert asked[FINGERPRINTS["alice"]] == ["berlin"]
    assert asked[FINGERPRINTS["frank"]] == ["paris"]
    assert len(asked) == len(people.NAMES)
    mail = keys.challenge()
    assert mail.read_bytes() == keys.challenge().read_bytes(), "an open challenge stays the same"

    line = ("challenge", "--custodian", BOB, "--custodian", "Bbo", "--out", str(keys.mail))
    assert keys.run(*line, expect=2)["error"]["message"] == "no key has a custodian Bbo"

    hint = bob.check(mail, expect=2).error[1]
    assert "--out" in hint
    answer = bob.folder / "answer.json"
    shown = bob.check(mail, "--out", str(answer)).out
    assert f"send the operator this file, and nothing else: {answer}" in shown
    given = json.loads(answer.read_text())
    assert {name: len(item["codes"]) for name, item in given["keys"].items()} == {"berlin": 2, "paris": 1}
    assert given == bob.check(mail, "--json").document
    assert "exists already" in bob.check(mail, "--out", str(answer), expect=3).error[0]

    done = keys.confirm(answer)
    assert done["confirmed"] == {"berlin": 2, "paris": 1}
    assert (done["refused"], done["unanswered"], done["left"]) == ({}, {}, [])
    for name in ("berlin", "paris"):
        listed = keys.desks[name].ask("status", expect=None)["custodians"]
        assert {item["pending"] for item in listed if item["custodian"] == BOB} == {False}
        assert all(item["last_check_in"] for item in listed if item["custodian"] == BOB)

    again = keys.confirm(answer, expect=32)
    assert again["confirmed"] == {}
    assert all("was accepted at" in why for why in again["refused"].values())
    assert [keys.checked_in(name) for name in ("berlin", "paris")] == [2, 1]


def test_an_answer_counts_for_its_own_key_and_challenge_alone(keys: Keys, bob: Custodian) -> None:
    given = bob.check(keys.challenge(), "--json").document
    berlin, paris = given["keys"]["berlin"], given["keys"]["paris"]
    swapped = given | {"keys": {"berlin": paris, "paris": berlin}}
    refused = keys.confirm(swapped, expect=2)["refused"]
    assert all("is not the pinned key" in refused[name] for name in ("berlin", "paris"))
    codes = {"berlin": berlin | {"codes": paris["codes"]}, "paris": paris | {"codes": berlin["codes"]}}
    refused = keys.confirm(given | {"keys": codes}, expect=32)["refused"]
    assert all("fits no share of epoch" in refused[name] for name in ("berlin", "paris"))
    assert [keys.checked_in(name) for name in ("berlin", "paris")] == [0, 0]

    newer = bob.check(keys.challenge("--new"), "--json").document
    refused = keys.confirm(given, expect=32)["refused"]
    assert all("is asked for" in refused[name] for name in ("berlin", "paris"))

    # One key is rotated meanwhile: its answer is of a record that is not the latest any more.
    keys.desks["paris"].ask("drill")
    next_second(str(paris["epoch"]))
    keys.desks["paris"].ask("custody", "rotate", "--reason", "yearly")
    done = keys.confirm(newer, expect=32)
    assert done["confirmed"] == {"berlin": 2}
    assert "of the older epoch" in done["refused"]["paris"]
    assert [keys.checked_in(name) for name in ("berlin", "paris")] == [2, 0]


def test_what_is_wrong_with_one_share_leaves_the_other_keys_alone(keys: Keys, bob: Custodian) -> None:
    mail = keys.challenge()
    asked = json.loads(mail.read_text())
    (share,) = asked["keys"]["paris"]["shares"]
    share["sealed"] = asked["keys"]["berlin"]["shares"][0]["sealed"]
    mail.write_text(json.dumps(asked))
    answer = bob.folder / "answer.json"
    run = bob.check(mail, "--out", str(answer), expect=32)
    assert "your shares of 1 of 2 keys are good" in run.out
    assert "paris: the share of paris, path custodians is whole, but not one that Bob" in run.out
    done = keys.confirm(answer, expect=24)
    assert done["confirmed"] == {"berlin": 2}
    assert "is whole, but not one" in done["unanswered"]["paris"]
    done = keys.confirm(bob.check(keys.challenge(), "--json").document, configs="paris")
    assert (done["confirmed"], done["left"]) == ({"paris": 1}, ["berlin"])

    keys.desks["paris"].config.write_text("this is not a configuration")
    made = keys.run("challenge", "--custodian", BOB, "--out", str(keys.mail), expect=2)
    assert [item["keys"] for item in made["challenges"]] == [["berlin"]]
    assert "paris.toml" in made["problems"]["paris"]


PINENTRY = """#!/bin/sh
echo asked >> {asked}
echo OK
while read -r word rest; do
  case "$word" in
    GETPIN) {answer} ;;
    BYE) echo OK; exit 0 ;;
    *) echo OK ;;
  esac
done
"""


CANCELLED = {
    "echo 'ERR 83886179 Operation cancelled <Pinentry>'": 31,
    "echo 'ERR 83886278 Operation fully cancelled <Pinentry>'": 31,
    "kill -INT $(cat {folder}/orgkey.pid); sleep 20": 130,
}
"""What a pinentry does, or the person before it, and what the run ends with."""


def test_who_cancels_is_not_asked_for_the_other_keys(keys: Keys, bob: Custodian) -> None:
    mail, home = keys.challenge(), bob.folder / "gnupg"
    gpg(home, "--passphrase-fd", "0", "--passwd", BOB, stdin=b"a passphrase\n")
    asked, pinentry, out = (bob.folder / name for name in ("asked", "pinentry", "answer.json"))
    (home / "gpg-agent.conf").write_text(f"pinentry-program {pinentry}\n")
    for answer, code in CANCELLED.items():
        end_gpg(home)
        pinentry.write_text(PINENTRY.format(asked=asked, answer=answer.format(folder=bob.folder)))
        pinentry.chmod(0o700)
        asked.unlink(missing_ok=True)
        with forkserver.Popen(
            [*ORGKEY, "custody", "check", "--challenge", str(mail), "--out", str(out)],
            cwd=bob.folder, env=bob.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        ) as child:  # fmt: skip
            (bob.folder / "orgkey.pid").write_text(str(child.pid))
            _, told = child.communicate(timeout=60)
        assert child.returncode == code, told
        assert (b"path custodians: gpg asked for a passphrase, and got none" in told) == (code != 130)
        assert asked.read_text() == "asked\n"
        assert not out.exists()


def test_who_holds_nothing_and_what_is_not_an_answer(keys: Keys, tmp_path: Path) -> None:
    nobody = keys.run("challenge", "--custodian", "Mallory", "--out", str(keys.mail), expect=2)
    assert "no key has a custodian Mallory" in nobody["error"]["message"]
    assert list(keys.mail.iterdir()) == []
    assert "is not a folder" in keys.run("challenge", "--out", "nowhere", expect=3)["error"]["message"]
    alone = keys.desks["berlin"].ask("custody", "challenge", "--custodian", BOB, "--out", str(keys.mail))
    challenge = Path(alone["challenges"][0]["file"])
    assert "is not the answer" in keys.run("confirm", str(challenge), expect=2)["error"]["message"]
    empty = {"schema": "orgkey.custody-answer/1", "custodian": BOB, "exit_code": 0, "keys": {}}
    assert "no key of this answer" in keys.confirm(empty, expect=2)["error"]["message"]
