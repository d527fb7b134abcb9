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
from pathlib import Path

from pipeline import __version__, files
from pipeline.authentic import Record
from pipeline.clock import Deadline, stamp
from pipeline.custody import passphrase, witness
from pipeline.digest import sha256
from pipeline.errors import Code
from pipeline.evidence.ledger import Head
from pipeline.results import Result, result_json
from pipeline.secret import Secret

STATEMENT = "https://in-toto.io/Statement/v1"
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
        ledger_head: The ledger's head before this drill was entered.
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
            "host": platform.node(),
            "program": f"orgkey-escrow {__version__}",
            "python": platform.python_version(),
            "public_key_from": public_from,
            "requests": {service: list(ids) for service, ids in requests.items()},
            "ledger_head": {"sequence": ledger_head.sequence, "sha256": ledger_head.digest.hex},
            "results": [result_json(result) for result in results],
        }
    )
    tests = [
        (f"{result.copy}/{result.path}/{name}", proof.ok)
        for result in results
        for name, proof in result.proofs.items()
    ]
    passed = all(ok for _, ok in tests)
    warned = any(result.code is Code.DEGRADED for result in results)
    return rfc8785.dumps(
        {
            "_type": STATEMENT,
            "subject": [{"name": f"{record.epoch}.tar", "digest": {"sha256": record.sha256.hex}}],
            "predicateType": PREDICATE,
            "predicate": {
                "result": "FAILED" if not passed else "WARNED" if warned else "PASSED",
                "configuration": [
                    {
                        "name": "drill.json",
                        "mediaType": "application/json",
                        "digest": {"sha256": sha256(details).hex},
                        "content": base64.b64encode(details).decode(),
                    }
                ],
                "passedTests": [name for name, ok in tests if ok],
                "warnedTests": [],
                "failedTests": [name for name, ok in tests if not ok],
            },
        }
    )


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
    from pipeline.keys import signing

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
