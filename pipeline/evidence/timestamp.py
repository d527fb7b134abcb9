"""Time-stamps of a third party (RFC 3161) for certificates: a host's clock is its own word.

Beside a statement lie ``.tsq``, the request, and ``.tsr``, the answer once there is a good one, with
``.tsa.pem`` where it leaves intermediate certificates out. A request without an answer is pending; the next
drill tries again. An authority that does not answer never fails anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.core import files, http
from pipeline.core.errors import IntegrityProblem, LocalFilesProblem, OrgkeyError, UsageProblem
from pipeline.evidence import cms as token

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from rfc3161_client import TimeStampResponse

    from pipeline.config.sections import Certificates

LARGEST: Final = 256 * 1024
_QUERY: Final = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}


@dataclass(frozen=True)
class Stamped:
    """Whether a certificate is time-stamped.

    Attributes:
        state: ``none``, ``pending`` or ``stamped``.
        at: The authority's time.
        reason: Why it is pending.
    """

    state: str
    at: datetime | None = None
    reason: str | None = None


def ask(statement: Path, settings: Certificates, *, seconds: float) -> Stamped:
    """Ask the authority for a time-stamp, and keep its answer if it is a good one.

    Args:
        statement: The statement's file.
        settings: Which authority, and whom to trust for it.
        seconds: For the request.

    Returns:
        What came of it; a bad answer, or none, leaves the certificate pending.

    Raises:
        LocalFilesProblem: A file cannot be read or written.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    assert settings.timestamp is not None
    body = _bytes(statement)
    builder = TimestampRequestBuilder().data(body).hash_algorithm(HashAlgorithm.SHA256)
    asked = builder.nonce(nonce=True).cert_request(cert_request=True).build()
    # A request that lies there without an answer is what makes it pending, whatever happens from here on.
    files.replace(_request(statement), asked.as_bytes())
    try:
        answer = http.send(
            settings.timestamp,
            asked.as_bytes(),
            _QUERY,
            seconds=seconds,
            limit=LARGEST,
            ca_file=settings.timestamp_tls_ca_file,
        )
        if answer.status != 200:
            raise _bad(f"the authority answered {answer.status}")
        trusted = roots(settings.timestamp_ca_file)
        at = verify(body, answer.body, trusted, asked.nonce)
    except LocalFilesProblem:
        raise
    except OrgkeyError as error:
        return Stamped("pending", reason=error.message)
    missing = _not_in(answer.body, trusted)
    if missing:  # before the answer: where that lies, everything does
        files.replace(_chain(statement), missing)
    try:
        files.write_new(_answer(statement), answer.body)
    except LocalFilesProblem:
        if not _answer(statement).exists():
            raise
        # Another run was faster: drills and `certificate stamp` take no lock. Its answer stays.
    return Stamped("stamped", at)


def ask_all(
    folder: Path, settings: Certificates, *, limit: Callable[[float], float], most: int = 20
) -> dict[str, Stamped]:
    """Try everything in a folder that is pending, newest first; the first failure ends it.

    Args:
        folder: Where certificates lie.
        settings: As for :func:`ask`.
        limit: Cuts seconds to what the run has left.
        most: How many at most.

    Returns:
        What came of each that was tried, by the statement's path.
    """
    found: dict[str, Stamped] = {}
    for statement in pending(folder)[:most]:
        found[str(statement)] = ask(statement, settings, seconds=limit(settings.timestamp_seconds))
        if found[str(statement)].state != "stamped":
            break  # the next one would wait as long
    return found


def pending(folder: Path) -> list[Path]:
    """The statements in a folder that wait for a time-stamp, newest first."""
    if not folder.is_dir():
        return []
    waiting = [
        path.with_suffix("") for path in folder.glob("*.json.tsq") if not path.with_suffix(".tsr").exists()
    ]
    return sorted((path for path in waiting if path.exists()), reverse=True)


