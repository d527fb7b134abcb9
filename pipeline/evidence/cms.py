"""Inside a time-stamp's token: the order of its certificates, and what its signature does not cover.

In a CMS signature (RFC 5652) some fields lie outside of what is signed, and libraries pass over them: two
version numbers, the name of the signature's algorithm, and certificates that a chain does not need. None
of them changes what the time-stamp says; but a file that was altered is not to pass as one that was not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_ALGORITHMS: Final = {
    # Digest algorithm: what ECDSA and RSA are called with it (RFC 5754), as the bytes of the identifiers.
    "608648016503040201": {"2a8648ce3d040302", "2a864886f70d01010b"},
    "608648016503040202": {"2a8648ce3d040303", "2a864886f70d01010c"},
    "608648016503040203": {"2a8648ce3d040304", "2a864886f70d01010d"},
}
_BARE_RSA: Final = "2a864886f70d010101"
_PSS: Final = "2a864886f70d01010a"
_ED25519: Final = "2b6570"
_NULL: Final = b"\x05\x00"
_TOKEN_VERSION: Final = b"\x03"
_SIGNER_VERSION: Final = b"\x01"
_CERTIFICATES: Final = 0xA0
_OCTETS: Final = 0x04


class Value(NamedTuple):
    """A DER value.

    Attributes:
        tag: Its first byte.
        body: What it holds.
        start: Where it begins in what it was read from.
        end: Where it ends there.
    """

    tag: int
    body: bytes
    start: int
    end: int


def in_order(answer: bytes) -> bytes:
    """Put an answer's certificates into the order that DER has for them.

    OpenSSL's authority leaves them as they were configured, strict readers refuse that, and the signature
    does not depend on it.

    Args:
        answer: A time-stamp response.

    Returns:
        The same where it was in order, or is something else.
    """
    try:
        path = (0, 1, 1, 0)  # response, token, its content, the signed data
        at, body = 0, answer
        for index in path:
            value = _values(body)[index]
            at, body = at + value.end - len(value.body), value.body
        held = next(value for value in _values(body)[3:] if value.tag == _CERTIFICATES)
        start = at + held.end - len(held.body)
        ordered = b"".join(sorted(held.body[one.start : one.end] for one in _values(held.body)))
    except (ValueError, IndexError, StopIteration):
        return answer
    return answer[:start] + ordered + answer[start + len(ordered) :]


def odd(token: bytes, embedded: list[Certificate], trusted: list[Certificate]) -> str | None:
    """Look at what the signature leaves open.

    Args:
        token: The time-stamp token, DER, its signature verified.
        embedded: The certificates in it.
        trusted: The roots.

    Returns:
        What is not as it has to be, or ``None``. A certificate whose issuer is not at hand stays unjudged.
    """
    try:
        (whole,) = _values(token)
        (signed,) = _values(_values(whole.body)[1].body)
        parts = _values(signed.body)
        (signer,) = _values(parts[-1].body)
        fields = _values(signer.body)
        at = next(at for at, field in enumerate(fields) if field.tag == _OCTETS)
        digest = _values(fields[2].body)[0].body
        algorithm = fields[at - 1].body
        name = _values(algorithm)[0]
    except (ValueError, IndexError, StopIteration):
        return "its structure is another"
    if (parts[0].body, fields[0].body) != (_TOKEN_VERSION, _SIGNER_VERSION):
        return "its version numbers are others"
    called = name.body.hex()
    known = {*_ALGORITHMS.get(digest.hex(), ()), _BARE_RSA, _PSS, _ED25519}
    if called not in known or (called != _PSS and algorithm[name.end :] not in (b"", _NULL)):
        return "the name of its signature's algorithm does not fit"
    if any(_forged(one, embedded, trusted) for one in embedded):
        return "a certificate in it was altered"
    return None


def extended(trusted: list[Certificate], more: list[Certificate]) -> list[Certificate]:
    """The trusted certificates, and those of ``more`` that one of these has issued: never another root."""
    found = list(trusted)
    left = [one for one in more if one not in found]
    while new := [one for one in left if any(issued(one, issuer) for issuer in found)]:
        found += new
        left = [one for one in left if one not in new]
    return found


def issued(one: Certificate, issuer: Certificate) -> bool:
    """Whether one certificate was issued by the other."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        one.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _forged(one: Certificate, embedded: list[Certificate], trusted: list[Certificate]) -> bool:
    """Whether it is nearly a trusted one, or who could have issued it is at hand, and did not."""
    if any((one.subject, one.serial_number) == (root.subject, root.serial_number) for root in trusted):
        return one not in trusted
    named = [issuer for issuer in (*embedded, *trusted) if issuer.subject == one.issuer]
    return bool(named) and not any(issued(one, issuer) for issuer in named)


def _values(data: bytes) -> list[Value]:
    """The DER values in a row."""
    found = []
    at = 0
    while at < len(data):
        tag, size, body = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, body = int.from_bytes(data[body : body + count], "big"), body + count
        if body + size > len(data):
            raise ValueError("cut off")
        found.append(Value(tag, data[body : body + size], at, body + size))
        at = body + size
    return found
