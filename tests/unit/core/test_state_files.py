"""What runs leave for each other, values that take fields from others, and texts in files of their own."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from pipeline.core import state_files, templates
from pipeline.core.errors import LocalFilesProblem, Locked
from pipeline.core.state_files import Moment, StateFile
from pipeline.core.values import taken_from

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)


class Kept(StateFile):
    SCHEMA = "orgkey.test/1"
    number: int
    at: Moment | None = None


def test_what_is_kept_is_read_again_and_private(tmp_path: Path) -> None:
    file = tmp_path / "state" / "kept.json"
    assert Kept.load(file) is None
    for kept in (Kept(number=1), Kept(number=2, at=NOW)):
        kept.keep(file)
        assert Kept.load(file) == kept
    assert '"at": "2026-01-31T08:00:00Z"' in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b"{}", b'{"number": 1}',
        b'{"schema": "orgkey.test/2", "number": 1}', b'{"schema": "orgkey.test/1"}',
        b'{"schema": "orgkey.test/1", "number": "1"}', b'{"schema": "orgkey.test/1", "number": true}',
    ],
)  # fmt: skip
def test_what_is_malformed_is_a_value_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "kept.json").write_bytes(data)
    with pytest.raises(ValueError):
        Kept.load(tmp_path / "kept.json")


def test_what_cannot_be_read_is_a_local_problem(tmp_path: Path) -> None:
    with pytest.raises(LocalFilesProblem, match="cannot use"):
        Kept.load(tmp_path)


def test_a_lock_is_waited_for_as_long_as_is_said(tmp_path: Path) -> None:
    slept: list[float] = []
    with state_files.locked(tmp_path / "lock", "another run works"):
        with (
            pytest.raises(Locked, match="another run works"),
            state_files.locked(tmp_path / "lock", "another run works"),
        ):
            pass
        with (
            pytest.raises(Locked),
            state_files.locked(tmp_path / "lock", "busy", seconds=0.2, sleep=slept.append),
        ):
            pass
    assert sum(slept) == pytest.approx(0.2)
    with state_files.locked(tmp_path / "lock", "busy"):
        pass


@dataclass
class Source:
    name: str
    size: int


@dataclass
class Made:
    name: str
    kind: str
    size: int = 7
    more: str = "usual"


def test_fields_are_taken_where_none_is_given() -> None:
    assert taken_from(Source("a", 1), Made, kind="k") == Made("a", "k", 1)
    assert taken_from(Source("a", 1), Made, kind="k", size=2) == Made("a", "k", 2)
    with pytest.raises(TypeError):
        taken_from(Source("a", 1), Made)


def test_a_name_that_a_text_does_not_know_is_an_error() -> None:
    assert templates.expression("it + 1")(it=1) == 2
    assert templates.template("{{ ['a', 'b']|listed('({})') }}{{ []|listed('({})') }}")() == "(a, b)"
    with pytest.raises(UndefinedError):
        templates.template("{{ nobody }}")()
    with pytest.raises(UndefinedError):
        bool(templates.expression("nobody")())
