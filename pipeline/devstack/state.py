"""What is written down about a stack: where its parts are, and which processes they are."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from pipeline.core import files
from pipeline.core.errors import LocalFilesProblem
from pipeline.devstack.processes import Process

SCHEMA = "orgkey.stack-state/1"
MEMBERS = ("vault", "s3", "kms")
IDENTITIES = ("root", "writer", "driller", "auditor", "retention")


class Layout:
    """The files of a stack; everything below one private directory.

    Args:
        root: That directory.

    Attributes:
        root: That directory.
        state: Which processes run, without secrets.
        lock: Held while the stack is changed.
        audit: Vault's audit log.
        vault_init: Vault's unseal key and root token.
        identities: Credentials, one directory for each identity.
        root_token: Vault's root token, or that of an outside server's administrator.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "stack.json"
        self.lock = root / "lock"
        self.audit = self.member("vault") / "audit.log"
        self.vault_init = self.member("vault") / "init.json"
        self.identities = root / "identities"
        self.root_token = self.identities / "root" / "vault-token"

    def member(self, name: str) -> Path:
        """The directory of a server: its data, its log."""
        return self.root / name

    def log(self, name: str) -> Path:
        """What a server printed."""
        return self.member(name) / "server.log"

    def aws_credentials(self, identity: str) -> Path:
        """An identity's credentials file for S3 and KMS, profile ``default``."""
        return self.identities / identity / "aws-credentials"

    def role_id(self, identity: str) -> Path:
        """An identity's AppRole role id."""
        return self.identities / identity / "vault-role-id"

    def secret_id(self, identity: str) -> Path:
        """An identity's AppRole secret id."""
        return self.identities / identity / "vault-secret-id"

    def ours(self) -> list[Path]:
        """Everything that a wipe removes, the state last."""
        return [*map(self.member, MEMBERS), self.identities, self.state, self.lock]


@dataclass(frozen=True, slots=True)
class Member:
    """One server as it was last started.

    Attributes:
        name: ``vault``, ``s3`` or ``kms``.
        endpoint: Its URL.
        version: As it says itself.
        process: ``None`` when it is not ours (an outside server), or was stopped.
        outside: Whether it is an outside server.
    """

    name: str
    endpoint: str
    version: str = ""
    process: Process | None = None
    outside: bool = False

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.endpoint.rpartition(":")[2])


@dataclass(frozen=True)
class StackState:
    """A stack's state.

    Attributes:
        members: By name.
        setup: Digest of the policies that were last applied.
        bucket: The bucket's name.
        bucket_owner: What the bucket's owner is called, where known.
        kms_key: ARN of the KMS key.
        lacks: What an outside S3 does not know of what records need.
    """

    members: Mapping[str, Member] = field(default_factory=dict)
    setup: str = ""
    bucket: str = "orgkey"
    bucket_owner: str | None = None
    kms_key: str = ""
    lacks: tuple[str, ...] = ()


class Book:
    """The state, kept in step with its file; the stack's threads share one.

    Args:
        layout: The stack's files.

    Attributes:
        now: The state as last read or written; empty when there is no stack.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.now = StackState()
        self._lock = threading.Lock()

    def read(self) -> StackState:
        """Read the file.

        Raises:
            LocalFilesProblem: It is damaged or of another version.
        """
        path = self.layout.state
        try:
            document = json.loads(path.read_bytes())
            if document.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            self.now = TypeAdapter(StackState).validate_python(document)
        except FileNotFoundError:
            self.now = StackState()
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise LocalFilesProblem(
                f"{path} cannot be read: {error}",
                hint="end the stack's servers by hand and remove its directory",
            ) from error
        return self.now

    def update(self, *members: Member, **changes: Any) -> None:
        """Write members and other facts down, at once and whole."""
        with self._lock:
            known = {**self.now.members, **{member.name: member for member in members}}
            self.now = replace(self.now, members=known, **changes)
            document = {"schema": SCHEMA, **asdict(self.now)}
            files.replace(self.layout.state, json.dumps(document, indent=1).encode())
