"""What `orgkey retain --until` reads as a date."""

from __future__ import annotations

import pytest

from pipeline.core.errors import UsageProblem
from pipeline.workflows.retention.rules import moment


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2027-12-31", "2027-12-31T23:59:59+00:00"),
        ("2027-12-31T12:00:00Z", "2027-12-31T12:00:00+00:00"),
        ("2027-12-31 12:00+02:00", "2027-12-31T10:00:00+00:00"),
    ],
)
def test_a_date_or_a_time_with_its_zone(text: str, read: str) -> None:
    assert moment(text).isoformat() == read


@pytest.mark.parametrize(
    "text",
    [
        "2026-W50-1",
        "2026-W50",
        "20261231",
        "2026-W50-1T10:00:00Z",
        "20261231T100000Z",
        "2027-12-31T12:00",
        "x",
    ],
)
def test_nothing_else(text: str) -> None:
    with pytest.raises(UsageProblem, match="is not a date"):
        moment(text)
