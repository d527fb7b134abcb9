"""Logins at AWS by the chain of its own tools, through whole escrows and drills on the stack.

The stack's KMS takes sessions; its S3 knows no session tokens, so there the keys stay in a file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pipeline.devstack import wire
from tests.support import sts
from tests.support.commandline import Desk
from tests.support.scripted_server import Answer, Asked, ScriptedServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Place

ROLES = ("writer", "driller")
ARN = "arn:aws:iam::123456789012:role/orgkey-{role}"
SERVICES = """
[services here]
sts =
  endpoint_url = {sts}
"""


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    return Desk(place, tmp_path)


def grant(desk: Desk) -> Callable[[Asked], Answer]:
    """An STS that gives each role the stack's own credentials of that identity."""

    def answer(asked: Asked) -> Answer:
        role = sts.form(asked)["RoleArn"].rpartition("-")[2]
        keys = wire.read_credentials(desk.stack.layout.aws_credentials(role))
        return sts.credentials(asked, *keys)

    return answer


def use(desk: Desk, config: str) -> Path:
    """Log in to KMS by profiles of one file, named as the identities are."""
    file = desk.write("aws-config", config.encode())
    logins = "".join(
        f'[identity.{role}.at.aws]\nprofile = "{role}"\nconfig_file = "{file}"\n' for role in ROLES
    )
    desk.edit("[policy]", f"{logins}\n[policy]")
    return file


def test_a_role_to_assume(desk: Desk) -> None:
    profiles = "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = base-secret\n"
    for role in ROLES:
        profiles += (
            f"[profile {role}]\nrole_arn = {ARN.format(role=role)}\nsource_profile = base\nservices = here\n"
        )
    with ScriptedServer(grant(desk)) as server:
        use(desk, profiles + SERVICES.format(sts=server.url))
        assert desk.escrow()["proven"]
        desk.ask("drill")
    asked = [sts.form(item) for item in server.asked]
    assert {item["Action"] for item in asked} == {"AssumeRole"}
    assert {item["RoleArn"] for item in asked} == {ARN.format(role=role) for role in ROLES}
    assert all("Credential=BASE/" in item.headers["Authorization"] for item in server.asked)


def test_a_web_identity(desk: Desk) -> None:
    profiles = ""
    for role in ROLES:
        token = desk.write(f"{role}.jwt", f"token-of-{role}".encode())
        profiles += f"[profile {role}]\nrole_arn = {ARN.format(role=role)}\n"
        profiles += f"web_identity_token_file = {token}\nservices = here\n"
    with ScriptedServer(grant(desk)) as server:
        use(desk, profiles + SERVICES.format(sts=server.url))
        assert desk.escrow()["proven"]
        first = len(server.asked)
        desk.write("driller.jwt", b"renewed-token")
        desk.ask("drill")
    asked = [sts.form(item) for item in server.asked]
    assert {item["Action"] for item in asked} == {"AssumeRoleWithWebIdentity"}
    assert {item["WebIdentityToken"] for item in asked[first:]} == {"renewed-token"}

    refused = sts.refusal("ExpiredTokenException", "Token expired: current date/time must be before", 400)
    with ScriptedServer(lambda asked: refused) as server:
        use_again = desk.folder / "aws-config"
        use_again.write_text(profiles + SERVICES.format(sts=server.url))
        run = desk.run("drill", "--from", "s3", expect=21)
        assert "AWS does not log the driller in (AssumeRoleWithWebIdentity, ExpiredTokenException" in run.out
        assert "renewed-token" not in run.out + run.err


def test_environment_of_a_pod(desk: Desk) -> None:
    """Roles for service accounts hand over everything by the environment; no identity is configured."""
    token = desk.write("pod.jwt", b"token-of-the-pod")
    desk.edit("[identity.driller.aws]", "[identity.driller.at.s3]")
    with ScriptedServer(grant(desk)) as server:
        from tests.support.commandline import environment

        told = {
            "AWS_ROLE_ARN": ARN.format(role="driller"),
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ENDPOINT_URL_STS": server.url,
            "AWS_REGION": "eu-central-1",
        }
        assert desk.escrow(env=environment(desk.folder, **told))["proven"]
        assert {sts.form(item)["WebIdentityToken"] for item in server.asked} == {"token-of-the-pod"}

        token.unlink()
        run = desk.run("drill", "--from", "s3", env=environment(desk.folder, **told), expect=2)
        assert f"cannot read {token}" in run.out
