"""Every way to log in to Vault, on a real OpenBao: an escrow and a drill by each, and what goes wrong."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.logins import use
from tests.support.commandline import Desk
from tests.support.scripted_server import Answer, Asked, ScriptedServer
from tests.support.secure_stack import SecureStack, server_context
from tests.support.tokens import Issuer

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

ROLES = ("writer", "driller")
AUDIENCE = "https://vault.example.com"


@pytest.fixture
def desk(secure: SecureStack, fresh_place: Callable[[Stack], Place], tmp_path: Path) -> Desk:
    made = Desk(fresh_place(secure.stack), tmp_path)
    made.config.write_text(secure.secured(made.config.read_text()))
    return made


@pytest.fixture
def mounted(secure: SecureStack) -> Iterator[Callable[[str], tuple[Any, str]]]:
    """Enable an auth method at a mount of this test's own; root's client, and the mount."""
    client = secure.stack.vault("root")
    made: list[str] = []

    def enable(method: str) -> tuple[Any, str]:
        mount = f"{method}-{uuid.uuid4().hex[:8]}"
        client.sys.enable_auth_method(method, path=mount)
        made.append(mount)
        return client, mount

    yield enable
    for mount in made:
        client.sys.disable_auth_method(mount)


def grants(role: str) -> dict[str, Any]:
    return {"token_policies": [f"orgkey-{role}"], "token_no_default_policy": True, "token_ttl": "20m"}


class Jwt:
    """The method ``jwt`` with two roles, and tokens in files."""

    def __init__(self, desk: Desk, mounted: Callable[[str], tuple[Any, str]]) -> None:
        self.desk = desk
        self.issuer = Issuer()
        client, self.mount = mounted("jwt")
        client.write_data(
            f"auth/{self.mount}/config", data={"jwt_validation_pubkeys": [self.issuer.public_pem]}
        )
        for role in ROLES:
            bound = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": [AUDIENCE]}
            bound["bound_subject"] = f"job:{role}"
            client.write_data(f"auth/{self.mount}/role/orgkey-{role}", data=bound | grants(role))
            self.write(role)
            use(
                desk,
                role,
                method="jwt",
                role=f"orgkey-{role}",
                jwt_file=str(self.file(role)),
                mount=self.mount,
            )

    def file(self, role: str) -> Path:
        return self.desk.folder / f"{role}.jwt"

    def write(self, role: str, **claims: Any) -> str:
        token = self.issuer.token(**{"sub": f"job:{role}", "aud": AUDIENCE, **claims})
        self.desk.write(f"{role}.jwt", token.encode())
        return token


def test_jwt(desk: Desk, mounted: Callable[[str], tuple[Any, str]]) -> None:
    login = Jwt(desk, mounted)
    assert desk.escrow()["proven"]
    # The issuer renews tokens in place: the next run takes the one that lies there then.
    login.write("driller", jti="renewed")
    desk.ask("drill")
    assert desk.ask("doctor")["exit_code"] == 0


@pytest.mark.parametrize(
    ("wrong", "problem", "hint"),
    [
        ("expired", "refuses the driller's JWT login (", "; expired 20"),
        ("audience", "refuses the driller's JWT login (", "(audience https://elsewhere.example; valid until"),
        ("subject", "refuses the driller's JWT login (", "subject"),
        ("forged", "refuses the driller's JWT login (", "accept this issuer"),
        ("nonsense", "refuses the driller's JWT login (", "it is not a JSON web token"),
        ("role", "refuses the driller's JWT login (", "check the role nobody at auth/jwt-"),
        ("mount", "refuses the driller's JWT login (", "at auth/nowhere"),
    ],
)
def test_a_jwt_that_is_refused(
    desk: Desk, mounted: Callable[[str], tuple[Any, str]], wrong: str, problem: str, hint: str
) -> None:
    login = Jwt(desk, mounted)
    token = {
        "expired": lambda: login.write("driller", seconds=-1800),
        "audience": lambda: login.write("driller", aud="https://elsewhere.example"),
        "subject": lambda: login.write("driller", sub="job:another"),
    }.get(wrong, lambda: login.write("driller"))()
    if wrong == "forged":
        token = Issuer().token(sub="job:driller", aud=AUDIENCE)
        desk.write("driller.jwt", token.encode())
    elif wrong == "nonsense":
        desk.write("driller.jwt", b"nonsense")
    settings = {"role": "orgkey-driller", "mount": login.mount}
    settings |= {"role": "nobody"} if wrong == "role" else {}
    settings |= {"mount": "nowhere"} if wrong == "mount" else {}
    use(desk, "driller", method="jwt", jwt_file=str(login.file("driller")), **settings)
    run = desk.run("drill", "--from", "vault", "-v", expect=21)
    happened, told = run.error
    assert problem in happened
    assert hint in told
    assert str(login.file("driller")) in told
    assert token not in run.out + run.err
    assert token.split(".")[-1] not in run.out + run.err


def test_a_jwt_file_that_is_not_there(desk: Desk, mounted: Callable[[str], tuple[Any, str]]) -> None:
    login = Jwt(desk, mounted)
    login.file("driller").unlink()
    happened, _ = desk.run("drill", "--from", "vault", expect=2).error
    assert str(login.file("driller")) in happened


class Kubernetes:
    """A cluster's API server as far as TokenReview goes, and the method ``kubernetes`` that asks it."""

    def __init__(self, desk: Desk, secure: SecureStack, mounted: Callable[[str], tuple[Any, str]]) -> None:
        self.desk = desk
        self.issuer = Issuer()
        self.valid: dict[str, str] = {}
        self.server = ScriptedServer(
            self._review, server_context(*secure.certificates.issue(f"cluster-{uuid.uuid4().hex[:6]}"))
        )
        client, self.mount = mounted("kubernetes")
        client.write_data(
            f"auth/{self.mount}/config",
            data={
                "kubernetes_host": self.server.url,
                "kubernetes_ca_cert": secure.certificates.ca.read_text(),
                "token_reviewer_jwt": self.issuer.token(sub="reviewer"),
                "disable_local_ca_jwt": True,
            },
        )
        for role in ROLES:
            bound = {
                "bound_service_account_names": [f"orgkey-{role}"],
                "bound_service_account_namespaces": ["escrow"],
                "audience": AUDIENCE,
            }
            client.write_data(f"auth/{self.mount}/role/orgkey-{role}", data=bound | grants(role))
            self.write(role)
            use(
                desk,
                role,
                method="kubernetes",
                role=f"orgkey-{role}",
                jwt_file=str(desk.folder / f"{role}.jwt"),
                mount=self.mount,
            )

    def write(self, role: str, *, audience: str = AUDIENCE, known: bool = True, seconds: float = 600) -> None:
        account = {"name": f"orgkey-{role}", "uid": f"uid-{role}"}
        token = self.issuer.token(
            seconds=seconds,
            iss="https://kubernetes.default.svc",
            aud=[audience],
            sub=f"system:serviceaccount:escrow:orgkey-{role}",
            **{"kubernetes.io": {"namespace": "escrow", "serviceaccount": account}},
        )
        if known:
            self.valid[token] = role
        self.desk.write(f"{role}.jwt", token.encode())

    def _review(self, asked: Asked) -> Answer:
        assert asked.path == "/apis/authentication.k8s.io/v1/tokenreviews"
        role = self.valid.get(json.loads(asked.body)["spec"]["token"])
        status: dict[str, Any] = {"authenticated": False, "error": "token is not known"}
        if role is not None:
            user = {"username": f"system:serviceaccount:escrow:orgkey-{role}", "uid": f"uid-{role}"}
            groups = ["system:serviceaccounts", "system:serviceaccounts:escrow", "system:authenticated"]
            status = {"authenticated": True, "user": {**user, "groups": groups}, "audiences": [AUDIENCE]}
        document = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}
        return Answer(201, json.dumps(document).encode())


