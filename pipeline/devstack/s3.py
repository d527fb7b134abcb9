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
from pipeline.core.errors import LocalFilesProblem, Unreachable
from pipeline.core.process import clean_environment
from pipeline.core.resources import infra_path
from pipeline.devstack import wire
from pipeline.devstack.members import StackServer
from pipeline.devstack.programs import VERSITYGW, told
from pipeline.devstack.state import IDENTITIES, Layout


class S3Server(StackServer):
    """How this member is started and set up.

    Args:
        layout: The stack's files.
        outside: URL of somebody else's server that is used in its place.
        bucket: The bucket's name.
        credentials: A credentials file of an outside server; its profile ``default``, if any, is an
            administrator who may make the bucket.
    """

    name = "s3"
    label = "S3"

    program = VERSITYGW

    def __init__(
        self,
        layout: Layout,
        outside: str | None = None,
        *,
        bucket: str = "orgkey",
        credentials: Path | None = None,
    ) -> None:
        super().__init__(layout, outside)
        self._bucket = bucket
        self._credentials = credentials

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
        answer = told(program, VERSITYGW.ask)
        return answer.text if answer else ""

    def set_up(self, endpoint: str) -> Mapping[str, Any]:
        """Make users, bucket and bucket policy; at an outside server the bucket, if we may."""
        if self.outside is not None:
            with suppress(LocalFilesProblem), wire.aws_errors():  # no such profile: the bucket is there
                make_bucket(wire.aws_client("s3", endpoint, self._credentials or Path()), self._bucket)
            return {"bucket": self._bucket}
        users = {}
        for identity in IDENTITIES[1:]:  # all but root
            access, secret = wire.read_credentials(self.layout.aws_credentials(identity))
            self._user(endpoint, access, secret)
            users[identity.upper()] = access
        client = wire.aws_client("s3", endpoint, self.layout.aws_credentials("root"))
        policy = Template(infra_path("stack", "policies", "s3-bucket.json").read_text())
        with wire.aws_errors():
            make_bucket(client, self._bucket)
            client.put_bucket_policy(
                Bucket=self._bucket, Policy=policy.substitute(BUCKET=self._bucket, **users)
            )
        # versitygw calls a bucket's owner by its access key.
        owner, _ = wire.read_credentials(self.layout.aws_credentials("root"))
        return {"bucket": self._bucket, "bucket_owner": owner}

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


def make_bucket(client: Any, bucket: str) -> None:
    """Make a bucket with versions and Object Lock, where it is missing."""
    from botocore.exceptions import ClientError

    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
            raise
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    # Object Lock implies versions; AWS and versitygw both take the second call as confirmation.
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def has_attributes(directory: Path) -> bool:
    """Whether files there can have extended attributes, which versitygw keeps its metadata in."""
    try:
        os.setxattr(directory, "user.orgkey-stack", b"1")
    except OSError:
        return False
    with suppress(OSError):
        os.removexattr(directory, "user.orgkey-stack")
    return True
