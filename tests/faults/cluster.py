"""A real cluster of three OpenBao servers with raft storage, to kill, seal and start its servers."""

from __future__ import annotations

import http
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipeline.core import files
from pipeline.core.environment import clean_environment
from pipeline.devstack import build, processes, wire
from pipeline.devstack.programs import OPENBAO
from pipeline.devstack.progress import Progress
from pipeline.devstack.state import IDENTITIES, Layout
from pipeline.devstack.vault import VaultServer
from tests.support import leftovers
from tests.support.local_stack import vault_client
from tests.support.ports import distinct_ports

if TYPE_CHECKING:
    from tests.faults.scene import Scene

NODES = 3
# A leader that has lost its quorum may drain requests for 90 seconds first (DefaultMaxRequestDuration).
SECONDS = 150.0
# A server that joins takes its key, and opens a little later. Sent again meanwhile, it goes to standby twice
# (OpenBao 2.4.0): one half then sees that leadership is lost, the other goes on being active for good.
JOIN_SECONDS = 10.0

# The multiplier's lowest value: a follower misses a dead leader after one to two seconds, not after ten.
CONFIG = """\
ui = false
log_level = "warn"
api_addr = {address}
cluster_addr = {cluster_address}

storage "raft" {{
  path = {data}
  node_id = {name}
  performance_multiplier = 1
{joins}}}

listener "tcp" {{
  address = {listen}
  cluster_address = {listen_cluster}
  tls_disable = true
}}

audit "file" "stack" {{
  options {{
    file_path = {audit}
    log_raw = "false"
    mode = "0600"
  }}
}}
"""
JOIN = """\
  retry_join {{
    leader_api_addr = {address}
  }}
"""


