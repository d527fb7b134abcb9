"""Keys of the stand-in server: made, certified, renewed and written as the product writes them.

All by GnuPG in private homes, at the server's own time. What the product's exports look like (two blocks, the
private one without self-signatures; AES-256 under iterated and salted SHA-1) was measured on real ones.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError, UsageProblem
from pipeline.core.secret import Secret
from pipeline.openpgp.format import armor
from pipeline.openpgp.format.packets import Packet, Tag, build, join, parse
from pipeline.openpgp.format.protection import ESCROW_COUNT_OCTET, close_secret
from pipeline.openpgp.gnupg.driver import GnuPG
from pipeline.openpgp.key import parsing, validity
from pipeline.openpgp.key.rewrap import UnlockedKey, unlock

SECONDS: Final = 120.0
ALGORITHMS: Final = {
    **{f"rsa{bits}": (f"rsa{bits}", f"rsa{bits}") for bits in (2048, 3072, 4096)},
    "ed25519": ("ed25519", "cv25519"),
    **{f"nistp{bits}": (f"nistp{bits}", f"nistp{bits}") for bits in (256, 384, 521)},
}
PRODUCT_COUNT: Final = 0xA8
"""The coded count of the product's string-to-key: 1,572,864 bytes."""
_SHA1: Final = 2
HEADER: Final = b"Version: orgkey lab, a stand-in (not a PGP Encryption Server)"
_X509: Final = 100


def gpg(moment: datetime) -> GnuPG:
    """Gpg in a private home at a moment, for a ``with`` statement.

    A second earlier: at the second that it is now, gpg's clock goes on in place of standing still, and what
    follows may then be older than what was made before (``gnupg_set_time`` in GnuPG's ``common/gettime.c``).
    """
    return GnuPG(Deadline(SECONDS), moment=moment - timedelta(seconds=1))


def make(user_id: str, algorithm: str, days: int, passphrase: Secret, moment: datetime) -> bytes:
    """Make a key that certifies and signs, with a subkey that encrypts.

    Args:
        user_id: Whose it is.
        algorithm: One of :data:`ALGORITHMS`.
        days: Its lifetime; 0 for none.
        passphrase: What protects it.
        moment: When.

    Returns:
        The transferable secret key, binary.

    Raises:
        UsageProblem: The algorithm is not known.
        OrgkeyError: gpg does not make it.
    """
    if algorithm not in ALGORITHMS:
        raise UsageProblem(f"{algorithm} is not known", hint=f"choose one of {', '.join(ALGORITHMS)}")
    primary, subkey = ALGORITHMS[algorithm]
    expire = f"{days}d" if days else "never"
    with gpg(moment) as home:
        words = ("--quick-generate-key", user_id, primary, "cert,sign", expire)
        made = home.demand("make a key", home.call(*words, passphrase=passphrase))
        fingerprint = made.lines("KEY_CREATED")[0][1]
        words = ("--quick-add-key", fingerprint, subkey, "encr", expire)
        home.demand("add a subkey", home.call(*words, passphrase=passphrase))
        return exported(home, fingerprint, passphrase)


def renew(tsk: bytes, fingerprint: str, days: int, passphrase: Secret, moment: datetime) -> bytes:
    """Sign a key's own validity anew: same key, same settings, a later end."""
    with gpg(moment) as home:
        home.import_keys(tsk, {fingerprint: True})
        for which in ((), ("*",)):  # the primary key, then its subkeys
            words = ("--quick-set-expire", fingerprint, f"{days}d", *which)
            home.demand("renew the key", home.call(*words, passphrase=passphrase))
        return exported(home, fingerprint, passphrase)


def exported(home: GnuPG, fingerprint: str, passphrase: Secret) -> bytes:
    """A home's secret key, binary, under the same passphrase.

    Protected anew: of what gpg itself has written, its agent cannot use one key in some thousands after an
    import (see :attr:`Protection.text_like`).
    """
    answer = home.call("--export-secret-keys", fingerprint, passphrase=passphrase)
    found = unlock(home.demand("export", answer).output, passphrase)
    return found.protect(passphrase, s2k_count_octet=ESCROW_COUNT_OCTET)


