"""TLS in earnest: OpenBao and versitygw with certificates of an authority made here, right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.commandline import Desk
from tests.support.secure_stack import OTHER_NAME, SecureStack

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack


@pytest.fixture
def desk(secure: SecureStack, fresh_place: Callable[[Stack], Place], tmp_path: Path) -> Desk:
    return Desk(fresh_place(secure.stack), tmp_path)


def configure(desk: Desk, secure: SecureStack, **how: Any) -> None:
    desk.config.write_text(secure.secured(desk.config.read_text(), **how))


def only(desk: Desk, old: str, new: str) -> None:
    """Change every occurrence in the configuration."""
    text = desk.config.read_text()
    assert old in text
    desk.config.write_text(text.replace(old, new))


def test_everything_over_tls(desk: Desk, secure: SecureStack) -> None:
    configure(desk, secure)
    assert "http://" not in desk.config.read_text()
    assert desk.escrow()["proven"]
    desk.ask("drill")
    desk.restore()
    report = desk.ask("doctor")
    found = [item["level"] for item in report["findings"] if item["subject"] == "certificates"]
    assert found == ["warn"] * 3, report  # they last 30 days, and 60 are asked for


# What is said of a server, whichever service it is: which one, the authority, the problem, the hint.
UNTRUSTED = (
    ("good", "none", "authority that is not trusted here (", "ca_file"),
    (
        "good",
        "other",
        "authority that is not trusted here (",
        "other-ca.pem does not hold that authority",
    ),
    ("expired", "right", "expired certificate; it expired 20", "renew the server's certificate"),
    ("elsewhere", "right", f"another host name ({OTHER_NAME})", "have one made for 127.0.0.1"),
    ("reverse", "right", "speaks TLS, and was asked without", "https://"),
)


@pytest.mark.parametrize(
    ("which", "ca", "problem", "hint"),
    [
        *UNTRUSTED,
        ("old", "right", "no version of TLS that is accepted", "TLS 1.2"),
        ("plain", "right", "does not speak TLS", "scheme of address"),
    ],
)
def test_a_vault_that_is_not_the_trusted_one(
    desk: Desk, secure: SecureStack, which: str, ca: str, problem: str, hint: str
) -> None:
    plain = secure.stack.endpoint("vault")
    address = {
        "plain": plain.replace("http:", "https:"),
        "reverse": secure.vault["good"].replace("https:", "http:"),
    }.get(which) or secure.vault[which]
    trusted = {"none": None, "other": secure.certificates.other_ca, "right": secure.certificates.ca}[ca]
    only(desk, f'"{plain}"', f'"{address}"' + (f'\nca_file = "{trusted}"' if trusted else ""))
    run = desk.run("verify", "-v", expect=20)
    happened, told = desk.run("drill", "--from", "vault", expect=20).error
    for text, wanted in ((happened, problem), (told, hint), (happened, address)):
        assert wanted in text, (happened, told)
    assert "attempt 1 failed" not in run.err, "a certificate does not mend itself: one attempt"


@pytest.mark.parametrize(
    ("which", "ca", "problem", "hint"),
    [
        *UNTRUSTED,
        ("plain", "right", "does not speak TLS", "scheme of endpoint_url"),
    ],
)
@pytest.mark.parametrize("service", ["s3", "kms"])
def test_an_aws_service_that_is_not_the_trusted_one(
    desk: Desk, secure: SecureStack, service: str, which: str, ca: str, problem: str, hint: str
) -> None:
    plain = secure.stack.endpoint(service)
    there = secure.s3 if service == "s3" else secure.kms
    address = {
        "plain": plain.replace("http:", "https:"),
        "reverse": there["good"].replace("https:", "http:"),
    }.get(which) or there[which]
    trusted = {"none": None, "other": secure.certificates.other_ca, "right": secure.certificates.ca}[ca]
    only(desk, f'"{plain}"', f'"{address}"' + (f'\nca_file = "{trusted}"' if trusted else ""))
    run = desk.run("doctor", "-v", expect=20)
    assert problem in run.out, run
    assert hint in run.out, run
    assert address in run.out, run
    assert "attempt 1 failed" not in run.err, "a certificate does not mend itself: one attempt"


@pytest.mark.parametrize(
    ("client", "code", "problem", "hint"),
    [
        ("right", 0, "", ""),
        ("none", 21, "wants a client certificate, and none is configured", "client_cert_file"),
        ("wrong", 21, "refuses the client certificate in ", "signed by"),
        ("expired", 21, "it expired 20", "renew the client certificate"),
    ],
)
def test_a_vault_that_wants_a_client_certificate(
    desk: Desk, secure: SecureStack, client: str, code: int, problem: str, hint: str
) -> None:
    pair = None
    if client != "none":
        other = secure.certificates.other if client == "wrong" else None
        days = -3 if client == "expired" else 30
        pair = secure.certificates.issue(f"client-{client}", "client", days=days, by=other)
    configure(desk, secure, vault="mutual")
    if pair:
        address = f'"{secure.vault["mutual"]}"'
        only(desk, address, f'{address}\nclient_cert_file = "{pair[0]}"\nclient_key_file = "{pair[1]}"')
    if code == 0:
        assert desk.escrow()["proven"]
        desk.ask("drill")
        return
    for command in ("escrow", "doctor"):
        words = (str(desk.export), "--export-passphrase-file", str(desk.passphrase_file))
        run = desk.run(command, *(words if command == "escrow" else ()), expect=code)
        said = run.out + run.err
        assert problem in said, run
        assert hint in said, run
        if pair:
            assert str(pair[0]) in said


@pytest.mark.parametrize(
    ("setting", "make", "problem"),
    [
        ("ca_file", "absent", "does not exist"),
        ("ca_file", "garbage", "holds no certificate"),
        ("client_cert_file", "absent", "cannot be read"),
        ("client_cert_file", "garbage", "no client certificate and key that can be used"),
        ("client_key_file", "another", "is not that of the certificate"),
        ("client_key_file", "passphrase", "no client certificate and key that can be used"),
    ],
)
def test_files_that_cannot_be_used(
    desk: Desk, secure: SecureStack, setting: str, make: str, problem: str
) -> None:
    from cryptography.hazmat.primitives import serialization as ser

    cert, key = secure.certificates.issue("client-files", "client")
    bad = desk.folder / "bad.pem"
    if make == "garbage":
        bad.write_text("nothing of the kind\n")
    elif make == "another":
        bad.write_bytes(secure.certificates.issue("client-another", "client")[1].read_bytes())
    elif make == "passphrase":
        loaded = ser.load_pem_private_key(key.read_bytes(), None)
        hidden = ser.BestAvailableEncryption(b"told nobody")
        bad.write_bytes(loaded.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, hidden))
    files = {"ca_file": secure.certificates.ca, "client_cert_file": cert, "client_key_file": key}
    files[setting] = bad
    lines = "".join(f'\n{name} = "{path}"' for name, path in files.items())
    plain = f'"{secure.stack.endpoint("vault")}"'
    only(desk, plain, f'"{secure.vault["mutual"]}"{lines}')
    happened, _ = desk.run("drill", "--from", "vault", expect=2).error
    assert problem in happened
    assert str(bad) in happened


def test_doctor_warns_before_certificates_expire(desk: Desk, secure: SecureStack) -> None:
    cert, key = secure.certificates.issue("client-soon", "client", days=4)
    configure(desk, secure, vault="soon", s3="soon")
    address = f'"{secure.vault["soon"]}"'
    only(desk, address, f'{address}\nclient_cert_file = "{cert}"\nclient_key_file = "{key}"')
    only(desk, "[policy]", "[policy]\ncertificate_warning_days = 10")
    found = [
        (item["level"], item["message"].rpartition(" expires ")[0])
        for item in desk.ask("doctor", expect=0)["findings"]
        if item["subject"] == "certificates"
    ]
    assert set(found) == {
        ("warn", f"the certificate of {secure.s3['soon']}"),
        ("warn", f"the certificate of {secure.vault['soon']}"),
        ("warn", f"the client certificate in {cert}"),
    }
    only(desk, "certificate_warning_days = 10", "certificate_warning_days = 3")
    (fine,) = [item for item in desk.ask("doctor", expect=0)["findings"] if item["subject"] == "certificates"]
    assert fine["level"] == "ok"
    assert fine["message"].startswith("4 seen")
