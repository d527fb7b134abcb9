"""Ctrl-C and SIGTERM: exit 130, two lines, nothing secret left, and the next run resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.core.files import memory_root
from pipeline.openpgp.gnupg.home import PREFIX
from tests.faults.scene import Ended, Scene

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

# The main thread and workers; before anything is committed, between the targets, in the drill, at the end.
POINTS = (
    "holder describe vault #1",
    "holder seal aws #1",
    "rename state/FPR/journal/EPOCH #1",
    "target put vault #1",
    "target get s3 #1",
    "replace state/FPR/journal/EPOCH/receipts/s3.json #1",
    "start gpg --detach-sign #1",
    "start gpg --quick-sign-key #1",
    "link state/FPR/certificates/EPOCH-drilled-TIME-HEX.json #1",
    "link state/FPR/ledger/HOST/000000002.json #1",
)


def check_interrupted(ended: Ended) -> None:
    assert ended.code == 130, ended
    lines = ended.err.splitlines()
    assert len(lines) == 2, ended.err
    assert lines[0] == "orgkey: error: interrupted"
    assert lines[1].startswith("orgkey: hint: run the same command again")
    assert ended.document["schema"] == "orgkey.error/1"
    assert ended.document["error"]["code"] == 130


@pytest.mark.parametrize(("number", "point"), list(enumerate(POINTS)), ids=POINTS)
def test_interrupted(number: int, point: str, clean_points: list[str], scene: Scene) -> None:
    assert point in clean_points
    ended = scene.run(scene.escrow(), at=point, do="int" if number % 2 else "term")
    check_interrupted(ended)
    scene.check_nothing_lingers()
    committed = scene.journalled()

    again = scene.run(scene.escrow())
    assert again.code == 0, again
    scene.check_whole(committed=committed)


def test_interrupted_twice_while_a_server_hangs(
    breakable_stack: Stack, make_scene: Callable[[Stack], Scene]
) -> None:
    stack = breakable_stack
    scene = make_scene(stack)
    scene.config.write_text(scene.config.read_text().replace("copies = 2", "copies = 2\ncall_seconds = 60"))
    stack.pause_member("vault")
    try:
        process = scene.start(scene.escrow(), at="holder describe vault #1", do="hold", memory=False)
        scene.await_held(process)
        scene.release()
        time.sleep(0.5)  # now it waits for the server
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        first = process.poll()
        begun = time.monotonic()
        if first is None:
            process.send_signal(signal.SIGTERM)
        ended = scene.end(process)
        assert time.monotonic() - begun < 20.0  # the call has 60
    finally:
        stack.resume_member("vault")
    assert ended.code == 130, ended
    assert not list(memory_root().glob(f"{PREFIX}{process.pid}-*"))
    assert scene.run(scene.escrow()).code == 0
    scene.check_whole()


def test_interrupted_twice_while_gpg_works(scene: Scene) -> None:
    """The second signal arrives while the first is being tidied up: no agent, no home stays."""
    process = scene.start(scene.escrow(), at="start gpg --detach-sign #1", do="hold")
    scene.await_held(process)
    assert scene.agents(), "there is an agent to be ended"
    ends = time.monotonic() + 10.0
    while process.poll() is None and time.monotonic() < ends:
        process.send_signal(signal.SIGINT)  # two that arrive before the first is seen are one
        time.sleep(0.2)
    ended = scene.end(process, 1.0)
    assert ended.code == 130
    assert scene.agents() == []
    assert scene.run(scene.escrow()).code == 0
    scene.check_whole()


def test_ctrl_c_as_a_terminal_sends_it(scene: Scene) -> None:
    """The installed command, and the signal to its whole process group."""
    argv = [str(Path(sys.executable).with_name("orgkey")), *scene.escrow(), "--config", str(scene.config)]
    process = subprocess.Popen(
        [*argv, "--state-dir", str(scene.state)],
        env={"PATH": os.environ["PATH"], "HOME": str(scene.directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "stored and read back" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, (out, err)
    assert err.splitlines()[-2:] == [
        "orgkey: error: interrupted",
        "orgkey: hint: run the same command again, it resumes where it stopped",
    ]
    assert out == ""
    assert not list(memory_root().glob(f"{PREFIX}{process.pid}-*"))
    committed = scene.journalled()
    assert len(committed) == 1
    again = scene.run(scene.escrow())
    assert again.code == 0, again
    assert again.document["resumed"] or again.document["already"]
    scene.check_whole(committed=committed)
