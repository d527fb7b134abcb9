"""What a shell completes: names of the configuration, epochs and certificates of this host's state."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commandline import ROOT

PIN = "70FBA2750FD7F47DF6FB080908E6316C03A0DB7D"
FORMER = PIN[::-1]
CONFIG = f"""
[key]
fingerprint = "70FB A275 0FD7 F47D F6FB  0809 08E6 316C 03A0 DB7D"
former = ["{FORMER}"]
[target.vault-eu]
role = "unknown settings do not matter"
[target.tape]
[target."$(touch pwned)"]
[source]
kind = "inbox"
passphrase_file = "credentials/passphrase"
[path.unattended]
[path.custodians]
[backups.nightly]
"""
OLD, NEW = "20250101T000000Z-aaaaaaaa", "20260101T000000Z-bbbbbbbb"
WATCHED = """
import os, sys
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.exec", "os.posix_spawn"):
        print("DID", event, arguments, file=sys.stderr)
    if event == "open" and "/credentials/" in str(arguments[0]):
        print("OPENED", arguments[0], file=sys.stderr)
sys.addaudithook(hook)
leave = os._exit
def told(code):
    heavy = ("boto3", "botocore", "hvac", "pgpy", "cryptography", "jinja2", "rich", "distributed")
    print("HEAVY", [name for name in heavy if name in sys.modules], file=sys.stderr, flush=True)
    leave(code)
os._exit = told
sys.argv = ["orgkey"]
from pipeline.cli.entry import main
main()
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A configuration, a ledger of two hosts and of 0.1, and a certificate."""
    (tmp_path / "orgkey.toml").write_text(CONFIG)
    state = tmp_path / "state" / PIN
    for name, details in {
        "000000001.json": {"epoch": OLD},
        "0123456789abcdef/000000002.json": {"epochs": {NEW: {}, "$(touch pwned)": {}}},
        "0123456789abcdef/000000003.json": ["malformed"],
    }.items():
        (state / "ledger" / name).parent.mkdir(parents=True, exist_ok=True)
        (state / "ledger" / name).write_text(json.dumps({"details": details}))
    (state / "ledger" / "000000004.json").write_text("half an en")
    os.mkfifo(state / "ledger" / "000000005.json")
    (state / "certificates").mkdir()
    (state / "certificates" / "drill-1.json").write_text("{}")
    return tmp_path


def environment(host: Path, **more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    known = {
        "PATH": path,
        "HOME": str(host),
        "PYTHONPATH": str(ROOT),
        "ORGKEY_STATE_DIR": str(host / "state"),
    }
    return known | more


def completed(host: Path, line: str, shell: str = "fish", program: str = WATCHED) -> list[str]:
    """What is offered behind a line, as the scripts of zsh and fish ask for it."""
    more = {"_ORGKEY_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=host,
        env=environment(host, _TYPER_COMPLETE_FISH_ACTION="get-args", **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "HEAVY []\n")
    return [word.partition("\t")[0] for word in done.stdout.split("\n") if word]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("drill --from ", ["vault-eu", "tape"]),
        ("drill --from v", ["vault-eu"]),
        ("retain --target ", ["vault-eu", "tape"]),
        ("ledger verify --mirror t", ["tape"]),
        ("restore --via ", ["unattended", "custodians"]),
        ("drill --epoch ", ["latest", "all", NEW, OLD]),
        ("restore --epoch 2025", [OLD]),
        ("custody rotate --epoch ", ["latest", NEW, OLD]),
        ("backups verify ", ["nightly"]),
        ("restore --fingerprint ", [PIN, FORMER]),
        (f"drill --fingerprint {FORMER} --epoch ", ["latest", "all"]),
        ("explain lost-v", ["lost-vault"]),
        ("explain 4", ["4", "40", "41", "42"]),
    ],
)
def test_what_this_host_knows_is_offered(line: str, words: list[str], host: Path) -> None:
    assert completed(host, f"orgkey {line}") == words


def test_certificates_are_offered_with_their_folder(host: Path) -> None:
    known = host / "state" / PIN / "certificates" / "drill-1.json"
    assert completed(host, "orgkey certificate verify ") == [str(known)]


def test_a_configuration_and_a_state_that_are_named_are_read(host: Path) -> None:
    (host / "other.toml").write_bytes((host / "orgkey.toml").read_text().encode("utf-8-sig"))
    (host / "orgkey.toml").unlink()
    (host / "state").rename(host / "elsewhere")
    line = "orgkey drill --config other.toml --state-dir elsewhere"
    assert completed(host, f"{line} --epoch 2026") == [NEW]
    assert completed(host, f"{line} --from ") == ["vault-eu", "tape"]


@pytest.mark.parametrize("content", [b"not TOML [", b"\xff\xfe", b"key = 5\n", None, "a pipe"])
def test_whatever_is_wrong_is_silent(content: bytes | str | None, host: Path) -> None:
    (host / "orgkey.toml").unlink()
    if isinstance(content, bytes):
        (host / "orgkey.toml").write_bytes(content)
    elif content:
        os.mkfifo(host / "orgkey.toml")
    assert completed(host, "orgkey drill --epoch ") == ["latest", "all"]
    assert completed(host, "orgkey drill --from ") == []


def test_zsh_is_given_the_words(host: Path) -> None:
    assert completed(host, "orgkey drill --from ", "zsh") == ['_arguments \'*: :(("vault-eu"', '"tape"))\'']


def test_bash_completes_them(host: Path) -> None:
    script = """
eval "$(_ORGKEY_COMPLETE=source_bash orgkey)"
complete -p orgkey | grep -q -- '-F _orgkey_completion' || exit 1
COMP_WORDS=(orgkey drill --epoch "") COMP_CWORD=3
_orgkey_completion orgkey
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=host,
        env=environment(host),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["latest", "all", NEW, OLD]
    assert not (host / "pwned").exists()


@pytest.mark.parametrize("shell", [it for it in ("bash", "zsh", "fish") if shutil.which(it)])
def test_the_script_is_one_that_the_shell_reads(shell: str, host: Path) -> None:
    orgkey = shutil.which("orgkey", path=environment(host)["PATH"])
    assert orgkey is not None
    script = subprocess.run(
        [orgkey],
        env=environment(host, _ORGKEY_COMPLETE=f"source_{shell}"),
        capture_output=True,
        timeout=60,
        check=True,
    ).stdout
    assert b"_ORGKEY_COMPLETE=complete_" in script or b"_ORGKEY_COMPLETE complete_" in script
    done = subprocess.run(
        [shell, "-n", "/dev/stdin"], input=script, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
