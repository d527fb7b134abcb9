"""CronJobs, and the Deployment that watches, for Kubernetes 1.31 or later."""

from __future__ import annotations

from typing import Any, Final

import yaml

from tools.schedule.jobs import FINAL, JOBS, STOP_SECONDS, TIMED, WATCH, Job

IMAGE: Final = "orgkey-escrow"  # an overlay says where it is and which
UID: Final = 10001  # the Containerfile's
CREDENTIALS: Final = "/run/credentials/orgkey"
STATE: Final = "/var/lib/orgkey"
INBOX: Final = "/srv/orgkey/pgp1/inbox"
LABELS: Final = {"app.kubernetes.io/name": "orgkey"}
CONTAINER: Final = "orgkey"
# Kubernetes waits 10 s, then twice as long each time, at most 6 minutes.
_BACKOFF_SECONDS: Final = 600

HEAD: Final = "# Written by `python -m tools.make_schedule`. Change it in an overlay.\n"


class _Dumper(yaml.SafeDumper):
    """Writes every mapping out, without references to an earlier one."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def files() -> dict[str, str]:
    """All files, by their name in ``infra/schedule/kubernetes``."""
    return {
        "base/serviceaccounts.yaml": _written([_service_account(job) for job in JOBS]),
        "base/watch.yaml": _written([_deployment()]),
        "base/cronjobs.yaml": _written([_cron_job(job) for job in TIMED]),
    }


def _written(documents: list[dict[str, Any]]) -> str:
    text = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=1000, explicit_start=True
    )
    return HEAD + text


def _service_account(job: Job) -> dict[str, Any]:
    # One for each job, so that a workload identity can be bound to one job. No pod asks the API server
    # anything, hence no token.
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": f"orgkey-{job.name}", "labels": _labels(job)},
        "automountServiceAccountToken": False,
    }


def failure_policy() -> dict[str, Any]:
    """Which ends of a pod are worth another: the column *retry?* of the exit codes."""
    return {
        "rules": [
            # The node went away, not the job: this does not count.
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": list(FINAL)},
            },
        ]
    }


def _cron_job(job: Job) -> dict[str, Any]:
    assert job.cron
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": _metadata(job),
        "spec": {
            "schedule": job.cron,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": max(job.spread_seconds, 600),
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 5,
            "jobTemplate": {
                "metadata": {"labels": _labels(job)},
                "spec": {
                    "backoffLimit": job.tries - 1,
                    "activeDeadlineSeconds": job.tries * job.run_seconds + _BACKOFF_SECONDS,
                    "podFailurePolicy": failure_policy(),
                    "template": _template(job),
                },
            },
        },
    }


def _deployment() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(WATCH),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": _labels(WATCH)},
            "template": _template(WATCH),
        },
    }


def _metadata(job: Job) -> dict[str, Any]:
    return {
        "name": f"orgkey-{job.name}",
        "labels": _labels(job),
        "annotations": {"kubernetes.io/description": job.about},
    }


def _labels(job: Job) -> dict[str, str]:
    return LABELS | {"app.kubernetes.io/component": job.name}


def _template(job: Job) -> dict[str, Any]:
    return {
        "metadata": {"labels": _labels(job)},
        "spec": {
            "serviceAccountName": f"orgkey-{job.name}",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Always" if job.stays else "Never",
            # One try that hangs is ended; the job's own limit is that of all its tries.
            **({} if job.stays else {"activeDeadlineSeconds": job.run_seconds}),
            "terminationGracePeriodSeconds": STOP_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": UID,
                "runAsGroup": UID,
                "fsGroup": UID,
                # Once: done again, it would open the state to the group, and the program would refuse it.
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "affinity": _beside_each_other(),
            "containers": [_container(job)],
            "volumes": _volumes(job),
        },
    }


def _beside_each_other() -> dict[str, Any]:
    # The volume of the state can be mounted on one node only. A crew's readers, infra/crew, run on any.
    readers = {"key": "app.kubernetes.io/component", "operator": "NotIn", "values": ["reader"]}
    selector = {"matchLabels": LABELS, "matchExpressions": [readers]}
    term = {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def _arguments(job: Job) -> list[str]:
    words = [*job.command, "--config", "/etc/orgkey/orgkey.toml"]
    if job.command == ("backups", "verify"):
        words += job.options
    if job.name == "report":
        # Every try is another pod, and so another file: `orgkey` overwrites none.
        words += ["--bundle", f"{STATE}/report-$(POD_NAME).zip"]
    if "--metrics" in job.options:
        words += ["--metrics", f"{STATE}/orgkey.prom"]
    return words


def _container(job: Job) -> dict[str, Any]:
    env: list[dict[str, Any]] = [
        {"name": "CREDENTIALS_DIRECTORY", "value": CREDENTIALS},
        {"name": "STATE_DIRECTORY", "value": STATE},
        {"name": "ORGKEY_LOG_FORMAT", "value": "json"},
        {"name": "HOME", "value": "/tmp"},
    ]
    if job.name == "report":
        env.append({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    mounts: list[dict[str, Any]] = [
        {"name": "config", "mountPath": "/etc/orgkey", "readOnly": True},
        {"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True},
        {"name": "state", "mountPath": STATE},
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    if job is WATCH:
        mounts.append({"name": "inbox", "mountPath": INBOX})
    return {
        "name": CONTAINER,
        "image": IMAGE,
        "args": _arguments(job),
        "env": env,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "768Mi"},
        },
        "volumeMounts": mounts,
    }


def _volumes(job: Job) -> list[dict[str, Any]]:
    sources = [
        {"secret": {"name": f"orgkey-{login}"} | ({"optional": True} if login == "alarms" else {})}
        for login in job.logins
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": "orgkey-config"}},
        {"name": "credentials", "projected": {"defaultMode": 0o440, "sources": sources}},
        {"name": "state", "persistentVolumeClaim": {"claimName": "orgkey-state"}},
        # GnuPG's homes lie in the first for a moment; both are memory, and count towards the limit.
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
    ]
    if job is WATCH:
        volumes.append({"name": "inbox", "persistentVolumeClaim": {"claimName": "orgkey-inbox"}})
    return volumes
