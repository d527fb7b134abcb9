"""What a newcomer types, run on that Debian with its own Python: ``python3 -m tools.ten_minutes.inside``.

Nothing but Python's own modules is here before the README's first command.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from tests.runbooks import pages
from tests.runbooks.runner import TUTORIAL, Shell, Typist, execute

ROOT = Path(__file__).parents[2]
SECONDS = 1800.0
_DRAWN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LEFT_OUT = "make test"
"""Of the README's commands: it takes longer than ten minutes, and is what is run for every change."""


def main() -> None:
    """Type the README's commands, then the tutorial."""
    begun = time.monotonic()

    def told(command: str, said: str) -> None:
        print(f"[{time.monotonic() - begun:4.0f} s] $ {command}")
        for line in said.rstrip().split("\n"):
            # Of what is drawn over and over, the last.
            print(f"    {_DRAWN.sub('', line.rstrip(chr(13)).rpartition(chr(13))[2])}")

    # Wide: the tutorial shows lines whole, which a narrower terminal gets wrapped.
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "24", "LANG": "C.UTF-8", "USER": "root"}
    print("== README.md, typed")
    with Shell(ROOT, env, terminal=True, seconds=SECONDS) as shell:
        for step in pages.read(ROOT / "README.md"):
            if isinstance(step, pages.Command) and step.text != LEFT_OUT:
                code, said = shell.run(step.text)
                told(step.text, said)
                assert code == step.code, f"{step.text} ended with {code}"
    print("== docs/tutorial.md, typed and compared with what it shows")
    typed = execute(
        ROOT / "docs" / "tutorial.md", ROOT, env, typist=Typist(TUTORIAL, {}, told), seconds=SECONDS
    )
    print(
        f"== {len(typed)} commands of the tutorial did what it shows; {time.monotonic() - begun:.0f} s in all"
    )


if __name__ == "__main__":
    main()
