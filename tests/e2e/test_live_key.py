"""The live key at key servers, honest and hostile: the pin holds, time and size are bounded."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.core.text import spaced
from tests.support import key_server
from tests.support import openpgp_writer as writer
from tests.support.commandline import KEYS, Desk, end_gpg, fingerprint_of, gpg, next_second, packets_of
from tests.support.key_server import KeyServer

if TYPE_CHECKING:
    from tests.conftest import Place

CALL_SECONDS = 6.0


def public(key: str) -> bytes:
    """A throwaway key's public part, armored as key servers do."""
    return writer.armor(writer.join(writer.public_of(packets_of(key))), "PUBLIC KEY BLOCK").encode()


def index(*keys: str) -> bytes:
    """A machine-readable index."""
    lines = [
        f"pub:{fingerprint_of(key)}:22:256:1735732800::\nuid:Example Org <org@example.com>:1::\n"
        for key in keys
    ]
    return f"info:1:{len(keys)}\n{''.join(lines)}".encode()


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    desk = Desk(place, tmp_path)
    desk.edit("[policy]\n", f"[policy]\ncall_seconds = {CALL_SECONDS}\n")
    desk.escrow()
    return desk


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server.serving(KeyServer()) as running:
        yield running


def status(desk: Desk, url: str, expect: int, **more: str) -> dict[str, Any]:
    """What `orgkey status` says with a live key there."""
    settings = "".join(f"{name} = {value}\n" for name, value in more.items())
    text = desk.config.read_text()
    head, _, tail = text.partition("[key]\n")
    lines = [line for line in tail.splitlines(True) if not line.startswith(("live", "auto_", "former"))]
    desk.config.write_text(f'{head}[key]\nlive = "{url}"\n{settings}{"".join(lines)}')
    document: dict[str, Any] = desk.ask("status", expect=expect)
    return document


@pytest.fixture
def renewed(desk: Desk) -> bytes:
    """The server's public key after it has renewed itself."""
    home = desk.folder / "server"
    try:
        told = ("--passphrase-file", str(desk.write("pw", writer.PASSPHRASE)))
        gpg(home, *told, "--import", str(KEYS / "ed25519-single.asc"))
        gpg(home, *told, "--quick-set-expire", desk.fingerprint, "2y")
        return gpg(home, "--armor", "--export", desk.fingerprint).stdout
    finally:
        end_gpg(home)


def test_the_same_key_a_renewed_one_and_a_refresh(desk: Desk, server: KeyServer, renewed: bytes) -> None:
    server.key, server.index = public("ed25519"), index("ed25519")
    found = status(desk, server.url, 0)
    assert (found["live"], found["live_reason"], found["live_others"]) == ("same", None, [])
    assert found["renewal"]["state"] == "ahead"
    assert any(desk.fingerprint in path and "op=get" in path for path in server.asked)

    server.key = renewed
    found = status(desk, server.url, 40)
    assert found["live"] == "renewed"
    assert any("orgkey refresh" in rule for rule in found["gate"]["broken"])
    next_second(found["epoch"])
    done = desk.ask("refresh")
    assert (done["refreshed"], done["supersedes"]) == (True, found["epoch"])
    assert status(desk, server.url, 0)["live"] == "same"


