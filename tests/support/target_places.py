"""The three kinds of place that the contract suite runs over, and what an administrator can do to each."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from pipeline.config import places
from pipeline.config.identities import AwsIdentity, VaultIdentity
from pipeline.config.places import DirectoryTargetConfig, S3TargetConfig, VaultTargetConfig
from pipeline.core.clock import Deadline
from pipeline.providers.aws.session import AwsSession
from pipeline.providers.vault.session import VaultSession
from pipeline.storage.directory.backend import DirectoryBackend
from pipeline.storage.interface import Slot, Target
from pipeline.storage.s3.backend import S3Backend
from pipeline.storage.vault.backend import VaultBackend
from tests.support.local_stack import Stack

CONTROL = ("tests",)


class Place(Protocol):
    """One place, seen by our roles and by its administrator."""

    kind: str

    def target(self, role: str = "writer", **changes: Any) -> Target:
        """A target of its own, with a login of its own."""
        ...

    def hide(self, slot: Slot) -> None:
        """Delete what is there, the way an ordinary delete does it."""
        ...

    def overwrite(self, slot: Slot, data: bytes) -> None:
        """Put other bytes in its place, behind the program's back."""
        ...

    def litter(self, fingerprint: str) -> None:
        """Leave things there that are none of ours."""
        ...


class DirectoryPlace:
    """A directory."""

    kind = "directory"

    def __init__(self, top: Path) -> None:
        self.top = top

    def target(self, role: str = "writer", **changes: Any) -> DirectoryBackend:
        path = changes.get("path", str(self.top))
        return DirectoryBackend(
            "place", DirectoryTargetConfig(kind="directory", controlled_by=CONTROL, path=path)
        )

    def file(self, slot: Slot) -> Path:
        return self.top / slot.fingerprint / f"{slot.epoch}.tar"

    def hide(self, slot: Slot) -> None:
        self.file(slot).unlink()

    def overwrite(self, slot: Slot, data: bytes) -> None:
        self.file(slot).unlink()
        self.file(slot).write_bytes(data)

    def litter(self, fingerprint: str) -> None:
        below = self.top / fingerprint
        below.mkdir(exist_ok=True)
        (below / "notes.txt").write_text("x")
        (below / ".20260101T000000Z-0a1b2c3d.tar.abc.tmp").write_text("x")
        (below / "20260101T000000Z-0a1b2c3d.tar").symlink_to("/etc/hostname")
        (below / "20260102T000000Z-0a1b2c3d.tar").mkdir()


class VaultPlace:
    """A prefix in the stack's Vault."""

    kind = "vault"

    def __init__(self, stack: Stack, prefix: str) -> None:
        self.stack = stack
        self.prefix = f"records/{prefix}"

    def session(
        self, role: str = "writer", *, seconds: float = 60, call_seconds: float = 5, **changes: Any
    ) -> VaultSession:
        layout = self.stack.layout
        if role == "root":
            identity = VaultIdentity(token_file=str(layout.root_token))
        else:
            identity = VaultIdentity(
                role_id_file=str(layout.role_id(role)), secret_id_file=str(layout.secret_id(role))
            )
        place = places.VaultPlace(**{"address": self.stack.endpoint("vault"), **changes})
        return VaultSession(place, identity, call_seconds=call_seconds, deadline=Deadline(seconds), role=role)

    def target(self, role: str = "writer", **changes: Any) -> VaultBackend:
        timing = {name: changes.pop(name) for name in ("seconds", "call_seconds") if name in changes}
        place = {name: changes.pop(name) for name in ("address", "ca_file") if name in changes}
        session = self.session(role, **timing, **place)
        settings = VaultTargetConfig(
            **{
                "kind": "vault",
                "controlled_by": CONTROL,
                "address": session.place.address,
                "prefix": self.prefix,
                **changes,
            }
        )
        return VaultBackend("place", settings, session)

    def path(self, slot: Slot) -> str:
        return f"{self.prefix}/{slot.fingerprint}/{slot.epoch}"

    def hide(self, slot: Slot) -> None:
        self.kv.delete_latest_version_of_secret(self.path(slot), mount_point="orgkey")

    def overwrite(self, slot: Slot, data: bytes) -> None:
        entry = {
            "schema": "orgkey.vault-entry/1",
            "record": base64.b64encode(data).decode(),
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": str(len(data)),
        }
        self.write(slot, entry)

    def write(self, slot: Slot, entry: Mapping[str, Any]) -> None:
        self.kv.create_or_update_secret(self.path(slot), dict(entry), mount_point="orgkey")

    def litter(self, fingerprint: str) -> None:
        for name in ("notes", "20260101T000000Z-0a1b2c3d/below", "20260101"):
            path = f"{self.prefix}/{fingerprint}/{name}"
            self.kv.create_or_update_secret(path, {"x": "y"}, mount_point="orgkey")

    @property
    def kv(self) -> Any:
        return self.stack.vault("root").secrets.kv.v2


class S3Place:
    """A prefix in the stack's bucket."""

    kind = "s3"

    def __init__(self, stack: Stack, prefix: str) -> None:
        self.stack = stack
        self.prefix = f"orgkey/{prefix}"
        self.bucket = str(stack.state.bucket)

    def target(self, role: str = "writer", **changes: Any) -> S3Backend:
        seconds, call_seconds = changes.pop("seconds", 60), changes.pop("call_seconds", 5)
        settings = S3TargetConfig(
            **{
                "kind": "s3",
                "controlled_by": CONTROL,
                "endpoint_url": self.stack.endpoint("s3"),
                "bucket": self.bucket,
                "prefix": self.prefix,
                "path_style": True,
                **changes,
            }
        )
        identity = AwsIdentity(credentials_file=str(self.stack.layout.aws_credentials(role)))
        session = AwsSession(
            settings, identity, call_seconds=call_seconds, deadline=Deadline(seconds), role=role
        )
        return S3Backend("place", settings, session)

    def key(self, slot: Slot) -> str:
        return f"{self.prefix}/{slot.fingerprint}/{slot.epoch}.tar"

    def hide(self, slot: Slot) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=self.key(slot))

    def overwrite(self, slot: Slot, data: bytes, days: int = 0) -> None:
        """Put other bytes in its place, behind the program's back; locked for so many days."""
        lock: dict[str, Any] = {}
        if days:
            until = datetime.now(UTC) + timedelta(days=days)
            lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
        self.client.put_object(Bucket=self.bucket, Key=self.key(slot), Body=data, **lock)

    def litter(self, fingerprint: str) -> None:
        for name in ("notes.txt", "20260101T000000Z-0a1b2c3d", "20260101T000000Z-0a1b2c3d.tar/below.tar"):
            self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{fingerprint}/{name}", Body=b"x")

    @property
    def client(self) -> Any:
        return self.stack.s3("root")
