"""Reports of which OSCAL is made."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.report.formats.oscal import render
from pipeline.report.model import Report
from tests.support.sample_report import bad, good, year

FOLDER = Path(__file__).parents[1] / "assets" / "oscal"
SCHEMA = FOLDER / "oscal-assessment-results-1.2.1.schema.json"
COMMAND = Path(sys.executable).with_name("check-jsonschema")
SAMPLES = (good, bad, year)


def hostile() -> Report:
    """Names and problems as an attacker would choose them."""
    text = " *a*_b_ <script>\n{{ insert: param, x }}\t`c`\x1b[31m [l](javascript:1) "
    report = bad()
    backup = replace(report.backups[0], name=text, problem=text)
    copy = replace(report.copies[0], problem=text, location=text, target=" ")
    item = replace(report.evidence[0], file="ledger/a b:?#%.json", what=text)
    return replace(
        report, backups=(backup,), copies=(copy, *report.copies[1:]), evidence=(item, *report.evidence[1:])
    )


def nothing() -> Report:
    """Nothing is stored, and no server answered."""
    return replace(
        good(), epoch=None, copies=(), paths=(), matrix=(), drills=(), backups=(), custody=None,
        custodians=(), changes=(), not_covered=(), evidence=(), drill_interval_days=None,
    )  # fmt: skip


def document(report: Report, **how: Any) -> dict[str, Any]:
    found = json.loads(render(report, **how))["assessment-results"]
    assert isinstance(found, dict)
    return found


def check(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "--schemafile", SCHEMA, *files], capture_output=True, text=True, timeout=120, check=False
    )
