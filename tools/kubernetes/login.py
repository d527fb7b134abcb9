"""Vault's login by service accounts: tokens of the real API server, which Vault has it review."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from typing import Any

import hvac
import tomlkit

from tools.image.container import Container, Ended, Mount, fresh, run
from tools.image.site import Site
from tools.kubernetes.cluster import Cluster
from tools.kubernetes.node import Node
from tools.transcript import Transcript

AUDIENCE = "vault"
TOKEN = "/var/run/secrets/vault/token"  # noqa: S105 - where one lies


def tried(said: Transcript, cluster: Cluster, node: Node, site: Site, pod: Any, config: str) -> None:
    """Drill with the driller's login by the service account `orgkey-drill`.

    Args:
        said: What is printed.
        cluster: The servers.
        node: Runs the container.
        site: Vault.
        pod: A pod of the drill, which gives all but the login.
        config: Its configuration.
    """
    said.step("Vault's login by service accounts: the API server's tokens, and no stored secret")
    namespace = pod["metadata"]["namespace"]
    _set_up(cluster, site, namespace)
    document = tomllib.loads(config)
    document["identity"]["driller"]["vault"] = {
        "method": "kubernetes",
        "role": "orgkey-driller",
        "jwt_file": TOKEN,
    }
    work = fresh(node.folder / "login")
    (work / "orgkey.toml").write_text(tomlkit.dumps(document))
    container = node.container(pod)

    def drill(account: str, space: str, audience: str) -> Ended:
        words = ("create", "token", account, f"-n{space}", f"--audience={audience}", "--duration=10m")
        said.command(["kubectl", *words])
        token = fresh(work / "token")
        (token / "token").write_text(cluster.kubectl(*words)[1])
        (token / "token").chmod(0o644)
        mounts = [mount for mount in container.mounts if mount.target != "/etc/orgkey"]
        mounts += [
            Mount("/etc/orgkey", work, read_only=True),
            Mount("/var/run/secrets/vault", token, read_only=True),
        ]
        ended = run(node.image, dataclasses.replace(container, args=_words(container), mounts=tuple(mounts)))
        said.output(ended.out + ended.err)
        return ended

    said.check("the drill of its account ends with 0", drill("orgkey-drill", namespace, AUDIENCE).code == 0)
    for what, words in {
        "another account": ("orgkey-verify", namespace, AUDIENCE),
        "the same account of the other key": ("orgkey-drill", "orgkey-pgp2", AUDIENCE),
        "a token for somebody else": ("orgkey-drill", namespace, "elsewhere"),
    }.items():
        said.check(f"{what} is refused with 21", drill(*words).code == 21)


def _words(container: Container) -> tuple[str, ...]:
    return ("drill", "--from", "vault", *container.args[1:])


def _set_up(cluster: Cluster, site: Site, namespace: str) -> None:
    """What docs/logins.md calls the server's side."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "vault", "namespace": "default"},
    }
    cluster.kubectl("create", "--filename=-", stdin=json.dumps(account))
    cluster.kubectl(
        "create",
        "clusterrolebinding",
        "vault",
        "--clusterrole=system:auth-delegator",
        "--serviceaccount=default:vault",
    )
    client = hvac.Client(
        url=site.stack.endpoint("vault"), token=site.stack.layout.root_token.read_text().strip()
    )
    policies = client.read("auth/approle/role/orgkey-driller")["data"]["token_policies"]
    client.sys.enable_auth_method("kubernetes")
    client.write_data(
        "auth/kubernetes/config",
        data={
            "kubernetes_host": cluster.address,
            "kubernetes_ca_cert": cluster.certificate.read_text(),
            "token_reviewer_jwt": cluster.kubectl("create", "token", "vault", "--duration=1h")[1].strip(),
            "disable_local_ca_jwt": True,
        },
    )
    bound = {
        "bound_service_account_names": ["orgkey-drill"],
        "bound_service_account_namespaces": [namespace],
        "audience": AUDIENCE,
        "token_policies": policies,
    }
    client.write_data("auth/kubernetes/role/orgkey-driller", data=bound)
