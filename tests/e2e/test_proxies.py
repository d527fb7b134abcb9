"""Proxies on the way to Vault, S3 and KMS: configured, from the environment, and none that serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from pipeline.devstack import wire
from tests.support.commandline import Desk, environment, orgkey
from tests.support.relays import proxying
from tests.support.secure_stack import NAMES, SecureStack, s3_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Place
    from tests.support.local_stack import Stack

SERVICES = ("vault", "s3", "kms")
LOGIN = "escrow:pass%21word"  # pass!word, as an address has it


@pytest.fixture
def desk(secure: SecureStack, fresh_place: Callable[[Stack], Place], tmp_path: Path) -> Desk:
    made = Desk(fresh_place(secure.stack), tmp_path)
    made.config.write_text(secure.secured(made.config.read_text()))
    return made


def addresses(secure: SecureStack) -> dict[str, str]:
    return {"vault": secure.vault["good"], "s3": secure.s3["good"], "kms": secure.kms["good"]}


def through(desk: Desk, secure: SecureStack, setting: str, value: str, *services: str) -> None:
    """Reach services by a proxy."""
    text = desk.config.read_text()
    for name in services or SERVICES:
        address = addresses(secure)[name]
        assert f'"{address}"' in text
        text = text.replace(f'"{address}"', f'"{address}"\n{setting} = "{value}"')
    desk.config.write_text(text)


def asked(secure: SecureStack) -> dict[str, str]:
    return {name: urlsplit(address).netloc for name, address in addresses(secure).items()}


def test_names_that_only_the_proxy_knows(desk: Desk, secure: SecureStack) -> None:
    ports = {name: urlsplit(address).port or 0 for name, address in addresses(secure).items()}
    with proxying(hosts={NAMES[name]: ports[name] for name in SERVICES}) as proxy:
        through(desk, secure, "proxy", proxy.url)
        for name, address in addresses(secure).items():
            named = address.replace("127.0.0.1", NAMES[name])
            desk.config.write_text(desk.config.read_text().replace(f'"{address}"', f'"{named}"'))
        assert desk.escrow()["proven"]
        desk.ask("drill")
        desk.ask("doctor")
    assert set(proxy.asked) == {f"{NAMES[name]}:{ports[name]}" for name in SERVICES}


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_the_environment_s_proxy(desk: Desk, secure: SecureStack, variable: str) -> None:
    with proxying() as proxy:
        env = environment(desk.folder, **{variable: proxy.url})
        assert desk.escrow(env=env)["proven"]
        assert set(proxy.asked) == set(asked(secure).values())

        proxy.asked.clear()
        desk.ask("drill", env=env | {"NO_PROXY": "127.0.0.1"})
        assert proxy.asked == []

        # What the configuration says goes before the environment.
        through(desk, secure, "proxy", "none", "s3", "kms")
        desk.ask("drill", env=env)
        assert set(proxy.asked) == {asked(secure)["vault"]}


@pytest.mark.parametrize("service", ["vault", "s3"])
def test_a_proxy_that_wants_a_login(desk: Desk, secure: SecureStack, service: str) -> None:
    with proxying(login="escrow:pass!word") as proxy:
        bare = desk.config.read_text()
        through(desk, secure, "proxy", proxy.url, service)
        happened, hint = refused(desk, service)
        assert f"the proxy {proxy.url} on the way to " in happened
        assert "wants a login (407)" in happened
        assert "proxy_file" in hint

        file = desk.write("proxy", proxy.url.replace("http://", f"http://{LOGIN}@").encode())
        desk.config.write_text(bare)
        through(desk, secure, "proxy_file", str(file), service)
        proxy.asked.clear()
        assert desk.escrow()["proven"]
        assert set(proxy.asked) == {asked(secure)[service]}

        proxy.login = "escrow:another"
        run = desk.run("doctor", "-v", "-v", expect=21)
        assert "wants a login (407)" in run.out
        assert f"the address in {file}" in run.out
        for secret in ("pass!word", "pass%21word"):
            assert secret not in run.out + run.err


def refused(desk: Desk, service: str) -> tuple[str, str]:
    """What doctor says of a target that it cannot look at."""
    found = [
        item
        for item in desk.ask("doctor", expect=21)["findings"]
        if item["subject"].startswith(f"target {service}") and item["level"] == "fail"
    ]
    return found[0]["message"], found[0]["hint"]


@pytest.mark.parametrize("service", ["vault", "s3", "kms"])
def test_a_proxy_that_does_not_serve(desk: Desk, secure: SecureStack, service: str) -> None:
    through(desk, secure, "proxy", "http://127.0.0.1:9", service)
    run = desk.run("doctor", expect=20)
    assert "the proxy http://127.0.0.1:9 on the way to " in run.out
    assert "does not serve" in run.out
    assert "proxy in the configuration" in run.out


@pytest.mark.parametrize("service", ["vault", "s3"])
def test_a_proxy_that_does_not_allow_the_host(desk: Desk, secure: SecureStack, service: str) -> None:
    with proxying(closed=("127.0.0.1",)) as proxy:
        through(desk, secure, "proxy", proxy.url, service)
        run = desk.run("doctor", expect=21)
    assert f"the proxy {proxy.url} does not connect to " in run.out
    assert "(403 Forbidden)" in run.out


@pytest.mark.parametrize(
    ("setting", "value", "problem"),
    [
        ("proxy", "http://user:word@127.0.0.1:1", "give proxy_file"),
        ("proxy", "socks5://127.0.0.1:1", "a proxy looks like"),
        ("proxy_file", "garbage", "does not hold a proxy's address"),
        ("proxy_file", "absent", "cannot read the proxy's address"),
    ],
)
def test_a_proxy_that_is_none(
    desk: Desk, secure: SecureStack, setting: str, value: str, problem: str
) -> None:
    desk.write("garbage", b"word-of-the-proxy@nowhere")
    named = value if setting == "proxy" else str(desk.folder / value)
    through(desk, secure, setting, named, "vault")
    run = desk.run("drill", "--from", "vault", expect=2)
    assert problem in run.err
    assert "word" not in run.err.replace("password", "")


def test_a_restore_without_configuration(desk: Desk, secure: SecureStack) -> None:
    """By a proxy, with a client certificate and a private authority: all of it from the environment."""
    escrowed = desk.escrow()
    (location,) = [copy["location"] for copy in escrowed["copies"] if copy["target"] == "vault"]
    port = urlsplit(secure.vault["mutual"]).port or 0
    cert, key = secure.certificates.issue("rescuer", "client")
    named = f"{NAMES['vault']}:{port}"
    access, secret = wire.read_credentials(secure.stack.layout.aws_credentials("driller"))
    with proxying(hosts={NAMES["vault"]: port}) as proxy:
        env = environment(
            desk.folder,
            HTTPS_PROXY=proxy.url,
            NO_PROXY="127.0.0.1",
            VAULT_ADDR=f"https://{named}",
            VAULT_TOKEN=secure.stack.layout.root_token.read_text().strip(),
            VAULT_CACERT=str(secure.certificates.ca),
            VAULT_CLIENT_CERT=str(cert),
            VAULT_CLIENT_KEY=str(key),
            AWS_CA_BUNDLE=str(secure.certificates.ca),
            AWS_ACCESS_KEY_ID=access,
            AWS_SECRET_ACCESS_KEY=secret,
        )
        record = f"vault://{named}{urlsplit(location).path}"
        out = desk.folder / "rescued.asc"
        words = ["--record", record, "--fingerprint", desk.fingerprint, "--out", str(out)]
        words += ["--new-passphrase-file", str(desk.new_passphrase_file)]
        words += ["--allow-address", secure.kms["good"]]
        orgkey(desk.folder, "restore", *words, env=env, expect=0)
        out.unlink()
        del env["VAULT_CLIENT_KEY"]
        run = orgkey(desk.folder, "restore", *words, env=env, expect=21)
    assert "wants a client certificate, and none is configured" in run.err
    assert set(proxy.asked) == {named}


def test_buckets_as_host_names(stack: Stack, place: Place, tmp_path: Path) -> None:
    """The way AWS itself is addressed: the bucket is a part of the name, which only the proxy knows.

    Writing and reading only: versitygw 1.8.0 takes the listing of versions for a key's when it is asked so.
    """
    desk = Desk(place, tmp_path)
    with (
        s3_server(stack, "--virtual-domain", "s3.orgkey.test") as port,
        proxying(hosts={"s3.orgkey.test": port}) as proxy,
    ):
        plain = f'endpoint_url = "{stack.endpoint("s3")}"'
        desk.edit(plain, f'endpoint_url = "http://s3.orgkey.test"\nproxy = "{proxy.url}"')
        desk.edit("path_style = true", "path_style = false")
        copies = desk.escrow("--no-drill")["copies"]
    assert all(copy["verified"] for copy in copies)
    assert set(proxy.asked) == {f"{stack.state.bucket}.s3.orgkey.test:80"}
