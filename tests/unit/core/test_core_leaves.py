from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import files
from pipeline.core.clock import Deadline, SystemClock, parse_stamp, stamp
from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import Code, DeadlinePassed, LocalFilesProblem, UsageProblem
from pipeline.core.secret import Secret

# -- secrets ---------------------------------------------------------------------------------------

VALUE = "hunter2 is not a passphrase"


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(VALUE)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>40}", f"{secret!r}", "%s" % secret]  # noqa: UP031
    shown += [repr([secret]), repr({"a": secret}), str(ValueError(secret)), "{}".format(secret)]  # noqa: UP032
    assert all(VALUE not in text and "secret" in text for text in shown)


def test_a_secret_does_not_travel() -> None:
    secret = Secret(VALUE)
    for attempt in (lambda: pickle.dumps(secret), lambda: copy.deepcopy(secret), lambda: json.dumps(secret)):
        with pytest.raises(TypeError):
            attempt()
    with pytest.raises(TypeError):
        {secret: 1}  # noqa: B018 - the attempt is the test
    with pytest.raises(AttributeError):
        secret.other = 1  # type: ignore[attr-defined]  # that is the point


def test_a_secret_is_its_bytes() -> None:
    assert Secret("ä").reveal() == "ä".encode() == Secret("ä".encode()).reveal()
    assert Secret(b"ab").text() == "ab"
    assert len(Secret("ä")) == 2
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_a_secret_that_is_no_text_says_so_without_showing_it() -> None:
    with pytest.raises(UsageProblem) as caught:
        Secret(b"\xff\xfehunter2").text()
    assert "hunter2" not in caught.value.message + caught.value.hint
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "the decoder's error holds the bytes"


# -- digests ---------------------------------------------------------------------------------------


@given(st.binary())
def test_a_digest_names_its_algorithm(data: bytes) -> None:
    digest = sha256(data)
    assert str(digest) == "sha256:" + hashlib.sha256(data).hexdigest()
    assert digest.raw == hashlib.sha256(data).digest()
    assert digest == Digest("sha256", digest.hex)
    assert digest != Digest("sha512", digest.hex)


# -- time ------------------------------------------------------------------------------------------


class Frozen(SystemClock):
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at


@given(st.datetimes())
def test_stamps_survive_to_the_second(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    assert parse_stamp(stamp(moment)) == moment.replace(microsecond=0)


def test_stamps_are_in_utc() -> None:
    moment = datetime(2026, 1, 31, 9, 30, tzinfo=timezone(timedelta(hours=1)))
    assert stamp(moment) == "2026-01-31T08:30:00Z"


@pytest.mark.parametrize(
    "text", ["", "now", "2026-01-31", "2026-01-31T08:30:00", "2026-01-31T08:30:00+01:00"]
)
def test_other_stamps_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_stamp(text)


def test_the_systems_clock() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    before = clock.monotonic()
    clock.sleep(0.001)
    assert clock.monotonic() > before
    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 5


def test_the_home_of_a_user_who_is_not_there_is_a_problem_of_the_path() -> None:
    assert files.expanded(Path("~/x")) == Path.home() / "x"
    with pytest.raises(LocalFilesProblem, match="not known here"):
        files.expanded(Path("~no-such-user/x"))


def test_a_deadline_bounds_every_call() -> None:
    clock = Frozen()
    deadline = Deadline(10.0, clock)
    assert deadline.left() == 10.0
    assert deadline.limit(3.0) == 3.0
    clock.at += 8
    assert deadline.limit(3.0) == 2.0
    deadline.check()
    clock.at += 2
    assert deadline.left() == 0.0
    for attempt in (deadline.check, lambda: deadline.limit(3.0)):
        with pytest.raises(DeadlinePassed, match="10 s") as caught:
            attempt()
        assert caught.value.code is Code.DEADLINE
        assert "raise policy.deadline_seconds" in caught.value.hint
    other = Deadline(0.0, clock, "policy.backup_seconds").passed()
    assert "raise policy.backup_seconds" in other.hint
    clock.at += 100
    assert deadline.left() == 0.0


# -- files -----------------------------------------------------------------------------------------


@given(st.binary(max_size=5000))
def test_a_new_file_is_there_whole(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "x"
    files.write_new(path, data)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o7777 == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644])
