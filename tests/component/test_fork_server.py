"""A forked process cannot be told from an executed one, in all that tests of the command line look at."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import forkserver
from tests.support.forkserver import ROOT

CODE = "import sys; from tests.support import probe; sys.argv[0] = 'probe'; probe.main()"


class Starter:
    """Starts the probe in one of the two ways."""

    def __init__(self, forked: bool) -> None:
        self.forked = forked

    def start(self, folder: Path, *words: str, **how: Any) -> forkserver.Popen:
        start = ["probe"] if self.forked else [sys.executable, "-c", CODE]
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            **how.pop("more", {}),
        }
        process = forkserver.Popen(
            [*start, *words], env=env, cwd=folder, start_new_session=True, **how,
        )  # fmt: skip
        assert process.forked is self.forked
        return process

    def run(self, folder: Path, *words: str, input: str | None = "", **how: Any) -> tuple[int, str, str]:  # noqa: A002
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with self.start(folder, *words, text=True, **(pipes | how)) as process:
            out, err = process.communicate(input, timeout=20)
        return process.returncode, out, err


@pytest.fixture(params=["forked", "executed"])
def starter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Starter:
    monkeypatch.setitem(forkserver.ENTRIES, ("probe",), "tests.support.probe:main")
    return Starter(request.param == "forked")


@pytest.mark.parametrize(
    ("words", "code"),
    [(["leave", "0"], 0), (["leave", "23"], 23), (["leave", "none"], 0), (["leave", "large"], 7),
     (["leave", "text"], 1), (["raises", "ValueError"], 1), (["at_once", "41"], 41),
     (["raises", "KeyboardInterrupt"], -signal.SIGINT), (["die", "9"], -9), (["die", "15"], -15),
     (["late"], 0)],
)  # fmt: skip
def test_it_ends_as_it_ended(starter: Starter, words: list[str], code: int, tmp_path: Path) -> None:
    ended, out, err = starter.run(tmp_path, *words)
    assert ended == code, err
    assert ("at exit" in err) == (words[0] == "leave")
    assert ("Traceback" in err) == (words[0] == "raises")
    assert ("a reason" in err) == (words[-1] == "text")
    assert out == ("done\n" if words == ["late"] else "")


def test_streams_are_its_own(starter: Starter, tmp_path: Path) -> None:
    large = "zeile \u00e9\n" * 20_000  # more than a pipe holds
    assert starter.run(tmp_path, "echo", "!", input=large) == (0, large + "!", large.upper())
    with (tmp_path / "out").open("wb") as out:
        code, *_ = starter.run(tmp_path, "echo", "", input="x", stdout=out, stderr=subprocess.STDOUT)
    assert code == 0
    assert sorted((tmp_path / "out").read_text()) == ["X", "x"]


def test_a_full_output_is_noticed(starter: Starter, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        assert starter.run(tmp_path, "echo", "x", stdout=full)[0] == 120


def told(starter: Starter, folder: Path, **how: Any) -> dict[str, Any]:
    code, out, err = starter.run(folder, "tell", **how)
    assert code == 0, err
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def test_everything_around_it_is_as_it_was_asked_for(starter: Starter, tmp_path: Path) -> None:
    read, write = os.pipe()
    before = os.umask(0o027)
    try:
        seen = told(starter, tmp_path, pass_fds=[read], more={"ORGKEY_X": "\u00e9\udcff", "TZ": "Asia/Tokyo"})
    finally:
        os.umask(before)
        os.close(read)
        os.close(write)
    assert seen["argv"] == ["probe", "tell"]
    assert seen["cwd"] == str(tmp_path)
    expected = {"PATH", "HOME", "PYTHONPATH", "ORGKEY_X", "TZ", "LC_CTYPE"}
    assert set(seen["env"]) == expected
    assert seen["env"]["ORGKEY_X"] == "\u00e9\udcff"
    assert seen["fds"] == [0, 1, 2, read]
    assert seen["session"] == seen["group"] == seen["pid"] != os.getpid()
    assert seen["umask"] == "0027"
    assert (seen["main_thread"], seen["threads"]) == (True, 1)


def test_the_two_ways_look_the_same_from_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(forkserver.ENTRIES, ("probe",), "tests.support.probe:main")
    forked, executed = (told(Starter(way), tmp_path) for way in (True, False))
    for mine in ("pid", "session", "group", "random"):
        assert forked.pop(mine) != executed.pop(mine)
    assert forked == executed
    assert told(Starter(True), tmp_path)["random"] != told(Starter(True), tmp_path)["random"]


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_stream_can_be_closed(closed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a shell's ``<&-`` and ``>&-`` do it."""
    monkeypatch.setitem(forkserver.ENTRIES, ("probe",), "tests.support.probe:main")
    with (tmp_path / "told").open("w") as out:
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), out)
        streams[("stdin", "stdout", "stderr")[closed]] = forkserver.CLOSED
        with Starter(True).start(tmp_path, "tell", **streams) as process:
            code = process.wait(20)
    assert code == 0
    if closed != 1:
        seen = json.loads((tmp_path / "told").read_text())
        assert seen["encodings"][closed] is None
        assert closed not in seen["fds"]


