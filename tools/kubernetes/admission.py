"""What the API server takes, and who may do what."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.kubernetes.cluster import Cluster, shown
from tools.transcript import Transcript


def refused(said: Transcript, cluster: Cluster, namespace: str) -> None:
    """The level restricted takes pods as they are, and none with more rights."""
    said.step("Pods with more rights are refused: admission is at work")
    drill = cluster.get("cronjob", "orgkey-drill", f"-n{namespace}")

    def changed(change: Callable[[Any, Any], None]) -> tuple[int, str]:
        return _tried(cluster, namespace, drill, change)

    code, told = changed(lambda *_: None)
    said.check("as it is, it is admitted", code == 0 and "Warning" not in told, told)

    def of_root(spec: Any, container: Any) -> None:
        spec["securityContext"] |= {"runAsUser": 0, "runAsNonRoot": False}

    wrong: Mapping[str, Callable[[Any, Any], Any]] = {
        "of root": of_root,
        "with a capability": lambda _, box: box["securityContext"].update(
            capabilities={"add": ["SYS_ADMIN"]}
        ),
        "that may gain rights": lambda _, box: box["securityContext"].update(allowPrivilegeEscalation=True),
        "without a filter of system calls": lambda spec, _: spec["securityContext"].pop("seccompProfile"),
        "with a folder of the host": lambda spec, _: spec["volumes"].append(
            {"name": "h", "hostPath": {"path": "/"}}
        ),
        "on the host's network": lambda spec, _: spec.update(hostNetwork=True),
    }
    for what, change in wrong.items():
        code, told = changed(change)
        said.check(f"a pod {what} is refused", code != 0 and "violates PodSecurity" in told, told)
    said.output(told)


def of_the_driver(said: Transcript, cluster: Cluster, namespace: str, overlay: Path) -> None:
    """A pod whose credentials a CSI driver brings is admitted, too; the driver itself is not there."""
    said.step("The drill's logins by the Secrets Store CSI driver: overlays/csi")
    text = cluster.kubectl("kustomize", str(overlay))[1]
    (drill,) = (
        item
        for item in yaml.safe_load_all(text)
        if (item["kind"], item["metadata"]["name"]) == ("CronJob", "orgkey-drill")
    )
    code, told = _tried(cluster, namespace, drill, lambda *_: None)
    said.check("its pod is admitted", code == 0 and "Warning" not in told, told)


def _tried(cluster: Cluster, namespace: str, job: Any, change: Callable[[Any, Any], Any]) -> tuple[int, str]:
    """Ask whether a job's pod would be admitted with a change."""
    spec = copy.deepcopy(job["spec"]["jobTemplate"]["spec"]["template"]["spec"])
    change(spec, spec["containers"][0])
    metadata = {"name": "tried", "namespace": namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    words = ("create", "--dry-run=server", "--filename=-")
    code, out, err = cluster.kubectl(*words, stdin=json.dumps(pod), ok=None)
    return code, out + err


def rights(said: Transcript, cluster: Cluster, first: str, second: str) -> None:
    """Who may do what: nobody needs a right for the jobs, and who may read Secrets is to be known."""
    said.step("Rights: service accounts have none; who can make pods can read the Secrets")
    account = f"system:serviceaccount:{first}:orgkey-drill"

    def may(who: str, what: str, thing: str, namespace: str) -> bool:
        words = ("auth", "can-i", what, thing, f"-n{namespace}", f"--as={who}")
        # It ends with 1 after "no" as after an error.
        answer = shown(said, cluster, *words, ok=None)[1].split()[0]
        return {"yes": True, "no": False}[answer]

    for what, thing in (("get", "secrets"), ("list", "pods"), ("create", "jobs"), ("get", "configmaps")):
        said.check(f"a job's account may not {what} {thing}", not may(account, what, thing, first))
    for role in ("view", "edit"):
        shown(
            said,
            cluster,
            "create",
            "rolebinding",
            role,
            f"--clusterrole={role}",
            f"--user={role}er",
            f"-n{first}",
        )
    said.check("who has the role view may see jobs", may("viewer", "list", "cronjobs", first))
    said.check("and no Secret, and make no pod", not (
        may("viewer", "get", "secrets", first) or may("viewer", "create", "pods", first)
    ))  # fmt: skip
    said.check("who has the role edit reads the Secrets", may("editer", "get", "secrets", first))
    said.check("of this key, and not of the other", not may("editer", "get", "secrets", second))
