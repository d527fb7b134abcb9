"""Run all counterparts, some at a time, and write `docs/reference/interop.md`: ``[NAME…]`` for some.

Each runs in namespaces of its own, so that two servers may have one port, and one GnuPG covers another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.devstack.features import FEATURES
from tools.interop import fetch
from tools.interop.counterparts import COUNTERPARTS, Counterpart, Part

# Much of a run is waiting for servers.
AT_ONCE = 3
# On a host that does nothing else it is half an hour; a loaded one takes longer.
MOST_SECONDS = 60 * 60.0
PAGE = fetch.ROOT / "docs" / "reference" / "interop.md"
RESULTS = fetch.HERE / "results.json"
HEAD = """# Counterparts

Other real servers and programs than the stack's, and what was seen of them. Written by `make interop`,
which runs each one. The **main job** is `make demo`: a stand-in server's key is escrowed, drilled, restored
from each copy, and the server brought back. The **suite** is the contract suite with that server or program
in place, and for GnuPG, Python and OpenSSL the proofs of known keys besides. What stands in no table was
not run.
"""


def main(names: list[str]) -> int:
    """Run the counterparts and write the page.

    Args:
        names: Some of them; what is known of the others stays as it was.

    Returns:
        An exit code: 1 when one was not run, or one that lacks nothing did not do all of it.
    """
    fetch.HERE.mkdir(parents=True, exist_ok=True)
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() and names else {}
    wanted = [item for item in COUNTERPARTS if not names or item.name in names]
    names = [item.like or item.name for item in wanted]
    failed = []
    ends = time.monotonic() + MOST_SECONDS
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # From the end, where one is compiled.
        runs = {pool.submit(_run, item, ends): item for item in COUNTERPARTS[::-1] if item.name in names}
        for done in as_completed(runs):
            result = done.result()
            for item in COUNTERPARTS:
                if runs[done].name not in (item.name, item.like):
                    continue
                told = {**result.get(item.name, result), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
                known[item.name] = told
                say(_row(item, told).strip("| "))
                if "not" in told or (whole(item) and (told["demo"]["code"] or told["suite"]["code"])):
                    failed.append(item.name)
            RESULTS.write_text(json.dumps(known, indent=1))
    PAGE.write_text(page(known))
    print(f"\nas it should not be: {', '.join(failed)}" if failed else "\nall of it as it should be")
    return 1 if failed else 0


def whole(item: Counterpart) -> bool:
    """Whether a counterpart lacks nothing: other S3 servers do, as the page says."""
    return item.part is not Part.S3 or not item.argv


def say(text: str) -> None:
    """A line of the transcript."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def _run(item: Counterpart, ends: float) -> dict[str, Any]:
    """Fetch and run one: what was seen by the rows that the run is for, or why it was not run."""
    say(f"{item.name}: {item.source}")
    try:
        got = Path(getattr(fetch, item.fetch)(item))
    except fetch.NotHad as error:
        return {"not": f"not had: {error}"}
    say(f"{item.name} is run")
    left = ends - time.monotonic()
    if left < 60:
        return {"not": f"not run: the {MOST_SECONDS / 60:.0f} minutes were over"}
    out = fetch.HERE / f"result-{COUNTERPARTS.index(item)}.json"
    log = out.with_suffix(".log")
    out.unlink(missing_ok=True)
    apart = ["unshare", "--net", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    argv = [*apart, sys.executable, "-m", "tools.interop.run", item.name, str(got), str(out)]
    try:
        with log.open("w") as file:
            done = subprocess.run(
                argv, cwd=fetch.ROOT, stdout=file, stderr=file, text=True, timeout=left, check=False
            )
    except FileNotFoundError:
        return {"not": "not run: needs unshare"}
    except subprocess.TimeoutExpired:
        return {"not": "not run to its end: the time was over"}
    if done.returncode != 0 or not out.exists():
        said = log.read_text().strip().splitlines()
        return {"not": f"not run: {said[-1] if said else done.returncode}"}
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def page(known: dict[str, Any]) -> str:
    """The page's text.

    Args:
        known: Results by name.
    """
    lines = [HEAD]
    for part in Part:
        items = [
            (item, known[item.name]) for item in COUNTERPARTS if item.part is part and item.name in known
        ]
        if not items:
            continue
        lines += [
            f"## {part}\n",
            "| counterpart | from | version | date | main job | suite |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(item, told) for item, told in items]
        if part is Part.S3:
            lines += ["", *_features(items), "", *_doctor(items)]
        lines += ["", *_failed(items), *_skipped(items)]
    return "\n".join(lines).rstrip() + "\n"


def _row(item: Counterpart, told: dict[str, Any]) -> str:
    start = f"| {item.name} | {item.source} | {told.get('version', item.version)} | {told['date']} |"
    if "not" in told:
        return f"{start} {_cell(told['not'])} | - |"
    if told.get("refused"):
        return f"{start} refused by `stack up`, see below | - |"
    demo, suite = told["demo"], told["suite"]
    job = (
        f"done in {demo['seconds']} s"
        if demo["code"] == 0
        else f"ends with {demo['code']} in step {_cell(demo['said'])}"
    )
    counts = [f"{suite[kind]} {kind}" for kind in ("passed", "failed", "error", "skipped") if suite.get(kind)]
    return f"{start} {job} | {', '.join(counts) or _cell(suite['last'])} |"


def _features(items: list[tuple[Counterpart, dict[str, Any]]]) -> list[str]:
    """What each server knows."""
    tried = [(item, told["lacks"]) for item, told in items if told.get("lacks") is not None]
    lines = [
        "What `orgkey stack up` found by trying:",
        "",
        f"| | {' | '.join(item.name for item, _ in tried)} |",
    ]
    lines += [f"|---|{'---|' * len(tried)}"]
    return lines + [
        f"| {name} | {' | '.join('-' if name in lacks else '●' for _, lacks in tried)} |" for name in FEATURES
    ]


def _doctor(items: list[tuple[Counterpart, dict[str, Any]]]) -> list[str]:
    """What `doctor` said before an escrow."""
    lines = ["What the program said before an escrow, and how many versions of objects that left there:", ""]
    lines += ["| counterpart | `orgkey doctor` | left | besides, with `--try-writing` | left |"]
    lines += ["|---|---|---|---|---|"]
    for item, told in items:
        if told.get("refused"):
            lines.append(f"| {item.name} | `stack up`: {_cell(told['refused'])} | - | - | - |")
        elif "not" not in told:
            more = [words for words in told["tried"] if words not in told["doctor"]]
            said = [_cell("; ".join(words)) or "no failure" for words in (told["doctor"], more)]
            lines.append(
                f"| {item.name} | {said[0]} | {told['doctor_left']} | {said[1]} | {told['tried_left']} |"
            )
    return lines


def _failed(items: list[tuple[Counterpart, dict[str, Any]]]) -> list[str]:
    lines = [
        f"- {item.name}: {', '.join(f'`{name}`' for name in told['suite']['names'])}"
        for item, told in items
        if told.get("suite", {}).get("names")
    ]
    return ["Tests that fail there:", "", *lines, ""] if lines else []


def _skipped(items: list[tuple[Counterpart, dict[str, Any]]]) -> list[str]:
    lines = [
        f"- {item.name}: {'; '.join(f'{count} since {why}' for why, count in told['suite']['why'].items())}"
        for item, told in items
        if told.get("suite", {}).get("why")
    ]
    return ["Tests that are skipped there:", "", *lines, ""] if lines else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
