from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, LocalFilesProblem, NotAKey, OrgkeyError
from pipeline.sources.file import FileSource


def soon() -> Deadline:
    return Deadline(30)


def test_a_file_is_read_whole_and_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "0x1A2B3C4D.asc"
    path.write_bytes(b"\x00export\r\n")
    path.chmod(0o600)
    source = FileSource(path)
    export = source.fetch(soon())
    assert (export.data, export.origin, export.notes) == (b"\x00export\r\n", str(path), ())
    (told,) = source.finish(export, "epoch")
    assert path.read_bytes() == b"\x00export\r\n"
    assert str(path) in told
    assert "still opens" in told


def test_an_export_that_others_can_read_is_mentioned(tmp_path: Path) -> None:
    path = tmp_path / "key.asc"
    path.write_bytes(b"export")
    path.chmod(0o644)
    assert "chmod 600" in FileSource(path).fetch(soon()).notes[0]


def test_a_link_that_the_operator_names_is_followed(tmp_path: Path) -> None:
    (tmp_path / "key.asc").write_bytes(b"export")
    (tmp_path / "link").symlink_to("key.asc")
    assert FileSource(tmp_path / "link").fetch(soon()).data == b"export"


def make_nothing(path: Path) -> None:
    return


@pytest.mark.parametrize("make", [make_nothing, Path.mkdir, os.mkfifo])
def test_what_is_no_readable_file_is_a_local_problem(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "thing")
    with pytest.raises(LocalFilesProblem, match="thing") as caught:
        FileSource(tmp_path / "thing").fetch(soon())
    assert caught.value.hint


def test_a_backup_named_by_mistake_is_told_from_an_export_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "backup.pgp"
    with path.open("wb") as stream:
        stream.truncate(8 * 1024**3)
    with pytest.raises(NotAKey, match=r"backup\.pgp") as caught:
        FileSource(path).fetch(soon())
    assert "backup" in caught.value.hint


def stdin_of(data: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data))


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", stdin_of(b"export\xff"))
    source = FileSource(Path("-"))
    export = source.fetch(soon())
    assert (export.data, export.origin) == (b"export\xff", "standard input")
    assert source.finish(export, "epoch") == ()


@pytest.mark.parametrize("stdin", [stdin_of(b"x" * 11), None])
def test_standard_input_that_is_too_large_or_missing_is_an_error(
    stdin: io.TextIOWrapper | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(OrgkeyError, match="standard input"):
        FileSource(Path("-"), limit=10).fetch(soon())


def test_a_deadline_that_has_passed_is_honoured(tmp_path: Path) -> None:
    with pytest.raises(DeadlinePassed):
        FileSource(tmp_path / "key.asc").fetch(Deadline(0))
