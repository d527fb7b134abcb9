"""What `doctor` should know about a target in S3; asks, and stores nothing.

What cannot be known without storing something is :mod:`pipeline.storage.s3.trial`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pipeline.core.errors import Code, Denied, UsageProblem
from pipeline.core.finding import Finding, Level
from pipeline.storage.check import Check, on_this_host
from pipeline.storage.s3.bucket import NO_RETENTION, Bucket, error_parts
from pipeline.storage.s3.rights import DELETE_VERSION, WRITE, WRITE_ELSEWHERE, Right, deviations, may, probe

_TRY = "before the first escrow: `orgkey doctor --try-writing`"
_EVERYONE = ("AllUsers", "AuthenticatedUsers")
_NO_LOCK = {*NO_RETENTION, "ObjectLockConfigurationNotFound"}


class S3Check(Check):
    """The looks at a bucket, its versioning, its lock, who else may read it, and the identity's rights.

    Args:
        name: The target's name in the config.
        bucket: The bucket, as the identity sees it.
    """

    def __init__(self, name: str, bucket: Bucket) -> None:
        self.role = bucket.session.role
        super().__init__(name, f"{self.role}: reachable, permitted, safely set up")
        self._name = name
        self._bucket = bucket
        self._settings = bucket.settings
        self._session = bucket.session
        self._untried = False

    def look(self) -> list[Finding]:
        """Take all looks."""
        others = (self.rights, self.versioning, self.lock, self.public, self.administration)
        # A server that looks at no checksum would store what the further looks ask with.
        found = self.run([self.reach, self.abilities], others)
        if self._untried and all(finding.level is not Level.FAIL for finding in found):
            said = "whether the server locks, and writes once only, cannot be seen without writing"
            found.append(Finding(Level.UNSEEN, f"target {self._name}", said, _TRY))
        return found

    def reach(self) -> None:
        """Whether the bucket can be listed, and over which connection."""
        endpoint = urlsplit(self._session.client("s3").meta.endpoint_url)
        if endpoint.scheme == "http" and not on_this_host(endpoint.geturl()):
            self.warn(
                f"{endpoint.geturl()} is not encrypted: anyone on the way sees the records",
                "use an https endpoint, with ca_file for an authority of your own",
            )
        if self._settings.expected_bucket_owner is None and self._settings.endpoint_url is None:
            self.warn(
                "expected_bucket_owner is not set: a bucket of the same name in another account would do",
                "set it to the 12 digits of the account that owns the bucket",
            )
        # The listing recovers records after a conflict or a delete marker, so it is the first question.
        request = self._bucket.named() | {"MaxKeys": 1, "Prefix": self._bucket.top}
        found = self._session.call(lambda client: client.list_object_versions(**request), "s3", self.what)
        # Of AWS it is known, and of a bucket that holds records `status` says whether they are locked.
        if self.role == "writer" and self._settings.endpoint_url and not found.get("Versions"):
            self._untried = True

    def abilities(self) -> None:
        """Whether the server knows what a write asks for, found out by one that it cannot store."""
        if self.role == "administrator":
            return
        try:
            probe(self._bucket, self.what, WRITE)
        except Denied:
            return  # a missing right, which the next look names
        except UsageProblem as error:
            self.fail(error.message, error.hint, error.code)

    def rights(self) -> None:
        """Compare what the identity may do with what its role needs; nothing is changed by the asking."""
        if self.role == "administrator":
            return
        if may(self._bucket, self.what, DELETE_VERSION):
            self._surplus(DELETE_VERSION)
        if not self._session.apart:
            return  # one login for several roles: it needs what any of them needs
        for right, has in deviations(self._bucket, self.what):
            if has:
                self._surplus(right)
            else:
                self.fail(
                    f"the {self.role} may not {right.does}: it lacks {right.action}",
                    f"allow {right.action} to the {self.role} in the bucket's policy, "
                    "and the use of the bucket's key",
                    Code.DENIED,
                )
        elsewhere = WRITE_ELSEWHERE
        if self._settings.prefix and may(self._bucket, self.what, elsewhere):
            self.warn(
                f"the {self.role} may {elsewhere.does}",
                f"allow {elsewhere.action} to the {self.role} below {self._settings.prefix}/ only",
            )

    def _surplus(self, right: Right) -> None:
        self.fail(f"the {self.role} may {right.does}", f"deny {right.action} to the {self.role}")

    def versioning(self) -> None:
        """Whether the bucket keeps versions."""
        answer = self._ask("get_bucket_versioning", {"VersioningNotConfigured"})
        if answer is None:
            self.unseen("whether the bucket keeps versions")
        elif answer.get("Status") != "Enabled":
            self.fail(
                f"bucket {self._settings.bucket} keeps no versions: a record that is overwritten is gone",
                "enable versioning: aws s3api put-bucket-versioning",
            )

    def lock(self) -> None:
        """Whether the bucket has the Object Lock that the configuration asks for."""
        answer = self._ask("get_object_lock_configuration", _NO_LOCK)
        if answer is None:
            self.unseen("whether the bucket locks")
            return
        bucket, mode = self._settings.bucket, self._settings.lock_mode
        configuration = answer.get("ObjectLockConfiguration") or {}
        enabled = configuration.get("ObjectLockEnabled") == "Enabled"
        if mode is not None and not enabled:
            self.fail(
                f"lock_mode is {mode}, but bucket {bucket} has no Object Lock",
                "enable Object Lock on the bucket, or take lock_mode out of the configuration",
            )
        if mode is None and not (configuration.get("Rule") or {}).get("DefaultRetention"):
            self.warn(
                f"records in bucket {bucket} are not locked: an administrator can delete them",
                "set lock_mode and lock_days"
                if enabled
                else "use a bucket with Object Lock, and set lock_mode",
            )

    def public(self) -> None:
        """Whether everybody may read the bucket."""
        policy = self._ask("get_bucket_policy_status", {"NoSuchBucketPolicy"})
        acl = self._ask("get_bucket_acl", set())
        if policy is None or acl is None:
            self.unseen("whether the bucket is public")
        status, grants = policy or {}, (acl or {}).get("Grants") or ()
        grantees = [str(grant.get("Grantee", {}).get("URI", "")) for grant in grants]
        if status.get("PolicyStatus", {}).get("IsPublic") or any(uri.endswith(_EVERYONE) for uri in grantees):
            self.fail(
                f"bucket {self._settings.bucket} is public",
                "block public access: aws s3api put-public-access-block",
            )

    def administration(self) -> None:
        """Whether the login is the account's root user; other servers than AWS have no STS."""
        if self._settings.endpoint_url is not None:
            return
        arn = str(self._session.call(lambda client: client.get_caller_identity()["Arn"], "sts", self.what))
        if arn.endswith(":root"):
            self.fail(
                f"the {self.role} is the account's root user ({arn})",
                "give it an IAM role with a policy of its own",
            )

    def _ask(self, operation: str, absent: set[str]) -> Mapping[str, Any] | None:
        """Ask a question that small policies and small servers do not answer.

        Args:
            operation: The client's method.
            absent: Error codes that mean "nothing of the kind is configured".

        Returns:
            The answer, empty where nothing is configured, ``None`` where there is no answer.
        """
        import botocore.exceptions

        def ask(client: Any) -> Mapping[str, Any] | None:
            try:
                answer: Mapping[str, Any] = getattr(client, operation)(**self._bucket.named())
            except botocore.exceptions.ClientError as error:
                if (code := error_parts(error)[0]) in absent:
                    return {}
                if code in ("NotImplemented", "MethodNotAllowed"):
                    return None
                raise
            return answer

        try:
            return self._session.call(ask, "s3", self.what)
        except Denied:
            return None
