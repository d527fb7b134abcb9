"""A drill certificate, as a third party checks it: with gpg, openssl and sha256sum only."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.record.tar import unpack
from tests.conftest import Place
from tests.support.commandline import Desk, end_gpg, gpg


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    return Desk(place, tmp_path, key="ed25519")


def openssl_verifies(pem: Path, data: Path, signature: Path) -> bool:
    done = subprocess.run(
        [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            pem,
            "-rawin",
            "-in",
            data,
            "-sigfile",
            signature,
        ],
        capture_output=True,
        timeout=30,
        check=False,
    )
    return done.returncode == 0


def test_a_third_party_can_check_both_signatures_and_what_is_said(desk: Desk, tmp_path: Path) -> None:
    escrowed = desk.escrow()
    drilled = desk.ask("drill", "--nonce", "auditor-4711")
    certificate = Path(drilled["certificate"])
    signature, witnessed = certificate.with_suffix(".json.asc"), certificate.with_suffix(".json.sig")
    pem = certificate.with_name(certificate.name.removesuffix(".json") + ".witness.pem")

    statement = json.loads(certificate.read_bytes())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["subject"] == [
        {"name": f"{escrowed['epoch']}.tar", "digest": {"sha256": escrowed["record_sha256"]}}
    ]
    assert statement["predicate"]["result"] == "PASSED"
    assert statement["predicate"]["failedTests"] == []
    assert "vault/unattended/certify" in statement["predicate"]["passedTests"]

    (entry,) = statement["predicate"]["configuration"]
    details_bytes = base64.b64decode(entry["content"])
    assert hashlib.sha256(details_bytes).hexdigest() == entry["digest"]["sha256"]
    details = json.loads(details_bytes)
    assert details["nonce"] == "auditor-4711"
    assert details["public_key_from"] == "record"
    assert details["requests"]["vault"]
    assert details["requests"]["aws"]
    assert {result["copy"] for result in details["results"]} == {"vault", "s3"}
    # The ledger's head at that time is the digest of a file that is still there.
    head = details["ledger_head"]
    entry_file = desk.state / desk.fingerprint / "ledger" / head["host"] / f"{head['sequence']:09d}.json"
    assert hashlib.sha256(entry_file.read_bytes()).hexdigest() == head["sha256"]

    # The recovered key's signature, checked with the public key out of the stored record.
    record = desk.at_vault.target("driller").get(desk.slot(escrowed["epoch"]))
    members = unpack(record)
    assert hashlib.sha256(record).hexdigest() == escrowed["record_sha256"]
    home = tmp_path / "third"
    try:
        gpg(home, "--import", stdin=members["public.asc"])
        shown = gpg(home, "--status-fd", "1", "--verify", str(signature), str(certificate)).stdout.decode(
            errors="replace"
        )
    finally:
        end_gpg(home)
    valid = next(line for line in shown.splitlines() if "VALIDSIG" in line)
    assert valid.split()[-1] == desk.fingerprint

    # The witness's: its public key is the one in the signed manifest.
    assert json.loads(members["manifest.json"])["custody"]["witness"] == pem.read_text()
    assert openssl_verifies(pem, certificate, witnessed)
    forged = tmp_path / "forged.json"
    forged.write_bytes(certificate.read_bytes().replace(b"PASSED", b"FAILED"))
    assert not openssl_verifies(pem, forged, witnessed)


def test_a_live_key_that_was_renewed_is_what_a_drill_judges_by(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path, key="expired")
    desk.escrow("--accept", "expired")
    plain = desk.ask("drill")
    assert {result["expired_public"] for result in plain["results"]} == {True}
    renewed = Path(__file__).parents[1] / "assets" / "keys" / "renewed-two-block.asc"
    live = tmp_path / "live.asc"
    shutil.copy(renewed, live)
    desk.edit("[key]\n", f"[key]\nlive = {json.dumps(str(live))}\n")
    drilled = desk.ask("drill")
    assert {result["expired_public"] for result in drilled["results"]} == {False}
    status = desk.ask("status", expect=40)
    assert status["live"] == "renewed"
    # A restore hands out the newer self-signatures, so that the key can be used at once.
    desk.restore()
    home = tmp_path / "after"
    try:
        gpg(
            home,
            "--import",
            "--passphrase-file",
            str(desk.new_passphrase_file),
            str(tmp_path / "restored.asc"),
        )
        listed = gpg(home, "--with-colons", "--list-secret-keys", desk.fingerprint).stdout.decode(
            errors="replace"
        )
    finally:
        end_gpg(home)
    secret = next(line for line in listed.splitlines() if line.startswith("sec:"))
    assert secret.split(":")[1] != "e"