def test_the_nodes_of_a_cluster_are_compared(desk: Desk, renewed: bytes) -> None:
    one, two, gone = (
        desk.write("one.asc", public("ed25519")),
        desk.write("two.asc", renewed),
        desk.folder / "gone",
    )
    places = [str(one), str(two)]

    def judged(*places: str, expect: int) -> dict[str, Any]:
        text = desk.config.read_text()
        kept = [line for line in text.splitlines(True) if not line.startswith("live = ")]
        listed = f"[key]\nlive = {json.dumps(places)}\n"
        desk.config.write_text("".join(kept).replace("[key]\n", listed, 1))
        found: dict[str, Any] = desk.ask("status", expect=expect)
        return found

    found = judged(*places, expect=40)
    assert (found["live"], [node["behind"] for node in found["live_nodes"]]) == ("renewed", [True, False])
    assert any(f"{one} gives out an older public part" in rule for rule in found["gate"]["broken"])
    next_second(found["epoch"])
    assert desk.ask("refresh")["refreshed"], "the newest of them is taken"
    found = judged(*places, expect=40)
    (rule,) = found["gate"]["broken"]
    assert (found["live"], f"{one} gives out an older" in rule) == ("same", True)
    one.write_bytes(renewed)
    assert judged(*places, expect=0)["live_nodes"][0] == {
        "place": str(one), "state": "same", "reason": None, "behind": False,
    }  # fmt: skip
    assert str(gone) in judged(*places, str(gone), expect=40)["live_reason"]
    two.write_bytes(public("nistp256"))
    found = judged(*places, expect=40)
    assert (found["live"], found["live_reason"].startswith(f"{two}: another key")) == ("replaced", True)
    findings = desk.ask("doctor", expect=40)["findings"]
    assert [item["level"] for item in findings if item["subject"] == "live key"] == ["ok", "fail"]


def test_watch_refreshes_by_itself_where_that_is_configured(
    desk: Desk, server: KeyServer, renewed: bytes
) -> None:
    server.key = renewed
    before = status(desk, server.url, 40)["epoch"]
    next_second(before)
    seen = desk.ask("watch", "--once", expect=40)
    assert (seen["live"], seen["refreshed"], seen["gate"]["ok"]) == ("renewed", None, False)
    assert status(desk, server.url, 40, auto_refresh="true")["epoch"] == before
    seen = desk.ask("watch", "--once")
    assert (seen["live"], seen["gate"]["ok"], seen["exit_code"]) == ("same", True, 0)
    assert seen["refreshed"] == desk.ask("status")["epoch"] != before
    assert desk.ask("watch", "--once")["refreshed"] is None


def test_another_key_under_the_same_name_is_never_taken(desk: Desk, server: KeyServer) -> None:
    other = fingerprint_of("nistp256")
    # For the pinned fingerprint.
    server.key = public("nistp256")
    found = status(desk, server.url, 40)
    assert (found["live"], other in found["live_reason"]) == ("replaced", True)
    assert desk.run("refresh", expect=14).error[0].endswith(f"is not that of {spaced(desk.fingerprint)}")
    # Instead of it.
    server.key, server.index = None, index("nistp256")
    found = status(desk, server.url, 40)
    assert (found["live"], found["live_others"]) == ("replaced", [other])
    assert any("not covered" in rule for rule in found["gate"]["broken"])
    # A former key under the name is none.
    assert status(desk, server.url, 40, former=f'["{other}"]')["live"] == "unknown"
    # Beside it: told, and no more.
    server.key, server.index = public("ed25519"), index("ed25519", "nistp256")
    found = status(desk, server.url, 0)
    assert (found["live"], found["live_others"]) == ("same", [other])
    assert "another key is listed under its name" in desk.run("status", expect=0).out
    # Both in one answer: the pinned one counts.
    both = writer.join([*writer.public_of(packets_of("nistp256")), *writer.public_of(packets_of("ed25519"))])
    server.key = both
    assert status(desk, server.url, 0)["live"] == "same"


