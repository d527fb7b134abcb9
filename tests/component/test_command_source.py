from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pipeline.core import log
from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, LocalFilesProblem, OrgkeyError, ProgramMissing, UsageProblem
from pipeline.core.secret import Secret
from pipeline.sources.command import CommandSource
from pipeline.sources.interface import NoExport


def soon() -> Deadline:
    return Deadline(60)


def script(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def test_what_the_command_prints_is_the_export() -> None:
    source = CommandSource(script(r"import sys; sys.stdout.buffer.write(b'\x00key\r\n')"))
    export = source.fetch(soon())
    assert export.data == b"\x00key\r\n"
    assert source.finish(export, "epoch") == ()


def test_what_it_says_besides_becomes_a_note() -> None:
    code = "import sys; print('key'); print('exported 1 key', file=sys.stderr)"
    (note,) = CommandSource(script(code)).fetch(soon()).notes
    assert note.endswith("exported 1 key")


def test_no_shell_reads_its_arguments(tmp_path: Path) -> None:
    hostile = f"; touch {tmp_path}/owned $(touch {tmp_path}/owned)"
    export = CommandSource(script("import sys; print(sys.argv[1])", hostile)).fetch(soon())
    assert export.data.decode().strip() == hostile
    assert list(tmp_path.iterdir()) == []


def test_it_gets_the_pin_and_a_small_environment() -> None:
    source = CommandSource(
        script("import json, os; print(json.dumps(dict(os.environ)))"),
        fingerprint="A" * 40,
        environ={
            "PATH": "/usr/bin:/bin",
            "HOME": "/nowhere",
            "VAULT_TOKEN": "t",
            "AWS_SECRET_ACCESS_KEY": "s",
        },
    )
    seen = json.loads(source.fetch(soon()).data)
    assert seen["ORGKEY_FINGERPRINT"] == "A" * 40
    assert seen["HOME"] == "/nowhere"
    assert not {"VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(seen)


def failure(code: str, *arguments: str, seconds: float = 60.0, limit: int = 1000) -> OrgkeyError:
    source = CommandSource(script(code, *arguments), seconds=seconds, limit=limit)
    with pytest.raises(OrgkeyError) as caught:
        source.fetch(soon())
    return caught.value


def test_a_failure_shows_its_code_and_last_words_but_neither_arguments_nor_secrets() -> None:
    secret = log.redact(Secret("hunter2-hunter2"))
    error = failure(
        "import sys; print('half a key'); print('no route to server', file=sys.stderr); "
        f"print('password was {secret.text()}', file=sys.stderr); sys.exit(7)",
        "--token=argument",
    )
    assert isinstance(error, UsageProblem)
    assert "code 7" in error.message
    assert "no route to server" in error.message
    assert "hunter2" not in error.message
    assert "--token=argument" not in error.message
    assert "\n" not in error.message


def test_endless_last_words_are_cut() -> None:
    error = failure("import sys; sys.stderr.write('x' * 900 + 'END'); sys.exit(1)")
    assert error.message.endswith("END")
    assert len(error.message) < 800


@pytest.mark.parametrize(
    ("code", "seconds", "kind"),
    [
        ("pass", 30.0, NoExport),
        ("print()", 30.0, NoExport),
        ("print('x' * 5000)", 30.0, LocalFilesProblem),
        ("import time; print('key', flush=True); time.sleep(60)", 2.0, DeadlinePassed),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 30.0, UsageProblem),
    ],
)
def test_nothing_too_much_too_slow_and_killed_are_told_apart(
    code: str, seconds: float, kind: type[OrgkeyError]
) -> None:
    error = failure(code, seconds=seconds)
    assert type(error) is kind
    assert error.hint


def test_a_program_that_is_not_installed_is_missing() -> None:
    with pytest.raises(ProgramMissing, match="orgkey-no-such-program"):
        CommandSource(("orgkey-no-such-program",)).fetch(soon())
