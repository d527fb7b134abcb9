"""Secret inputs, the terminal among them: a real one (pty), in a session of its own."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from pipeline.core import log, passphrases, typed_text
from pipeline.core.errors import DeadlinePassed, LocalFilesProblem, OrgkeyError, ProgramMissing, UsageProblem
from pipeline.core.secret import Secret

OPTIONS = "--export-passphrase-file/-fd/-command"


def from_file(path: Path, seconds: float = 5.0) -> bytes:
    return passphrases.from_options("passphrase", file=path, option_names=OPTIONS, seconds=seconds)().reveal()


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
    assert typed_text.oddity(value) is not None
    assert "used as it stands" in caplog.text
    assert "pw" not in caplog.text


def test_a_plain_private_file_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"inner space is fine\n")
    (tmp_path / "file").chmod(0o600)
    assert typed_text.oddity(from_file(tmp_path / "file")) is None
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
    source = passphrases.from_options("passphrase", fd=read_end, option_names=OPTIONS)
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

    source = passphrases.Once(ask)
    assert asked == []
    assert (source(), source(), len(asked)) == (Secret("pw"), Secret("pw"), 1)


def test_a_command_that_is_not_installed_is_missing() -> None:
    with pytest.raises(ProgramMissing):
        passphrases.from_options("passphrase", command="orgkey-no-such-program x", option_names=OPTIONS)()


@pytest.mark.parametrize("command", ["", "  ", (), "unbalanced 'quote"])
def test_a_command_without_a_program_is_refused(command: str | tuple[str, ...]) -> None:
    with pytest.raises(UsageProblem, match="command"):
        passphrases.from_options("passphrase", command=command, option_names=OPTIONS)


def test_more_than_one_way_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="only one of"):
        passphrases.from_options("passphrase", file=tmp_path / "pw", fd=0, option_names=OPTIONS)


def test_what_was_read_is_kept_out_of_the_logs(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"walrus-in-the-snow\n")
    from_file(tmp_path / "file")
    assert "walrus" not in log.clean("the passphrase is walrus-in-the-snow")