def test_a_revoked_live_key_means_that_another_follows(desk: Desk, server: KeyServer) -> None:
    home = desk.folder / "server"
    try:
        told = ("--passphrase-file", str(desk.write("pw", writer.PASSPHRASE)))
        gpg(home, *told, "--import", str(KEYS / "ed25519-single.asc"))
        made = next((home / "openpgp-revocs.d").glob("*.rev"), None)
        if made is None:
            script = b"y\n0\n\ny\n"
            revocation = gpg(
                home, *told, "--command-fd", "0", "--pinentry-mode", "loopback", "--no-batch", "--gen-revoke",
                desk.fingerprint, stdin=script,
            ).stdout  # fmt: skip
        else:
            revocation = made.read_bytes().replace(b":-----", b"-----")
        gpg(home, "--import", str(desk.write("revocation", revocation)))
        server.key = gpg(home, "--armor", "--export", desk.fingerprint).stdout
    finally:
        end_gpg(home)
    found = status(desk, server.url, 40)
    assert (found["live"], "revoked" in found["live_reason"]) == ("replaced", True)
    for words in ((), ("--dry-run",)):
        assert "revoked" in desk.run("refresh", *words, expect=15).error[0]
    assert [item["epoch"] for item in desk.ask("list")["epochs"]] == [found["epoch"]]


def test_a_new_encryption_subkey_is_not_covered_and_never_refreshed(desk: Desk, server: KeyServer) -> None:
    """Its secret part is not escrowed. A refresh could not take it, round after round."""
    home = desk.folder / "server"
    try:
        told = ("--passphrase-file", str(desk.write("pw", writer.PASSPHRASE)))
        gpg(home, *told, "--import", str(KEYS / "ed25519-single.asc"))
        gpg(home, *told, "--quick-add-key", desk.fingerprint, "cv25519", "encr", "1y")
        server.key = gpg(home, "--armor", "--export", desk.fingerprint).stdout
    finally:
        end_gpg(home)
    found = status(desk, server.url, 40, auto_refresh="true")
    assert (found["live"], "is not escrowed" in found["live_reason"]) == ("replaced", True)
    assert any("not covered" in rule and "escrow it again" in rule for rule in found["gate"]["broken"])
    next_second(found["epoch"])
    for _ in range(2):
        assert desk.ask("watch", "--once", expect=40)["refreshed"] is None
        assert desk.ask("refresh")["refreshed"] is False
    assert [item["epoch"] for item in desk.ask("list")["epochs"]] == [found["epoch"]]
    assert desk.ask("drill")["passed"], "what is escrowed still is good"


@pytest.mark.parametrize("kind", ["garbage", "empty", "nothing", "endless", "slow", "large", "silent"])
def test_a_hostile_server_is_bounded_and_named(desk: Desk, server: KeyServer, kind: str) -> None:
    answers: dict[str, key_server.Answer] = {
        "garbage": bytes(range(256)) * 40, "empty": b"", "nothing": None, "endless": key_server.endless,
        "slow": key_server.slowly(server), "large": b"\x99" * (5 << 20),
        "silent": key_server.silently(server),
    }  # fmt: skip
    server.key = answers[kind]
    started = time.monotonic()
    found = status(desk, server.url, 40)
    assert time.monotonic() - started < 120  # bounded at all; call_seconds is 6
    assert found["live"] == "unknown"
    assert found["live_reason"]
    assert any("cannot be looked up" in rule for rule in found["gate"]["broken"])
    assert found["epoch"]
    # What needs no live key goes on.
    assert desk.ask("drill")["passed"]


def test_a_dead_server_is_unknown(desk: Desk) -> None:
    with key_server.serving(KeyServer()) as server:
        url = server.url
    found = status(desk, url, 40)
    assert found["live"] == "unknown"
    assert "127.0.0.1" in found["live_reason"]
    assert desk.run("refresh", expect=20).error[1]


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback addresses, its own authority; and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address(f"127.0.0.{number}")) for number in (1, 2)]
    )
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(names, critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    ca = folder / "ca.pem"
    ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = folder / "tls.key"
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return ca, secret


def test_hkps_with_an_authority_of_ones_own(desk: Desk, tmp_path: Path) -> None:
    ca, secret = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(ca, secret)
    with key_server.serving(KeyServer(key=public("ed25519")), tls) as server:
        assert status(desk, server.url, 40)["live"] == "unknown", "its authority is not known"
        assert status(desk, server.url, 0, live_ca_file=f'"{ca}"')["live"] == "same"
