"""Apply the manifests to Kubernetes' own servers, and run the pods that those make of them, with the image.

Run as root: ``python -m tools.kubernetes``.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.image.build import PROGRAMS, built
from tools.image.buildah import Image, alone
from tools.image.container import Ended, hand_over
from tools.image.site import Key, Site
from tools.kubernetes import admission, login
from tools.kubernetes.cluster import ETCD, VERSION, Cluster, shown, until
from tools.kubernetes.crew import Crew
from tools.kubernetes.node import Node
from tools.schedule.jobs import JOBS, TIMED, WATCH, Job
from tools.schedule.kubernetes import UID
from tools.transcript import Transcript, begin_as_root

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "infra" / "schedule" / "kubernetes"
KEYS = ("pgp1", "pgp2")  # a name space for each
UNREACHABLE = 20


def main() -> int:
    """Do all of it, and say what did not hold."""
    begin_as_root(PROGRAMS)
    said = Transcript()
    with alone(), tempfile.TemporaryDirectory(prefix="kubernetes-") as folder:
        work = Path(folder)
        image = built(said, work, again=False)
        with _running(work) as (cluster, site):
            Trial(said, cluster, site, image, work).whole()
    return said.end()


@contextmanager
def _running(work: Path) -> Iterator[tuple[Cluster, Site]]:
    (work / "cluster").mkdir(mode=0o700)
    (work / "site").mkdir(mode=0o700)
    cluster, site = Cluster(work / "cluster"), Site(work / "site")
    try:
        cluster.up()
        site.up()
        yield cluster, site
    finally:
        cluster.down()
        site.down()


class Trial:
    """What is tried.

    Args:
        said: What is printed.
        cluster: The servers.
        site: Vault, S3 and KMS, and the keys.
        image: The image.
        work: A folder.
    """

    def __init__(self, said: Transcript, cluster: Cluster, site: Site, image: Image, work: Path) -> None:
        self.said = said
        self.cluster = cluster
        self.site = site
        self.work = work
        self.node = Node(cluster, image, work / "node")

    def whole(self) -> None:
        """All of it."""
        self.said.step(f"Kubernetes {VERSION} and etcd {ETCD}, built from their Go modules")
        self.said.output(self.cluster.kubectl("version")[1])
        self.node.join()
        keys = {name: self.site.key(name, MANIFESTS / "base/orgkey.toml") for name in KEYS}
        for name, key in keys.items():
            self._applied(name, key)
        self._proving()
        first, second = map(_namespace, KEYS)
        admission.refused(self.said, self.cluster, first)
        admission.of_the_driver(self.said, self.cluster, first, MANIFESTS / "overlays/csi")
        admission.rights(self.said, self.cluster, first, second)
        for name, key in keys.items():
            self._jobs(name, key)
        self._apart(keys)
        self._failures()
        self._crew()
        self._login()
        self._by_the_clock()

    def kubectl(self, *words: str, ok: bool | None = True) -> tuple[int, str]:
        """Run `kubectl`, and show it."""
        return shown(self.said, self.cluster, *words, ok=ok)

    def _applied(self, name: str, key: Key) -> None:
        """The README's commands: copy the example, put the configuration in, make the Secrets, apply."""
        namespace = _namespace(name)
        self.said.step(f"{name}: the example copied, its own name space {namespace}")
        overlay = _copied(self.work / "manifests", f"overlays/{name}", namespace)
        (overlay / "orgkey.toml").write_text(key.config)
        self.kubectl("create", "namespace", namespace)
        self._secrets(namespace)
        _, out = self.kubectl("apply", "--server-side", "--kustomize", str(overlay))
        self.said.check("nothing is warned of", "arning" not in out, out)
        labels = self.cluster.get("namespace", namespace)["metadata"]["labels"]
        self.said.check(
            "the name space enforces Pod Security's level restricted",
            labels.get("pod-security.kubernetes.io/enforce") == "restricted",
            labels,
        )
        for kind, wanted in (("cronjob", TIMED), ("serviceaccount", JOBS), ("deployment", (WATCH,))):
            found = {item["metadata"]["name"] for item in self.cluster.get(kind, f"-n{namespace}")["items"]}
            self.said.check(
                f"each {kind} is there",
                found - {"default"} == {f"orgkey-{job.name}" for job in wanted},
                found,
            )
        _, again, _ = self.cluster.kubectl("apply", "--server-side", "--kustomize", str(overlay))
        difference, _ = self.kubectl("diff", "--server-side", "--kustomize", str(overlay), ok=None)
        self.said.check("applied once more it changes nothing", difference == 0, again)

    def _secrets(self, namespace: str) -> None:
        folder = self.work / "secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        logins: dict[str, list[str]] = {}
        for name, data in self.site.credentials().items():
            (folder / name).write_bytes(data)
            logins.setdefault(name.partition("_")[0], []).append(name)
        for owner, names in logins.items():
            files = [f"--from-file={name}={folder / name}" for name in names]
            self.cluster.kubectl("create", "secret", "generic", f"orgkey-{owner}", f"-n{namespace}", *files)
        self.said.output(f"Secrets: {', '.join(f'orgkey-{owner}' for owner in logins)}")
        shutil.rmtree(folder)

    def _proving(self) -> None:
        self.said.step("A cluster that only proves: overlays/drill-host")
        overlay = _copied(self.work / "proving", "overlays/drill-host", "orgkey-proving")
        self.kubectl("create", "namespace", "orgkey-proving")
        self.kubectl("apply", "--server-side", "--kustomize", str(overlay))
        found = {
            item["metadata"]["name"]
            for item in self.cluster.get("cronjob,deployment,pvc", "-norgkey-proving")["items"]
        }
        self.said.check(
            "it has nothing that escrows", "orgkey-watch" not in found and "orgkey-drill" in found, found
        )
        self.kubectl("delete", "namespace", "orgkey-proving", "--wait=false")

    def _jobs(self, name: str, key: Key) -> None:
        namespace = _namespace(name)
        self.said.step(f"{name}: an export arrives, and the Deployment's pod escrows it")
        (pod,) = self._pods(namespace, "watch", 1)
        self._judge(pod)
        service = self.node.serve(pod)
        export = self.node.claimed(namespace, "orgkey-inbox", UID) / "keypair.asc"
        export.write_bytes(key.export)
        export.chmod(0o600)
        hand_over(export, UID)  # `kubectl cp` writes as the pod's user
        self.said.output(service.until("gate"))
        self.kubectl("scale", "deployment", "orgkey-watch", "--replicas=0", f"-n{namespace}")
        ended = service.stop(pod["spec"]["terminationGracePeriodSeconds"])
        self.said.output(ended.out + ended.err)
        self.said.check("it ends with 0 when the pod is deleted", ended.code == 0, ended)
        self.kubectl(
            "delete", "pod", pod["metadata"]["name"], f"-n{namespace}", "--force", "--grace-period=0"
        )
        self.said.check("the export has left the inbox", not export.exists())
        self.said.step(f"{name}: every CronJob started by hand, its pod run")
        # The gate wants the newest backup read.
        for job in sorted(TIMED, key=lambda job: job.name == "status"):
            ended = self._job(namespace, job, f"first-{job.name}")
            self.said.check(f"{job.name}'s container ends with 0", ended.code == 0, ended)
            said = self._settled(namespace, f"first-{job.name}")
            self.said.check("the job is Complete, after one pod", said == ("Complete", 1), said)

    def _job(self, namespace: str, job: Job, name: str) -> Ended:
        self.kubectl("create", "job", f"--from=cronjob/orgkey-{job.name}", name, f"-n{namespace}")
        (pod,) = self._pods(namespace, job.name, 1, name)
        self._judge(pod)
        ended = self.node.run(pod)
        self.said.output(ended.out + ended.err)
        return ended

    def _judge(self, pod: Mapping[str, Any]) -> None:
        spec = pod["spec"]
        mounted = [item["name"] for item in spec["containers"][0]["volumeMounts"]]
        tokens = [item for item in spec["volumes"] if "token" in json.dumps(item).lower()]
        self.said.check(
            f"{pod['metadata']['name']} was admitted, and no token of the API server is mounted",
            not tokens and len(mounted) == len(spec["volumes"]),
            spec["volumes"],
        )

    def _pods(self, namespace: str, component: str, count: int, job: str = "") -> list[Any]:
        """The pods that a controller has made, the youngest last; waits until there are as many."""
        selector = f"app.kubernetes.io/component={component}" + (f",job-name={job}" if job else "")

        def found() -> list[Any]:
            items = self.cluster.get("pod", f"-n{namespace}", f"--selector={selector}")["items"]
            return sorted(
                items,
                key=lambda item: (item["metadata"]["creationTimestamp"], "nodeName" not in item["spec"]),
            )

        def enough() -> list[Any]:
            return items if len(items := found()) >= count else []

        if items := until(enough):
            return items
        events = self.cluster.kubectl("get", "events", f"-n{namespace}")[1]
        raise SystemExit(f"no {count} pods of {component} in {namespace}:\n{events}")

    def _settled(self, namespace: str, job: str) -> tuple[str, int]:
        """What the controller makes of a job: its last word, and after how many pods."""

        def ended() -> tuple[str, int] | None:
            status = self.cluster.get("job", job, f"-n{namespace}")["status"]
            words = [
                item["type"]
                for item in status.get("conditions", ())
                if item["status"] == "True" and item["type"] in ("Complete", "Failed")
            ]
            return (words[0], status.get("succeeded", 0) + status.get("failed", 0)) if words else None

        return until(ended) or ("neither complete nor failed", 0)

    def _apart(self, keys: Mapping[str, Key]) -> None:
        self.said.step("Two keys: each name space has its own state")
        for name, key in keys.items():
            state = self.node.claimed(_namespace(name), "orgkey-state", UID)
            others = {other.fingerprint for other in keys.values()} - {key.fingerprint}
            names = {path.name for path in state.iterdir()}
            self.said.check(
                f"{name}'s state is of its key alone", key.fingerprint in names and not others & names, names
            )
            owners = {path.stat().st_uid for path in state.rglob("*")}
            self.said.check(f"all of it is user {UID}'s", owners == {UID}, owners)

    def _failures(self) -> None:
        """What podFailurePolicy and backoffLimit make of the exit codes, by the job controller itself."""
        namespace, job = _namespace(KEYS[1]), next(job for job in TIMED if job.name == "verify")
        self.said.step("A server that is down is tried again; a refusal is not")
        (held,) = self._configs(namespace)
        told = held["data"]["orgkey.toml"]
        self._configured(held, told.replace(self.site.stack.endpoint("s3"), "http://127.0.0.1:9"))
        ended = self._job(namespace, job, "down")
        self.said.check("the container ends with 20", ended.code == UNREACHABLE, ended)
        self._configured(held, told)
        pods = self._pods(namespace, job.name, 2, "down")
        self.said.output(f"the controller has made {len(pods)} pods; the server is back")
        (second,) = [pod for pod in pods if "nodeName" not in pod["spec"]]
        ended = self.node.run(second)
        self.said.output(ended.out + ended.err)
        said = self._settled(namespace, "down")
        self.said.check(
            "the second pod ends with 0, and the job is Complete after two", said == ("Complete", 2), said
        )
        self._configured(held, told.replace("[policy]", "[policy]\nno_such_setting = true"))
        ended = self._job(namespace, job, "refused")
        self.said.check("a wrong configuration ends with 2", ended.code == 2, ended)
        said = self._settled(namespace, "refused")
        self.said.check("no other pod is made of that: Failed after one", said == ("Failed", 1), said)
        reason = self.cluster.get("job", "refused", f"-n{namespace}")["status"]["conditions"]
        self.said.check(
            "for podFailurePolicy", any(item.get("reason") == "PodFailurePolicy" for item in reason), reason
        )
        self._configured(held, told)

    def _configs(self, namespace: str) -> list[Any]:
        found = self.cluster.get("configmap", f"-n{namespace}")["items"]
        return [item for item in found if item["metadata"]["name"].startswith("orgkey-config")]

    def _configured(self, held: Mapping[str, Any], text: str) -> None:
        patch = json.dumps({"data": {"orgkey.toml": text}})
        name, namespace = held["metadata"]["name"], held["metadata"]["namespace"]
        self.cluster.kubectl("patch", "configmap", name, f"-n{namespace}", f"--patch={patch}")

    def _crew(self) -> None:
        namespace = _namespace(KEYS[0])
        (pod,) = self._pods(namespace, "backups", 1, "first-backups")
        (config,) = self._configs(namespace)
        (backup,) = (self.site.folder / KEYS[0] / "backups").iterdir()
        copies = {f"{number}.pgp": backup.read_bytes() for number in range(2)}
        crew = Crew(self.said, self.cluster, self.node, namespace)
        crew.whole(self.node.container(pod), copies, config["data"]["orgkey.toml"])

    def _login(self) -> None:
        namespace = _namespace(KEYS[0])
        (pod,) = self._pods(namespace, "drill", 1, "first-drill")
        (config,) = self._configs(namespace)
        text = config["data"]["orgkey.toml"]
        login.tried(self.said, self.cluster, self.node, self.site, pod, text)

    def _by_the_clock(self) -> None:
        self.said.step("A CronJob makes a job when its time has come")
        namespace = _namespace(KEYS[0])
        patch = json.dumps({"spec": {"schedule": "* * * * *"}})
        self.kubectl("patch", "cronjob", "orgkey-status", f"-n{namespace}", f"--patch={patch}")
        began = time.monotonic()

        def started() -> list[str]:
            items = self.cluster.get("job", f"-n{namespace}")["items"]
            return [
                item["metadata"]["name"]
                for item in items
                if item["metadata"]["name"].startswith("orgkey-status-")
            ]

        made = until(started)
        self.said.check(
            f"after {time.monotonic() - began:.0f} s there is {', '.join(made or ())}", bool(made)
        )
        if made:
            (pod,) = self._pods(namespace, "status", 1, made[0])
            ended = self.node.run(pod)
            self.said.output(ended.out + ended.err)
            self.said.check("and its pod ends with 0", ended.code == 0, ended)


def _namespace(name: str) -> str:
    return f"orgkey-{name}"


def _copied(folder: Path, overlay: str, namespace: str) -> Path:
    """A copy of the manifests, with an overlay in a name space of its own."""
    shutil.copytree(MANIFESTS, folder, dirs_exist_ok=True)
    path = folder / overlay
    if not path.exists():
        shutil.copytree(MANIFESTS / "overlays/example", path)
    told = path / "kustomization.yaml"
    told.write_text(told.read_text().replace("namespace: orgkey\n", f"namespace: {namespace}\n"))
    return path


if __name__ == "__main__":
    sys.exit(main())
