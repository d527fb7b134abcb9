"""The table of counterparts, and the page that `make interop` writes of it."""

from __future__ import annotations

from typing import Any

from pipeline.devstack.features import CHECKSUM, FEATURES
from tools.interop import __main__ as matrix
from tools.interop import fetch
from tools.interop.counterparts import COUNTERPARTS

RESULT: dict[str, Any] = {
    "version": "1.2",
    "date": "2026-11-30",
    "refused": "",
    "lacks": [CHECKSUM],
    "doctor": ["the writer may delete versions"],
    "doctor_left": 0,
    "tried": ["the server lacks something", "the writer may delete versions"],
    "tried_left": 2,
    "demo": {"code": 23, "seconds": 9, "said": "4: a | b"},
    "suite": {
        "code": 1,
        "passed": 70,
        "failed": 2,
        "names": ["test_a", "test_b"],
        "why": {"it is cold": 3},
        "last": "",
    },
}


def test_each_counterpart_can_be_fetched_and_has_a_name_of_its_own() -> None:
    assert len({item.name for item in COUNTERPARTS}) == len(COUNTERPARTS)
    assert all(callable(getattr(fetch, item.fetch)) for item in COUNTERPARTS)


def test_a_result_is_a_row_its_features_what_was_said_and_what_failed() -> None:
    page = matrix.page({"moto": RESULT})
    assert (
        "| moto | the lock | 1.2 | 2026-11-30 | ends with 23 in step 4: a \\| b | 70 passed, 2 failed |"
        in page
    )
    assert [
        line.split(" | ")[1]
        for line in page.splitlines()
        if line.startswith(tuple(f"| {name}" for name in FEATURES))
    ] == ["- |" if name == CHECKSUM else "● |" for name in FEATURES]
    assert "| moto | the writer may delete versions | 0 | the server lacks something | 2 |" in page
    assert "- moto: `test_a`, `test_b`" in page
    assert "- moto: 3 since it is cold" in page


def test_what_was_not_run_says_why() -> None:
    page = matrix.page({"MiniStack": {"not": "not had: needs uv", "date": "2026-11-30"}})
    assert "| MiniStack | PyPI | 1.5.33 | 2026-11-30 | not had: needs uv | - |" in page


def test_a_server_that_is_refused_is_asked_nothing_more() -> None:
    refused = {
        "version": "3",
        "date": "2026-11-30",
        "refused": "no versions",
        "lacks": None,
    }
    page = matrix.page({"s3rver": refused})
    assert "refused by `stack up`, see below | - |" in page
    assert "| s3rver | `stack up`: no versions | - |" in page


def test_the_page_has_each_counterpart_of_the_table() -> None:
    written = matrix.PAGE.read_text()
    assert [item.name for item in COUNTERPARTS if f"| {item.name} |" not in written] == []
