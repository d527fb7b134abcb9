"""What `orgkey escrow` asks of a person, and what it can say without asking."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from tests.support import commandline
from tests.support import openpgp_writer as writer
from tests.support.commandline import KEYS, converse, environment, orgkey

CONFIG = """
[key]
fingerprint = "{pin}"
[target.disk]
kind = "directory"
path = "{folder}/disk"
controlled_by = ["ops"]
[holder.vault]
kind = "vault-transit"
address = "http://127.0.0.1:1"
controlled_by = ["vault-admins"]
[holder.aws]
kind = "aws-kms"
key_id = "alias/none"
endpoint_url = "http://127.0.0.1:1"
controlled_by = ["aws-admins"]
[path.unattended]
needs = ["vault", "aws"]
[policy]
copies = 1
deadline_seconds = 1
"""
PASSED = (20, 21, 25)
"""The export was accepted: the next thing is a holder, and here is neither one nor a login."""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    pin = commandline.fingerprint_of("ed25519")
    (tmp_path / "orgkey.toml").write_text(CONFIG.format(pin=pin, folder=tmp_path))
    (tmp_path / "orgkey.toml").chmod(0o600)
    packets = commandline.packets_of("ed25519")
    exports = {
        "good": (KEYS / "ed25519-two-block.asc").read_text(),
        "public": writer.armor(writer.join(writer.public_of(packets)), "PUBLIC KEY BLOCK"),
        "unprotected": (KEYS / "ed25519-unprotected.asc").read_text(),
        "cut": (KEYS / "ed25519-two-block.asc").read_text()[:300],
        "other": (KEYS / "nistp256-two-block.asc").read_text(),
    }
    for name, text in exports.items():
        (tmp_path / f"{name}.asc").write_text(text)
    return tmp_path


WORDS = ("--state-dir", "state", "--no-drill")


@pytest.mark.parametrize(
    ("export", "more", "codes"),
    [
        ("public", (), (10,)),
        ("unprotected", (), (11,)),
        ("cut", (), (13,)),
        ("other", (), (14,)),
        ("good", (), (2,)),
        ("unprotected", ("--accept", "unprotected"), PASSED),
        ("unprotected", ("--accept", "unprotected", "--dry-run"), PASSED),
    ],
)
def test_without_a_terminal_and_without_a_passphrase(
    export: str, more: tuple[str, ...], codes: tuple[int, ...], desk: Path
) -> None:
    run = orgkey(desk, "escrow", f"{export}.asc", *WORDS, *more, env=environment(desk, VAULT_TOKEN="unused"))
    assert run.code in codes, run
    assert ("--export-passphrase-file" in run.error[1]) == (codes == (2,))


ASKED = b"passphrase of the export: "


@pytest.mark.parametrize(
    ("answers", "codes"),
    [
        ([b"wrong", b"wrong again", writer.PASSPHRASE], PASSED),
        ([b"wrong", b"wrong again", b"still wrong"], (12,)),
    ],
)
def test_a_wrong_passphrase_at_a_terminal_is_asked_again(
    answers: list[bytes], codes: tuple[int, ...], desk: Path
) -> None:
    code, shown = converse(
        desk,
        ("escrow", "good.asc", *WORDS),
        [(ASKED, answer) for answer in answers],
        env=environment(desk, VAULT_TOKEN="unused"),
    )
    assert code in codes, shown
    assert shown.count("this passphrase does not open the export; try again") == 2


@pytest.mark.parametrize(
    ("words", "question", "answer"),
    [
        (("escrow", "good.asc", *WORDS), ASKED, writer.PASSPHRASE),
        (("custody", "rotate", "--state-dir", "state"), b"for the ledger", b"yearly"),
    ],
)
def test_the_time_that_a_person_takes_is_not_the_runs(
    words: tuple[str, ...], question: bytes, answer: bytes, desk: Path
) -> None:
    env = environment(desk, VAULT_TOKEN="unused")
    think = partial(time.sleep, 1.1)
    _, shown = converse(desk, words, [(question, answer)], env=env, meanwhile=think)
    assert "the deadline of 1 s has passed\r\n" not in shown, "it ends with what it met afterwards"
    assert "orgkey: hint" in shown


@pytest.mark.parametrize(
    "words",
    [
        ("escrow", "-", *WORDS),
        ("init", "--from", "good.asc", "--out", "new.toml"),
        ("custody", "rotate", "--state-dir", "state"),
    ],
)
def test_what_is_piped_in_answers_no_question(words: tuple[str, ...], desk: Path) -> None:
    config = desk / "orgkey.toml"
    if words[0] == "escrow":
        config.write_text(config.read_text().partition("[target.disk]")[2].join(("[target.disk]", "")))
    env = environment(desk, VAULT_TOKEN="unused")
    code, shown = converse(desk, words, [], env=env, piped=desk / "good.asc")
    assert (code, "orgkey: hint: " in shown, "interrupted" in shown) == (2, True, False), shown


@pytest.mark.parametrize(
    ("export", "code"), [("public", 10), ("unprotected", 11), ("cut", 13), ("other", 14)]
)
def test_at_a_terminal_nothing_is_asked_where_the_answer_is_known(export: str, code: int, desk: Path) -> None:
    found, shown = converse(
        desk, ("escrow", f"{export}.asc", *WORDS), [], env=environment(desk, VAULT_TOKEN="unused")
    )
    assert found == code, shown
    assert ASKED.decode() not in shown
