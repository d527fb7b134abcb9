"""Files that appear whole or not at all, and never in another one's place, with and without hard links."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pipeline.core import files
from pipeline.core.errors import LocalFilesProblem


@pytest.fixture(params=["EPERM", "EOPNOTSUPP", "ENOSYS"])
def _no_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As FAT, exFAT and many network shares have it."""
    number = getattr(errno, request.param)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("_no_links")
def test_a_file_is_written_where_there_are_no_hard_links(tmp_path: Path) -> None:
    files.write_new(tmp_path / "key.asc", b"the key", mode=0o600)
    assert (tmp_path / "key.asc").read_bytes() == b"the key"
    assert (tmp_path / "key.asc").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key.asc"]


@pytest.mark.usefixtures("_no_links")
@pytest.mark.parametrize("kind", ["file", "link"])
def test_nothing_is_overwritten_there_either(kind: str, tmp_path: Path) -> None:
    taken = tmp_path / "key.asc"
    if kind == "file":
        taken.write_bytes(b"another")
    else:
        taken.symlink_to(tmp_path / "nowhere")
    with pytest.raises(LocalFilesProblem, match="exists already"):
        files.write_new(taken, b"the key")
    assert [path.name for path in tmp_path.iterdir()] == ["key.asc"]
    assert taken.is_symlink() or taken.read_bytes() == b"another"


@pytest.mark.usefixtures("_no_links")
def test_a_name_that_was_taken_for_nothing_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(LocalFilesProblem):
        files.write_new(tmp_path / "key.asc", b"the key")
    assert list(tmp_path.iterdir()) == []


def test_a_place_is_tried_out_without_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.check_new(tmp_path / "key.asc")
    assert list(tmp_path.iterdir()) == []

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LocalFilesProblem, match="No space left"):
        files.check_new(tmp_path / "key.asc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["a file", "a folder", "a link", "a link that leads nowhere"])
def test_what_is_there_is_not_new(tmp_path: Path, what: str) -> None:
    path = tmp_path / "key.asc"
    if what == "a folder":
        path.mkdir()
    elif what == "a file":
        path.touch()
    else:
        path.symlink_to(tmp_path if what == "a link" else tmp_path / "nowhere")
    with pytest.raises(LocalFilesProblem, match=r"key\.asc exists already"):
        files.check_new(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("folder", ["/sys/kernel", "nowhere"])
def test_where_nothing_can_be_made_nothing_is_new(tmp_path: Path, folder: str) -> None:
    with pytest.raises(LocalFilesProblem, match=r"cannot write .*key.asc: ") as caught:
        files.check_new(tmp_path / folder / "key.asc")
    assert ("first" in caught.value.hint) == (folder == "nowhere")


def test_only_what_this_user_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / ".key.asc.0123456789ab.orgkey-tmp"
    left.touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: left.stat().st_uid + 1)
        files.sweep(tmp_path)
    assert left.exists()
    files.sweep(tmp_path)
    assert not left.exists()
