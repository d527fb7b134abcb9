"""Secret inputs, the terminal among them: a real one (pty), in a session of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.core import log as logs
from pipeline.core import passphrases as inputs
from pipeline.core.errors import DeadlinePassed, LocalFilesProblem, OrgkeyError, ProgramMissing, UsageProblem
from pipeline.core.secret import Secret

OPTIONS = "--export-passphrase-file/-fd/-command"


def from_file(path: Path, seconds: float = 5.0) -> bytes:
    return inputs.from_options("passphrase", file=path, option_names=OPTIONS, seconds=seconds)().reveal()


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"pw", b"pw"),
        (b"pw\n", b"pw"),
        (b"pw\n\n", b"pw\n"),
        (b"pw\r\n", b"pw\r"),
        (b" pw ", b" pw "),
        (b"p\xe4\xff\x00w\n", b"p\xe4\xff\x00w"),
    ],
)
def test_exactly_one_newline_is_stripped_from_a_file(tmp_path: Path, content: bytes, value: bytes) -> None:
    (tmp_path / "pw").write_bytes(content)
    assert from_file(tmp_path / "pw") == value


@pytest.mark.parametrize("content", [b"pw\r\n", b"pw \n", b"\tpw", b"pw\n\n", b"\xef\xbb\xbfpw"])
def test_odd_ends_are_mentioned_without_showing_the_passphrase(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "file").chmod(0o600)
    value = from_file(tmp_path / "file")
    assert inputs.edge_note(Secret(value)) is not None
    assert "used as it stands" in caplog.text
    assert "pw" not in caplog.text


def test_a_plain_private_file_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"inner space is fine\n")
    (tmp_path / "file").chmod(0o600)
    assert inputs.edge_note(Secret(from_file(tmp_path / "file"))) is None
    assert caplog.text == ""


def test_a_file_that_others_can_read_is_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"pw")
    (tmp_path / "file").chmod(0o640)
    from_file(tmp_path / "file")
    assert "chmod 600" in caplog.text


def test_a_credential_that_was_handed_over_may_show_a_right_of_the_group(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd's access lists and the group of a volume do."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = tmp_path / "passphrase"
    path.write_bytes(b"secret")
    path.chmod(0o440)
    from_file(path)
    assert caplog.text == ""
    path.chmod(0o444)
    from_file(path)
    assert "chmod 600" in caplog.text


@pytest.mark.parametrize(
    ("content", "error"),
    [(None, LocalFilesProblem), (b"", UsageProblem), (b"\n", UsageProblem), (b"x" * 70000, UsageProblem)],
)
def test_files_that_hold_no_passphrase_are_named(
    tmp_path: Path, content: bytes | None, error: type[OrgkeyError]
) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(error, match="file") as caught:
        from_file(tmp_path / "file")
    assert caught.value.hint


def test_a_directory_is_no_passphrase(tmp_path: Path) -> None:
    with pytest.raises(LocalFilesProblem):
        from_file(tmp_path)


def test_a_named_pipe_is_read_when_its_writer_comes(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb") as stream:
            stream.write(b"first ")
            stream.flush()
            time.sleep(0.05)
            stream.write(b"second\n")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert from_file(path) == b"first second"
    writer.join()


def test_a_named_pipe_without_a_writer_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DeadlinePassed, match="fifo"):
        from_file(tmp_path / "fifo", seconds=0.1)


def test_an_inherited_descriptor_is_read_once() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"pw\n")
    os.close(write_end)
    source = inputs.from_options("passphrase", fd=read_end, option_names=OPTIONS)
    assert source() == Secret("pw")
    with pytest.raises(UsageProblem, match="empty"):
        source()
    os.close(read_end)
    with pytest.raises(LocalFilesProblem, match=f"descriptor {read_end}"):
        source()


def test_once_remembers_what_can_be_read_once() -> None:
    asked: list[int] = []

    def ask() -> Secret:
        asked.append(1)
        return Secret("pw")

    source = inputs.once(ask)
    assert asked == []
    assert (source(), source(), len(asked)) == (Secret("pw"), Secret("pw"), 1)


@pytest.mark.parametrize(
    "command", ["printf '%s\\n' \"two  words;$HOME\"", ("printf", "%s\n", "two  words;$HOME")]
)
def test_a_command_is_split_but_no_shell_runs_it(command: str | tuple[str, ...]) -> None:
    source = inputs.from_options("passphrase", command=command, option_names=OPTIONS)
    assert source() == Secret("two  words;$HOME")


@pytest.mark.parametrize(
    ("code", "seconds", "error", "told"),
    [
        ("import sys; print('pw'); sys.exit('locked: s3cret')", 30, UsageProblem, "code 1"),
        ("pass", 30, UsageProblem, "empty"),
        ("import time; time.sleep(60)", 2, DeadlinePassed, "within 2 s"),
        ("print('x' * 100000)", 30, LocalFilesProblem, "more than"),
    ],
)
def test_commands_that_fail_are_told_apart(
    code: str, seconds: float, error: type[OrgkeyError], told: str
) -> None:
    command = (sys.executable, "-c", code)
    with pytest.raises(error, match=told) as caught:
        inputs.from_options("passphrase", command=command, option_names=OPTIONS, seconds=seconds)()
    assert "pw" not in caught.value.message + caught.value.hint


def test_a_command_that_is_not_installed_is_missing() -> None:
    with pytest.raises(ProgramMissing):
        inputs.from_options("passphrase", command="orgkey-no-such-program x", option_names=OPTIONS)()


@pytest.mark.parametrize("command", ["", "  ", (), "unbalanced 'quote"])
def test_a_command_without_a_program_is_refused(command: str | tuple[str, ...]) -> None:
    with pytest.raises(UsageProblem, match="command"):
        inputs.from_options("passphrase", command=command, option_names=OPTIONS)


def test_more_than_one_way_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="only one of"):
        inputs.from_options("passphrase", file=tmp_path / "pw", fd=0, option_names=OPTIONS)


def run_without_terminal(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        check=False,
    )


def test_without_a_terminal_nothing_prompts_and_the_option_is_named() -> None:
    code = (
        "from pipeline.core import passphrases as inputs\nfrom pipeline.core.errors import UsageProblem\n"
        f"source = inputs.from_options('passphrase of the export', option_names={OPTIONS!r})\n"
        "try:\n    source()\nexcept UsageProblem as error:\n    print(error.message, '|', error.hint)"
    )
    done = run_without_terminal(code)
    assert done.stdout.strip() == (
        f"the passphrase of the export is needed, and there is no terminal to ask at | give {OPTIONS}"
    ), done.stderr


DIALOGUE = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))  # a session's leader thus takes it as its terminal
from pipeline.core import passphrases as inputs
from pipeline.core.errors import OrgkeyError
source = inputs.from_options("passphrase", confirm={confirm}, option_names="--x")
try:
    sys.stdout.write("GOT " + source().reveal().hex())
except OrgkeyError as error:
    sys.stdout.write("ERROR " + error.message)
"""


