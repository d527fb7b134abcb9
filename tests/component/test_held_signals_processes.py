"""A signal ends a real process between steps that belong together, never within them."""

from __future__ import annotations

import json
import subprocess
import sys
import time

SECONDS = 10.0


FORCED = """
import os, signal, threading, time
from pipeline.core import signals
signals._CLEANING_SECONDS = 0.2
lock, flag = threading.Lock(), signals.Flag()
signal.signal(signal.SIGTERM, lambda *_: flag.set())
signals.force_by(flag, lock.acquire, 130)
with lock:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
"""


def test_a_further_signal_ends_the_process_whatever_the_main_thread_holds() -> None:
    begun = time.monotonic()
    assert subprocess.run([sys.executable, "-c", FORCED], check=False).returncode == 130
    assert time.monotonic() - begun < SECONDS


def test_what_is_settled_is_not_taken_back() -> None:
    code = """
import os, signal
from pipeline.core import signals
from pipeline.cli import app
signal.signal(signal.SIGTERM, app._interrupt)
with signals.held():
    os.kill(os.getpid(), signal.SIGTERM) if WITHIN else None
    signals.settle()
os.kill(os.getpid(), signal.SIGTERM) if not WITHIN else None
print("told")
"""
    for within in ("True", "False"):
        done = subprocess.run(
            [sys.executable, "-c", code.replace("WITHIN", within)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr


def test_a_signal_while_the_program_is_still_imported() -> None:
    code = """
import os, signal, sys, time
class Finder:
    def find_spec(self, name, *_):
        if name == "pipeline.cli.app":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
sys.meta_path.insert(0, Finder())
sys.argv = ["orgkey", "list", "--json"]
from pipeline.cli.entry import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.splitlines()[0] == "orgkey: error: interrupted"
    assert json.loads(done.stdout)["error"]["code"] == 130
