"""Run the demo, and put what it prints into its page (``make transcript``)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "demo.md"
BEGIN, END = "<!-- what the demo printed -->\n```text\n", "```\n<!-- end of what the demo printed -->\n"


def committed() -> str:
    """What the page shows of the demo."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def shortened(printed: str, work: str) -> str:
    """What a reader wants of the demo's output.

    Args:
        printed: All that it printed.
        work: Its temporary directory.

    Returns:
        From its first step to its last word, without the directory's name and without colours.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed).replace(f"{work}/", "").replace(work, ".")
    plain = plain.replace(
        "backup" + " " * len(f"{work}/"), "backup"
    )  # a table's head, as narrow as its rows now
    begin = plain.index("== 1.")
    return plain[begin : plain.index("\nIt took ", begin)].rstrip() + "\n"


def main() -> int:
    """Run, write, clean up; what fails is shown whole."""
    run = subprocess.run(
        ["env", "KEEP=1", "make", "--no-print-directory", "demo"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    kept = re.search(r"^kept: (/.+/orgkey-demo\..+)$", run.stdout, re.MULTILINE)
    if run.returncode or not kept:
        print(run.stdout)
        return 1
    work = Path(kept[1])
    shutil.rmtree(work)
    head, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(
        head + begin + shortened(run.stdout, kept[1]) + END + rest.partition(END)[2], encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
