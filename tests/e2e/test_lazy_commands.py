"""Commands are imported late, and the help page still says what they say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli import app as root
from pipeline.cli import lazy
from pipeline.cli.app import COMMANDS, app
from pipeline.core.errors import Code
from pipeline.core.signals import Signalled


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_page_quotes_each_command(name: str) -> None:
    command = COMMANDS[name].load(name)
    assert command.name == name
    assert command.get_short_help_str(200) == COMMANDS[name].help


def test_the_help_page_lists_them_in_order() -> None:
    assert list(typer.main.get_command(app).commands) == list(COMMANDS)  # type: ignore[attr-defined]  # a group


def test_the_help_page_imports_no_command() -> None:
    code = (
        "import sys\n"
        "from pipeline.cli.app import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print(*[name for name in sys.modules if name.endswith('_command')], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip() == ""
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


def test_what_a_fleet_is_forked_from_has_no_dask_and_one_thread() -> None:
    code = (
        "import sys, threading\n"
        "from pipeline.cli import fleet_run\n"
        "fleet_run.preload()\n"
        "assert 'pipeline.sources.backups.crew.dispatch_client' in sys.modules\n"
        "assert 'tenacity' in sys.modules\n"
        "print(*{'dask', 'distributed', 'tornado'} & sys.modules.keys(), *threading.enumerate()[1:])\n"
        "import tornado\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""


def test_what_is_for_trying_is_not_shown_where_it_was_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "find_spec", lambda name: None)
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert "\n  escrow " in shown
    assert "\n  lab " not in shown
    assert "\n  stack " not in shown


@pytest.mark.parametrize(
    ("words", "resumes"),
    [
        (["escrow", "x"], True),
        (["custody", "rotate"], True),
        (["--log-format=json", "repair"], True),
        (["custody", "confirm"], False),
        (["init"], False),
        (["restore", "--out", "escrow"], False),
        ([], False),
    ],
)
def test_an_interrupted_command_says_whether_it_resumes(
    monkeypatch: pytest.MonkeyPatch, words: list[str], resumes: bool
) -> None:
    monkeypatch.setattr(sys, "argv", ["orgkey", *words])
    hint = root._interrupted().hint
    assert hint.endswith("it resumes where it stopped" if resumes else "it begins anew")


def test_a_signal_that_the_interpreter_tells_as_an_error_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def struck(**_: Any) -> None:
        raise RuntimeError("Error calling __set_name__") from Signalled()

    monkeypatch.setattr(root, "app", struck)
    monkeypatch.setattr(root, "_asked", True)
    assert root._run(as_json=False) is Code.INTERRUPTED
    assert "error: interrupted" in capsys.readouterr().err
    monkeypatch.setattr(root, "_asked", False)
    assert root._run(as_json=False) is Code.INTERNAL


def every_command() -> list[tuple[str, Any]]:
    """Every command that is not a group, by its words."""

    def walk(command: Any, words: str) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", {})
        for name, child in children.items():
            yield from walk(child, f"{words} {name}")
        if not children:
            yield words, command

    return list(walk(typer.main.get_command(app), "orgkey"))


@pytest.mark.parametrize(
    ("words", "command"), every_command(), ids=lambda value: str(value).replace(" ", "-")
)
def test_a_help_page_fits_has_an_example_that_can_be_typed_and_exit_codes(words: str, command: Any) -> None:
    page = command.get_help(typer.Context(command, info_name=words))
    assert all(len(line) <= 80 for line in page.splitlines()), page
    assert page.isascii() or words == "orgkey restore"
    example = page.partition("\nExample:\n")[2].splitlines()[0].strip()
    assert example.startswith(words)
    arguments = shlex.split(example.partition(" > ")[0].removeprefix(words))
    command.make_context(words, arguments)  # or it raises what the parser says
    codes = page.partition("\nExit codes:\n")[2]
    assert re.match(r"  0 +all that was asked", codes)
    assert page.index("\nEvery command:\n") < page.index("\nExample:\n")
