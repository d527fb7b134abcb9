"""`python -m tests.bench`: exit 0 when every limit is kept, 1 when one is missed, 2 if it cannot measure."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import NoReturn

from tests.bench import backups, crew, evidence, profiling, subjects
from tests.bench.measure import CannotMeasure, alternate
from tests.bench.verdict import Comparison, document, table

ESCROW_LIMIT = 0.6
HELP_LIMIT = 1.5


def main() -> int:
    """Measure, print, judge."""
    options = _options()
    signal.signal(signal.SIGTERM, _stop)
    try:
        if options.profile:
            with subjects.bench() as bench:
                print("\n".join(profiling.report(bench)))
            return 0
        comparisons = measure(options.runs, options.help_runs, options.backup_runs)
    except CannotMeasure as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    result = document(comparisons)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print("\n".join(table(comparisons)))
    return 0 if result["ok"] else 1


def measure(runs: int, help_runs: int, backup_runs: int) -> list[Comparison]:
    """Run everything.

    Args:
        runs: Counted escrows of each kind.
        help_runs: Counted starts of each kind.
        backup_runs: Counted readings of each backup.

    Raises:
        CannotMeasure: Something does not run.
    """
    with subjects.bench() as bench:
        starts = alternate(
            ("orgkey --help", subjects.help_page),
            ("import typer", subjects.import_typer),
            help_runs,
            _progress,
        )
        escrows = alternate(("orgkey escrow", bench.escrow), ("peer.sh", bench.peer), runs, _progress)
        read = list(backups.measure(bench, backup_runs, _progress))
        # Last: what this process takes for it would count as its children's at their start.
        kept = list(evidence.measure(bench, backup_runs, _progress))
        read += crew.measure(bench, backup_runs, _progress)
    return [
        Comparison("orgkey --help / import typer", *starts, HELP_LIMIT),
        Comparison("escrow with its drill / gpg, bao, aws", *escrows, ESCROW_LIMIT),
        *kept,
        *read,
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--runs", type=_positive, default=5, metavar="N", help="escrows of each kind (5)")
    parser.add_argument(
        "--help-runs", type=_positive, default=11, metavar="N", help="starts of each kind (11)"
    )
    parser.add_argument(
        "--backup-runs", type=_positive, default=3, metavar="N", help="readings of each backup (3)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to a file")
    parser.add_argument("--profile", action="store_true", help="show where an escrow's time goes instead")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _stop(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(130)  # through the finally that stops the stack


if __name__ == "__main__":
    sys.exit(main())
