"""The readers of `infra/crew`: valid, as narrow as the other jobs, and tried again as the exit codes say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipeline.core.errors import Code
from tools.make_schedule import SCHEDULE

CREW = SCHEDULE.with_name("crew")
KUBERNETES = ("1.33", "1.36")  # the first where limits for each index are settled, and a recent one
WITHOUT_ANSWER = {code for code in Code if code.retry and code is not Code.DEGRADED}
"""After these a later try can be worth it; after the others the answer is written, or a person is needed."""


class _Template(yaml.SafeLoader):
    """CloudFormation's short forms are left as they stand."""


_Template.add_multi_constructor("!", lambda _loader, _suffix, node: str(node.value))


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CREW / "kubernetes.yaml").read_text()))


@pytest.fixture(scope="module")
def job(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (job,) = (item["spec"] for item in documents if item["kind"] == "Job")
    assert isinstance(job, dict)
    return job


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    resources = yaml.load((CREW / "aws-batch.yaml").read_text(), _Template)["Resources"]  # noqa: S506 - a safe one
    definition = resources["Definition"]["Properties"]
    assert isinstance(definition, dict)
    return definition


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_it(version: str, documents: list[dict[str, Any]]) -> None:
    for item in documents:
        kubernetes_validate.validate(item, version, strict=True)


def test_cfn_lint_has_no_findings() -> None:
    program = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run(
        [program, "--include-checks", "I", "--", str(CREW / "aws-batch.yaml")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_may_as_little_as_the_other_jobs(job: dict[str, Any]) -> None:
    others = yaml.safe_load_all((SCHEDULE / "kubernetes" / "base" / "cronjobs.yaml").read_text())
    other = next(others)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    pod = job["template"]["spec"]
    for key in ("securityContext", "automountServiceAccountToken", "enableServiceLinks", "restartPolicy"):
        assert pod[key] == other[key]
    (container,), (others_container,) = pod["containers"], other["containers"]
    assert container["securityContext"] == others_container["securityContext"]
    mounts = {item["name"]: item.get("readOnly", False) for item in container["volumeMounts"]}
    assert mounts == {"crew": False, "key": True, "backups": True, "shm": False, "tmp": False}
    assert {item["name"] for item in pod["volumes"]} == mounts.keys()


def test_a_pod_is_tried_again_as_the_exit_codes_say(job: dict[str, Any]) -> None:
    ignore, fail = job["podFailurePolicy"]["rules"]
    assert ignore["action"] == "Ignore"
    assert (fail["action"], fail["onExitCodes"]["operator"]) == ("FailIndex", "In")
    values = {Code(value) for value in fail["onExitCodes"]["values"]}
    assert values == set(Code) - WITHOUT_ANSWER - {Code.OK}
    assert (job["completionMode"], job["backoffLimitPerIndex"]) == ("Indexed", 2)


def test_a_child_is_tried_again_as_the_exit_codes_say(definition: dict[str, Any]) -> None:
    *retried, last = definition["RetryStrategy"]["EvaluateOnExit"]
    assert last == {"OnExitCode": "*", "Action": "EXIT"}
    assert {item["Action"] for item in retried} == {"RETRY"}
    codes = {Code(int(item["OnExitCode"])) for item in retried if "OnExitCode" in item}
    # Another run has the lock (50) is nothing that a command without state ends with.
    assert codes == {code for code in WITHOUT_ANSWER if code is not Code.LOCKED}


def test_both_run_the_same_command(job: dict[str, Any], definition: dict[str, Any]) -> None:
    (container,) = job["template"]["spec"]["containers"]
    batch = definition["ContainerProperties"]
    assert batch["Command"] == [
        word.replace("$JOB_COMPLETION_INDEX", "$AWS_BATCH_JOB_ARRAY_INDEX") for word in container["args"]
    ]
    mounts = [item["mountPath"] for item in container["volumeMounts"]]
    assert {item["ContainerPath"] for item in batch["MountPoints"]} == set(mounts[:2])