@dataclass
class Node:
    """One server of the cluster.

    Attributes:
        name: Its raft node id.
        home: Its private directory.
        port: Where it serves.
        cluster_port: Where the other nodes reach it.
        process: What runs; ``None`` while it does not.
    """

    name: str
    home: Path
    port: int
    cluster_port: int
    process: processes.Process | None = None

    @property
    def address(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def health(self) -> int | None:
        """The status of its health endpoint; ``None`` when it does not answer."""
        answer = wire.request(self.address, "GET", "/v1/sys/health", seconds=2)
        return answer[0] if answer else None


class Cluster:
    """Three servers that elect a leader. Only processes that it started are ever ended.

    Args:
        root: Its private directory.
    """

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self._program = build.ensure(OPENBAO, Progress())
        self._server = VaultServer(self.layout)
        ports = distinct_ports(2 * NODES)
        self.nodes = [
            Node(f"node{number}", self.layout.member(f"node{number}"), ports.pop(), ports.pop())
            for number in range(NODES)
        ]

    def __enter__(self) -> Self:
        files.private_directory(self.layout.root)
        files.private_directory(self.layout.member("vault"))
        first, *others = self.nodes
        try:
            self._spawn(first)
            wait_until(lambda: first.health() == 501)
            self._server.open(first.address)
            wait_until(lambda: self._server.ready(first.address))
            # Else a new server has no vote for its first ten seconds.
            settings = {"server_stabilization_time": "1s"}
            self.root(first).write_data("sys/storage/raft/autopilot/configuration", data=settings)
            for node in others:
                self._spawn(node)
            for node in others:
                self._unseal(node)
            self._server.set_up(first.address)
            self.await_whole()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            if node.process:
                processes.send(node.process, signal.SIGKILL)
                processes.stop(node.process)

    # -- what happens to it ----------------------------------------------------------------------

    def kill(self, node: Node) -> None:
        """End a server at once, as a power cut would."""
        assert node.process
        processes.send(node.process, signal.SIGKILL)
        processes.stop(node.process)
        node.process = None

    def start(self, node: Node) -> None:
        """Start a server again, and unseal it."""
        self._spawn(node)
        self._unseal(node)

    def seal(self, node: Node) -> None:
        """Seal one server; only the active one takes the command, another comes up sealed after a restart."""
        if node.health() == 200:
            self.root(node).sys.seal()
        else:
            self.kill(node)
            self._spawn(node)
        wait_until(lambda: node.health() == 503)

    def unseal(self, node: Node) -> None:
        """Unseal one server."""
        self._unseal(node)

    # -- what it is ------------------------------------------------------------------------------

    def leader(self) -> Node:
        """The active server; waits for an election to end."""
        found: list[Node] = []

        def look() -> bool:
            found[:] = [node for node in self.nodes if node.process and node.health() == 200]
            return bool(found)

        wait_until(look)
        return found[0]

    def active_port(self) -> int | None:
        """The port of the active server, as a load balancer's health check finds it; ``None`` without one."""
        return next((node.port for node in self.nodes if node.process and node.health() == 200), None)

    def followers(self) -> list[Node]:
        """The servers that run and do not lead."""
        return self.roles()[1]

    def roles(self) -> tuple[Node, list[Node]]:
        """The active server, and the others that run."""
        leader = self.leader()
        return leader, [node for node in self.nodes if node.process and node is not leader]

    def await_writing(self) -> None:
        """Wait until one leads, and can write."""
        wait_until(self._commits)

    def await_whole(self) -> None:
        """Start what does not run, unseal what is sealed, wait until one leads and commits, and all vote."""
        for node in self.nodes:
            if node.process is None:
                self._spawn(node)
        for node in self.nodes:
            self._unseal(node)
        wait_until(lambda: sorted(node.health() or 0 for node in self.nodes) == [200, 429, 429])
        self.await_writing()
        wait_until(self._voting)

    def root(self, node: Node | None = None) -> Any:
        """An hvac client with root's rights."""
        address = (node or self.leader()).address
        return vault_client(address, self.layout.root_token.read_text().strip())

    # -- inside ----------------------------------------------------------------------------------

    def _spawn(self, node: Node) -> None:
        files.private_directory(node.home)
        data = files.private_directory(node.home / "data")
        joins = "".join(
            JOIN.format(address=json.dumps(other.address)) for other in self.nodes if other is not node
        )
        text = CONFIG.format(
            address=json.dumps(node.address),
            cluster_address=json.dumps(f"https://127.0.0.1:{node.cluster_port}"),
            data=json.dumps(str(data)),
            name=json.dumps(node.name),
            joins=joins,
            listen=json.dumps(f"127.0.0.1:{node.port}"),
            listen_cluster=json.dumps(f"127.0.0.1:{node.cluster_port}"),
            audit=json.dumps(str(self.layout.audit)),
        )
        files.replace(node.home / "server.hcl", text.encode())
        argv = [str(self._program), "server", f"-config={node.home / 'server.hcl'}"]
        env = clean_environment({"HOME": str(node.home)})
        node.process = processes.spawn(argv, log=node.home / "server.log", env=env)

    def _unseal(self, node: Node) -> None:
        wait_until(lambda: node.health() is not None)
        key = json.loads(self.layout.vault_init.read_bytes())["unseal_key"]
        body = json.dumps({"key": key}).encode()
        taken: float | None = None

        def opened() -> bool:
            nonlocal taken
            if node.health() in (200, 429):
                return True
            now = time.monotonic()
            if taken is None or now - taken > JOIN_SECONDS:
                # It takes no key before it knows the cluster that it joins.
                answer = wire.request(node.address, "PUT", "/v1/sys/unseal", body=body)
                refused = answer is not None and answer[0] != http.HTTPStatus.OK
                taken = None if refused else now
            return False

        wait_until(opened)

    def _commits(self) -> bool:
        # A server that just lost its leadership is still healthy, and can write no more.
        answer = self._as_root("PUT", "/v1/cubbyhole/whole", b'{"is": "it"}')
        return answer is not None and answer[0] == http.HTTPStatus.NO_CONTENT

    def _voting(self) -> bool:
        answer = self._as_root("GET", "/v1/sys/storage/raft/configuration")
        if answer is None or answer[0] != http.HTTPStatus.OK:
            return False  # it has just lost its leadership
        servers = json.loads(answer[1])["data"]["config"]["servers"]
        return [item["voter"] for item in servers] == [True] * NODES

    def _as_root(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes] | None:
        token = {"X-Vault-Token": self.layout.root_token.read_text().strip()}
        return wire.request(self.leader().address, method, path, body=body, headers=token)


def reroute(scene: Scene, cluster: Cluster | None, **addresses: str) -> None:
    """Have a scene use a cluster in place of its stack's Vault, and other addresses.

    Args:
        scene: Its configuration is changed.
        cluster: Whose logins are used; ``None`` leaves them.
        addresses: By member of the stack: ``vault``, ``s3``.
    """
    stack, text = scene.place.stack, scene.config.read_text()
    for member, address in addresses.items():
        assert stack.endpoint(member) in text
        text = text.replace(stack.endpoint(member), address)
    if cluster is not None:
        for identity in IDENTITIES:
            for of in (Layout.role_id, Layout.secret_id):
                text = text.replace(str(of(stack.layout, identity)), str(of(cluster.layout, identity)))
    scene.config.write_text(text)


def wait_until(question: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Ask until the answer is yes."""
    ends = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < ends, "the cluster does not come to the state that was waited for"
        time.sleep(0.03)


@contextmanager
def running() -> Iterator[Cluster]:
    """A cluster in a directory of its own."""
    directory = leftovers.directory("cluster-")
    try:
        with Cluster(directory / "cluster") as cluster:
            yield cluster
    finally:
        shutil.rmtree(directory, ignore_errors=True)
