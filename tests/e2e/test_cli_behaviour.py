"""What an operator meets at the command line, on real servers: codes, prompts, refusals, gates."""

from __future__ import annotations

import fcntl
import json
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import commandline
from tests.support import openpgp_writer as writer
from tests.support.commandline import KEYS, NEW_PASSPHRASE, Desk, converse, environment, orgkey

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    return Desk(place, tmp_path)


@pytest.fixture
def stored(desk: Desk, stack: Stack, fresh_place: Callable[[Stack], Place]) -> tuple[str, bytes]:
    """A whole record at the targets, which this host did not make: its epoch, its bytes."""
    epoch, data = commandline.record_of(stack, fresh_place)
    desk.plant(epoch, data, "vault", "s3")
    return epoch, data


# -- documents and noise ---------------------------------------------------------------------------------


def test_every_command_prints_one_document_with_its_keys(desk: Desk) -> None:
    made = desk.escrow()
    assert made["schema"] == "orgkey.escrow/1"
    assert {"epoch", "record_id", "fingerprint", "record_sha256", "copies", "paths", "drill"} <= set(made)
    assert {"resumed", "already", "exit_code"} <= set(made)
    for copy in made["copies"]:
        assert {"target", "kind", "domain", "location", "version", "sha256", "verified"} <= set(copy)
        assert "retain_until" in copy
    assert made["paths"] == [{"name": "unattended", "needs": ["vault", "aws"]}]
    assert {"passed", "results", "rto_seconds", "certificate"} <= set(made["drill"])
    for command in ("list", "verify"):
        document = desk.ask(command)
        assert document["schema"] == f"orgkey.{command}/1"
        assert document["epochs"][0]["state"] == "proven"
        for copy in document["epochs"][0]["copies"]:
            assert {"target", "version", "sha256", "ok", "problem"} <= set(copy)
    status = desk.ask("status")
    assert status["schema"] == "orgkey.status/1"
    assert {"epoch", "age_seconds", "last_drill_age_seconds", "live", "copies", "gate"} <= set(status)
    assert set(status["gate"]) == {"ok", "broken", "rules", "warned"}
    assert all(
        set(rule) == {"name", "subject", "ok", "warned", "text", "value", "limit"}
        for rule in status["gate"]["rules"]
    )
    drilled = desk.ask("drill")
    assert drilled["schema"] == "orgkey.drill/1"
    for result in drilled["results"]:
        assert {"epoch", "copy", "path", "proofs", "seconds"} <= set(result)
        assert set(result["proofs"]) >= {
            *("digest", "authentic", "recover", "unlock", "fingerprint"),
            *("sign", "certify", "decrypt", "negative"),
        }
        assert all(set(proof) >= {"ok", "by"} for proof in result["proofs"].values())
    assert desk.ask("repair")["schema"] == "orgkey.repair/1"
    restored = desk.restore()
    assert restored["schema"] == "orgkey.restore/1"
    assert {"epoch", "fingerprint", "from", "via", "out"} <= set(restored)
    doctor = desk.ask("doctor", expect=None)
    assert doctor["schema"] == "orgkey.doctor/1"
    assert [item for item in doctor["findings"] if item["level"] == "fail"] == [], doctor


def test_quiet_says_nothing_and_verbose_says_more(desk: Desk, stored: tuple[str, bytes]) -> None:
    quiet = desk.run("verify", "--quiet", expect=0)
    usual = desk.run("verify", expect=0)
    loud = desk.run("verify", "-vvv", expect=0)
    assert quiet.err == ""
    assert quiet.out.splitlines()[1:3] == usual.out.splitlines()[1:3]
    assert "configuration:" in usual.err
    assert len(loud.err.splitlines()) > 5 * len(usual.err.splitlines())
    assert loud.out == usual.out
    assert stored[0] in usual.out