def expires(public: bytes) -> datetime | None:
    """When a key ends by its newest self-signatures."""
    return validity.judge(parsing.read_one(public, "the key"), None).primary.expires


def export_public(key: UnlockedKey, certificates: bytes) -> bytes:
    """The public key, armored, with its Organization Certificates."""
    found = parse(key.public)
    at = next((number for number, one in enumerate(found) if one.tag == Tag.PUBLIC_SUBKEY), len(found))
    return _armored(join(found[:at]) + certificates + join(found[at:]), "PUBLIC KEY BLOCK")


def export_keypair(key: UnlockedKey, certificates: bytes, passphrase: Secret | None) -> bytes:
    """The keypair as the product exports it: a private block without self-signatures, then the public block.

    Args:
        key: The key.
        certificates: Packets of its Organization Certificates.
        passphrase: What protects the private block; ``None`` leaves it unprotected.
    """
    (primary, first), *subkeys = zip(key.key.components, key.secrets, strict=True)
    packets = [
        _secret(Tag.SECRET_KEY, primary.public.raw, first, passphrase),
        *(identity.packet for identity in key.key.identities),
        *(_secret(Tag.SECRET_SUBKEY, each.public.raw, clear, passphrase) for each, clear in subkeys),
    ]
    return _armored(join(packets), "PRIVATE KEY BLOCK") + export_public(key, certificates)


def _secret(tag: Tag, public: bytes, clear: Secret, passphrase: Secret | None) -> Packet:
    if passphrase is None:
        numbers = clear.reveal()
        return build(tag, public + b"\0" + numbers + (sum(numbers) & 0xFFFF).to_bytes(2, "big"))
    return build(tag, public + close_secret(clear, passphrase, s2k_count_octet=PRODUCT_COUNT, digest=_SHA1))


def _armored(data: bytes, kind: armor.Kind) -> bytes:
    return armor.armor(data, kind).replace(b"-----\n\n", b"-----\n" + HEADER + b"\n\n", 1)


def organization_certificate(subject: str, days: int, moment: datetime) -> tuple[bytes, datetime]:
    """Make a self-signed X.509 certificate and the OpenPGP packets that carry it.

    Returns:
        A user id made from the subject, with the signature packet whose subpacket holds the certificate (see
        :mod:`pipeline.openpgp.key.organization_certificates`); and the certificate's end.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    ends = moment + timedelta(days=days)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(moment).not_valid_after(ends)
    der = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    content = bytes([_X509]) + b"\x01\x01\x04" + der
    made_at = b"\x05\x02" + int(moment.timestamp()).to_bytes(4, "big")
    hashed = made_at + b"\xff" + len(content).to_bytes(4, "big") + content  # with a five-octet length
    # The signature itself is a dummy: no algorithm, a number of one bit.
    body = b"\x04\x10\x00\x02" + len(hashed).to_bytes(2, "big") + hashed + b"\0\0" + b"\0\0" + b"\0\1\1"
    packets = [build(Tag.USER_ID, name.rfc4514_string().encode()), build(Tag.SIGNATURE, body)]
    return join(packets), ends.astimezone(UTC)


def certifies(public: bytes, user: bytes, user_fingerprint: str, user_id: str, moment: datetime) -> bool:
    """Whether a user's key carries a good certification by the Org Key, checked by gpg."""
    org = parsing.read_one(public, "the Org Key")
    with gpg(moment) as home:
        try:
            home.import_keys(public, {org.fingerprint: False})
            home.import_keys(user, {user_fingerprint: False})
            found = home.certifications(user_fingerprint)
        except OrgkeyError:
            return False
    return "!" in found.get((user_id, org.primary.public.key_id), set())
