"""A ledger of 10,000 entries: verified, and reported on, against sha256sum and jq in a shell loop."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import rfc8785

from pipeline.core.clock import parse_stamp, stamp
from tests.bench.measure import CannotMeasure, Sample, alternate, run
from tests.bench.subjects import ORGKEY, Bench
from tests.bench.verdict import Comparison

ENTRIES: Final = 10_000
VERIFY_LIMIT: Final = 0.5
REPORT_LIMIT: Final = 1.5
PEAK_KIB: Final = 256 * 1024
CHAIN: Final = """
set -e
sha256sum ledger/*/*.json > sums
jq -r '"\\(.previous) \\(.sequence)"' ledger/*/*.json > links
last=$(printf '' | sha256sum); last=${last%% *}; n=0
paste -d ' ' sums links > chain
while read -r hash file previous number; do
  n=$((n + 1))
  [ "$number" = "$n" ] && [ "$previous" = "$last" ] && [ "${file##*/}" = "$(printf '%09d.json' "$n")" ]
  last=$hash
done < chain
echo "$n"
"""
"""What the page of a bundle has a third party do, and what a script without this program would."""


def measure(bench: Bench, runs: int, progress: Callable[[str], None]) -> Iterator[Comparison]:
    """Verify and report, in turns with the peer.

    Args:
        bench: The stack; a key is escrowed there.
        runs: Counted runs of each.
        progress: Told about every run.

    Raises:
        CannotMeasure: A run failed, or did less than it should.
    """
    if shutil.which("jq") is None:
        raise CannotMeasure("jq is missing (Debian: apt install jq)")
    name = "evidence"
    run(bench.escrow_argv(name), bench.env, cwd=bench.work)
    state = bench.work / f"{name}-state" / bench.fingerprint
    progress(f"writing a ledger of {ENTRIES} entries")
    lengthen(next((state / "ledger").glob("*/")), ENTRIES)
    verify = [ORGKEY, "ledger", "verify", str(state / "ledger"), "--json", "--quiet"]
    numbers = count(1)
    common = ["--config", str(bench.work / f"{name}.toml"), "--state-dir", str(state.parent), "--quiet"]

    def report() -> Sample:
        out = bench.work / f"report-{next(numbers)}.html"
        sample = run([ORGKEY, "report", "--out", str(out), *common], bench.env, cwd=bench.work)
        page = out.read_text()
        counted = re.search(r"([0-9]+) entries, unbroken", page)
        if counted is None or int(counted[1]) < ENTRIES:
            raise CannotMeasure("the report is not over the whole ledger")
        return sample

    def walk() -> Sample:
        sample = run(["sh", "-c", CHAIN], bench.env, cwd=state)
        if int(sample.stdout) < ENTRIES:
            raise CannotMeasure("the loop stopped early")
        return sample

    for what, ours, limit in (
        (
            f"verifying {ENTRIES} ledger entries / sha256sum, jq",
            partial(_verified, verify, bench),
            VERIFY_LIMIT,
        ),
        (f"reporting on {ENTRIES} ledger entries / the same", report, REPORT_LIMIT),
    ):
        mine, theirs = alternate((what, ours), ("sha256sum, jq, sh", walk), runs, progress)
        yield Comparison(what, mine, theirs, limit, PEAK_KIB)


def _verified(argv: list[str], bench: Bench) -> Sample:
    sample = run(argv, bench.env, cwd=bench.work)
    told = json.loads(sample.stdout)
    if not told["ok"] or told["hosts"][0]["entries"] < ENTRIES:
        raise CannotMeasure(f"the ledger was not verified:\n{sample.stdout.decode()}")
    return sample


def lengthen(folder: Path, entries: int) -> None:
    """Add test restores to a ledger until it has so many entries; like those that it has, an hour apart.

    Args:
        folder: The ledger's.
        entries: How many there are to be.
    """
    known = sorted(folder.glob("*.json"))
    like: dict[str, Any] = next(
        entry for path in known if (entry := json.loads(path.read_bytes()))["event"] == "drill"
    )
    last = known[-1].read_bytes()
    at = parse_stamp(json.loads(last)["at"])
    for number in range(len(known) + 1, entries + 1):
        moment = at - timedelta(hours=entries - number)
        entry = like | {
            "sequence": number,
            "previous": hashlib.sha256(last).hexdigest(),
            "at": stamp(min(moment, at)),
        }
        last = rfc8785.dumps(entry)
        path = folder / f"{number:09d}.json"
        path.write_bytes(last)
        path.chmod(0o600)
