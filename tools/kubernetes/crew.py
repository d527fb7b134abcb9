"""The readers of `infra/crew` as an Indexed Job: a pod for each ticket, and what becomes of the job."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.image.container import Container, Ended, Mount, hand_over, run, started
from tools.kubernetes.cluster import Cluster, until
from tools.kubernetes.node import Node
from tools.schedule.kubernetes import UID
from tools.transcript import Transcript

MANIFEST = Path(__file__).parents[2] / "infra" / "crew" / "kubernetes.yaml"
CLAIMS = ("orgkey-crew", "orgkey-backups")


class Crew:
    """A crew in one name space.

    Args:
        said: What is printed.
        cluster: The servers.
        node: Runs the pods.
        namespace: Where.
    """

    def __init__(self, said: Transcript, cluster: Cluster, node: Node, namespace: str) -> None:
        self.said = said
        self.cluster = cluster
        self.node = node
        self.space = f"-n{namespace}"
        self.namespace = namespace

    def whole(self, verifying: Container, backups: Mapping[str, bytes], config: str) -> None:
        """Have a crew read backups that one container verifies.

        Args:
            verifying: What runs `orgkey backups verify`, with its configuration as the first mount.
            backups: Files by name.
            config: That configuration, without readers.
        """
        self.said.step("A crew reads: an Indexed Job with a pod for each ticket")
        self._claims(backups)
        public = self._key()
        work = self.node.folder / "crew"
        work.mkdir()
        told = re.sub(
            r"\[backups\.nightly\].*?(?=\n\[|\Z)",
            '[backups.nightly]\nlocation = "/srv/backups"\n',
            config,
            flags=re.DOTALL,
        )
        told += f'\n[readers]\nengine = "folder"\nfolder = "/srv/crew"\ncrew_key = "{public}"\n'
        (work / "orgkey.toml").write_text(told)
        folders = {"/srv/crew": self._folder("orgkey-crew"), "/srv/backups": self._folder("orgkey-backups")}
        mounts = [mount for mount in verifying.mounts if mount.target != "/etc/orgkey"]
        mounts += [Mount("/etc/orgkey", work, read_only=True), *(Mount(*item) for item in folders.items())]
        tickets = folders["/srv/crew"] / "tickets"
        words = ("backups", "verify", "--config", "/etc/orgkey/orgkey.toml")
        self.said.command(["orgkey", *words])
        with started(self.node.image, dataclasses.replace(verifying, args=words, mounts=tuple(mounts))) as (
            _,
            child,
        ):
            made = until(
                lambda: child.poll() is not None or len(list(tickets.glob("*.json"))) == len(backups)
            )
            if made and child.poll() is None:
                self._job(len(backups))
            out, err = child.communicate(timeout=120)
        ended = Ended(child.returncode, out, err)
        self.said.output(out + err)
        self.said.check("verify ends with 0", ended.code == 0, ended)
        self.said.check("it names the pods that read", "orgkey-reader" in out, out)

    def _claims(self, backups: Mapping[str, bytes]) -> None:
        for name in CLAIMS:
            claim = {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
                "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
            }  # fmt: skip
            self.cluster.kubectl("create", self.space, "--filename=-", stdin=json.dumps(claim))
        for name, data in backups.items():
            (self._folder("orgkey-backups") / name).write_bytes(data)

    def _folder(self, claim: str) -> Path:
        return self.node.claimed(self.namespace, claim, UID)

    def _key(self) -> str:
        """Make the crew's key by the image, and a Secret of it; its public half."""
        work = self.node.folder / "crew-key"
        work.mkdir()
        hand_over(work, UID)
        words = ("backups", "crew", "init", "--output", "/key/crew.key", "--json")
        mounts = (Mount("/key", work), Mount("/tmp"))
        ended = run(self.node.image, Container(words, {"HOME": "/tmp"}, mounts))
        self.said.check("the crew's key is made", ended.code == 0, ended)
        self.said.command(["kubectl", "create", "secret", "generic", "orgkey-crew", "--from-file=crew.key"])
        self.cluster.kubectl(
            "create", "secret", "generic", "orgkey-crew", self.space, f"--from-file={work / 'crew.key'}"
        )
        return str(json.loads(ended.out)["crew_key"])

    def _job(self, count: int) -> None:
        """As the README of `infra/crew` says, with one completion too many: the last has no ticket."""
        text = re.sub(r"completions: 1 .*", f"completions: {count + 1}", MANIFEST.read_text())
        self.said.output(self.cluster.kubectl("apply", self.space, "--filename=-", stdin=text)[1])

        def pods() -> list[Any]:
            items = self.cluster.get("pod", self.space, "--selector=job-name=orgkey-reader")["items"]
            return items if len(items) > count else []

        for pod in until(pods) or ():
            index = pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]
            ended = self.node.run(pod)
            wanted = 0 if int(index) < count else 3
            self.said.check(
                f"the pod of index {index} was admitted and ends with {wanted}", ended.code == wanted, ended
            )

        def status() -> dict[str, Any]:
            told: dict[str, Any] = self.cluster.get("job", "orgkey-reader", self.space)["status"]
            return told if any(item["type"] == "Failed" for item in told.get("conditions", ())) else {}

        told = until(status) or {}
        self.said.output(
            json.dumps(
                {
                    name: told.get(name)
                    for name in ("completedIndexes", "failedIndexes", "succeeded", "failed")
                }
            )
        )
        ends = [told.get(name) for name in ("completedIndexes", "failedIndexes", "failed")]
        self.said.check(
            "every ticket's index is complete, and the one without a ticket failed at once",
            ends == [",".join(map(str, range(count))), str(count), 1],
            told,
        )
