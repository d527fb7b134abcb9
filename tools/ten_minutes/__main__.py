"""README and tutorial, typed from a fresh clone on Debians where nothing was done yet: ``make ten-minutes``.

The Debians have what the README asks for and nothing else. With names of releases, only these.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tools.machine import images, nspawn
from tools.packages.build import run

SUITES = ("bookworm", "trixie")
# What the README asks for; the authorities are this host's own way to the packages.
ASKED = ("python3", "python3-venv", "make", "gnupg", "dirmngr", "ca-certificates")
THERE = "/root/orgkey-escrow"


def main() -> int:
    """Try each; the exit code."""
    try:
        images.demand()
        nspawn.prepare()
        bases = {suite: images.debian(suite, ASKED) for suite in sys.argv[1:] or SUITES}
    except images.Unmet as problem:
        print(problem, file=sys.stderr)
        return 4
    failed = []
    for suite, base in bases.items():
        begun = time.monotonic()
        print(f"\n==== Debian {suite}: {', '.join(ASKED)}", flush=True)
        with tempfile.TemporaryDirectory(prefix="ten-minutes-") as folder:
            clone = Path(folder) / "clone"
            run("git", "clone", "--quiet", "--no-local", images.ROOT, clone)
            done = nspawn.once(base, f"cd {THERE} && exec python3 -m tools.ten_minutes.inside", clone, THERE)
        print(done.stdout + done.stderr)
        print(f"==== Debian {suite}: exit code {done.returncode}, {time.monotonic() - begun:.0f} s")
        failed += [suite] if done.returncode else []
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
