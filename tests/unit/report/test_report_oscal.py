"""OSCAL, judged by others: NIST's schema through check-jsonschema's own command, and compliance-trestle."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.report.formats.oscal import VERSIONS, Version, control_id, markup, prop, render
from pipeline.report.model import Report, Support
from tests.support.oscal_samples import FOLDER, SAMPLES, SCHEMA, document, hostile, nothing
from tests.support.sample_report import bad, digest, good, year

# Keys of the 1.2.1 schema that the one of 1.1.2 does not have; both were compared definition by definition.
NEWER = (("sources", "remarks"), ("matching", "remarks"), ("logged-by", "remarks"), ("timing", "remarks"))


def everything(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from everything(item)
    elif isinstance(value, list):
        for item in value:
            yield from everything(item)


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


def test_the_schema_is_the_published_one() -> None:
    told = re.search(r"SHA-256 `([0-9a-f]{64})`", (FOLDER / "README.md").read_text())
    assert told
    assert hashlib.sha256(SCHEMA.read_bytes()).hexdigest() == told[1]


def test_every_document_validates_with_trestle(written: dict[str, Path]) -> None:
    from trestle.oscal.assessment_results import Model  # type: ignore[import-untyped,unused-ignore]

    for file in written.values():
        Model.model_validate(json.loads(file.read_bytes()))


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_older_version_differs_in_its_number_alone(sample: Callable[[], Report]) -> None:
    new, old = (document(sample(), version=version, findings=True) for version in VERSIONS)
    assert old["metadata"].pop("oscal-version") == "1.1.2"
    assert new["metadata"].pop("oscal-version") == "1.2.1"
    assert old.pop("uuid") != new.pop("uuid")
    assert old == new
    for outer, inner in NEWER:
        for item in everything(old):
            assert inner not in json.dumps(item.get(outer, ""))


def test_other_versions_are_refused() -> None:
    version: Any = "1.0.4"
    with pytest.raises(ValueError, match="not written here"):
        render(good(), version=version)


def test_the_same_report_gives_the_same_bytes_and_another_run_other_identifiers() -> None:
    assert render(good()) == render(good())
    mine, other = document(good()), document(replace(good(), run="another"))
    assert mine["uuid"] != other["uuid"]
    # What it is about stays the same thing.
    assert (
        mine["results"][0]["local-definitions"]["components"]
        == other["results"][0]["local-definitions"]["components"]
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("sample", SAMPLES)
def test_every_reference_leads_somewhere(sample: Callable[[], Report], version: Version) -> None:
    found = document(sample(), version=version, findings=True)
    (result,) = found["results"]
    defined = [item["uuid"] for item in everything(found) if "uuid" in item]
    assert len(set(defined)) == len(defined)
    for item in everything(found):
        for key in ("subject-uuid", "actor-uuid", "observation-uuid", "component-uuid"):
            assert item.get(key, defined[0]) in defined
        assert set(item.get("party-uuids", ())) <= set(defined)
        if str(item.get("href", "")).startswith("#"):
            assert item["href"][1:] in defined
    assert found["import-ap"]["href"] == f"#{found['back-matter']['resources'][0]['uuid']}"
    reviewed = result["reviewed-controls"]["control-selections"][0]["include-controls"]
    assert [item["control-id"] for item in reviewed] == [
        "cp-4", "cp-6", "cp-9", "cp-9.1", "cp-9.2", "cp-9.3", "cp-9.7", "cp-9.8", "sc-12", "sc-12.1", "sc-13",
        "sc-28", "au-9.3", "au-10", "ac-3.2", "ac-5",
    ]  # fmt: skip


def test_observations_name_their_evidence_in_the_bundle_with_its_digest() -> None:
    (result,) = document(good())["results"]
    assert "findings" not in result
    assert "risks" not in result
    cell = next(item for item in result["observations"] if "vault-eu by unattended: proven" in item["title"])
    assert cell["methods"] == ["TEST"]
    assert cell["collected"] == "2026-06-01T06:00:00Z"
    assert cell["expires"] == "2026-06-08T06:00:00Z"
    entry, certificate = cell["relevant-evidence"]
    assert entry["href"] == "ledger/000000100.json"
    assert {"evidence": "L100", "sha256": digest("L100")}.items() <= {
        item["name"]: item["value"] for item in entry["props"]
    }.items()
    assert certificate["href"].startswith("certificates/")
    resources = document(good())["back-matter"]["resources"]
    linked = next(
        item for item in resources if item.get("rlinks", [{}])[0].get("href") == "ledger/000000100.json"
    )
    assert linked["rlinks"][0]["hashes"] == [{"algorithm": "SHA-256", "value": digest("L100")}]


def test_missed_and_failed_test_restores_are_observations() -> None:
    (result,) = document(year())["results"]
    titles = [item["title"] for item in result["observations"]]
    assert titles.count("A test restore was missed") == 2
    assert titles.count("A test restore is overdue") == 1
    assert sum(title.endswith("unattended: failed") for title in titles) == 3


def test_findings_come_on_request_and_follow_the_evidence() -> None:
    def states(report: Report) -> dict[str, tuple[str, str]]:
        (result,) = document(report, findings=True)["results"]
        return {
            item["target"]["target-id"]: (
                item["target"]["status"]["state"],
                item["target"]["status"]["reason"],
            )
            for item in result["findings"]
        }

    names = ("cp-9_obj.d-1", "cp-9.1_obj-1", "cp-9.2_obj", "cp-9.8_obj", "sc-12.1_obj")
    assert states(good()) == dict.fromkeys(names, ("satisfied", "pass"))
    assert states(bad()) == dict.fromkeys(names, ("not-satisfied", "fail"))
    assert states(year())["cp-9.1_obj-1"] == ("not-satisfied", "other")
    (result,) = document(good(), findings=True)["results"]
    for item in result["findings"]:
        assert "for an assessor to say" in item["target"]["status"]["remarks"]


def test_words_of_the_programs_own_never_claim_compliance() -> None:
    text = render(year()).decode().lower()
    assert "complian" not in text
    assert "satisfied" not in text
    assert {str(one) for one in Support} >= set(re.findall(r"evidence for [^:]*: ([a-z ]+)", text))


def test_foreign_text_is_no_markup_and_one_line() -> None:
    assert markup(" *a*\n_b_ {{ insert: x }}\x1b ") == r"\*a\* \_b\_ \{\{ insert: x \}\}\\x1b"
    assert prop("x", " \n ")["value"] == "-"
    assert control_id("CP-9(1)") == "cp-9.1"
