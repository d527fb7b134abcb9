"""Writes ``docs/exit-codes.md`` from the one enum. Run: ``python -m tools.make_exit_codes``."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import Code
from pipeline.core.exit_codes import INSPECT_PRECEDENCE, PRECEDENCE

PAGE = Path(__file__).parents[1] / "docs" / "exit-codes.md"

_HEAD = """\
# Exit codes

<!-- Written by `python -m tools.make_exit_codes` from pipeline/core/exit_codes.py. Change it there. -->

Scripts, timers and monitors go by the exit code. A code means the same in every command. 0 means that all
that was asked is done *and verified*. A partial success, enough but not all, has a code of its own, 24, so
that nobody takes it for a whole one. The help page of each command lists the codes that it is known for.

An error is two lines on stderr, what happened and what to do:

```
orgkey: error: no key is pinned
orgkey: hint: put its fingerprint into [key] of the configuration, or give --fingerprint
```

With `--json` a command prints its own document at any exit code. Only when there is no result, it prints
`{"schema": "orgkey.error/1", "error": {"code", "name", "message", "hint"}}` with the *name* of the table.

Where the answer cannot be written to standard output (it is closed, it is full, or its reader is gone), these
two lines say so. The code is then the one of the work itself, or 3 where that would be 0. Standard error is
not needed: the work goes on without it.

`orgkey explain CODE` shows a row of this table. *Retry?* says whether the same command, run again later and
unchanged, can succeed: schedules retry on these and on no other.

| code | name | meaning | retry? | what to do |
|---:|---|---|---|---|
"""

_SEVERAL = """
## Several problems at once

A run that meets several problems ends with the first of these:

{several}

A code that is not in this list ends the run at once; where it comes together with others, it goes first.

`orgkey inspect` lists every problem of an export in `problems` and ends with the first of these:

{inspect}

`--accept unprotected` overrides 11, `--accept expired` 15 (never a revocation), `--accept certificates` 17.
Dates and certificates never prevent a restore.
"""


def render() -> str:
    """Write the page's text."""
    rows = [
        f"| {int(code)} | `{code.label}` | {code.meaning} | {again} | {code.remedy} |\n"
        for code in Code
        for again in ["yes" if code.retry else "no"]
    ]
    return (
        _HEAD
        + "".join(rows)
        + _SEVERAL.format(several=_listed(PRECEDENCE), inspect=_listed(INSPECT_PRECEDENCE))
    )


def _listed(codes: tuple[Code, ...]) -> str:
    return "\n".join(f"{place}. {int(code)} `{code.label}`" for place, code in enumerate(codes, 1))


if __name__ == "__main__":
    PAGE.write_text(render())
    print(PAGE)
