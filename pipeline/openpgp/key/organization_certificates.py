"""Organization Certificates: X.509 certificates that are attached to an OpenPGP key.

How the product stores them is documented nowhere. Facts, from published source code of the product's
ancestor (PGP 6.5's SDK): a certificate is a version 4 signature packet on a user id made from the
certificate's subject, signature type 0x10, with a *hashed* subpacket of type 100 (reserved there for
the vendor), whose content is the octet 1 ("X.509"), two octets of a version, and the certificate in
DER. The signature itself is a dummy. An earlier release put the DER there with other leading octets.

Assumptions, looked for as well because missing one costs a restore: a certificate in any of the private
subpackets 100 to 110, hashed or not; in a user attribute (other than the image); as the whole content
of a user id, DER or PEM.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

from pipeline.core.clock import stamp
from pipeline.core.errors import NotAKey
from pipeline.openpgp.format.packets import FieldReader, Tag
from pipeline.openpgp.format.signatures import read_signature
from pipeline.openpgp.key.model import TransferableKey

_PRIVATE = range(100, 111)
_IMAGE = 1
_PEM = b"-----BEGIN CERTIFICATE-----"
_LEAD = 8  # how far behind marks and versions the DER may begin


@dataclass(frozen=True)
class OrganizationCertificate:
    """One X.509 certificate that is attached to the key.

    Attributes:
        subject: RFC 4514 name.
        issuer: Likewise.
        serial: Hexadecimal.
        not_before: Start of its validity.
        not_after: End of its validity.
        sha256: Digest of its DER.
    """

    subject: str
    issuer: str
    serial: str
    not_before: datetime | None
    not_after: datetime | None
    sha256: str

    def to_json(self) -> dict[str, str | None]:
        """The certificate as the documents show it."""
        fields = asdict(self)
        return {name: stamp(one) if isinstance(one, datetime) else one for name, one in fields.items()}

    def warnings(self, now: datetime) -> Iterator[str]:
        """What people should know of its validity; it does not concern the key itself."""
        if self.not_after is not None and self.not_after <= now:
            yield (
                f"the Organization Certificate {self.subject} expired at {stamp(self.not_after)}: "
                "none renews itself, replace it on the server"
            )
        if self.not_before is not None and self.not_before > now:
            from_when = stamp(self.not_before)
            yield f"the Organization Certificate {self.subject} is valid from {from_when} only"


def find_certificates(key: TransferableKey) -> tuple[OrganizationCertificate, ...]:
    """All distinct certificates that are attached to a key, in the order of their appearance."""
    found: dict[str, OrganizationCertificate] = {}
    for data, certain in _places(key):
        der = _der(data)
        if der is None:
            if not certain:
                continue
            der = data
        digest = hashlib.sha256(der).hexdigest()
        if digest not in found and (read := _read(der, digest, certain=certain)):
            found[digest] = read
    return tuple(found.values())


def _places(key: TransferableKey) -> Iterator[tuple[bytes, bool]]:
    """Bytes in which a certificate may be, and whether the product's own mark says that there is one."""
    carriers = [*key.primary.signatures]
    for identity in key.identities:
        carriers += identity.signatures
        if identity.packet.tag == Tag.USER_ID:
            yield identity.packet.body, False
        else:
            yield from ((body, False) for kind, body in _attributes(identity.packet.body) if kind != _IMAGE)
    for packet in carriers:
        made = read_signature(packet.body)
        if made is None:
            continue
        for kind, body in (*made.hashed, *made.unhashed):
            if kind in _PRIVATE:
                yield body, kind == _PRIVATE.start and body[:1] == b"\x01"


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The subpackets of a user attribute (RFC 4880 section 5.12); stops where they are malformed."""
    reader = FieldReader(body, "a user attribute")
    try:
        while reader.left:
            yield reader.subpacket()
    except NotAKey:
        return


def _der(data: bytes) -> bytes | None:
    """Cut out what looks like a DER sequence of a certificate's size, near the front."""
    pem = data.find(_PEM)
    if pem >= 0:
        return data[pem:]
    for at in range(min(_LEAD, len(data))):
        width = data[at + 1] & 0x7F if data[at : at + 1] == b"\x30" and data[at + 1 : at + 2] > b"\x80" else 0
        if 1 <= width <= 3:
            size = int.from_bytes(data[at + 2 : at + 2 + width], "big")
            end = at + 2 + width + size
            if size >= 64 and end <= len(data):
                return data[at:end]
    return None


def _read(der: bytes, digest: str, *, certain: bool) -> OrganizationCertificate | None:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        pem = der.startswith(_PEM)
        one = x509.load_pem_x509_certificate(der) if pem else x509.load_der_x509_certificate(der)
        return OrganizationCertificate(
            one.subject.rfc4514_string(),
            one.issuer.rfc4514_string(),
            f"{one.serial_number:X}",
            one.not_valid_before_utc,
            one.not_valid_after_utc,
            digest,
        )
    except (ValueError, TypeError, OverflowError, x509.InvalidVersion, UnsupportedAlgorithm):
        # The mark says that it is one: the server will count it too.
        unread = OrganizationCertificate("(unreadable certificate)", "", "", None, None, digest)
        return unread if certain else None
