"""NIST's schema, applied by check-jsonschema's own command, takes our OSCAL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.report.formats.oscal import VERSIONS, render
from tests.support.oscal_samples import SAMPLES, check, document, hostile, nothing
from tests.support.sample_report import good


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("oscal")
    files = {}
    for sample in (*SAMPLES, hostile, nothing):
        for version in VERSIONS:
            for findings in (False, True):
                name = f"{sample.__name__}-{version}-{'findings' if findings else 'observations'}"
                files[name] = folder / f"{name}.json"
                files[name].write_bytes(render(sample(), version=version, findings=findings))
    return files


def test_every_document_validates_against_the_published_schema(written: dict[str, Path]) -> None:
    done = check(*written.values())
    assert done.returncode == 0, done.stdout


def test_the_schema_does_find_a_finding_without_its_status(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing: trestle's models take such a finding."""
    whole = {"assessment-results": document(good(), findings=True)}
    del whole["assessment-results"]["results"][0]["findings"][0]["target"]["status"]
    file = tmp_path / "without.json"
    file.write_text(json.dumps(whole))
    assert check(file).returncode == 1
