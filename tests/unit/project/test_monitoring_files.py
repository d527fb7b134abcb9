"""The alert rules and the dashboard of `infra/monitoring`, against the metrics and the gate's rules."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.sections import Policy
from pipeline.core.templates import table
from pipeline.monitoring.rules import OVERDUE

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "infra" / "monitoring"
DASHBOARD = (MONITORING / "dashboard.json").read_text()
_FILE = yaml.safe_load((MONITORING / "orgkey.rules.yml").read_text())
ALERTS: list[dict[str, Any]] = _FILE["groups"][0]["rules"]
FAMILIES = {
    f"orgkey_{row['name']}": {"fingerprint", "name", *row.get("labels", {})}
    for part in table("pipeline.monitoring", "metrics.toml").values()
    for row in part
}
WITHOUT_ALERT = {
    "ledger-entry": "it only warns: an entry of another's chain was skipped",
    "newer": "it only warns: an epoch that no drill has proven replaces nothing yet",
}


def gate_rules() -> set[str]:
    """Every rule that the gate has: the names in its code, and the policy's limits."""
    limit = re.compile(r"max_(.*_)?age_days|min_retention_days|rto_seconds")
    found = {name for name in Policy.model_fields if limit.fullmatch(name)}
    for path in (ROOT / "pipeline" / "monitoring").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("Rule", "require", "_require", "measured"):
                found |= {str(it.value) for it in node.args[:1] if isinstance(it, ast.Constant)}
    return found


def metrics(expression: str) -> set[str]:
    return set(re.findall(r"orgkey_\w+", expression))


def test_each_rule_of_the_gate_raises_one_alert_or_has_a_reason() -> None:
    patterns = [text for alert in ALERTS for text in re.findall(r'rule=~"([^"]+)"', alert["expr"])]
    named = Counter(rule for text in patterns for rule in text.split("|"))
    assert gate_rules() >= OVERDUE | WITHOUT_ALERT.keys()
    assert set(named) == gate_rules() - WITHOUT_ALERT.keys()
    assert set(named.values()) == {1}


def test_alerts_are_about_metrics_that_exist_and_lead_to_a_page() -> None:
    for alert in ALERTS:
        assert metrics(alert["expr"])
        assert metrics(alert["expr"]) <= FAMILIES.keys()
        assert (ROOT / alert["annotations"]["runbook"]).is_file()
        assert alert["labels"]["severity"] in ("critical", "warning")
        labels = set().union(*(FAMILIES[name] for name in metrics(alert["expr"])))
        assert set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"])) <= labels


def test_each_alert_fires_in_the_tests_of_promtool() -> None:
    cases = yaml.safe_load((MONITORING / "orgkey.rules.test.yml").read_text())["tests"]
    fired = {
        name
        for case in cases
        for check in case["promql_expr_test"]
        for sample in check["exp_samples"]
        for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert fired == {alert["alert"] for alert in ALERTS}
    for case in cases:
        for series in case["input_series"]:
            assert metrics(series["series"]) <= FAMILIES.keys()


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    board = json.loads(DASHBOARD)
    shown = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            (name,) = metrics(target["expr"])
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= FAMILIES[name]
            assert 'name=~"$key"' in target["expr"]
            shown.add(name)
    assert shown == FAMILIES.keys()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_dashboard_asks_no_one_but_the_data_source() -> None:
    assert "//" not in DASHBOARD
    board = json.loads(DASHBOARD)
    asked = [panel["datasource"] for panel in board["panels"]]
    asked += [target["datasource"] for panel in board["panels"] for target in panel["targets"]]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in asked)
    assert {panel["type"] for panel in board["panels"]} <= {"stat", "timeseries"}
