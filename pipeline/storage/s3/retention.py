"""The retention of versions in a bucket with Object Lock, looked at and extended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic

from pipeline.core.errors import Denied, IntegrityProblem
from pipeline.storage.interface import Item, Retention
from pipeline.storage.s3.bucket import Bucket

if TYPE_CHECKING:
    from pipeline.config.places import S3TargetConfig
    from pipeline.providers.aws.session import AwsSession


class S3Retainer(Generic[Item]):
    """Asks for nothing but ``GetObjectRetention`` and ``PutObjectRetention``, and for no bypass.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
        session: The identity.
        place: The key and the version that an item names.
    """

    def __init__(
        self,
        name: str,
        settings: S3TargetConfig,
        session: AwsSession,
        place: Callable[[Item], tuple[str, str | None]],
    ) -> None:
        self.name = name
        self._bucket = Bucket(settings, session)
        self._place = place

    def retention(self, item: Item) -> Retention | None:
        """See :meth:`pipeline.storage.interface.Retainer.retention`."""
        key, version = self._place(item)
        mode, until = self._bucket.retention(key, version, f"target {self.name}, look at retention")
        return Retention(mode, until) if mode and until else None

    def retain(self, item: Item, wanted: Retention) -> Retention:
        """See :meth:`pipeline.storage.interface.Retainer.retain`."""
        key, version = self._place(item)
        before = self.retention(item)
        if before is not None and (
            before.until > wanted.until
            or before == wanted
            or (before.mode == "COMPLIANCE" and wanted.mode == "GOVERNANCE")
        ):
            return before
        what = f"target {self.name}, extend the retention"
        request = self._bucket.address(key, version) | {
            "Retention": {"Mode": wanted.mode, "RetainUntilDate": wanted.until}
        }
        try:
            self._bucket.session.call(lambda client: client.put_object_retention(**request), "s3", what)
        except Denied as error:
            if before is None or before.mode == wanted.mode:
                raise
            raise Denied(
                f"{error.message}; "
                f"some servers change {before.mode} to {wanted.mode} only for who may lift it",
                hint="leave out --mode, or have an administrator with s3:BypassGovernanceRetention do it",
            ) from error
        after = self.retention(item)
        if after is None or after.mode != wanted.mode or after.until < wanted.until:
            has = f"{after.mode} until {after.until:%Y-%m-%dT%H:%M:%SZ}" if after else "no retention"
            raise IntegrityProblem(
                f"{what}: {self._bucket.location(key)}: asked for {wanted.mode} until "
                f"{wanted.until:%Y-%m-%dT%H:%M:%SZ}, the server says {has}",
                hint="check the bucket's Object Lock, and what else changes retentions there",
            )
        return after