def state(statement: Path, trusted: list[Certificate] | None = None) -> Stamped:
    """How a certificate stands.

    Args:
        statement: The statement's file.
        trusted: The authority's roots; without them the time is what the answer says, unchecked.

    Raises:
        IntegrityProblem: The answer that was kept is not over these bytes, or not by a trusted authority.
    """
    if not _answer(statement).exists():
        return Stamped("pending" if _request(statement).exists() else "none")
    answer = _bytes(_answer(statement))
    if trusted is None:
        try:
            at = _decoded(answer).tst_info.gen_time.astimezone(UTC)
        except ValueError as error:
            raise _bad("the answer holds no time-stamp") from error
        return Stamped("stamped", at, "not checked: no authority is trusted")
    if _chain(statement).exists():
        trusted = token.extended(trusted, roots(_chain(statement)))
    return Stamped("stamped", verify(_bytes(statement), answer, trusted))


def verify(body: bytes, answer: bytes, trusted: list[Certificate], nonce: int | None = None) -> datetime:
    """Check an answer of an authority.

    Args:
        body: What was to be stamped.
        answer: The response, DER.
        trusted: Root certificates.
        nonce: The request's, where it is known.

    Returns:
        The authority's time, in UTC.

    Raises:
        IntegrityProblem: It is not a good time-stamp of these bytes.
    """
    from cryptography import x509
    from rfc3161_client import VerifierBuilder
    from rfc3161_client.tsp import PKIStatus

    response = _decoded(answer)
    builder = VerifierBuilder(roots=list(trusted))
    if nonce is not None:
        builder = builder.nonce(nonce)
    try:
        if PKIStatus(response.status) != PKIStatus.GRANTED:
            raise _bad("the authority refused")
        builder.build().verify_message(response, body)
        at = response.tst_info.gen_time
        embedded = [x509.load_der_x509_certificate(one) for one in response.signed_data.certificates]
        if found := token.odd(response.time_stamp_token(), embedded, trusted):
            raise _bad(found)
    except OrgkeyError:
        raise
    except Exception as error:  # an authority's bytes must not end a drill, whatever a library makes of them
        raise _bad(_why(error)) from error
    return at.astimezone(UTC)


def roots(path: str | Path | None) -> list[Certificate]:
    """Read the certificates of whom to trust.

    Raises:
        UsageProblem: None is named, or the file holds none.
    """
    from cryptography import x509

    if path is None:
        raise UsageProblem(
            "no authority is trusted for time-stamps", hint="set certificate.timestamp_ca_file to its CA, PEM"
        )
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageProblem(
            f"{path} holds no certificates: {getattr(error, 'strerror', None) or 'not PEM'}",
            hint="the time-stamp authority publishes its CA certificate; save it as PEM",
        ) from error


def _not_in(answer: bytes, trusted: list[Certificate]) -> bytes:
    """The intermediate certificates that are trusted here and missing in an answer, PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding

    there = _decoded(answer).signed_data.certificates
    return b"".join(
        one.public_bytes(Encoding.PEM)
        for one in trusted
        if one.issuer != one.subject and one.public_bytes(Encoding.DER) not in there
    )


def _why(error: Exception) -> str:
    """The words of an error, without the list of OpenSSL's that a library puts around them."""
    told = re.search(r'Verify error: ?([^"]+)"', str(error)) or re.search(r'reason: "([^"]+)"', str(error))
    if told:
        return told.group(1)
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _decoded(answer: bytes) -> TimeStampResponse:
    from rfc3161_client import decode_timestamp_response

    try:
        return decode_timestamp_response(token.in_order(answer))
    except ValueError as error:
        raise _bad("the answer is not a time-stamp, or not in DER") from error


def _request(statement: Path) -> Path:
    return statement.with_name(f"{statement.name}.tsq")


def _answer(statement: Path) -> Path:
    return statement.with_name(f"{statement.name}.tsr")


def _chain(statement: Path) -> Path:
    return statement.with_name(f"{statement.stem}.tsa.pem")


def _bytes(path: Path) -> bytes:
    with files.os_errors(f"cannot read {path}"):
        return path.read_bytes()


def _bad(why: str) -> IntegrityProblem:
    return IntegrityProblem(
        f"the time-stamp is not good: {why}", hint="check the authority's address and its CA certificate"
    )
