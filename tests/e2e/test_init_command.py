"""`orgkey init` as a person and as a script start it."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline import config
from pipeline.config.holders import OpenpgpHolderConfig
from pipeline.core.text import spaced
from tests.support import certificate_writer, forkserver, people

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "tests" / "assets" / "keys"
EXPORT = KEYS / "ed25519-two-block.asc"
PIN = "70FBA2750FD7F47DF6FB080908E6316C03A0DB7D"
ORGKEY = [sys.executable, "-m", "pipeline.cli.app", "init"]
PLACES = ["--vault-address", "https://vault:8200", "--s3-bucket", "records", "--region", "eu-central-1"]
HOLDERS = ["--transit-key", "orgkey-escrow", "--kms-key", "alias/orgkey"]


def environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def run(folder: Path, *words: str, command: str = "init") -> subprocess.CompletedProcess[str]:
    """Without a terminal."""
    return forkserver.run(
        [*ORGKEY[:-1], command, *words],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
        check=False,
    )


def test_options_alone_write_a_valid_private_file(tmp_path: Path) -> None:
    done = run(tmp_path, "--from", str(EXPORT), "--yes", *PLACES, *HOLDERS, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "orgkey.init/1"
    assert (document["fingerprint"], document["targets"], document["holders"]) == (
        PIN,
        ["vault", "s3"],
        ["vault", "aws"],
    )
    path = tmp_path / "orgkey.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = config.load(path)
    assert loaded.key is not None
    assert loaded.key.fingerprint == PIN
    login = loaded.identity["writer"].vault
    assert login is not None
    assert login.role_id_file == str(tmp_path / "credentials" / "vault-writer-role-id")


def test_the_pin_can_be_given_and_must_fit_the_export(tmp_path: Path) -> None:
    words = ["--from", str(EXPORT), *PLACES, *HOLDERS]
    done = run(tmp_path, *words, "--fingerprint", PIN.lower())
    assert (done.returncode, done.stdout.endswith(", then run `orgkey doctor`\n")) == (0, True)
    done = run(tmp_path, *words, "--fingerprint", "0" * 40, "--out", "other.toml")
    assert done.returncode == 14
    assert spaced(PIN) in done.stderr
    assert not (tmp_path / "other.toml").exists()


def test_an_existing_file_stays(tmp_path: Path) -> None:
    (tmp_path / "orgkey.toml").write_text("mine")
    done = run(tmp_path, "--fingerprint", PIN, *PLACES, *HOLDERS)
    assert done.returncode == 3
    assert (tmp_path / "orgkey.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], ["--fingerprint", "--vault-address", "--kms-key"]),
        (["--fingerprint", PIN, *PLACES], ["--transit-key"]),
        (["--from", str(EXPORT), *PLACES, *HOLDERS], ["--fingerprint " + PIN, "--yes"]),
    ],
)
def test_without_a_terminal_every_missing_answer_is_named(
    tmp_path: Path, words: list[str], named: list[str]
) -> None:
    done = run(tmp_path, *words, "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert all(option in error["hint"] for option in named)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("content", "code"), [(b"shopping list", 13), (None, 3)])
def test_an_export_that_gives_no_pin_is_an_error(tmp_path: Path, content: bytes | None, code: int) -> None:
    if content is not None:
        (tmp_path / "key.asc").write_bytes(content)
    done = run(tmp_path, "--from", "key.asc", "--yes", *PLACES, *HOLDERS)
    assert done.returncode == code
    assert "key.asc" in done.stderr
    assert not (tmp_path / "orgkey.toml").exists()


def test_an_export_that_cannot_be_escrowed_still_gives_its_pin_with_a_warning(tmp_path: Path) -> None:
    unprotected = KEYS / "ed25519-unprotected.asc"
    done = run(tmp_path, "--from", str(unprotected), "--yes", *PLACES, *HOLDERS)
    assert done.returncode == 0
    assert "warning" in done.stderr
    assert "cannot be escrowed as it is" in done.stderr


def test_the_folder_is_made_and_what_doctor_will_say_is_foretold(tmp_path: Path) -> None:
    words = ["--fingerprint", PIN, *PLACES, *HOLDERS, "--out", "etc/orgkey/orgkey.toml"]
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "FAIL  custody: any one of these losses makes every restore impossible" in done.stdout
    assert "policy.accept_single_loss" in done.stdout
    assert done.stdout.endswith(", then run `orgkey doctor --config etc/orgkey/orgkey.toml`\n")
    accepted = run(tmp_path, *words[:-1], "accepted.toml", "--accept-single-loss")
    assert "FAIL  custody" not in accepted.stdout
    assert config.load(tmp_path / "accepted.toml").policy.accept_single_loss
    (tmp_path / "file").touch()
    blocked = run(tmp_path, *words[:-1], "file/orgkey.toml")
    assert blocked.returncode == 3
    assert "cannot make" in blocked.stderr


def said(findings: list[dict[str, object]]) -> set[tuple[object, ...]]:
    names = ("level", "message", "hint", "code")
    return {tuple(item[name] for name in names) for item in findings if item["level"] in ("warn", "fail")}


def test_what_is_foretold_is_what_doctor_says(tmp_path: Path) -> None:
    words = ["--fingerprint", PIN, "--vault-address", "http://127.0.0.1:1", "--transit-key", "k", "--json"]
    words += ["--directory", str(tmp_path / "copies"), "--inbox", str(tmp_path / "inbox")]
    document = json.loads(run(tmp_path, *words, *custodian_words("alice", "bob", "carol")).stdout)
    foretold = said(document["doctor"])
    texts = " ".join(str(item[1]) for item in foretold)
    for part in ("inbox", "copies", "custodians", "vault-writer-role-id", "vault-driller-role-id"):
        assert part in texts
    done = run(tmp_path, "--json", command="doctor")
    assert foretold <= said(json.loads(done.stdout)["findings"])

    (tmp_path / "inbox").mkdir()
    (tmp_path / "copies").mkdir()
    people.folder(tmp_path / "custodians", ("alice", "bob", "carol"))
    (tmp_path / "credentials").mkdir()
    for role in ("writer", "driller"):
        for name in ("role-id", "secret-id"):
            (tmp_path / "credentials" / f"vault-{role}-{name}").write_text("there")
    again = [*words[:-1], str(tmp_path / "inbox"), "--out", "again.toml", "--accept-single-party"]
    again += ["--accept-single-loss"]
    better = json.loads(run(tmp_path, *again, *custodian_words("alice", "bob", "carol")).stdout)
    assert [item for item in better["doctor"] if item["level"] == "fail"] == []


def test_typed_paths_hold_wherever_the_file_is_used(tmp_path: Path) -> None:
    typed = [
        "--directory",
        "copies",
        "--inbox",
        "in",
        "--vault-ca-file",
        "ca.pem",
        "--credentials-dir",
        "logins",
    ]
    (tmp_path / "here").mkdir()
    done = run(
        tmp_path / "here", "--fingerprint", PIN, *PLACES, *HOLDERS, *typed, "--out", "../there/one.toml"
    )
    assert done.returncode == 0, done.stderr
    read = config.load(tmp_path / "there" / "one.toml")
    assert read.source
    assert read.source.path == str(tmp_path / "here" / "in")
    text = (tmp_path / "there" / "one.toml").read_text()
    for name in ("copies", "ca.pem", "logins/vault-writer-role-id"):
        assert f'"{tmp_path}/here/{name}"' in text


def test_relative_paths_are_read_from_the_configurations_folder(tmp_path: Path) -> None:
    for folder in ("there/copies", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    there = tmp_path / "there"
    given = [*PLACES, *HOLDERS, "--directory", str(there / "copies"), "--out", "one.toml"]
    assert run(there, "--fingerprint", PIN, *given).returncode == 0
    written = (there / "one.toml").read_text()
    (there / "one.toml").write_text(written.replace(f'"{there}/copies"', '"copies"'))
    done = run(tmp_path / "elsewhere", "--config", "../there/one.toml", "--json", command="doctor")
    findings = {item["message"]: item["level"] for item in json.loads(done.stdout)["findings"]}
    assert findings[f"{there}/copies can be read and written"] == "ok"


def test_one_party_alone_is_pointed_out(tmp_path: Path) -> None:
    done = run(
        tmp_path, "--fingerprint", PIN, "--vault-address", "https://vault:8200", "--transit-key", "orgkey"
    )
    assert done.returncode == 0
    assert "alone can reconstruct" in done.stdout


def custodian_words(*names: str) -> list[str]:
    return [word for name in names for word in ("--custodian", people.FINGERPRINTS[name])]


def test_custodians_are_written_and_validate_looks_at_their_certificates(tmp_path: Path) -> None:
    words = ["--fingerprint", PIN, *PLACES, *HOLDERS, *custodian_words("alice", "bob", "carol")]
    done = run(tmp_path, *words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["holders"] == ["vault", "aws", "custodians"]
    loaded = config.load(tmp_path / "orgkey.toml")
    group = loaded.holder["custodians"]
    assert isinstance(group, OpenpgpHolderConfig)
    assert group.certificates == str(tmp_path / "custodians")
    assert loaded.path["custodians"].needs[0].threshold == 2

    early = validate(tmp_path)
    assert early.returncode == 2
    assert str(tmp_path / "custodians") in early.stderr

    people.folder(tmp_path / "custodians", ("alice", "bob"))
    missing = validate(tmp_path, "--json")
    assert missing.returncode == 2
    message = json.loads(missing.stdout)["error"]["message"]
    assert f"custodian {people.FINGERPRINTS['carol']}: no certificate" in message

    people.folder(tmp_path / "custodians", ("alice", "bob", "carol", "frank"))
    good = validate(tmp_path)
    assert good.returncode == 0, good.stderr
    assert "valid" in good.stdout
    assert people.FINGERPRINTS["frank"] in good.stderr
    assert "nobody's in the group" in good.stderr

    (tmp_path / "custodians" / "bob.asc").write_bytes(people.secret_key("bob"))
    secret = validate(tmp_path)
    assert secret.returncode == 2
    assert "SECRET key of custodian Bob Custodian" in secret.stderr


def validate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return forkserver.run(
        [*ORGKEY[:-1], "config", "validate", "--config", "orgkey.toml", *words],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_validate_names_every_person_who_fails_and_why(tmp_path: Path) -> None:
    long_ago = timedelta(days=30)
    members = {
        "ann": certificate_writer.person("ann", expires=long_ago),
        "ben": certificate_writer.Person("ben").start(),
        "cleo": certificate_writer.person("cleo"),
    }
    (tmp_path / "custodians").mkdir()
    for name, made in members.items():
        made.write(tmp_path / "custodians" / f"{name}.asc")
    words = [word for made in members.values() for word in ("--custodian", made.fingerprint)]
    words += ["--custodian-threshold", "3", "--custodian-certificates", "custodians"]
    assert run(tmp_path, "--fingerprint", PIN, *PLACES, *HOLDERS, *words).returncode == 0
    done = validate(tmp_path)
    assert done.returncode == 2
    assert f"Ann <ann@example.com> ({members['ann'].fingerprint}): the certificate expired" in done.stderr
    assert (
        f"Ben <ben@example.com> ({members['ben'].fingerprint}): the certificate has no encryption"
        in done.stderr
    )
    assert "Cleo" not in done.stderr


def test_a_threshold_without_custodians_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "--fingerprint", PIN, *PLACES, *HOLDERS, "--custodian-threshold", "2")
    assert done.returncode == 2
    assert "--custodian" in done.stderr
    assert list(tmp_path.iterdir()) == []


def converse(folder: Path, words: list[str], answers: list[tuple[bytes, bytes]]) -> tuple[int, str]:
    """Answer questions, recognised by a part of them, on a real terminal."""
    ours, theirs = pty.openpty()
    child = forkserver.Popen(
        [*ORGKEY, *words],
        cwd=folder,
        env=environment(folder),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        terminal=True,
    )
    os.close(theirs)
    shown, left, ends = b"", list(answers), time.monotonic() + 60
    try:
        while time.monotonic() < ends:
            if not select.select([ours], [], [], 0.1)[0]:
                if child.poll() is not None:
                    break
                continue
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if left and left[0][0] in shown:
                os.write(ours, left.pop(0)[1] + b"\n")
        code = child.wait(timeout=60)
    finally:
        os.close(ours)
        child.kill()
        child.wait()
    assert left == [], shown
    return code, shown.decode()


def test_a_person_is_shown_the_fingerprint_and_asked_for_the_rest(tmp_path: Path) -> None:
    code, shown = converse(
        tmp_path,
        ["--from", str(EXPORT)],
        [
            (b"Does the server show", b"y"),
            (b"Address of Vault", b"https://vault:8200"),
            (b"S3 bucket", b"records"),
            (b"Account that owns", b""),
            (b"Object Lock", b""),
            (b"Days for which", b"2"),
            (b"AWS KMS key", b"alias/orgkey"),
            (b"Region of", b"eu-central-1"),
            (b"Custodians", b""),
            (b"too old", b"15"),
        ],
    )
    assert code == 0, shown
    assert "A locked record cannot be deleted" in shown
    assert "FAIL  login of the writer: cannot read the role id" in shown
    assert "70FB A275 0FD7 F47D" in shown
    loaded = config.load(tmp_path / "orgkey.toml")
    assert set(loaded.target) == {"vault", "s3"}
    assert set(loaded.holder) == {"vault", "aws"}
    assert loaded.policy.max_drill_age_days == 15


def test_a_fingerprint_that_is_not_confirmed_writes_nothing(tmp_path: Path) -> None:
    code, shown = converse(tmp_path, ["--from", str(EXPORT)], [(b"Does the server show", b"n")])
    assert code == 2
    assert "not confirmed" in shown
    assert list(tmp_path.iterdir()) == []


def test_no_input_asks_nothing_even_at_a_terminal(tmp_path: Path) -> None:
    code, shown = converse(tmp_path, ["--no-input"], [])
    assert code == 2
    assert "--fingerprint" in shown
