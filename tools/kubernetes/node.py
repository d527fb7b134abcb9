"""A node: runs the pods that controllers made as a kubelet would, by runc, and tells how they ended.

What it does not do: images by name (there is one), networks, probes, metrics, a pod's own time limit.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.image.buildah import Image
from tools.image.container import Container, Ended, Mount, fresh, run, send, started
from tools.kubernetes.cluster import Cluster

NAME = "node-1"
_UNITS = {"Mi": 2**20, "Gi": 2**30}


class Node:
    """One machine.

    Args:
        cluster: Its cluster.
        image: The only image that it has.
        folder: Its volumes.
    """

    def __init__(self, cluster: Cluster, image: Image, folder: Path) -> None:
        self.cluster = cluster
        self.image = image
        self.folder = folder

    def join(self) -> None:
        """Become a node of the cluster."""
        labels = {"kubernetes.io/hostname": NAME}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME, "labels": labels}}
        self.cluster.kubectl("create", "--filename=-", stdin=json.dumps(node))

    def run(self, pod: Mapping[str, Any]) -> Ended:
        """Run a pod of a job to its end."""
        self._bind(pod)
        ended = run(self.image, self.container(pod))
        self._tell(pod, "Succeeded" if ended.code == 0 else "Failed", ended.code)
        return ended

    def serve(self, pod: Mapping[str, Any]) -> Service:
        """Start a pod that stays."""
        self._bind(pod)
        stack = ExitStack()
        handle, child = stack.enter_context(started(self.image, self.container(pod)))
        self._tell(pod, "Running", None)
        return Service(handle, child, stack)

    def container(self, pod: Mapping[str, Any]) -> Container:
        """A pod's container, with its volumes made.

        Raises:
            ValueError: It asks for what this node does not do.
        """
        spec, namespace = pod["spec"], pod["metadata"]["namespace"]
        (told,) = spec["containers"]
        whole, own = spec["securityContext"], told["securityContext"]
        if own["capabilities"] != {"drop": ["ALL"]} or own["allowPrivilegeEscalation"]:
            raise ValueError("a pod with capabilities")
        if (
            whole["seccompProfile"] != {"type": "RuntimeDefault"}
            or not whole["runAsNonRoot"]
            or not whole["runAsUser"]
        ):
            raise ValueError("a pod without a filter of system calls, or of root")
        group = whole["fsGroup"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        work = fresh(self.folder / "pods" / pod["metadata"]["uid"])
        mounts = [
            self._mount(item, volumes[item["name"]], namespace, group, work) for item in told["volumeMounts"]
        ]
        env = {item["name"]: _value(item, pod) for item in told["env"]}
        words = [re.sub(r"\$\((\w+)\)", lambda match: env[match[1]], word) for word in told["args"]]
        return Container(
            tuple(words), env, tuple(mounts), (whole["runAsUser"], whole["runAsGroup"]), (group,),
            own["readOnlyRootFilesystem"], memory=_bytes(told["resources"]["limits"]["memory"]),
            entrypoint=tuple(told["command"]) if "command" in told else None,
            hostname=spec.get("hostname", pod["metadata"]["name"]),
        )  # fmt: skip

    def _mount(
        self, item: Mapping[str, Any], volume: Mapping[str, Any], namespace: str, group: int, work: Path
    ) -> Mount:
        target, read_only = item["mountPath"], item.get("readOnly", False)
        if "emptyDir" in volume:
            size = _bytes(volume["emptyDir"]["sizeLimit"]) // 2**20
            # A kubelet opens them to all, and then hands them to the group.
            return Mount(target, megabytes=size, options=("mode=2777", f"gid={group}"))
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]
            read_only = read_only or claim.get("readOnly", False)
            return Mount(target, self.claimed(namespace, claim["claimName"], group), read_only)
        files: dict[str, bytes] = {}
        mode = 0o644
        if "configMap" in volume:
            files = self._data(namespace, "configmap", volume["configMap"]["name"], optional=False)
            mode = volume["configMap"]["defaultMode"]
        elif "secret" in volume:
            files = self._data(namespace, "secret", volume["secret"]["secretName"], optional=False)
            mode = volume["secret"]["defaultMode"]
        else:
            mode = volume["projected"]["defaultMode"]
            for source in volume["projected"]["sources"]:
                told = source["secret"]
                files |= self._data(namespace, "secret", told["name"], optional=told.get("optional", False))
        return Mount(target, _written(fresh(work / volume["name"]), files, mode, group), read_only)

    def claimed(self, namespace: str, claim: str, group: int) -> Path:
        """The folder of a claim, made where it is new.

        Args:
            namespace: The claim's name space.
            claim: Its name.
            group: Whose it becomes.
        """
        self.cluster.get("persistentvolumeclaim", claim, f"--namespace={namespace}")
        path = self.folder / namespace / claim
        if not path.exists():
            # A new volume; afterwards OnRootMismatch finds it right and changes nothing.
            path.mkdir(parents=True)
            os.chown(path, 0, group)
            path.chmod(0o2775)
        return path

    def _data(self, namespace: str, kind: str, name: str, *, optional: bool) -> dict[str, bytes]:
        import base64

        code, out, err = self.cluster.kubectl(
            "get", kind, name, f"--namespace={namespace}", "--output=json", ok=None
        )
        if code != 0:
            if optional and "NotFound" in err:
                return {}
            raise ValueError(f"{kind} {name} of {namespace}: {err.strip()}")
        data = json.loads(out).get("data", {})
        if kind == "secret":
            return {key: base64.b64decode(value) for key, value in data.items()}
        return {key: value.encode() for key, value in data.items()}

    def _bind(self, pod: Mapping[str, Any]) -> None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        binding = {
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NAME},
        }  # fmt: skip
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/binding"
        self.cluster.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(binding))

    def _tell(self, pod: Mapping[str, Any], phase: str, code: int | None) -> None:
        """Say how a pod is, as a kubelet does."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        state = (
            {"running": {"startedAt": now}}
            if code is None
            else {
                "terminated": {
                    "exitCode": code,
                    "reason": "Error" if code else "Completed",
                    "finishedAt": now,
                }
            }
        )
        (container,) = pod["spec"]["containers"]
        status = {
            "phase": phase, "startTime": now,
            "conditions": [{"type": "Ready", "status": str(code is None), "lastTransitionTime": now}],
            "containerStatuses": [{
                "name": container["name"], "image": container["image"], "imageID": self.image.name,
                "ready": code is None, "restartCount": 0, "state": state,
            }],
        }  # fmt: skip
        self.cluster.kubectl(
            "patch", "pod", name, f"--namespace={namespace}", "--subresource=status", "--type=merge",
            f"--patch={json.dumps({'status': status})}",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Service:
    """A container that stays.

    Attributes:
        handle: Its name at the runtime.
        child: The process that ends with it.
        stack: Removes it.
    """

    handle: str
    child: subprocess.Popen[str]
    stack: ExitStack

    def until(self, words: str) -> str:
        """What it prints on standard output, up to a line with these words."""
        assert self.child.stdout is not None
        seen = ""
        for line in self.child.stdout:
            seen += line
            if words in line:
                break
        return seen

    def stop(self, seconds: float) -> Ended:
        """Ask it to end, as a kubelet does when the pod is deleted.

        Args:
            seconds: The pod's ``terminationGracePeriodSeconds``.
        """
        try:
            if self.child.poll() is None:
                send(self.handle, "TERM")
            out, err = self.child.communicate(timeout=seconds)
        finally:
            self.stack.close()
        return Ended(self.child.returncode, out, err)


def _value(item: Mapping[str, Any], pod: Mapping[str, Any]) -> str:
    if "valueFrom" in item:
        path = item["valueFrom"]["fieldRef"]["fieldPath"].removeprefix("metadata.")
        match = re.fullmatch(r"(annotations|labels)\['(.+)'\]", path)
        return str(pod["metadata"][match[1]][match[2]] if match else pod["metadata"][path])
    return str(item.get("value", ""))


def _bytes(quantity: str) -> int:
    return int(quantity[:-2]) * _UNITS[quantity[-2:]]


def _written(folder: Path, files: Mapping[str, bytes], mode: int, group: int) -> Path:
    """A volume of files as a kubelet makes it: links into a folder that it replaces at once."""
    data = folder / f"..{datetime.now(UTC):%Y_%m_%d_%H_%M_%S}.1"
    data.mkdir()
    (folder / "..data").symlink_to(data.name)
    for name, content in files.items():
        (data / name).write_bytes(content)
        # The group may read whatever the mode says: that is what fsGroup is for.
        (data / name).chmod(mode | 0o040)
        (folder / name).symlink_to(f"..data/{name}")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 0, group, follow_symlinks=False)
    folder.chmod(0o2777)
    data.chmod(0o2755)
    return folder