def test_its_mode_is_the_one_asked_for(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        files.write_new(tmp_path / "x", b"x", mode=mode)
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o7777 == mode


def test_a_new_file_never_replaces_one(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"precious")
    with pytest.raises(LocalFilesProblem, match="exists already"):
        files.write_new(tmp_path / "x", b"other")
    assert (tmp_path / "x").read_bytes() == b"precious"
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalFilesProblem, match="exists already"):
        files.write_new(tmp_path / "link", b"other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "x"]


def test_replacing_is_at_once_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "x"
    files.replace(path, b"a" * 100_000)
    stop = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        files.replace(path, bytes([97 + number % 2]) * 100_000)
    stop.set()
    reader.join(30)
    assert seen <= {b"a" * 100_000, b"b" * 100_000}
    assert list(tmp_path.iterdir()) == [path]


def test_of_two_that_write_one_name_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "x"
    told: list[str] = []
    start = threading.Barrier(8)

    def write(name: str) -> None:
        start.wait(30)
        try:
            files.write_new(path, name.encode())
            told.append(name)
        except LocalFilesProblem:
            pass

    threads = [threading.Thread(target=write, args=(f"writer {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told) == 1
    assert path.read_bytes() == told[0].encode()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [files.write_new, files.replace])
def test_a_place_that_is_not_there_is_code_3(tmp_path: Path, write: object) -> None:
    with pytest.raises(LocalFilesProblem) as caught:
        write(tmp_path / "nowhere" / "x", b"x")  # type: ignore[operator]  # one of two functions
    assert caught.value.code is Code.LOCAL_FILES
    assert caught.value.hint


@pytest.mark.parametrize("name", ["fsync", "fchmod", "open"])
def test_a_disk_that_refuses_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    files.replace(path, b"old")

    def refuse(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, name, refuse)
        with pytest.raises(LocalFilesProblem, match="No space left"):
            files.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_runs_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    left = tmp_path / f".x.{'0' * 12}.orgkey-tmp"
    left.write_bytes(b"half")
    others = [
        tmp_path / name for name in ("y", ".y", ".y.tmp", f"x.{'0' * 12}.orgkey-tmp", ".x.0.orgkey-tmp")
    ]
    for path in others:
        path.touch()
    files.write_new(tmp_path / "x", b"x")
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "x"])


def test_a_temporary_file_in_use_is_not_swept(tmp_path: Path) -> None:
    temporary, stream = files._temporary(tmp_path / "x", 0o600)
    with stream:
        files.sweep(tmp_path)
        assert temporary.exists()
    files.sweep(tmp_path)
    assert not temporary.exists()


def test_a_private_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    place = files.private_directory(tmp_path / "a" / "b")
    assert place.stat().st_mode & 0o777 == 0o700
    assert files.private_directory(place) == place


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o720])
def test_a_directory_that_others_can_write_to_is_not_private(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "a"
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(LocalFilesProblem, match="by others"):
        files.private_directory(place)


def test_a_directory_of_another_user_is_not_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(LocalFilesProblem, match="by others"):
        files.private_directory(tmp_path)


def test_memory_is_preferred_to_disk() -> None:
    if os.access("/dev/shm", os.W_OK):
        assert files.memory_root() == Path("/dev/shm")
    assert files.memory_root().is_dir()


def test_a_place_in_memory_is_told_from_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    read = Path.read_text
    for kind, told in (("tmpfs", True), ("ext4", False), (None, None)):
        line = f"36 35 {number} / /mnt rw,noatime shared:1 - {kind} none rw\n" if kind else "odd\n"

        def mounts(self: Path, *args: object, _line: str = line, **more: object) -> str:
            return _line if self == Path("/proc/self/mountinfo") else read(self, *args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Path, "read_text", mounts)
        assert files.in_memory(tmp_path) is told
    assert files.in_memory(tmp_path / "none") is None
