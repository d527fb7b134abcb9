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
from typing import Any

from pipeline import __version__
from pipeline.core import files, log, process
from pipeline.core.clock import Deadline, stamp
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.secret import Secret
from pipeline.custody.shares import passphrase, witness
from pipeline.evidence.ledger.drill_results import ProvedItem, Result, slowest
from pipeline.record.verify import Record

STATEMENT = "https://in-toto.io/Statement/v1"
FOLDER = "certificates"
"""Where certificates lie, below the key's state directory."""
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"


def build(record: Record, results: Sequence[Result], *, at: datetime, told: Mapping[str, Any]) -> bytes:
    """Write the statement as canonical JSON (RFC 8785).

    Args:
        record: The record that was drilled.
        results: What its copies proved.
        at: When.
        told: What else the run tells: its ``run``, the ``nonce`` and ``nonce_from`` (``verifier`` or
            ``random``), the ``copies``, the ``rto_objective`` in seconds, ``public_key_from`` (``live`` or
            ``record``), the services' ``requests``, and the ``ledger_head`` before this drill was entered.
    """
    import rfc8785

    own: dict[str, Any] = {
        "schema": "orgkey.drill-details/1",
        "epoch": record.epoch,
        "record_id": record.manifest.record_id,
        "fingerprint": record.fingerprint,
        "at": stamp(at),
        "host": platform.node(),
        "system": platform.platform(),
        "program": f"orgkey-escrow {__version__}",
        "python": platform.python_version(),
        "implementations": versions(),
        "rto_seconds": None if (took := slowest(results)) is None else round(took, 3),
        "results": [ProvedItem.of(result).to_json() for result in results],
    }
    details = rfc8785.dumps(log.document_without_logins({**own, **told}))
    tests = [
        (f"{result.copy}/{result.path}/{name}", proof.ok)
        for result in results
        for name, proof in result.proofs.items()
    ]
    passed = all(ok for _, ok in tests)
    # What restores, but not as it should: by one implementation only, from beside a false version, …
    odd = [f"{one.copy}/{one.path}" for one in results if one.passed and one.code is not Code.OK]
    return written(
        {f"{record.epoch}.tar": record.sha256.hex},
        PREDICATE,
        {
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
    )


def written(subjects: Mapping[str, str], kind: str, predicate: Mapping[str, Any]) -> bytes:
    """An in-toto Statement (v1) as canonical JSON (RFC 8785).

    Args:
        subjects: The SHA-256 of what it is about, in hexadecimal digits, by name.
        kind: The predicate's type, a URI.
        predicate: What is said of them.
    """
    import rfc8785

    document: dict[str, Any] = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()],
        "predicateType": kind,
        "predicate": dict(predicate),
    }
    return rfc8785.dumps(document)


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
