"""Files with certificates: those that are trusted, and our own; and what a certificate says of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.places import SYSTEM
from pipeline.core.errors import UsageProblem

if TYPE_CHECKING:
    from cryptography import x509

    from pipeline.config.identities import VaultIdentity
    from pipeline.config.places import VaultPlace

Pair = tuple[str, str]  # files with a client's certificate and its key


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says of itself; nothing of it is verified.

    Attributes:
        names: Host names and addresses that it is for.
        issuer: Who signed it.
        begins: When it becomes valid.
        ends: When it expires.
    """

    names: tuple[str, ...]
    issuer: str
    begins: datetime
    ends: datetime


def require_authority(path: str | None) -> None:
    """See that a ``ca_file`` can be used.

    Raises:
        UsageProblem: It cannot be read, or holds no certificate.
    """
    if path is None:
        return
    import ssl

    named = [name for name in ("AWS_CA_BUNDLE", "VAULT_CACERT") if os.environ.get(name) == path]
    setting = " and ".join(f"the variable {name}" for name in named) or "ca_file"
    if path == SYSTEM:
        # OpenSSL passes over what it cannot read, and then trusts nobody.
        known = ssl.get_default_verify_paths()
        setting, path = known.openssl_cafile_env, os.environ.get(known.openssl_cafile_env)
        if path is None:
            if not (known.cafile or known.capath):
                raise UsageProblem(
                    "this host has no bundle of trusted authorities",
                    hint=f"install the package ca-certificates, or name the bundle with {setting}",
                )
            return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        what, hint = (
            f"cannot be read: {error.strerror or error}",
            f"correct {setting}, or the file's permissions",
        )
        if isinstance(error, FileNotFoundError):
            what, hint = "does not exist", f"correct {setting}"
        elif isinstance(error, ssl.SSLError):
            what = "holds no certificate"
            hint = "write the authority's certificate there, as PEM (-----BEGIN CERTIFICATE-----)"
        raise UsageProblem(f"the CA file {path} {what}", hint=hint) from error


def require_pair(pair: Pair | None, settings: str = "client_cert_file and client_key_file") -> None:
    """See that a client's certificate and key can be used, and belong together.

    Args:
        pair: Their files.
        settings: Where the configuration names them.

    Raises:
        UsageProblem: One cannot be read, is none, or they do not fit.
    """
    if pair is None:
        return
    import ssl

    hint = f"correct {settings}"
    try:
        for path in pair:
            Path(path).read_bytes()
        # Without a callable, OpenSSL would ask for a passphrase on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(*pair, password=lambda: "-")
    except (OSError, ValueError) as error:
        if isinstance(error, ssl.SSLError | ValueError):
            problem = f"{pair[0]} and {pair[1]} hold no client certificate and key that can be used"
            hint = "both are PEM, the key without a passphrase and the certificate first in its file"
        else:
            problem = f"the client certificate's file {path} cannot be read: {error.strerror or error}"
        if "KEY_VALUES_MISMATCH" in str(error):
            problem = f"the key in {pair[1]} is not that of the certificate in {pair[0]}"
            hint = f"correct {settings}"
        raise UsageProblem(problem, hint=hint) from error


def shown_pair(*owners: VaultIdentity | VaultPlace | None) -> Pair | None:
    """Files with the certificate and key that a connection shows: those of the first that names some."""
    for owner in owners:
        if owner is not None and owner.client_cert_file and owner.client_key_file:
            return owner.client_cert_file, owner.client_key_file
    return None


def read_certificate(path: str) -> CertificateFacts | None:
    """Read the first certificate of a PEM file; ``None`` when there is none."""
    from cryptography import x509

    try:
        return facts_of(x509.load_pem_x509_certificates(Path(path).read_bytes())[0])
    except (OSError, ValueError, IndexError):
        return None


def facts_of(certificate: x509.Certificate) -> CertificateFacts:
    """Read what a certificate says of itself."""
    from cryptography import x509

    from pipeline.providers.text import one_line

    try:
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(
            one_line(str(item.value), 80) for item in known if isinstance(item, x509.DNSName | x509.IPAddress)
        )
    except (x509.ExtensionNotFound, ValueError):
        names = ()
    return CertificateFacts(
        names=names,
        issuer=one_line(certificate.issuer.rfc4514_string(), 120),
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
    )


def day(moment: datetime) -> str:
    """A moment as messages have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
