from __future__ import annotations

import re

from pipeline.core.errors import Code
from pipeline.core.exit_codes import INSPECT_PRECEDENCE, PRECEDENCE
from tools.make_exit_codes import PAGE, render


def test_the_page_is_what_the_enum_gives() -> None:
    assert PAGE.read_text() == render(), "run: python -m tools.make_exit_codes"


def test_the_page_has_each_code_once_with_what_it_means() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \| `([a-z-]+)` \| (.+?) \| (yes|no) \| (.+) \|$", PAGE.read_text())
    assert rows == [
        (str(int(code)), code.label, code.meaning, "yes" if code.retry else "no", code.remedy)
        for code in Code
    ]


def test_the_page_has_both_orders_of_precedence() -> None:
    listed = [int(number) for number in re.findall(r"(?m)^\d+\. (\d+) `", PAGE.read_text())]
    assert listed == [int(code) for code in (*PRECEDENCE, *INSPECT_PRECEDENCE)]
