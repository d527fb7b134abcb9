"""Check a drill certificate: both signatures, what it carries, its time-stamp. Offline, and with no config.

What is checked here, a third party can check with gpg, openssl and sha256sum alone.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.core import files
from pipeline.core.clock import Deadline, parse_stamp
from pipeline.core.digest import sha256
from pipeline.core.errors import IntegrityProblem, NotAKey, NotPinned, OrgkeyError
from pipeline.custody.shares import witness
from pipeline.evidence import timestamp
from pipeline.evidence.timestamp import Stamped

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_LARGEST: Final = 8 << 20


@dataclass(frozen=True)
class Checked:
    """A certificate whose signatures hold.

    Attributes:
        path: The statement's file; the signatures lie beside it.
        sha256: Digest of that file.
        at: When the drill was, by the host's clock.
        epoch: Which epoch was drilled.
        record_id: Of the record.
        record_sha256: Of the record.
        result: ``PASSED``, ``WARNED`` or ``FAILED``.
        failed: The names of the proofs that failed.
        warned: What passed with a warning: ``<copy>/<path>``.
        nonce: The verifier's, or a random one.
        host: The host-id of the chain that it vouches for; ``None`` in one of 0.1.
        head: The number of the ledger entry that it vouches for.
        digest: The digest of that entry.
        fingerprint: Whose key signed; ``None`` when no public key was there to check by.
        witness: The witness's public key that it was checked by.
        stamped: Its time-stamp.
        details: Everything that it carries.
    """

    path: Path
    sha256: str
    at: datetime
    epoch: str
    record_id: str
    record_sha256: str
    result: str
    failed: tuple[str, ...]
    warned: tuple[str, ...]
    nonce: str
    host: str | None
    head: int
    digest: str
    fingerprint: str | None
    witness: str
    stamped: Stamped
    details: Mapping[str, Any]


def check(
    path: Path,
    public: bytes | None,
    *,
    trusted: list[Certificate] | None = None,
    deadline: Deadline,
    now: datetime,
) -> Checked:
    """Check a certificate.

    Args:
        path: The statement's file.
        public: The Org Key's public part; without it, who signed stays open.
        trusted: Roots of the time-stamp authority; without them its time stays unchecked.
        deadline: Bounds the work.
        now: The present time.

    Raises:
        IntegrityProblem: Something of it is missing, was changed, or does not fit the rest.
        NotPinned: It is whole, and signed by another key.
        LocalFilesProblem: A file cannot be read.
    """
    body = _bytes(path)
    by_key, by_witness = (_bytes(path.with_name(path.name + ending)) for ending in (".asc", ".sig"))
    pem = _bytes(path.with_name(f"{path.stem}.witness.pem")).decode("ascii", errors="replace")
    witness.verify(pem, body, by_witness)
    fingerprint = None if public is None else signed(public, body, by_key, deadline, now)
    statement, details = contents(body)
    try:
        predicate, (subject,) = statement["predicate"], statement["subject"]
        found = Checked(
            path,
            sha256(body).hex,
            parse_stamp(details["at"]),
            str(details["epoch"]),
            str(details["record_id"]),
            str(subject["digest"]["sha256"]),
            str(predicate["result"]),
            tuple(map(str, predicate["failedTests"])),
            tuple(sorted(map(str, predicate["warnedTests"]))),
            str(details["nonce"]),
            str(details["ledger_head"].get("host") or "") or None,
            int(details["ledger_head"]["sequence"]),
            str(details["ledger_head"]["sha256"]),
            fingerprint,
            pem,
            timestamp.state(path, trusted),
            details,
        )
        about = str(details["fingerprint"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise _odd("it is malformed: not a certificate") from None
    if fingerprint is not None and about != fingerprint:
        raise _odd(f"it speaks of the key {about}")
    return found


def signed(public: bytes, body: bytes, signature: bytes, deadline: Deadline, now: datetime) -> str:
    """The key's fingerprint, where it signed; the armor is what a drill writes, so that no byte is free.

    Raises:
        NotAKey: The public key is not one, whatever the signature is.
        NotPinned: Another key signed.
        IntegrityProblem: The signature is not good.
    """
    from pipeline.openpgp import signing
    from pipeline.openpgp.format import armor
    from pipeline.openpgp.key import parsing

    try:
        key = parsing.read_one(public, "the public key")
    except OrgkeyError as error:
        hint = "give the Org Key's public part alone, from a place that you trust"
        raise type(error)(f"the public key cannot be used: {error.message}", hint=hint) from error
    try:
        packet = armor.dearmor(signature)
    except NotAKey as error:
        raise _odd(error.message) from error
    if armor.armor(packet, "SIGNATURE") != signature:
        raise _odd("the armor of its signature is not as it was issued")
    try:
        signing.verify_detached(public, key.fingerprint, body, signature, deadline=deadline, now=now)
    except IntegrityProblem as error:
        maker = signing.issuer(signature)
        if maker and maker not in {one.public.key_id for one in key.components}:
            raise NotPinned(
                f"it was signed by the key {maker}, not by {key.fingerprint}",
                hint="whose public key is that? get the signer's from a place that you trust",
            ) from error
        raise
    return key.fingerprint


def contents(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The statement and what it carries, the digest of this checked; no signature is.

    Raises:
        IntegrityProblem: It is not a certificate, or was changed.
    """
    try:
        statement = json.loads(body)
        (item,) = statement["predicate"]["configuration"]
        content = base64.b64decode(item["content"], validate=True)
        fits = sha256(content).hex == item["digest"]["sha256"]
        details = json.loads(content)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _odd("it is malformed: not a certificate") from None
    if not fits or not isinstance(details, dict):
        raise _odd("what it carries does not fit its digest")
    return statement, details


def _bytes(path: Path) -> bytes:
    with files.os_errors(f"cannot read {path}"):
        try:
            data = files.read_regular(path, _LARGEST)
        except FileNotFoundError:
            raise _odd(f"{path.name} is missing") from None
    if data is None or len(data) > _LARGEST:
        raise _odd(f"{path.name} is not a file, or too large for a certificate")
    return data


def _odd(why: str) -> IntegrityProblem:
    return IntegrityProblem(
        f"the certificate is not good: {why}", hint="get it again from where it was issued, all its files"
    )
