"""Changes the modules that decide, one place at a time, and lists the changes that no test notices.

Run by ``make mutants``. mutmut makes the changes under ``mutants/``; ``[tool.mutmut]`` in pyproject.toml
names the modules and the tests. A sample is tried, the same for the same seed: each change with the tests
that run the changed function. Those of files that import its module come first, and of these what runs little
else. What a few seconds of them do not notice is tried once more with more. What then survives stands for a
missing test, words a message in another way, or means the same. It is printed, and stands with its
surroundings in ``build/mutants.txt``; ``--again`` tries only what stands there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
MADE = ROOT / "mutants"
KNOWN = MADE / "mutmut-stats.json"
"""What mutmut has learnt of the tests: how long each takes, and which of them run which function."""
LOG = ROOT / "build" / "mutants.log"
REPORT = ROOT / "build" / "mutants.txt"
# What mutmut writes down of a trial: pytest's exit code, or its own. Any other is a failure by the change.
VERDICTS: dict[int | None, str] = {
    None: "not tried",
    0: "survived",
    5: "no test",
    33: "no test",
    -24: "timed out",
    24: "timed out",
    152: "timed out",
}
REACHED = "tests_by_mangled_function_name"
UNNOTICED = ("survived", "no test")
SETUP = 0.03
"""Seconds that a test takes besides its call, which alone is measured."""


def main() -> int:
    """Try a sample; the exit status is 1 where too many survive, 2 where it could not be tried."""
    parser = argparse.ArgumentParser(description="Which changes of the deciding modules does no test notice?")
    parser.add_argument("--sample", type=int, default=400, help="how many changes are tried")
    parser.add_argument("--seed", type=int, default=1, help="another seed tries others")
    parser.add_argument("--module", default="", help="only those of modules whose name begins so")
    parser.add_argument("--least", type=float, default=0.95, help="the share that has to be noticed")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="how many are tried at a time")
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[5.0, 30.0], help="how long tests may take, and once more"
    )
    parser.add_argument("--again", action="store_true", help="only those that nothing noticed the last time")
    given = parser.parse_args()

    LOG.parent.mkdir(exist_ok=True)
    LOG.unlink(missing_ok=True)
    shutil.rmtree(MADE / "tests", ignore_errors=True)  # mutmut adds files, and takes none away
    print(f"making the changes, and running the tests once; mutmut's words are in {_named(LOG)}", flush=True)
    mutmut("run", "none.is.called.so")  # it ends with an error, after that
    names = sorted(name for name in _results() if name.startswith(given.module))
    if not names or not KNOWN.exists():
        return _failed("mutmut made no changes, or a test failed without any")
    chance = random.Random(given.seed)  # noqa: S311  # not for a secret
    drawn = sorted(chance.sample(names, min(given.sample, len(names))))
    if given.again:
        drawn = sorted({*_unnoticed_before()} & {*names})
    known = json.loads(KNOWN.read_text())
    reached, took, left = known[REACHED], known["duration_by_test"], drawn
    try:
        for seconds in given.seconds:
            if not left:
                break
            print(f"trying {len(left)} changes, with up to {seconds:g} seconds of tests each", flush=True)
            chosen = _shortened(reached, took, seconds)
            KNOWN.write_text(json.dumps({**known, REACHED: chosen}))
            if mutmut("run", "--max-children", str(given.workers), *left) != 0:
                return _failed("mutmut did not come to its end")
            results = _results()
            left = [
                name
                for name in left
                if VERDICTS.get(results[name]) == "survived"
                and len(chosen[_function(name)]) < len(reached[_function(name)])
            ]
    finally:
        KNOWN.write_text(json.dumps(known))
    return _report(drawn, len(names), given.seed, given.least)


def mutmut(*words: str) -> int:
    """Call mutmut; its exit status."""
    with LOG.open("a") as log:
        done = subprocess.run(
            [Path(sys.executable).with_name("mutmut"), *words], cwd=ROOT, check=False, stdout=log, stderr=log,
            # A change that makes a loop endless is noticed by the time-out of a single test.
            env={**os.environ, "TERM": "dumb", "PYTEST_TIMEOUT": "120"},
        )  # fmt: skip
    return done.returncode


def _failed(why: str) -> int:
    print(f"{why}: see the end of {_named(LOG)}", file=sys.stderr)
    return 2


def _named(path: Path) -> Path:
    return path.relative_to(ROOT)


def _unnoticed_before() -> list[str]:
    """What the last report lists."""
    return re.findall(rf"^(?:{'|'.join(UNNOTICED)}): (.+)$", REPORT.read_text(), re.MULTILINE)


def _results() -> dict[str, int | None]:
    """Each change with what became of it."""
    found: dict[str, int | None] = {}
    for path in sorted((MADE / "pipeline").rglob("*.meta")):
        if (ROOT / path.relative_to(MADE).with_suffix("")).exists():  # else its module is gone
            found |= json.loads(path.read_text())["exit_code_by_key"]
    return found


def _function(name: str) -> str:
    """The function that a change is in, as mutmut names it."""
    return name.partition("__mutmut_")[0]


def _shortened(
    reached: Mapping[str, Sequence[str]], took: Mapping[str, float], seconds: float
) -> dict[str, list[str]]:
    """So many seconds of tests for each function, of those that run it."""
    breadth = Counter(test for tests in reached.values() for test in tests)
    kept: dict[str, list[str]] = {}
    for function, tests in reached.items():
        near = {file: _imports(file, _module(function)) for file in {_file(test) for test in tests}}
        left, chosen = seconds, kept.setdefault(function, [])
        for test in sorted(tests, key=lambda name: (not near[_file(name)], breadth[name], took[name], name)):
            needed = took[test] + SETUP
            if needed <= left or not chosen:
                chosen.append(test)
                left -= needed
    return kept


def _file(test: str) -> str:
    return test.partition("::")[0]


def _module(function: str) -> str:
    """The module of a function: what stands before ``x_name`` or ``xǁClassǁname``."""
    return re.split(r"\.x[_ǁ]", function)[0]


@cache
def _imports(file: str, module: str) -> bool:
    """Whether a file of tests imports a module by its name."""
    package, _, name = module.rpartition(".")
    return bool(re.search(rf"{module}\b|from {package} import [^\n]*\b{name}\b", (ROOT / file).read_text()))


def _report(drawn: list[str], total: int, seed: int, least: float) -> int:
    """Print what became of the changes, and write it with each unnoticed one as a diff."""
    results = _results()
    verdicts = {name: VERDICTS.get(results[name], "noticed") for name in drawn}
    unnoticed = [name for name in drawn if verdicts[name] in UNNOTICED]
    tried = sum(verdict != "not tried" for verdict in verdicts.values())
    share = 1 - len(unnoticed) / tried if tried else 1.0
    counts = ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts.values()).most_common())
    head = f"{len(drawn)} of {total} changes, seed {seed}: {share:.1%} noticed ({counts})"
    diffs = {name: _diff(name) for name in unnoticed}
    REPORT.write_text(
        "\n".join([head, *(f"\n{verdicts[name]}: {name}\n{diffs[name]}" for name in unnoticed)]) + "\n"
    )
    print(head)
    for name, diff in diffs.items():
        changed = [line for line in diff.splitlines() if line[:1] in "-+" and line[:3] not in ("---", "+++")]
        print("\n".join(["", f"{verdicts[name]}: {name}", *changed]))
    print(f"\nwith their surroundings they are in {_named(REPORT)}")
    return 0 if share >= least and tried == len(drawn) else 1


def _diff(name: str) -> str:
    """A change as a diff."""
    shown = subprocess.run(
        [Path(sys.executable).with_name("mutmut"), "show", name],
        cwd=ROOT, check=False, capture_output=True, text=True, env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    return shown.stdout


if __name__ == "__main__":
    sys.exit(main())