def test_limits_hold(starter: Starter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        assert told(starter, tmp_path)["files"] == [1 << 20, before[1]]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_signals_reach_it_and_its_group(starter: Starter, tmp_path: Path) -> None:
    for send, code in (
        (lambda one: one.terminate(), signal.SIGTERM),
        (lambda one: one.kill(), -signal.SIGKILL),
        (lambda one: os.killpg(one.pid, signal.SIGTERM), signal.SIGTERM),
    ):
        with starter.start(tmp_path, "wait", stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            assert process.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.01)
            send(process)
            assert process.wait(20) == code
            assert process.poll() == code
            assert not Path(f"/proc/{process.pid}").exists(), "it was collected"
            process.kill()  # of no effect, as subprocess has it


def test_a_descriptor_keeps_its_number(starter: Starter, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"handed over")
    os.close(write)
    try:
        assert starter.run(tmp_path, "inherited", str(read), pass_fds=[read])[1] == "handed over\n"
    finally:
        os.close(read)


def test_a_folder_that_is_not_there_is_told(starter: Starter, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        starter.start(tmp_path / "gone", "tell")


def test_several_at_once(starter: Starter, tmp_path: Path) -> None:
    running = [starter.start(tmp_path, "leave", str(number)) for number in range(5)]
    assert [one.wait(20) for one in reversed(running)] == [4, 3, 2, 1, 0]


def test_a_terminal_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(forkserver.ENTRIES, ("probe",), "tests.support.probe:main")
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    code, out, _ = Starter(True).run(tmp_path, "tell", stdin=theirs, input=None, terminal=True)
    os.close(ours)
    os.close(theirs)
    assert (code, json.loads(out)["terminal"]) == (0, name)


@pytest.mark.parametrize("name", ["LC_ALL", "LANG", "PYTHONUTF8", "PYTHONPATH"])
def test_what_an_interpreter_reads_when_it_starts_is_executed(name: str, tmp_path: Path) -> None:
    orgkey = [sys.executable, "-m", "pipeline.cli.app", "--version"]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    other = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONUTF8": "1"}.get(name, "POSIX")
    for more, forked in (({}, True), ({"LC_ALL": "C.UTF-8"}, True), ({name: other}, False)):
        with forkserver.Popen(orgkey, env=env | more, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.read().startswith(b"orgkey-escrow ")
            assert process.wait(20) == 0
        assert process.forked is forked


def test_the_child_of_pgpy_is_forked_and_does_its_work(starter: Starter, tmp_path: Path) -> None:
    code, out, err = starter.run(tmp_path, "prove")
    assert code == 0, err
    forked, answer, ended = json.loads(out)
    assert (forked, ended) == (starter.forked, True)
    assert answer["sign"][0] is False
    assert "does not open it" in answer["sign"][1]
