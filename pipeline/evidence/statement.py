"""The drill certificate: what was proved, signed by what was recovered.

An in-toto Statement (v1) over the record's digest with the test-result predicate (v0.1). Times, proofs
and request ids do not fit that predicate; they lie in a canonical JSON document that the statement
carries, digested, as its configuration. It is signed twice: by the recovered Org Key, and by the witness
key that only a recovered escrow passphrase yields; the Org Key's own holder could make the first alone.
"""

from __future__ import annotations

import base64
import platform
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path

from pipeline import __version__
from pipeline.core import files, process
from pipeline.core.clock import Deadline, stamp
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.secret import Secret
from pipeline.custody.shares import passphrase, witness
from pipeline.evidence.ledger.drill_results import Result, result_json
from pipeline.evidence.ledger.entry import Head
from pipeline.record.verify import Record

STATEMENT = "https://in-toto.io/Statement/v1"
FOLDER = "certificates"
"""Where certificates lie, below the key's state directory."""
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"


def build(
    record: Record,
    results: Sequence[Result],
    *,
    nonce: str,
    at: datetime,
    run: str,
    public_from: str,
    requests: Mapping[str, Sequence[str]],
    ledger_head: Head,
    ledger_host: str,
    copies: Sequence[Mapping[str, str | None]] = (),
    rto_objective: float | None = None,
    nonce_from: str = "random",
) -> bytes:
    """Write the statement as canonical JSON (RFC 8785).

    Args:
        record: The record that was drilled.
        results: What its copies proved.
        nonce: The verifier's, or a random one.
        at: When.
        run: The run's correlation id.
        public_from: Whose public part was judged by: ``live`` or ``record``.
        requests: Request ids by service.
        ledger_head: The head of this host's chain before this drill was entered.
        ledger_host: This host's host-id; empty before its first entry.
        copies: Of each copy its target, domain, location, version and digest.
        rto_objective: The recovery time that the policy allows, in seconds.
        nonce_from: ``verifier`` where somebody gave the nonce, else ``random``.
    """
    import rfc8785

    details = rfc8785.dumps(
        {
            "schema": "orgkey.drill-details/1",
            "epoch": record.epoch,
            "record_id": record.manifest.record_id,
            "fingerprint": record.fingerprint,
            "at": stamp(at),
            "run": run,
            "nonce": nonce,
            "nonce_from": nonce_from,
            "host": platform.node(),
            "system": platform.platform(),
            "program": f"orgkey-escrow {__version__}",
            "python": platform.python_version(),
            "implementations": versions(),
            "copies": [dict(copy) for copy in copies],
            "rto_seconds": round(max((one.seconds.get("total", 0.0) for one in results), default=0.0), 3),
            "rto_objective": rto_objective,
            "public_key_from": public_from,
            "requests": {service: list(ids) for service, ids in requests.items()},
            "ledger_head": {
                "host": ledger_host,
                "sequence": ledger_head.sequence,
                "sha256": ledger_head.digest.hex,
            },
            "results": [result_json(result) for result in results],
        }
    )
    tests = [
        (f"{result.copy}/{result.path}/{name}", proof.ok)
        for result in results
        for name, proof in result.proofs.items()
    ]
    passed = all(ok for _, ok in tests)
    # What restores, but not as it should: by one implementation only, from beside a false version, …
    odd = [f"{one.copy}/{one.path}" for one in results if one.passed and one.code is not Code.OK]
    return rfc8785.dumps(
        {
            "_type": STATEMENT,
            "subject": [{"name": f"{record.epoch}.tar", "digest": {"sha256": record.sha256.hex}}],
            "predicateType": PREDICATE,
            "predicate": {
                "result": "FAILED" if not passed else "WARNED" if odd else "PASSED",
                "configuration": [
                    {
                        "name": "drill.json",
                        "mediaType": "application/json",
                        "digest": {"sha256": sha256(details).hex},
                        "content": base64.b64encode(details).decode(),
                    }
                ],
                "passedTests": [name for name, ok in tests if ok],
                "warnedTests": odd,
                "failedTests": [name for name, ok in tests if not ok],
            },
        }
    )


def versions() -> dict[str, str]:
    """The versions of what proves: the implementations of OpenPGP, and the libraries below them."""
    from cryptography.hazmat.backends.openssl import backend

    found = {"openssl": backend.openssl_version_text().removeprefix("OpenSSL ").partition(" ")[0]}
    for name, distribution in (("pgpy", "pgpy"), ("sequoia", "pysequoia"), ("cryptography", "cryptography")):
        found[name] = metadata.version(distribution)
    try:
        shown = process.run(["gpg", "--version"], timeout=10).stdout.decode(errors="replace")
        found["gnupg"] = shown.partition("\n")[0].rpartition(" ")[2]
    except OrgkeyError:
        found["gnupg"] = "unknown"
    return found


def keep(
    directory: Path, record: Record, body: bytes, raw: Secret, *, now: datetime, deadline: Deadline
) -> Path:
    """Sign a statement with the recovered key and the witness key, and keep all four files.

    Args:
        directory: Where certificates lie.
        record: The record that was drilled.
        body: The statement.
        raw: The recovered escrow passphrase.
        now: The present time.
        deadline: Bounds the signing.

    Returns:
        The statement's file; beside it lie ``.asc`` (``gpg --verify``), ``.sig`` and ``.witness.pem``
        (``openssl pkeyutl -verify``).

    Raises:
        OrgkeyError: The recovered key does not sign, or the files cannot be written.
    """
    from pipeline.openpgp import signing

    signature = signing.sign_detached(
        record.keypair, passphrase.written(raw), record.public, body, deadline=deadline, now=now
    )
    files.private_directory(directory)
    stem = f"{record.epoch}-drilled-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    path = directory / f"{stem}.json"
    files.write_new(directory / f"{stem}.json.asc", signature)
    files.write_new(directory / f"{stem}.json.sig", witness.sign(raw, record.manifest.record_id, body))
    files.write_new(directory / f"{stem}.witness.pem", record.manifest.custody.witness.encode())
    files.write_new(path, body)
    return path
