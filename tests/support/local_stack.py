"""The local stack as tests use it: members can be stopped, frozen, sealed, and asked as any identity."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipeline.devstack import members, processes, stack, wire
from pipeline.devstack.processes import Process


class Stack(stack.Stack):
    """A stack, and what can happen to it."""

    def demand_own(self, name: str) -> None:
        """Skip a test that stops a member, or reads its files, where that is an outside server."""
        if self._servers[name].outside:
            pytest.skip(f"{name} is an outside server: neither its process nor its files are ours")

    def demand_roles(self, name: str) -> None:
        """Skip a test of rights where an outside S3 has one key for all roles."""
        keys = {wire.read_credentials(self.layout.aws_credentials(role)) for role in ("writer", "driller")}
        if name == "s3" and self._servers[name].outside and len(keys) == 1:
            pytest.skip("the outside S3 has one key for all roles")

    def start_member(self, name: str) -> None:
        """Start one member, open it, and wait until it is ready; nothing is set up."""
        with self._locked():
            self._book.read()
            self._start(self._servers[name])

    def stop_member(self, name: str) -> None:
        """Stop one member; its data stays."""
        self.demand_own(name)
        with self._locked():
            self._book.read()
            members.stop(name, self._book)

    def set_up_member(self, name: str) -> None:
        """Make what the pipeline needs at one member that runs."""
        self._book.update(**self._servers[name].set_up(self.endpoint(name)))

    def pause_member(self, name: str) -> None:
        """Freeze one member: connections are taken, nothing is answered."""
        self.demand_own(name)
        if process := self.state.members[name].process:
            pause(process)

    def resume_member(self, name: str) -> None:
        """Let a frozen member go on."""
        if process := self.state.members[name].process:
            processes.send(process, signal.SIGCONT)

    def seal(self) -> None:
        """Seal Vault, and wait until it is."""
        self.demand_own("vault")
        self.vault("root").sys.seal()
        members.wait(_is_sealed, self.state.members["vault"], members.START_SECONDS)

    def unseal(self) -> None:
        """Unseal Vault, and wait until it serves."""
        self._vault.open(self.endpoint("vault"))
        members.wait(self._vault.ready, self.state.members["vault"], members.START_SECONDS)

    def vault(self, identity: str) -> Any:
        """An hvac client as an identity with a role, or as ``root``, which the pipeline never uses."""
        if identity == "root":
            return vault_client(self.endpoint("vault"), self.layout.root_token.read_text().strip())
        client = vault_client(self.endpoint("vault"), None)
        role, secret = self.layout.role_id(identity).read_text(), self.layout.secret_id(identity).read_text()
        client.auth.approle.login(role, secret)
        return client

    def s3(self, identity: str) -> Any:
        """A boto3 client for S3 as ``root``, ``writer``, ``driller``, ``auditor`` or ``retention``."""
        return self._aws("s3", identity)

    def kms(self, identity: str) -> Any:
        """A boto3 client for KMS as ``root``, ``writer``, ``driller``, ``auditor`` or ``retention``."""
        return self._aws("kms", identity)

    def _aws(self, service: str, identity: str) -> Any:
        known: dict[tuple[str, str, str], Any] = self.__dict__.setdefault("_clients", {})
        key = (service, identity, self.endpoint(service))
        # Kept, since boto3 takes long to make one; it can be used from several threads.
        if key not in known:
            known[key] = aws_client(service, key[2], self.layout.aws_credentials(identity))
        return known[key]


def _is_sealed(endpoint: str) -> bool:
    """Whether a Vault says that it is sealed; for a moment before that, it says that it has no leader."""
    answer = wire.request(endpoint, "GET", "/v1/sys/health", seconds=2)
    return answer is not None and answer[0] == 503


def pause(process: Process) -> None:
    """Freeze exactly this process, and wait until every thread of it stands still.

    The signal alone is not enough: for a moment, and longer on a busy host, threads go on and answer.
    """
    processes.send(process, signal.SIGSTOP)
    ends = time.monotonic() + 10.0
    while _moving(process.pid) and time.monotonic() < ends:
        time.sleep(0.01)


def _moving(pid: int) -> bool:
    states = []
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # a thread that has just ended
            states.append(path.read_text().rpartition(")")[2].split()[0])
    return any(state not in "TtZX" for state in states)


def vault_client(endpoint: str, token: str | None) -> Any:
    """An hvac client that reads neither environment nor home.

    Args:
        endpoint: The server's URL.
        token: The token; ``None`` for calls that need none.
    """
    import hvac
    import requests

    session = requests.Session()
    session.trust_env = not _on_loopback(endpoint)
    return hvac.Client(url=endpoint, token=token or "", timeout=wire.CALL_SECONDS, session=session)


def aws_client(service: str, endpoint: str, credentials: Path) -> Any:
    """A boto3 client for a server of the stack.

    Args:
        service: ``s3`` or ``kms``.
        endpoint: The server's URL.
        credentials: A credentials file; its profile ``default`` is used.
    """
    import boto3
    from botocore.config import Config

    access, secret = wire.read_credentials(credentials)
    return boto3.session.Session(
        aws_access_key_id=access, aws_secret_access_key=secret, region_name=wire.REGION
    ).client(
        service,
        endpoint_url=endpoint,
        config=Config(
            connect_timeout=wire.CALL_SECONDS,
            read_timeout=wire.CALL_SECONDS,
            retries={"total_max_attempts": 2},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={} if _on_loopback(endpoint) else None,
            s3={"addressing_style": "path"},
        ),
    )


def _on_loopback(endpoint: str) -> bool:
    return urlsplit(endpoint).hostname in ("127.0.0.1", "::1", "localhost")
