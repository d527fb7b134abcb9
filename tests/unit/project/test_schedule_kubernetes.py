"""The manifests of `infra/schedule/kubernetes`, as kustomize builds them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipeline.core.errors import Code
from tests.unit.project.test_docs import complaint
from tools import make_schedule
from tools.schedule import jobs

ROOT = make_schedule.SCHEDULE / "kubernetes"
WHOLE = ("base", "overlays/example", "overlays/csi")
PROVING = "overlays/drill-host"
BUILDS = (*WHOLE, PROVING)
KUBERNETES = ("1.31", "1.36")  # the oldest that is meant, and a recent one


@pytest.fixture(scope="module")
def built(kustomize: Path) -> dict[str, list[dict[str, Any]]]:
    return {name: build(kustomize, ROOT / name) for name in BUILDS}


def build(kustomize: Path, folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [kustomize, "build", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return list(yaml.safe_load_all(done.stdout))


def pods(documents: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every object that makes pods, with its pods' description."""
    for item in documents:
        if item["kind"] == "Deployment":
            yield item, item["spec"]["template"]["spec"]
        if item["kind"] == "CronJob":
            yield item, item["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_that_check_finds_what_is_wrong(built: dict[str, list[dict[str, Any]]]) -> None:
    item = next(item for item in built["base"] if item["kind"] == "CronJob")
    wrong = yaml.safe_load(yaml.safe_dump(item))
    wrong["spec"]["jobTemplate"]["spec"]["backOffLimit"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("name", WHOLE)
def test_the_jobs_are_all_there(built: dict[str, list[dict[str, Any]]], name: str) -> None:
    made = {(item["kind"], item["metadata"]["name"]) for item, _ in pods(built[name])}
    wanted = {("CronJob", f"orgkey-{job.name}") for job in jobs.TIMED}
    assert made == wanted | {("Deployment", "orgkey-watch")}


def test_a_cluster_that_only_proves_has_nothing_of_the_escrow(
    built: dict[str, list[dict[str, Any]]],
) -> None:
    proving = [job for job in jobs.TIMED if job is not jobs.INFRA]
    assert {(item["kind"], item["metadata"]["name"]) for item, _ in pods(built[PROVING])} == {
        ("CronJob", f"orgkey-{job.name}") for job in proving
    }
    claims = [item for item in built[PROVING] if item["kind"] == "PersistentVolumeClaim"]
    assert [item["metadata"]["name"] for item in claims] == ["orgkey-state"]
    assert {login for job in proving for login in job.logins} == {"driller", "auditor", "alarms"}
    (config,) = [item for item in built[PROVING] if item["kind"] == "ConfigMap"]
    assert not re.search(r"writer|planner|export|\[source", config["data"]["orgkey.toml"])


@pytest.mark.parametrize("name", BUILDS)
def test_each_job_has_a_service_account_of_its_own(built: dict[str, list[dict[str, Any]]], name: str) -> None:
    accounts = [item for item in built[name] if item["kind"] == "ServiceAccount"]
    assert all(item["automountServiceAccountToken"] is False for item in accounts)
    used = {item["metadata"]["name"]: pod["serviceAccountName"] for item, pod in pods(built[name])}
    assert all(account == job for job, account in used.items())
    assert sorted(item["metadata"]["name"] for item in accounts) == sorted(used)


@pytest.mark.parametrize("name", BUILDS)
def test_pods_have_no_privilege(built: dict[str, list[dict[str, Any]]], name: str) -> None:
    for _, pod in pods(built[name]):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert "memory" in container["resources"]["limits"]
        memory = {item["name"] for item in pod["volumes"] if item.get("emptyDir", {}).get("medium")}
        where = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert {where["/dev/shm"], where["/tmp"]} <= memory
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            item["name"] for item in pod["volumes"]
        }
        # No secret by way of the environment.
        assert not [item for item in container["env"] if "secretKeyRef" in item.get("valueFrom", {})]


@pytest.mark.parametrize("name", BUILDS)
def test_only_codes_worth_a_retry_are_tried_again(built: dict[str, list[dict[str, Any]]], name: str) -> None:
    """Also the rules that the API server has for this policy, and its schema does not."""
    for item, pod in pods(built[name]):
        if item["kind"] != "CronJob":
            continue
        job = item["spec"]["jobTemplate"]["spec"]
        assert pod["restartPolicy"] == "Never", "the policy is refused otherwise"
        rules = job["podFailurePolicy"]["rules"]
        assert len(rules) <= 20
        # The first that fits decides: a pod that was evicted ends with a code, too.
        assert rules[0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
        assert [rule["action"] for rule in rules] == ["Ignore", "FailJob"]
        codes = rules[1]["onExitCodes"]
        assert codes["containerName"] in {container["name"] for container in pod["containers"]}
        assert codes["operator"] == "In"
        assert codes["values"] == sorted(set(codes["values"]))
        assert 0 not in codes["values"]
        assert 1 <= len(codes["values"]) <= 255
        assert set(codes["values"]) == {int(code) for code in Code if not code.retry} - {0}
        assert job["backoffLimit"] >= 1
        name = item["metadata"]["name"].removeprefix("orgkey-")
        seconds = next(job.run_seconds for job in jobs.JOBS if job.name == name)
        tries = (job["backoffLimit"] + 1) * seconds
        assert job["activeDeadlineSeconds"] >= tries
        # The pod's own, or one that hangs would use up the time of all.
        assert pod["activeDeadlineSeconds"] == seconds
        assert item["spec"]["concurrencyPolicy"] == "Forbid"
        assert item["spec"]["startingDeadlineSeconds"] > 10, "the controller looks every 10 s"
        assert pod["terminationGracePeriodSeconds"] >= jobs.STOP_SECONDS


@pytest.mark.parametrize("name", BUILDS)
def test_commands_exist(built: dict[str, list[dict[str, Any]]], name: str) -> None:
    for _, pod in pods(built[name]):
        assert complaint(" ".join(["orgkey", *pod["containers"][0]["args"]])) is None


@pytest.mark.parametrize("name", BUILDS)
def test_what_pods_refer_to_is_there(built: dict[str, list[dict[str, Any]]], name: str) -> None:
    names = {(item["kind"], item["metadata"]["name"]) for item in built[name]}
    for _, pod in pods(built[name]):
        assert ("ServiceAccount", pod["serviceAccountName"]) in names
        for volume in pod["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in names
            if config := volume.get("configMap"):
                assert ("ConfigMap", config["name"]) in names
            if driver := volume.get("csi"):
                wanted = driver["volumeAttributes"]["secretProviderClass"]
                assert ("SecretProviderClass", wanted) in names


def test_each_pod_gets_the_secrets_of_its_job(built: dict[str, list[dict[str, Any]]]) -> None:
    for item, pod in pods(built["overlays/example"]):
        job = next(job for job in jobs.JOBS if item["metadata"]["name"] == f"orgkey-{job.name}")
        volume = next(volume for volume in pod["volumes"] if volume["name"] == "credentials")
        secrets = [source["secret"]["name"] for source in volume["projected"]["sources"]]
        assert secrets == [f"orgkey-{login}" for login in job.logins]


def test_the_overlay_changes_what_it_says(built: dict[str, list[dict[str, Any]]]) -> None:
    kinds = {item["kind"]: item for item in built["overlays/example"]}
    assert kinds["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert kinds["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in kinds["NetworkPolicy"]["spec"], "nothing may come in"
    for item, pod in pods(built["overlays/example"]):
        assert item["metadata"]["namespace"] == "orgkey"
        assert pod["containers"][0]["image"].startswith("registry.example.com/")
    drill = next(item for item, _ in pods(built["overlays/example"]) if "drill" in item["metadata"]["name"])
    assert (drill["spec"]["schedule"], drill["spec"]["timeZone"]) == ("30 6 * * 2", "Europe/Berlin")


def test_the_driver_brings_the_files_that_the_drill_reads(built: dict[str, list[dict[str, Any]]]) -> None:
    provided = next(item for item in built["overlays/csi"] if item["kind"] == "SecretProviderClass")
    objects = yaml.safe_load(provided["spec"]["parameters"]["objects"])
    config = (make_schedule.SCHEDULE / "escrow-host.toml.example").read_text()
    read = set(re.findall(r"\$CREDENTIALS_DIRECTORY/(driller_[\w-]+|alarms_ping-drill)", config))
    assert {item["objectName"] for item in objects} == read
    # Root's files, whatever fsGroup says: the pod's user is one of the others.
    assert {item["filePermission"] for item in objects} == {0o444}
    drill = next(pod for item, pod in pods(built["overlays/csi"]) if "drill" in item["metadata"]["name"])
    assert len(drill["containers"]) == 1
    volume = next(volume for volume in drill["volumes"] if volume["name"] == "credentials")
    assert set(volume) == {"name", "csi"}


def selected(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a selector of labels takes a pod."""
    (rule,) = selector["matchExpressions"]
    assert rule["operator"] == "NotIn"
    return selector["matchLabels"].items() <= labels.items() and labels.get(rule["key"]) not in rule["values"]


def test_jobs_go_where_the_others_are_and_not_where_a_crew_reads(
    built: dict[str, list[dict[str, Any]]],
) -> None:
    crew = yaml.safe_load_all((ROOT.parents[1] / "crew" / "kubernetes.yaml").read_text())
    (reader,) = (item["spec"]["template"]["metadata"]["labels"] for item in crew if item["kind"] == "Job")
    labels = [item["metadata"]["labels"] for item, _ in pods(built["base"])]
    for _, pod in pods(built["base"]):
        (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert all(selected(term["labelSelector"], other) for other in labels)
        # A reader runs on any node, the volume of the state is on one.
        assert not selected(term["labelSelector"], reader)


def test_the_readme_says_after_how_long_tries_are_ended(built: dict[str, list[dict[str, Any]]]) -> None:
    text = " ".join((make_schedule.SCHEDULE / "README.md").read_text().split())
    together = {
        item["metadata"]["name"]: item["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]
        for item, _ in pods(built["base"])
        if item["kind"] == "CronJob"
    }
    status = together.pop("orgkey-status")
    (backups,) = {together.pop("orgkey-backups"), together.pop("orgkey-backups-part")}
    (rest,) = set(together.values())
    assert f"is ended after {jobs.RUN_SECONDS} s; all tries together after {rest} s" in text
    assert f"of `status` after {status} s, of the two of backups after {backups} s" in text
