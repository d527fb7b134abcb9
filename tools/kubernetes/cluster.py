"""A cluster without machines: etcd, Kubernetes' API server and its controllers, on loopback."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pipeline.devstack import processes
from pipeline.devstack.build import ensure
from pipeline.devstack.programs import Program
from pipeline.devstack.progress import Plain
from tools.transcript import Transcript

VERSION = "1.36.3"
ETCD = "3.6.8"
SECONDS = 120.0  # for what a controller does, too: a job's second pod comes after 10
T = TypeVar("T")


def _program(command: str, package: str, version: str, stamp: str, minutes: int) -> Program:
    return Program(
        name=command, label=command, version=version, commands=(f"{command}-{version}",), package=package,
        stamp=stamp, minutes=minutes, directory=Path(__file__).parent,
    )  # fmt: skip


def _of_kubernetes(command: str, minutes: int) -> Program:
    stamp = f"k8s.io/component-base/version.gitVersion=v{VERSION}"
    return _program(command, f"k8s.io/kubernetes/cmd/{command}", VERSION, stamp, minutes)


# By the module that is compiled first; the others are quicker, they share most of it.
PROGRAMS = (
    _program("etcd", "go.etcd.io/etcd/server/v3", ETCD, "go.etcd.io/etcd/api/v3/version.GitSHA=pinned", 1),
    _of_kubernetes("kube-apiserver", 8),
    _of_kubernetes("kubectl", 1),
    _of_kubernetes("kube-controller-manager", 3),
)


class Cluster:
    """The servers, and `kubectl` to ask them.

    Args:
        folder: A private folder for all that they keep.

    Attributes:
        address: The API server's address.
        certificate: Its certificate, which is its own authority.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = {program.name: ensure(program, Plain()) for program in PROGRAMS}
        self._servers: list[processes.Process] = []
        self._token = secrets.token_hex(16)
        self.address = ""
        self.certificate = folder / "certificates" / "apiserver.crt"

    def up(self) -> None:
        """Start the servers, and wait until they serve.

        Raises:
            SystemExit: One does not.
        """
        (client, peer, serving), key = _ports(3), self.folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        etcd, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self._start(
            "etcd", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        )  # fmt: skip
        self._wait(lambda: _answer(f"{etcd}/health") is not None, "etcd")
        tokens = self.folder / "tokens.csv"
        _private(tokens, f'{self._token},admin,admin,"system:masters"\n')
        self.address = f"https://127.0.0.1:{serving}"
        self._start(
            "kube-apiserver", f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1", f"--secure-port={serving}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--token-auth-file={tokens}", "--authorization-mode=RBAC",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.invalid", "--service-cluster-ip-range=10.0.0.0/24",
        )  # fmt: skip
        self._wait(lambda: self._get("/readyz") == "ok", "kube-apiserver")
        _private(self.folder / "config", json.dumps(self._config()))
        self._start(
            "kube-controller-manager", f"--kubeconfig={self.folder / 'config'}",
            f"--service-account-private-key-file={key}",
            "--use-service-account-credentials=true", "--leader-elect=false", "--bind-address=127.0.0.1",
            f"--secure-port={_ports(1)[0]}", f"--cert-dir={self.folder / 'manager'}",
            # The node of this cluster sends no sign of life.
            "--controllers=*,-node-lifecycle-controller",
        )  # fmt: skip
        self._wait(
            lambda: "default" in self.kubectl("get", "serviceaccounts", ok=None)[1], "kube-controller-manager"
        )

    def down(self) -> None:
        """End what was started, the last first."""
        for server in reversed(self._servers):
            processes.stop(server)

    def kubectl(self, *words: str, stdin: str | None = None, ok: bool | None = True) -> tuple[int, str, str]:
        """Ask the API server.

        Args:
            words: What `kubectl` is given.
            stdin: What it reads.
            ok: Whether it must succeed; ``None`` for either.

        Returns:
            Exit code, standard output, standard error.

        Raises:
            SystemExit: It did otherwise.
        """
        done = subprocess.run(
            [self.programs["kubectl"], f"--kubeconfig={self.folder / 'config'}", *words],
            input=stdin, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        if ok is not None and (done.returncode == 0) is not ok:
            raise SystemExit(
                f"kubectl {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.returncode, done.stdout, done.stderr

    def get(self, *words: str) -> Any:
        """What `kubectl get … --output json` gives."""
        return json.loads(self.kubectl("get", *words, "--output=json")[1])

    def _config(self) -> dict[str, Any]:
        named = {
            "clusters": {"cluster": {"server": self.address, "certificate-authority": str(self.certificate)}}
        }
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", **named["clusters"]}],
            "users": [{"name": "it", "user": {"token": self._token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        }  # fmt: skip

    def _get(self, path: str) -> str | None:
        if not self.certificate.exists():
            return None
        return _answer(
            self.address + path, self._token, ssl.create_default_context(cafile=str(self.certificate))
        )

    def _start(self, name: str, *words: str) -> None:
        argv = [str(self.programs[name]), *words]
        env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._servers.append(processes.spawn(argv, log=self.folder / f"{name}.log", env=env))

    def _wait(self, ready: Callable[[], bool], name: str) -> None:
        ends = time.monotonic() + SECONDS
        while not ready():
            ended = not processes.alive(self._servers[-1])
            if ended or time.monotonic() > ends:
                tail = (self.folder / f"{name}.log").read_text().splitlines()[-15:]
                raise SystemExit(f"{name} {'ended' if ended else 'does not serve'}:\n" + "\n".join(tail))
            time.sleep(0.2)


def shown(said: Transcript, cluster: Cluster, *words: str, ok: bool | None = True) -> tuple[int, str]:
    """Run `kubectl`, and show it.

    Args:
        said: Where.
        cluster: Which.
        words: What it is given.
        ok: See :meth:`Cluster.kubectl`.

    Returns:
        Its exit code, and all that it printed.
    """
    said.command(["kubectl", *words])
    code, out, err = cluster.kubectl(*words, ok=ok)
    said.output(out + err)
    return code, out + err


def until(ask: Callable[[], T]) -> T | None:
    """Ask until the answer is one; ``None`` when none comes in time."""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        if answer := ask():
            return answer
        time.sleep(0.3)
    return None


def _ports(count: int) -> list[int]:
    return [processes.free_port() for _ in range(count)]


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _answer(address: str, token: str = "", context: ssl.SSLContext | None = None) -> str | None:
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310 - loopback
            return str(answer.read().decode())
    except OSError:
        return None
