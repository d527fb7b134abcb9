"""What keeps processes out of the unit tests."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def test_a_process_is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="started a process"):
        subprocess.run([sys.executable, "-c", ""], check=False, timeout=60)
    with pytest.raises(pytest.fail.Exception, match="started a process"):
        os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})
