"""Changes the modules that decide, one place at a time, and says which changes no test notices.

Run by ``make mutants``. mutmut makes the changes under ``mutants/``; ``[tool.mutmut]`` in pyproject.toml
names the modules and the tests. A sample, the same for the same seed, is tried. What survives stands for a
missing test, or is of equal meaning: it is listed, with the change, in ``build/mutants.txt``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "build" / "mutants.txt"
# What mutmut writes down of a test run: pytest's exit code, or its own for what was never run.
MEANINGS: dict[int | None, str] = {
    0: "survived",
    1: "noticed",
    3: "noticed",
    33: "no test",
    34: "skipped",
    37: "a type error",
}


def main() -> int:
    """Try a sample; the exit status is 1 where too many survive."""
    parser = argparse.ArgumentParser(description="Which changes of the deciding modules does no test notice?")
    parser.add_argument("--sample", type=int, default=400, help="how many changes are tried")
    parser.add_argument("--seed", type=int, default=1, help="another seed tries others")
    parser.add_argument("--module", default="", help="only those of modules whose name begins so")
    parser.add_argument("--least", type=float, default=0.95, help="the share that has to be noticed")
    given = parser.parse_args()

    mutmut("run", "none.is.called.so")  # makes the changes, and learns which test runs which function
    names = [name for name in _results() if name.startswith(given.module)]
    if not names:
        print("mutmut made no changes; its words are above", file=sys.stderr)
        return 2
    drawn = sorted(random.Random(given.seed).sample(sorted(names), min(given.sample, len(names))))  # noqa: S311  # no secret
    mutmut("run", *drawn)
    results = _results()
    verdicts = {name: MEANINGS.get(results[name], "timeout") for name in drawn}
    unnoticed = [name for name, verdict in verdicts.items() if verdict in ("survived", "no test")]
    share = 1 - len(unnoticed) / len(drawn)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts.values()).most_common())
    head = f"{len(drawn)} of {len(names)} changes, seed {given.seed}: {share:.1%} noticed ({counts})"
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(
        "\n".join([head, *(f"\n{verdicts[name]}: {name}\n{_change(name)}" for name in unnoticed)]) + "\n"
    )
    print(f"{head}\nthe unnoticed ones are in {REPORT.relative_to(ROOT)}")
    return 0 if share >= given.least else 1


def mutmut(*words: str, shown: bool = True) -> str:
    """Call mutmut; what it prints."""
    done = subprocess.run(
        [Path(sys.executable).with_name("mutmut"), *words], cwd=ROOT, check=False, text=True,
        stdout=None if shown else subprocess.PIPE, env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    return done.stdout or ""


def _results() -> dict[str, int | None]:
    """Each change with what became of it."""
    found: dict[str, int | None] = {}
    for path in sorted((ROOT / "mutants" / "pipeline").rglob("*.meta")):
        found |= json.loads(path.read_text())["exit_code_by_key"]
    return found


def _change(name: str) -> str:
    """The change as a diff."""
    return mutmut("show", name, shown=False)


if __name__ == "__main__":
    sys.exit(main())
