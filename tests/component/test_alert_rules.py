"""The alert rules of `infra/monitoring`, by Prometheus' own tool."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.core import process

MONITORING = Path(__file__).parents[2] / "infra" / "monitoring"

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing")


@pytest.mark.parametrize(("what", "file"), [("check", "orgkey.rules.yml"), ("test", "orgkey.rules.test.yml")])
def test_the_rules_are_valid_and_fire_when_they_should(what: str, file: str) -> None:
    done = process.run(["promtool", what, "rules", str(MONITORING / file)], timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"SUCCESS" in done.stdout
