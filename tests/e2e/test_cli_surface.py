"""The command line where no server is needed: usage, configuration, documents, errors, odd input."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import commandline, forkserver
from tests.support import openpgp_writer as writer
from tests.support.commandline import KEYS, ORGKEY, environment, export_of, fingerprint_of, orgkey

PIN = fingerprint_of("ed25519")
# Every command, as far as it gets without a configuration.
WITHOUT = {
    "doctor": (),
    "inspect": ("absent.asc",),
    "escrow": (),
    "list": (),
    "status": (),
    "verify": (),
    "repair": (),
    "retain": ("--until", "2999-12-31"),
    "drill": (),
    "restore": ("--out", "new.asc"),
    "config": ("validate",),
    "init": ("--no-input",),
}
PLACES = ("--no-input", "--vault-address", "http://127.0.0.1:9", "--transit-key", "k", "--kms-key", "k")
CONFIG = """
[key]
fingerprint = "{pin}"
[target.a]
kind = "directory"
controlled_by = ["vault-admins"]
path = "/nowhere/a"
[target.b]
kind = "directory"
controlled_by = ["b-admins"]
path = "/nowhere/b"
[holder.vault]
kind = "vault-transit"
controlled_by = ["vault-admins"]
address = "http://127.0.0.1:9"
[holder.aws]
kind = "aws-kms"
controlled_by = ["aws-admins"]
key_id = "alias/orgkey"
endpoint_url = "http://127.0.0.1:9"
[path.unattended]
needs = ["vault", "aws"]
"""


def write_config(path: Path, text: str = CONFIG, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(pin=PIN))
    path.chmod(mode)
    return path


# -- usage and documents ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", WITHOUT)
def test_every_command_says_what_is_missing_in_two_lines_and_one_document(
    command: str, tmp_path: Path
) -> None:
    done = orgkey(tmp_path, command, *WITHOUT[command], "--json")
    assert done.code in (2, 3), done
    error = done.document["error"]
    assert set(error) == {"code", "name", "message", "hint"}
    assert error["code"] == done.code
    assert done.error == (error["message"], error["hint"])
    assert error["message"][0].islower() or not error["message"][0].isalpha()
    assert not error["message"].endswith(".")
    assert list(tmp_path.iterdir()) == [], "what fails before it starts leaves nothing"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("nonsense",), "nonsense"),
        (("escrow", "--nonsense"), "--nonsense"),
        (("escrow", "--accept", "anything"), "anything"),
        (("restore",), "--out"),
        (("restore", "--out", "x", "--share", "absent"), "absent"),
        (("inspect",), "FILE"),
        (("status", "surplus"), "surplus"),
        (("drill", "--epoch"), "--epoch"),
        (("report", "--format", "yaml"), "is not one of 'html'"),
        (("list", "--fingerprint", "1234"), "1234"),
        (("list", "--state-dir", ""), "--state-dir"),
        (("drill", "--via="), "--via"),
        (("custody", "rotate", "--reason", " "), "--reason"),
        (("inspect", "x", "--export-passphrase-fd", "three"), "--export-passphrase-fd"),
        (("inspect", "x", "--export-passphrase-file", "a", "--export-passphrase-fd", "3"), "only one of"),
    ],
)
def test_wrong_usage_is_2_and_named(words: tuple[str, ...], named: str, tmp_path: Path) -> None:
    write_config(tmp_path / "orgkey.toml")
    (tmp_path / "x").write_bytes(export_of("ed25519").read_bytes()) if words[0] == "inspect" else None
    done = orgkey(tmp_path, words[0], "--json", *words[1:])
    assert done.code in (2, 3), done
    assert named in done.error[0]
    assert done.document["error"]["message"] == done.error[0]
    assert not any(word in done.error[0] for word in ("Value error", "Input should"))


@pytest.mark.parametrize(
    ("words", "page"),
    [
        (("restore",), "orgkey restore --help"),
        (("ledger", "verify", "--nonsense"), "orgkey ledger verify --help"),
        (("custody", "nonsense"), "orgkey custody --help"),
        (("nonsense",), "orgkey --help"),
    ],
)
def test_wrong_usage_names_a_help_page_that_is_there(
    words: tuple[str, ...], page: str, tmp_path: Path
) -> None:
    assert orgkey(tmp_path, *words, expect=2).error[1] == f"see `{page}`"
    assert orgkey(tmp_path, *page.split()[1:], expect=0).out


@pytest.mark.parametrize(
    "words", [("report", "--verify-page=~/new"), ("backups", "crew", "init", "--output=~/new")]
)
def test_a_tilde_that_no_shell_has_seen_is_the_home(words: tuple[str, ...], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    orgkey(tmp_path, *words, env=environment(tmp_path) | {"HOME": str(home)}, expect=0)
    assert (home / "new").is_file()


@pytest.mark.parametrize("words", [(), ("config",), ("stack",)])
def test_no_command_shows_the_help(words: tuple[str, ...], tmp_path: Path) -> None:
    done = orgkey(tmp_path, *words, expect=2)
    assert "COMMAND [ARGS]" in done.err
    assert "Usage:" in done.err
    assert "orgkey: error" not in done.err
    assert done.out == ""


@pytest.mark.parametrize("command", [*WITHOUT, "stack"])
def test_help_goes_to_stdout(command: str, tmp_path: Path) -> None:
    done = orgkey(tmp_path, command, "--help", expect=0)
    assert f"orgkey {command}" in done.out
    assert done.err == ""


def test_the_version(tmp_path: Path) -> None:
    assert orgkey(tmp_path, "--version", expect=0).out.startswith("orgkey-escrow ")


@pytest.mark.parametrize("words", [("--config", "x", "doctor"), ("custody", "--json", "posture")])
def test_an_option_before_its_command_is_sent_behind_it(words: tuple[str, ...], tmp_path: Path) -> None:
    option = next(word for word in words if word.startswith("--"))
    done = orgkey(tmp_path, *words, expect=2)
    assert f"it goes behind the command: orgkey COMMAND {option}" in done.out + done.err


def test_completion_works(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("orgkey")
    env = environment(tmp_path) | {"_ORGKEY_COMPLETE": "complete_bash", "COMP_CWORD": "1"}

    def complete(words: str) -> list[str]:
        given = env | {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        done = subprocess.run([command], env=given, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.split()

    assert complete("orgkey repa") == ["repair"]
    assert complete("orgkey drill --fr") == ["--from"]
    assert "--new-passphrase-file" in complete("orgkey restore --new")
    # Told which shell, since this test may run under none, and before the command line is built.
    told = environment(tmp_path) | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    words = [str(command), "--show-completion", "bash"]
    shown = subprocess.run(words, env=told, capture_output=True, text=True, timeout=60, check=False)
    assert "complete" in shown.stdout, shown
    nowhere, hint = told | {"HOME": "/proc/self/none"}, "hint: type it in bash, zsh or fish"
    done = subprocess.run(
        [*words[:1], "--install-completion", "bash"],
        env=nowhere,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, hint in done.stderr) == (3, True), done
    script = f"{shlex.quote(str(command))} --install-completion; exit $?"  # often a shell that is not known
    done = subprocess.run(
        ["sh", "-c", script],
        env=environment(Path("/proc/self/none")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode in (2, 3), hint in done.stderr) == (True, True), done


def test_the_schema_of_the_configuration_accepts_the_real_thing(tmp_path: Path) -> None:
    import tomllib

    import jsonschema  # type: ignore[import-untyped]  # it ships no types

    schema = json.loads(orgkey(tmp_path, "config", "schema", "--json", expect=0).out)
    jsonschema.validate(tomllib.loads(CONFIG.format(pin=PIN)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"target": {}}, schema)


# -- which configuration ---------------------------------------------------------------------------------


def test_the_first_configuration_wins_and_is_named(tmp_path: Path) -> None:
    home, named = tmp_path / "home", write_config(tmp_path / "named.toml")
    by_variable = write_config(tmp_path / "variable.toml")
    here, users = write_config(tmp_path / "orgkey.toml"), home / ".config" / "orgkey" / "orgkey.toml"
    write_config(users)
    env = environment(home) | {"ORGKEY_CONFIG": str(by_variable)}

    def used(*words: str, env: dict[str, str] = env) -> str:
        done = orgkey(tmp_path, "config", "validate", "--json", *words, env=env, expect=0)
        path = str(done.document["path"])
        assert f"configuration: {path}" in done.err
        return path

    assert used("--config", str(named)) == str(named)
    assert used() == str(by_variable)
    assert used(env=environment(home)) == "orgkey.toml"
    here.unlink()
    assert used(env=environment(home)) == str(users)
    elsewhere = tmp_path / "xdg"
    write_config(elsewhere / "orgkey" / "orgkey.toml")
    assert used(env=environment(home) | {"XDG_CONFIG_HOME": str(elsewhere)}).startswith(str(elsewhere))


def test_one_that_is_named_is_never_replaced_by_another(tmp_path: Path) -> None:
    write_config(tmp_path / "orgkey.toml")
    env = environment(tmp_path) | {"ORGKEY_CONFIG": "absent.toml"}
    assert "absent.toml" in orgkey(tmp_path, "list", env=env, expect=2).error[0]
    assert "gone.toml" in orgkey(tmp_path, "list", "--config", "gone.toml", expect=2).error[0]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_configuration_that_others_can_write_is_refused(mode: int, tmp_path: Path) -> None:
    write_config(tmp_path / "orgkey.toml", mode=mode)
    happened, hint = orgkey(tmp_path, "config", "validate", expect=2).error
    assert "written by others" in happened
    assert "chmod go-w" in hint


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: "not = [toml", "not TOML"),
        (lambda text: text.replace('kind = "aws-kms"', 'kind = "magic"'), "holder.aws"),
        (lambda text: text.replace('"vault", "aws"', '"vault", "nobody"'), "nobody"),
        (lambda text: text + "\n[policy]\ncopies = 3\n", "copies is 3"),
        (lambda text: text + "\nsurprise = 1\n", "surprise"),
        (lambda text: text.replace("{pin}", "1234"), "40 hexadecimal digits"),
        (
            lambda text: text.replace('"http://127.0.0.1:9"\n[holder.aws]', '"vault"\n[holder.aws]'),
            "https://",
        ),
        (lambda text: text.replace('needs = ["vault", "aws"]', 'needs = ["vault"]'), "vault-admins"),
    ],
)
def test_a_configuration_that_is_not_valid_is_2_and_says_where(
    change: Callable[[str], str], named: str, tmp_path: Path
) -> None:
    write_config(tmp_path / "orgkey.toml", change(CONFIG))
    done = orgkey(tmp_path, "config", "validate", "--json", expect=2)
    assert named in done.document["error"]["message"]


def test_one_party_alone_is_accepted_where_that_is_said(tmp_path: Path) -> None:
    text = CONFIG.replace('needs = ["vault", "aws"]', 'needs = ["vault"]')
    write_config(tmp_path / "orgkey.toml", text + "\n[policy]\naccept_single_party = true\n")
    assert orgkey(tmp_path, "config", "validate", "--json", expect=0).document["valid"] is True


# -- without a terminal, nothing prompts -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("escrow", str(export_of("ed25519"))), "--export-passphrase-file"),
        (("escrow", str(export_of("ed25519")), "--dry-run"), "--export-passphrase-file"),
    ],
)
def test_without_a_terminal_the_missing_option_is_named(
    words: tuple[str, ...], option: str, tmp_path: Path
) -> None:
    write_config(tmp_path / "orgkey.toml")
    done = orgkey(tmp_path, *words, expect=2)
    assert option in done.error[1]


def test_no_pin_and_no_terminal_is_2(tmp_path: Path) -> None:
    text = CONFIG.replace('[key]\nfingerprint = "{pin}"\n', "")
    write_config(tmp_path / "orgkey.toml", text)
    (tmp_path / "pass").write_bytes(writer.PASSPHRASE)
    done = orgkey(tmp_path, "escrow", str(export_of("ed25519")), "--export-passphrase-file", "pass", expect=2)
    assert "--fingerprint" in done.error[1]
    assert "no key is pinned" in orgkey(tmp_path, "list", expect=2).error[0]
    assert not (tmp_path / ".local").exists()


# -- inspect: the code is the verdict --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "words", "code", "verdict"),
    [
        ("rsa4096-two-block", (), 0, "ok"),
        ("ed25519-single", (), 0, "ok"),
        ("ed25519-two-block", ("--fingerprint", PIN), 0, "ok"),
        ("ed25519-two-block", ("--fingerprint", "AB" * 20), 14, "not-pinned"),
        ("rsa2048-unprotected", (), 11, "unprotected"),
        ("expired-two-block", (), 15, "expired"),
        ("revoked-two-block", (), 15, "expired"),
        ("certify-only-unprotected", (), 16, "incomplete"),
    ],
)
def test_inspect_ends_with_its_verdict(
    key: str, words: tuple[str, ...], code: int, verdict: str, tmp_path: Path
) -> None:
    done = orgkey(tmp_path, "inspect", str(KEYS / f"{key}.asc"), *words, "--json", expect=code)
    assert (done.document["verdict"], done.document["exit_code"]) == (verdict, code)
    if code:
        assert code in [problem["code"] for problem in done.document["problems"]]


def test_inspect_reads_standard_input_and_opens_with_a_passphrase(tmp_path: Path) -> None:
    data = export_of("ed25519").read_bytes()
    (tmp_path / "right").write_bytes(writer.PASSPHRASE + b"\n")
    (tmp_path / "wrong").write_bytes(writer.PASSPHRASE + b" \n")
    seen = orgkey(tmp_path, "inspect", "-", "--json", "--export-passphrase-file", "right", stdin=data)
    assert (seen.code, seen.document["fingerprint"]) == (0, PIN), seen
    seen = orgkey(tmp_path, "inspect", "-", "--json", "--export-passphrase-file", "wrong", stdin=data)
    assert seen.code == 12
    assert "ends with a space" in seen.err
    assert orgkey(tmp_path, "inspect", "-", "--json", stdin=b"\xff\x00nothing").code == 13


def test_a_passphrase_comes_from_a_descriptor_or_a_command(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, writer.PASSPHRASE + b"\n")
    os.close(write)
    words = ("inspect", str(export_of("ed25519")), "--json")
    try:
        given = orgkey(tmp_path, *words, "--export-passphrase-fd", str(read), pass_fds=(read,), expect=0)
    finally:
        os.close(read)
    assert given.document["verdict"] == "ok"
    (tmp_path / "pass").write_bytes(writer.PASSPHRASE)
    orgkey(tmp_path, *words, "--export-passphrase-command", "cat pass", expect=0)
    failed = orgkey(tmp_path, *words, "--export-passphrase-command", "false", expect=2)
    assert "false" in failed.error[0]
    closed = orgkey(tmp_path, *words, "--export-passphrase-fd", "77", expect=3)
    assert "77" in closed.error[0]


def test_the_passphrase_is_no_argument_and_no_variable(tmp_path: Path) -> None:
    words = ("inspect", str(export_of("ed25519")), "--export-passphrase", writer.PASSPHRASE.decode())
    assert orgkey(tmp_path, *words).code == 2
    (tmp_path / "orgkey.toml").touch()
    write_config(tmp_path / "orgkey.toml")
    env = environment(tmp_path) | {"ORGKEY_EXPORT_PASSPHRASE": writer.PASSPHRASE.decode()}
    assert orgkey(tmp_path, "escrow", str(export_of("ed25519")), env=env).code == 2


# -- odd input and odd readers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [b"\xff\xfe-no-utf8", b"\x1b[31mred\x07", b"a\nb\r\nc\td", "h\u00e9\u202etxt".encode(), b"a" * 300],
    ids=["no-utf8", "escapes", "lines", "bidi", "long"],
)
def test_odd_names_neither_break_it_nor_steer_the_terminal(name: bytes, tmp_path: Path) -> None:
    commands: tuple[list[str | bytes], ...] = (
        ["inspect", name, "--json"],
        ["restore", "--out", name, "--from", name],
        ["init", "--yes", "--from", str(export_of("ed25519")), "--out", name, *PLACES],
    )
    for words in commands:
        done = forkserver.run(
            [*ORGKEY, *words],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (0 if words[0] == "init" else 3, 2, 3), done
        assert b"Traceback" not in done.stderr
        assert b"internal error" not in done.stderr
        if done.returncode == 0:
            continue
        lines = done.stderr.decode("utf-8", "strict").splitlines()
        assert lines[-2].startswith("orgkey: error: ")
        assert lines[-1].startswith("orgkey: hint: ")
        assert not set(done.stderr) & (set(range(32)) - {10})
        if "--json" in words:
            json.loads(done.stdout.decode("utf-8", "strict"))


@pytest.mark.parametrize("words", [("--help",), ("config", "schema"), ("inspect", str(export_of("rsa4096")))])
def test_a_reader_that_goes_away_is_no_crash(words: tuple[str, ...], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = forkserver.run(
            [*ORGKEY, *words],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_output_survives_a_plain_locale(tmp_path: Path) -> None:
    env = environment(tmp_path) | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    packets = commandline.packets_of("ed25519")
    changed = [
        (tag, "Zo\u00eb \U0001f511 <z@example.com>".encode() if tag == writer.USER_ID else body)
        for tag, body in packets
    ]
    (tmp_path / "key.asc").write_text(writer.two_block(changed))
    for words in ((), ("--json",)):
        done = orgkey(tmp_path, "inspect", "key.asc", *words, env=env)
        assert done.code not in (0, 1), done
        assert "internal error" not in done.err
        assert json.loads(done.out)["user_ids"] if words else "Zo" in done.out