def test_what_nobody_stored_is_not_found(desk: Desk) -> None:
    assert desk.ask("list")["epochs"] == []
    assert desk.ask("verify", expect=40)["epochs"] == []
    assert desk.ask("status", expect=40)["gate"]["broken"] == ["nothing authentic is stored for this key"]
    for command in ("drill", "repair"):
        assert "no epoch is stored" in desk.ask(command, expect=2)["error"]["message"]
    assert "no epoch is stored" in desk.restore(expect=2)["error"]["message"]


# -- refusals: nothing is stored -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("garbage", 13),
        ("other-key", 14),
        ("public-only", 10),
        ("unprotected", 11),
        ("wrong-passphrase", 12),
        ("truncated", 13),
        ("private-block-alone", 16),
        ("absent", 3),
    ],
)
def test_an_export_that_is_not_good_enough_is_refused_by_its_code(name: str, code: int, desk: Desk) -> None:
    text = desk.export.read_text()
    private, _, public = text.partition("-----BEGIN PGP PUBLIC")
    changed = {
        "garbage": "shopping list",
        "other-key": commandline.export_of("nistp256").read_text(),
        "public-only": f"-----BEGIN PGP PUBLIC{public}",
        "unprotected": (KEYS / "ed25519-unprotected.asc").read_text(),
        "truncated": text[: len(private) // 2],
        "private-block-alone": private,
    }
    desk.export.write_text(changed.get(name, text))
    if name == "wrong-passphrase":
        desk.passphrase_file.write_bytes(NEW_PASSPHRASE)
    if name == "absent":
        desk.export.unlink()
    done = desk.run(
        *("escrow", str(desk.export), "--export-passphrase-file", str(desk.passphrase_file), "--json"),
        expect=code,
    )
    assert done.document["error"]["code"] == code
    assert done.error[1]
    assert desk.nothing_stored()
    assert not desk.journal.exists() or list(desk.journal.iterdir()) == []


def test_what_is_accepted_is_escrowed_and_written_down(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path)
    desk.export.write_text((KEYS / "ed25519-unprotected.asc").read_text())
    assert desk.escrow("--accept", "unprotected")["proven"] is True
    state = desk.state / desk.fingerprint
    ledger = "".join(path.read_text() for path in sorted(state.glob("ledger/*/*.json")))
    assert '"unprotected"' in ledger


def test_a_fingerprint_option_cannot_replace_the_pin(desk: Desk) -> None:
    other = commandline.fingerprint_of("nistp256")
    assert desk.fingerprint in desk.escrow("--fingerprint", other, expect=2)["error"]["hint"]
    assert desk.escrow("--fingerprint", desk.fingerprint.lower(), "--dry-run")["schema"]


def test_one_party_alone_is_refused_unless_accepted(desk: Desk) -> None:
    desk.edit('needs = ["vault", "aws"]', 'needs = ["vault"]')
    assert "vault-admins" in desk.escrow(expect=2)["error"]["message"]
    assert desk.nothing_stored()
    desk.edit("copies = 2", "copies = 2\naccept_single_party = true")
    made = desk.escrow()
    assert made["paths"] == [{"name": "unattended", "needs": ["vault"]}]
    assert made["proven"] is True


def test_a_run_on_the_same_key_waits_for_nobody(desk: Desk) -> None:
    (desk.state / desk.fingerprint).mkdir(parents=True, mode=0o700)
    with (desk.state / desk.fingerprint / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert desk.escrow(expect=50)["error"]["name"] == "locked"
        assert desk.ask("repair", expect=50)["error"]["code"] == 50
    assert desk.nothing_stored()


def test_state_that_cannot_be_kept_stops_it_before_anything_is_stored(desk: Desk) -> None:
    desk.state.write_text("in the way")
    assert desk.escrow(expect=3)["error"]["name"] == "local-files"
    assert desk.nothing_stored()


# -- dry run ---------------------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing(desk: Desk) -> None:
    plan = desk.escrow("--dry-run")
    assert (plan["action"], plan["epoch"], plan["targets"]) == ("make a new epoch", None, ["vault", "s3"])
    assert desk.nothing_stored()
    assert not desk.state.exists() or list(desk.state.rglob("*.tar")) == []
    epoch = desk.escrow("--no-drill")["epoch"]
    again = desk.escrow("--dry-run")
    assert again["epoch"] == epoch
    assert desk.stored_in_vault() == [epoch]
    told = desk.run(
        *("escrow", str(desk.export), "--export-passphrase-file", str(desk.passphrase_file), "--dry-run"),
        expect=0,
    )
    assert "nothing was written" in told.out


# -- the gate --------------------------------------------------------------------------------------------


def test_the_gate_opens_with_a_drill_and_closes_with_age_and_change(desk: Desk) -> None:
    epoch = desk.escrow("--no-drill")["epoch"]
    unproven = desk.ask("status", expect=40)
    assert (unproven["epoch"], unproven["state"]) == (epoch, "complete")
    assert unproven["last_drill_age_seconds"] is None
    assert "orgkey drill" in unproven["gate"]["broken"][0]

    desk.ask("drill")
    gate = desk.ask("status")["gate"]
    assert (gate["ok"], gate["broken"]) == (True, [])
    assert all(rule["ok"] for rule in gate["rules"])

    desk.edit("max_drill_age_days = 8", "max_age_days = 0.000001\nmax_drill_age_days = 0.000001")
    broken = desk.ask("status", expect=40)["gate"]["broken"]
    assert any("max_age_days" in rule for rule in broken)
    assert any("max_drill_age_days" in rule for rule in broken)

    desk.edit("max_age_days = 0.000001\nmax_drill_age_days = 0.000001", "max_age_days = 30")
    desk.edit("[path.unattended]", "[path.automatic]")
    assert any("custody plan" in rule for rule in desk.ask("status", expect=40)["gate"]["broken"])
    told = desk.escrow(expect=40)["error"]
    assert epoch in told["message"]
    assert "rotate" in told["hint"]
    assert desk.stored_in_vault() == [epoch]
    assert "gate: BROKEN" in desk.run("status", expect=40).out


def test_escrowing_the_same_key_again_finds_it_done(desk: Desk) -> None:
    made = desk.escrow()
    again = desk.escrow()
    assert (again["already"], again["epoch"], again["record_sha256"], again["exit_code"]) == (
        True,
        made["epoch"],
        made["record_sha256"],
        0,
    )
    # The same key in another wrapping and layout is the same key; a host without memory sees that, too.
    desk.export.write_text((KEYS / "ed25519-single.asc").read_text())
    desk.state.rename(desk.folder / "put-away")
    lost = desk.escrow()
    assert (lost["already"], lost["epoch"], lost["proven"]) == (True, made["epoch"], True)
    assert desk.stored_in_vault() == [made["epoch"]]
    assert len(desk.stored_in_s3()) == 1


# -- restore writes one new file -------------------------------------------------------------------------


def test_a_restore_never_writes_over_anything(desk: Desk, stored: tuple[str, bytes]) -> None:
    (desk.folder / "mine").write_text("mine")
    (desk.folder / "link").symlink_to("nowhere")
    (desk.folder / "dir").mkdir()
    for name in ("mine", "link", "dir", "absent/new"):
        assert desk.restore(name=name, expect=3)["error"]["name"] == "local-files"
    assert (desk.folder / "mine").read_text() == "mine"
    assert not (desk.folder / "nowhere").exists()
    assert not (desk.folder / "absent").exists()
    before = set(desk.folder.iterdir())
    desk.restore(name="new")
    assert set(desk.folder.iterdir()) - before == {desk.folder / "new", desk.state}
    assert stat.S_IMODE((desk.folder / "new").stat().st_mode) == 0o600


def test_a_restore_needs_a_new_passphrase_and_names_the_option(desk: Desk, stored: tuple[str, bytes]) -> None:
    done = desk.run("restore", "--out", str(desk.folder / "new"), expect=2)
    assert "--new-passphrase-file" in done.error[1]
    desk.new_passphrase_file.write_bytes(b"\n")
    assert desk.restore(expect=2)["error"]["code"] == 2
    assert not (desk.folder / "new").exists()
    assert not (desk.folder / "restored.asc").exists()
    # The original stays under its own passphrase: none is needed.
    desk.run("restore", "--original", "--out", str(desk.folder / "original"), expect=0)
    assert (desk.folder / "original").read_bytes() == desk.export.read_bytes()


# -- at a terminal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "code"), [(b"y", 0), (b"n", 2), (b"", 2)])
def test_without_a_pin_a_person_is_shown_the_fingerprint_and_asked(
    answer: bytes, code: int, place: Place, tmp_path: Path
) -> None:
    desk = Desk(place, tmp_path, pin=False)
    words = ["escrow", str(desk.export), "--no-drill"]
    words += ["--config", str(desk.config), "--state-dir", str(desk.state)]
    answers = [(b"Does the server show the same", answer)]
    if code == 0:
        answers.append((b"passphrase of the export", writer.PASSPHRASE))
    ended, shown = converse(tmp_path, words, answers, env=environment(tmp_path))
    assert ended == code, shown
    pin = desk.fingerprint
    assert " ".join(pin[at : at + 4] for at in range(0, 20, 4)) in shown
    assert writer.PASSPHRASE.decode() not in shown
    assert ("epoch" in shown) is (code == 0)
    assert desk.nothing_stored() is (code != 0)
    assert "[key]" not in desk.config.read_text(), "an escrow never writes the pin"


def test_a_new_passphrase_is_typed_twice_and_not_shown(desk: Desk, stored: tuple[str, bytes]) -> None:
    words = ["restore", "--out", str(desk.folder / "new")]
    words += ["--config", str(desk.config), "--state-dir", str(desk.state)]
    prompt = b"new passphrase for the restored key"
    ended, shown = converse(
        desk.folder,
        words,
        [
            (prompt + b": ", b"first try"),
            (prompt + b", again: ", b"another one"),
            (prompt + b": ", NEW_PASSPHRASE),
            (prompt + b", again: ", NEW_PASSPHRASE),
        ],
        env=environment(desk.folder),
    )
    assert ended == 0, shown
    assert "the two differ" in shown
    assert NEW_PASSPHRASE.decode() not in shown
    seen = orgkey(
        desk.folder, "inspect", "new", "--export-passphrase-file", str(desk.new_passphrase_file), expect=0
    )
    assert "ok (0)" in seen.out


# -- several epochs --------------------------------------------------------------------------------------


def test_epochs_are_listed_drilled_and_restored_by_name(
    desk: Desk, stored: tuple[str, bytes], stack: Stack, fresh_place: Callable[[Stack], Place]
) -> None:
    first, _ = stored
    second, data = commandline.record_of(stack, fresh_place, number=1)
    desk.plant(second, data, "vault", "s3")
    listed = desk.ask("list")["epochs"]
    assert [epoch["epoch"] for epoch in listed] == sorted([first, second])
    oldest, newest = sorted([first, second])
    assert {item["epoch"] for item in desk.ask("drill")["results"]} == {newest}
    assert {item["epoch"] for item in desk.ask("drill", "--epoch", "all")["results"]} == {first, second}
    states = {epoch["epoch"]: epoch["state"] for epoch in desk.ask("list")["epochs"]}
    assert states == {oldest: "superseded", newest: "proven"}
    assert desk.restore("--epoch", oldest)["epoch"] == oldest
    assert "20000101T000000Z-00000000" in json.dumps(
        desk.ask("drill", "--epoch", "20000101T000000Z-00000000", expect=2)
    )


def test_output_may_be_cut_short(desk: Desk, stored: tuple[str, bytes]) -> None:

    line = " ".join(
        [*commandline.ORGKEY, "verify", "--config", str(desk.config), "--state-dir", str(desk.state)]
    )
    done = subprocess.run(
        ["bash", "-c", f"{line} | head -n 1"],
        cwd=desk.folder,
        env=environment(desk.folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("key ")
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