def converse(answers: list[bytes], *, confirm: bool) -> tuple[str, bytes]:
    """Answer each prompt; return what the program printed, and all that the terminal showed."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", DIALOGUE.format(confirm=confirm)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    ends = time.monotonic() + 60
    left = list(answers)
    try:
        while time.monotonic() < ends:
            if not select.select([ours], [], [], 0.1)[0]:
                if child.poll() is not None:
                    break
                continue
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the terminal's other side is closed
                break
            if left and shown.count(b": ") > len(answers) - len(left):
                os.write(ours, left.pop(0) + b"\n")
        printed, _ = child.communicate(timeout=60)
    finally:
        os.close(ours)
        child.kill()
        child.wait()
    return printed.decode(), shown


def test_a_person_is_asked_without_echo() -> None:
    printed, shown = converse([b"open sesame"], confirm=False)
    assert printed == "GOT " + b"open sesame".hex()
    assert b"passphrase: " in shown
    assert b"sesame" not in shown


def test_a_new_passphrase_is_typed_twice_and_a_slip_asks_again() -> None:
    printed, shown = converse([b"one", b"two", b"three", b"three"], confirm=True)
    assert printed == "GOT " + b"three".hex()
    assert b"the two differ" in shown


def test_three_empty_answers_end_the_dialogue() -> None:
    printed, _ = converse([b"", b"", b""], confirm=False)
    assert printed.startswith("ERROR no passphrase after 3 attempts")


def test_what_was_read_is_kept_out_of_the_logs(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"walrus-in-the-snow\n")
    from_file(tmp_path / "file")
    assert "walrus" not in logs.clean("the passphrase is walrus-in-the-snow")


def test_a_command_gets_no_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.example")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("PASSWORD_STORE_DIR", "/store")
    got = inputs.from_options("it", command=["env"], option_names=OPTIONS)().text().splitlines()
    names = {line.partition("=")[0] for line in got}
    assert {"PATH", "PASSWORD_STORE_DIR"} <= names
    assert not {"VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY"} & names
