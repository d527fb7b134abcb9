"""The stack's S3: versitygw on a directory, with versions and Object Lock."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from string import Template
from typing import Any
from xml.sax.saxutils import escape

from pipeline.core import files
from pipeline.core.environment import clean_environment
from pipeline.core.errors import LocalFilesProblem, Unreachable, UsageProblem
from pipeline.core.resources import infra_path
from pipeline.devstack import wire
from pipeline.devstack.features import S3Trial
from pipeline.devstack.members import StackServer
from pipeline.devstack.outside import Outside
from pipeline.devstack.programs import VERSITYGW, version_of
from pipeline.devstack.state import IDENTITIES, Layout


class S3Server(StackServer):
    """How this member is started and set up.

    Args:
        layout: The stack's files.
        servers: Names the bucket, and an outside server that is used in its place; the profile ``default`` of
            its credentials, if any, is an administrator who may make the bucket.
    """

    name = "s3"
    label = "S3"
    program = VERSITYGW

    def __init__(self, layout: Layout, servers: Outside | None = None) -> None:
        self._servers = servers or Outside()
        super().__init__(layout, self._servers.s3_endpoint)

    def command(self, program: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """Make the server's directories; return its arguments and environment."""
        home = files.private_directory(self.layout.member(self.name))
        data, versions, users = (
            files.private_directory(home / part) for part in ("data", "versions", "users")
        )
        access, secret = wire.read_credentials(self.layout.aws_credentials("root"))
        # The environment is the one way to hand over its root's key that /proc/PID/cmdline does not show.
        env = clean_environment({"HOME": str(home), "ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": secret})
        argv = [str(program), "--quiet", "--port", f"127.0.0.1:{port}", "--region", wire.REGION]
        argv += ["--iam-dir", str(users), "posix", "--versioning-dir", str(versions)]
        if not has_attributes(data):
            argv += ["--sidecar", str(files.private_directory(home / "sidecar"))]
        return [*argv, str(data)], env

    def answers(self, endpoint: str) -> bool:
        """Whether it answers what every S3 is asked, an outside one too: for its buckets, with no login."""
        answer = wire.request(endpoint, "GET", "/", seconds=2)
        return answer is not None and answer[0] < 500

    def version(self, endpoint: str, program: Path) -> str:
        """What the program says: the server does not tell."""
        answer = version_of(program, VERSITYGW.ask)
        return answer.text if answer else ""

    def set_up(self, endpoint: str) -> Mapping[str, Any]:
        """Make users, bucket and bucket policy; at an outside server the bucket, if we may, and try it."""
        bucket = self._servers.s3_bucket
        if self.outside is not None:
            credentials = self._servers.s3_credentials_file or Path()
            try:
                wire.read_credentials(credentials)
            except LocalFilesProblem:  # no administrator: the bucket is there, and is not tried
                return {"bucket": bucket, "lacks": ()}
            _make_bucket(bucket, endpoint, credentials, None)
            return {"bucket": bucket, "lacks": lacks(bucket, endpoint, credentials)}
        users = {}
        for identity in IDENTITIES[1:]:  # all but root
            access, secret = wire.read_credentials(self.layout.aws_credentials(identity))
            self._user(endpoint, access, secret)
            users[identity.upper()] = access
        root = self.layout.aws_credentials("root")
        policy = Template(infra_path("stack", "policies", "s3-bucket.json").read_text())
        _make_bucket(bucket, endpoint, root, policy.substitute(BUCKET=bucket, **users))
        # versitygw calls a bucket's owner by its access key.
        return {"bucket": bucket, "bucket_owner": wire.read_credentials(root)[0]}

    def _user(self, endpoint: str, access: str, secret: str) -> None:
        """Create a user over the admin interface: its command would show the secret in the arguments."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        body = (
            f"<Account><Access>{escape(access)}</Access><Secret>{escape(secret)}</Secret><Role>user</Role></Account>"
        ).encode()
        call = AWSRequest("PATCH", f"{endpoint}/create-user", data=body)
        call.headers["X-Amz-Content-Sha256"] = hashlib.sha256(body).hexdigest()
        root = Credentials(*wire.read_credentials(self.layout.aws_credentials("root")))
        SigV4Auth(root, "s3", wire.REGION).add_auth(call)
        answer = wire.request(
            endpoint, "PATCH", "/create-user", body=body, headers=dict(call.headers.items())
        )
        # 409: it is there already, from an earlier set-up.
        if answer is None or (answer[0] >= 300 and answer[0] != 409):
            raise Unreachable(
                f"the stack's S3 did not make the user {access}: {answer[0] if answer else 'no answer'}",
                hint=f"see {self.layout.log(self.name)}",
            )


def _make_bucket(bucket: str, endpoint: str, credentials: Path, policy: str | None) -> None:
    """Make a bucket with versions and Object Lock, where it is missing."""
    from botocore.exceptions import ClientError

    def make(_: Any) -> None:
        client = wire.boto3_client("s3", endpoint, credentials)
        try:
            client.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                raise
            client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        # Object Lock implies versions; AWS and versitygw both take the second call as confirmation.
        with suppress(ClientError):  # what it comes to is asked for next
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        if client.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
            raise UsageProblem(
                f"{endpoint} keeps no versions, and so lists none (ListObjectVersions): records need them",
                hint="use another server or release",
            )
        if policy is not None:
            client.put_bucket_policy(Bucket=bucket, Policy=policy)

    wire.aws(endpoint, credentials).call(make, "s3", "stack, make the bucket")


def lacks(bucket: str, endpoint: str, credentials: Path) -> tuple[str, ...]:
    """What an S3 does not know of what records need, tried in a bucket.

    Args:
        bucket: The bucket.
        endpoint: The server's URL.
        credentials: An administrator's credentials file.

    Returns:
        Some of :data:`pipeline.devstack.features.FEATURES`.

    Raises:
        OrgkeyError: The server does not answer, or takes no write at all.
    """

    def look(_: Any) -> Mapping[str, bool]:
        return S3Trial(wire.boto3_client("s3", endpoint, credentials), bucket).known()

    known = wire.aws(endpoint, credentials).call(look, "s3", "stack, try what the server knows")
    return tuple(name for name, has in known.items() if not has)


def has_attributes(directory: Path) -> bool:
    """Whether files there can have extended attributes, which versitygw keeps its metadata in."""
    try:
        os.setxattr(directory, "user.orgkey-stack", b"1")
    except OSError:
        return False
    with suppress(OSError):
        os.removexattr(directory, "user.orgkey-stack")
    return True
