"""Standard streams that are closed, full or without a reader: the work is done, and its code is told."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import typer

from pipeline.cli import app as program
from pipeline.core.errors import Code, UsageProblem
from tests.support.commandline import export_of
from tests.support.started import Open, Started


def _full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def _closed() -> None:
    return None


def _gone() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


BROKEN: dict[str, Open] = {"full": _full, "closed": _closed, "gone": _gone}


def leaves(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, by its words."""
    command = command or typer.main.get_command(program.app)
    if not hasattr(command, "commands"):
        yield words
        return
    for name in command.commands:
        yield from leaves(command.commands[name], (*words, name))


LEAVES = sorted(leaves())
# What would run for long, or make servers, when it is called without arguments.
NOT_BARE = {("stack", "up"), ("lab", "serve")}


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Once here instead of once in each fork."""
    for name in ("config", "wiring.factory", "core.log", "config.setup.template"):
        importlib.import_module(f"pipeline.{name}")


@pytest.fixture
def started(tmp_path: Path) -> Started:
    return Started(tmp_path)


def two_lines(err: bytes) -> None:
    happened, hint = err.decode().splitlines()[-2:]
    assert happened.startswith("orgkey: error: the answer could not be written to standard output: "), err
    assert hint.startswith("orgkey: hint: "), err
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err


@pytest.mark.parametrize(("words", "how"), list(zip(LEAVES, cycle(BROKEN), strict=False)))
def test_every_command_keeps_its_code_whatever_its_streams(
    words: tuple[str, ...], how: str, started: Started
) -> None:
    broken = BROKEN[how]
    assert started.run(*words, "--help", stdin=_closed, stderr=broken) == Code.OK
    assert words[-1].encode() in started.out
    assert started.run(*words, "--help", stdout=broken) == Code.LOCAL_FILES
    two_lines(started.err)
    if words not in NOT_BARE:
        bare = started.run(*words, stdin=_closed, stderr=broken)
        assert bare in set(Code) - {Code.INTERNAL}
        lost = started.run(*words, stdout=broken)
        assert lost == (bare or Code.LOCAL_FILES) or not (lost or started.out or started.err), started.err
        assert b"Traceback" not in started.err


@pytest.mark.parametrize(
    "words", [("--version",), ("config", "schema"), ("inspect", "key"), ("inspect", "key", "--json")]
)
@pytest.mark.parametrize("how", BROKEN)
def test_an_answer_that_is_lost_is_3_and_told(how: str, words: tuple[str, ...], started: Started) -> None:
    words = tuple(str(export_of("ed25519")) if word == "key" else word for word in words)
    assert started.run(*words, stdout=BROKEN[how]) == Code.LOCAL_FILES
    two_lines(started.err)
    assert started.run(*words, stdout=BROKEN[how], stderr=BROKEN[how]) == Code.LOCAL_FILES
    assert started.run(*words, stderr=BROKEN[how]) == Code.OK
    assert started.out


def test_an_error_document_that_is_lost_leaves_the_code_alone(started: Started) -> None:
    assert started.run("inspect", "absent", "--json", stdout=_full) == Code.LOCAL_FILES
    assert started.run("status", "--json", stdout=_full) == Code.USAGE
    assert b"orgkey: error: no configuration found" in started.err
    two_lines(started.err)


def test_descriptors_that_were_closed_are_never_those_of_a_file(started: Started, tmp_path: Path) -> None:
    words = (
        "init",
        "--from",
        str(export_of("ed25519")),
        "--yes",
        "--no-input",
        "--out",
        str(tmp_path / "o.toml"),
    )
    places = (
        "--vault-address",
        "http://127.0.0.1:9",
        "--transit-key",
        "k",
        "--kms-key",
        "k",
        "--directory",
        "/x",
        "--region",
        "eu-central-1",
    )
    code = started.run(*words, *places, "-vvv", stdin=_closed, stdout=_closed, stderr=_closed)
    assert code in {Code.OK, Code.LOCAL_FILES}
    assert (tmp_path / "o.toml").read_text().startswith("#")


@pytest.mark.parametrize(
    "words", [("escrow", "-"), ("restore", "--out", "x", "--share", "-"), ("backups", "verify", "-")]
)
def test_a_closed_standard_input_is_named(words: tuple[str, ...], started: Started) -> None:
    assert started.run(*words, stdin=_closed) in {Code.USAGE, Code.LOCAL_FILES}
    assert b"internal" not in started.err


def locate_fails(error: Exception) -> None:
    """Have an error in a command's process."""

    def fail(*_: object) -> None:
        raise error

    pytest.MonkeyPatch().setattr("pipeline.config.locate", fail)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (OSError(28, "No space left on device"), 3, b"No space left"),
        (OSError(24, "Too many open files"), 3, b"Too many open files"),
        (MemoryError(), 3, b"no memory is left"),
        (RuntimeError("can't start new thread"), 3, b"no thread can be started"),
        (ImportError("x.so: failed to map segment from shared object"), 3, b"cannot be loaded"),
        (BrokenPipeError(32, "Broken pipe"), 1, b"internal error: BrokenPipeError"),
        (ImportError("no module"), 1, b"internal error: ImportError"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_nobody_foresaw_is_named(error: Exception, code: int, told: bytes, started: Started) -> None:
    assert started.run("status", before=partial(locate_fails, error)) == code
    assert told in started.err
    assert len(started.err.splitlines()) == 2


def test_a_file_that_cannot_be_read_for_want_of_memory_is_no_usage_problem(
    started: Started,
) -> None:
    error = UsageProblem("cannot read it", hint="correct it")
    error.__cause__ = OSError(12, "Cannot allocate memory")
    assert started.run("status", before=partial(locate_fails, error)) == Code.LOCAL_FILES
    assert b"Cannot allocate memory" in started.err
