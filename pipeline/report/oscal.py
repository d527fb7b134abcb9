"""The report as OSCAL assessment results, in JSON.

Observations by default. A finding's ``satisfied`` is an assessor's word, so findings are written on request
only, for the few objectives that the evidence speaks to directly, and say so. Identifiers are derived from
the key and the run: the same report gives the same bytes. What 1.1.2 does not know is not written in 1.2.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, Literal
from urllib.parse import quote

from pipeline.core.clock import stamp
from pipeline.report import oscal_observations
from pipeline.report.controls import NIST, controls
from pipeline.report.model import Control, Evidence, Report, Support
from pipeline.report.oscal_words import Names, control_id, markup, prop, token

Version = Literal["1.2.1", "1.1.2"]
VERSIONS: Final[tuple[Version, ...]] = ("1.2.1", "1.1.2")
_OBJECTIVES: Final = (
    ("cp-9_obj.d-1", "CP-9(8)", "the confidentiality of backup information is protected"),
    ("cp-9.1_obj-1", "CP-9(1)", "backup information is tested for reliability"),
    ("cp-9.2_obj", "CP-9(2)", "a sample of backup information is restored in tests"),
    ("cp-9.8_obj", "CP-9(8)", "backup information is protected cryptographically"),
    ("sc-12.1_obj", "SC-12(1)", "information stays available when keys are lost"),
)
_MEDIA: Final = {
    ".json": "application/json",
    ".asc": "application/pgp-keys",
    ".pem": "application/x-pem-file",
}
_PLAN: Final = (
    "There is no assessment plan: orgkey-escrow collects this evidence continuously. What is tested, and how "
    "often, is in the operator's policy; what was not tested is told in the report."
)
_ASSESSOR: Final = (
    "Computed from the related observations. Whether the objective is satisfied is for an assessor to say, "
    "who also knows what this program does not see."
)


def render(report: Report, *, version: Version = "1.2.1", findings: bool = False) -> bytes:
    """Write the document.

    Args:
        report: The report; its controls are computed where it carries none.
        version: OSCAL's version.
        findings: Whether findings are wanted beside observations.

    Returns:
        JSON, in UTF-8.
    """
    if version not in VERSIONS:
        raise ValueError(f"OSCAL {version} is not written here")
    judged = [one for one in report.controls or controls(report) if one.catalogue == NIST]
    names = Names(report)
    result = {
        "uuid": names.once("result"),
        "title": f"Escrow of the Org Key {report.key.fingerprint}",
        "description": markup(f"{report.verdict.sentence} Evidence from {report.since:%Y-%m-%d} on."),
        "start": stamp(min(report.since, report.generated)),
        "end": stamp(report.generated),
        "props": [prop("answer", report.verdict.answer), prop("run", report.run)],
        "local-definitions": _definitions(report, names),
        "reviewed-controls": _reviewed(judged, findings),
        "observations": oscal_observations.observations(report, judged, names),
    }
    if findings:
        result["findings"] = list(_findings(judged, names))
    if report.not_covered:
        result["remarks"] = markup("Not covered: " + " ".join(report.not_covered))
    document = {
        "uuid": names.once("document", version, str(findings)),
        "metadata": _metadata(report, version, names),
        "import-ap": {"href": f"#{names.once('plan')}"},
        "results": [result],
        "back-matter": {"resources": _resources(report, names)},
    }
    return (json.dumps({"assessment-results": document}, indent=2, ensure_ascii=False) + "\n").encode()


def _metadata(report: Report, version: str, names: Names) -> dict[str, Any]:
    operator = names.always("operator")
    return {
        "title": markup(f"Assessment results for the Org Key {report.key.fingerprint}"),
        "last-modified": stamp(report.generated),
        "version": stamp(report.generated),
        "oscal-version": version,
        "roles": [{"id": "operator", "title": "Operator of the escrow, who ran the program"}],
        "parties": [{"uuid": operator, "type": "organization", "name": "The operator of the escrow"}],
        "responsible-parties": [{"role-id": "operator", "party-uuids": [operator]}],
    }


def _definitions(report: Report, names: Names) -> dict[str, Any]:
    """What observations are about, and what made them."""
    parts = [_component(names.key, "software", f"Org Key {report.key.fingerprint}", report.key.algorithm)]
    for copy in report.copies:
        about = f"{copy.kind} in failure domain {copy.domain}: {copy.location}"
        parts.append(_component(names.copy(copy.target), "service", f"Target {copy.target}", about))
    for path in report.paths:
        about = f"needs {', '.join(path.needs)}"
        parts.append(
            _component(names.path(path.name), "process-procedure", f"Custody path {path.name}", about)
        )
    tool = _component(names.tool, "software", report.program, "computes this report from what servers hold")
    return {
        "components": parts,
        "assessment-assets": {
            "components": [tool],
            "assessment-platforms": [
                {
                    "uuid": names.always("platform", report.host),
                    "title": markup(f"Host {report.host}"),
                    "uses-components": [{"component-uuid": names.tool}],
                }
            ],
        },
    }


def _component(name: str, kind: str, title: str, about: str) -> dict[str, Any]:
    return {
        "uuid": name,
        "type": kind,
        "title": markup(title),
        "description": markup(about),
        "status": {"state": "operational"},
    }


def _reviewed(judged: Iterable[Control], findings: bool) -> dict[str, Any]:
    included = [{"control-id": control_id(one.id)} for one in judged]
    reviewed: dict[str, Any] = {
        "description": "Controls of NIST SP 800-53 Rev. 5 that an escrow with drills has evidence for.",
        "control-selections": [{"include-controls": included}],
    }
    if findings:
        reviewed["control-objective-selections"] = [
            {"include-objectives": [{"objective-id": objective} for objective, _, _ in _OBJECTIVES]}
        ]
    return reviewed


def _findings(judged: Iterable[Control], names: Names) -> Iterable[dict[str, Any]]:
    by_id = {one.id: one for one in judged}
    reasons = {Support.SUPPORTED: "pass", Support.NONE: "fail"}
    for objective, name, asks in _OBJECTIVES:
        control = by_id[name]
        yield {
            "uuid": names.once("finding", objective),
            "title": markup(f"{objective}: {asks}"),
            "description": markup(control.says),
            "origins": names.origins,
            "target": {
                "type": "objective-id",
                "target-id": token(objective),
                "status": {
                    "state": "satisfied" if control.support is Support.SUPPORTED else "not-satisfied",
                    "reason": reasons.get(control.support, "other"),
                    "remarks": _ASSESSOR,
                },
            },
            "related-observations": [{"observation-uuid": names.once("control", name)}],
            "remarks": markup(f"Evidence: {control.support}."),
        }


def _resources(report: Report, names: Names) -> list[dict[str, Any]]:
    plan = {"uuid": names.once("plan"), "title": "No assessment plan", "description": _PLAN}
    return [plan, *(_resource(item, names) for item in report.evidence)]


def _resource(item: Evidence, names: Names) -> dict[str, Any]:
    found: dict[str, Any] = {
        "uuid": names.once("evidence", item.id),
        "title": markup(f"{item.id}: {item.kind}"),
        "description": markup(item.what),
        "props": [prop("sha256", item.sha256)],
    }
    if item.file:
        suffix = item.file[item.file.rfind(".") :]
        found["rlinks"] = [
            {
                "href": quote(item.file),
                "media-type": _MEDIA.get(suffix, "application/octet-stream"),
                "hashes": [{"algorithm": "SHA-256", "value": item.sha256}],
            }
        ]
    return found