def test_kubernetes(desk: Desk, secure: SecureStack, mounted: Callable[[str], tuple[Any, str]]) -> None:
    cluster = Kubernetes(desk, secure, mounted)
    with cluster.server as server:
        assert desk.escrow()["proven"]
        desk.ask("drill")
        assert len(server.asked) >= 2

        # A projected token is renewed by the kubelet; the old one is no longer known.
        cluster.valid.clear()
        cluster.write("driller")
        desk.ask("drill")

        cluster.write("driller", known=False)
        happened, told = desk.run("drill", "--from", "vault", expect=21).error
        assert "refuses the driller's Kubernetes login" in happened
        assert f"at auth/{cluster.mount}" in told
        assert "driller.jwt (audience" in told

        cluster.write("driller", audience="https://elsewhere.example")
        happened, told = desk.run("drill", "--from", "vault", expect=21).error
        assert "audience" in happened
        assert "https://elsewhere.example" in told


def test_certificates(desk: Desk, secure: SecureStack, mounted: Callable[[str], tuple[Any, str]]) -> None:
    client, mount = mounted("cert")
    for role in ROLES:
        cert, key = secure.certificates.issue(f"login-{role}", f"{role}.clients.example")
        bound = {"certificate": secure.certificates.ca.read_text()}
        bound["allowed_common_names"] = f"login-{role}.example"
        client.write_data(f"auth/{mount}/certs/orgkey-{role}", data=bound | grants(role))
        use(desk, role, client_cert_file=str(cert), client_key_file=str(key), mount=mount)
    assert desk.escrow()["proven"]
    desk.ask("drill")

    # The writer's certificate does not open the driller's role.
    mine = {
        f"client_{what}_file": str(secure.certificates.folder / f"login-writer.{end}")
        for what, end in (("cert", "pem"), ("key", "key"))
    }
    use(desk, "driller", method="cert", role="orgkey-driller", mount=mount, **mine)
    happened, told = desk.run("drill", "--from", "vault", expect=21).error
    assert "refuses the driller's certificate login" in happened
    assert "the role orgkey-driller at auth/" in told
    assert "login-writer.pem, valid until 20" in told


def test_one_way_for_each_identity(desk: Desk, tmp_path: Path) -> None:
    ways: list[tuple[dict[str, str], str]] = [
        ({"token_file": "t", "role_id_file": "r", "secret_id_file": "s"}, "several ways to log in"),
        ({"role_id_file": "r"}, "secret_id_file is missing"),
        ({"method": "kubernetes"}, "a login by kubernetes needs role"),
        ({"method": "jwt", "role": "r"}, "jwt_file is missing"),
        ({"method": "jwt", "role": "r", "jwt_file": "j", "token_file": "t"}, "token_file is not a setting"),
        ({"role": "r"}, "give role_id_file and secret_id_file"),
        ({"method": "magic"}, "method is not one of approle, token, kubernetes, jwt, cert"),
    ]
    whole = desk.config.read_text()
    for settings, problem in ways:
        desk.config.write_text(whole)
        use(desk, "driller", **settings)
        happened, _ = desk.run("list", expect=2).error
        assert "[identity.driller" in happened
        assert "vault" in happened
        assert problem in happened, happened
