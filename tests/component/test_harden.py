"""Hardening changes a whole process for good, so it is observed in processes of its own."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core import hardening
from pipeline.core.finding import Level

linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl and /proc are Linux's")


def in_a_process(code: str, tmp_path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from pipeline.core import hardening\n" + code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@linux
def test_core_dumps_are_off_the_process_is_not_dumpable_and_the_umask_is_private(tmp_path: Path) -> None:
    code = "hardening.harden()\nimport json\nprint(json.dumps(hardening.state()))\nopen('new', 'w').close()"

    state = json.loads(in_a_process(code, tmp_path))

    assert state["core_limit_bytes"] == 0
    assert state["dumpable"] is False
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


@linux
def test_state_tells_the_truth_of_a_process_that_was_not_hardened(tmp_path: Path) -> None:
    code = "import json\nprint(json.dumps(hardening.state()))"
    state = json.loads(in_a_process(code, tmp_path))

    assert state["dumpable"] is True
    assert state["locked_bytes"] == 0


@linux
def test_memory_is_locked_where_it_may_be_and_allocating_goes_on(tmp_path: Path) -> None:
    code = (
        "hardening.harden()\nimport json, threading\n"
        "blocks = [bytearray(8 << 20) for _ in range(4)]\n"
        "thread = threading.Thread(target=lambda: None); thread.start(); thread.join()\n"
        "print(json.dumps([hardening.state(), hardening.may_lock()]))"
    )
    state, may_lock = json.loads(in_a_process(code, tmp_path))

    assert (state["locked_bytes"] > 0) is may_lock


@linux
def test_a_small_limit_on_locked_memory_does_not_make_the_run_fail(tmp_path: Path) -> None:
    code = (
        "import json, resource\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))\n"
        "hardening._status_field = lambda name, real=hardening._status_field: "
        "'0' if name == 'CapEff' else real(name)\n"
        "hardening.harden()\nblocks = bytearray(32 << 20)\n"
        "print(json.dumps([hardening.state(), hardening.may_lock()]))"
    )
    state, may_lock = json.loads(in_a_process(code, tmp_path))

    assert may_lock is False
    assert state["locked_bytes"] == 0


def test_children_inherit_the_core_limit(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\nhardening.harden()\n"
        "subprocess.run([sys.executable, '-c', "
        "'import resource; print(resource.getrlimit(resource.RLIMIT_CORE))'], check=True)"
    )
    assert in_a_process(code, tmp_path).strip() == "(0, 0)"


@pytest.mark.parametrize(
    ("changes", "levels"),
    [
        ({}, [Level.OK, Level.OK]),
        ({"dumpable": True}, [Level.WARN, Level.OK]),
        ({"core_limit_bytes": None}, [Level.WARN, Level.OK]),
        ({"swap": ["/dev/sda2"]}, [Level.OK, Level.WARN]),
        ({"swap": ["/dev/sda2"], "locked_bytes": 4096}, [Level.OK, Level.OK]),
        ({"swap": None}, [Level.OK, Level.WARN]),
    ],
)
def test_findings_follow_the_state(
    changes: dict[str, object], levels: list[Level], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = {"core_limit_bytes": 0, "dumpable": False, "swap": [], "locked_bytes": 0}
    monkeypatch.setattr(hardening, "state", lambda: {**calm, **changes})

    findings = hardening.check()

    assert [finding.level for finding in findings] == levels
    assert all(finding.hint for finding in findings if finding.level is not Level.OK)


def test_state_reads_without_changing_anything() -> None:
    before = (os.umask(0o027), resource.getrlimit(resource.RLIMIT_CORE))
    try:
        hardening.state()
        assert os.umask(0o027) == 0o027
        assert resource.getrlimit(resource.RLIMIT_CORE) == before[1]
    finally:
        os.umask(before[0])
