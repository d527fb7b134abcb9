"""Make the ``.deb`` and the ``.rpm``, and try them: ``python -m tools.packages [build|try]``.

What is packed is a virtual environment at /opt/orgkey on the interpreter ``PACKAGE_PYTHON``, by default
/usr/bin/python3, of which the package depends on this very version: its wheels are for that one. With the
same ``SOURCE_DATE_EPOCH``, by default the time of the last commit, the same bytes come out.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tools.packages import build, trial


def main() -> int:
    """Build twice, compare, try; the exit code."""
    what = sys.argv[1:] or ["build", "try"]
    made = [*sorted(build.DIST.glob("orgkey-escrow*.deb")), *sorted(build.DIST.glob("orgkey-escrow*.rpm"))]
    try:
        if "build" in what:
            with tempfile.TemporaryDirectory(prefix="packages-of-orgkey.") as first:
                made = build.packages(Path(first), build.DIST)
                for path in made:
                    size = path.stat().st_size / 1e6
                    say(f"{path.name}: {size:.0f} MB, SHA-256 {build.digest(path)}")
            with tempfile.TemporaryDirectory(prefix="packages-of-orgkey.") as second:
                again = build.packages(Path(second), Path(second) / "dist")
                if differ := [
                    one.name
                    for one, two in zip(made, again, strict=True)
                    if build.digest(one) != build.digest(two)
                ]:
                    raise build.Failed(f"built twice, other bytes: {', '.join(differ)}")
            say("built a second time: the same bytes")
        if "try" in what:
            for path in made:
                for line in trial.trial(path):
                    say(line)
    except build.Failed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def say(text: str) -> None:
    """A line of the transcript."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
