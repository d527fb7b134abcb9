"""A stack whose servers also listen over TLS, each in several ways: as they should, and wrongly."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support import leftovers
from tests.support.ports import distinct_ports
from tests.support.relays import tls_front

LISTENER = """
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_cert_file = "{cert}"
  tls_key_file = "{key}"
  {more}
}}
"""
# Names that no DNS knows: only through a proxy of the test's does anything answer to them.
NAMES = {name: f"{name}.orgkey.test" for name in ("vault", "s3", "kms")}
OTHER_NAME = "vault.elsewhere.example"


@dataclass
class Certificates:
    """An authority of the test's own, and what it signed; files in PEM.

    Attributes:
        folder: Where the files lie.
        authority: The authority.
        other: An authority that nobody trusts.
    """

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)
    other: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        self.authority.cert_pem.write_to_path(self.folder / "ca.pem")
        self.other.cert_pem.write_to_path(self.folder / "other-ca.pem")

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.folder / "ca.pem"

    @property
    def other_ca(self) -> Path:
        """The other authority's certificate."""
        return self.folder / "other-ca.pem"

    def issue(
        self, name: str, *names: str, days: float = 30, by: trustme.CA | None = None
    ) -> tuple[Path, Path]:
        """Issue a certificate.

        Args:
            name: What its files are called.
            names: Host names, addresses or, for clients, any name.
            days: Until its end; negative for one that has expired.
            by: Who signs it.

        Returns:
            The files with the certificate and with its key.
        """
        now = datetime.now(UTC)
        made = (by or self.authority).issue_cert(
            *(names or ("127.0.0.1", "localhost")),
            common_name=f"{name}.example",
            not_before=now - timedelta(days=60),
            not_after=now + timedelta(days=days),
        )
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
        return cert, key


@dataclass
class SecureStack:
    """The stack and its further addresses.

    Attributes:
        stack: The stack, also reached without TLS.
        certificates: The authority and its files.
        vault: The addresses of the same Vault: ``good``, ``mutual`` (wants a client certificate),
            ``expired``, ``soon`` (expires in 5 days), ``elsewhere`` (for another name),
            ``old`` (TLS 1.0 only).
        s3: The same for S3, without ``mutual`` and ``old``.
        kms: The same for KMS, without ``soon``.
    """

    stack: Any
    certificates: Certificates
    vault: dict[str, str]
    s3: dict[str, str]
    kms: dict[str, str]

    def secured(self, text: str, *, ca: bool = True, vault: str = "good", s3: str = "good") -> str:
        """Change a configuration of the stack: every server over TLS."""
        more = f'\nca_file = "{self.certificates.ca}"' if ca else ""
        for name, there in (("vault", self.vault[vault]), ("s3", self.s3[s3]), ("kms", self.kms["good"])):
            old = f'"{self.stack.endpoint(name)}"'
            assert old in text
            text = text.replace(old, f'"{there}"{more}')
        return text


@contextmanager
def secure_stack() -> Iterator[SecureStack]:
    """Start one, and end it."""
    from pipeline.devstack import vault
    from tests.support.local_stack import Stack

    folder = leftovers.directory("tls-")
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        certificates = Certificates(folder)
        ca = certificates.ca
        pairs = {
            "good": certificates.issue("good", "127.0.0.1", "localhost", *NAMES.values()),
            "mutual": certificates.issue("mutual", "127.0.0.1", "localhost", *NAMES.values()),
            "old": certificates.issue("old"),
            "expired": certificates.issue("expired", days=-2),
            "soon": certificates.issue("soon", days=5),
            "elsewhere": certificates.issue("elsewhere", OTHER_NAME),
        }
        more = {
            "mutual": f'tls_require_and_verify_client_cert = true\n  tls_client_ca_file = "{ca}"',
            "old": 'tls_min_version = "tls10"\n  tls_max_version = "tls10"',
        }
        ports = dict(zip(pairs, distinct_ports(len(pairs)), strict=True))
        listeners = "".join(
            LISTENER.format(port=ports[name], cert=cert, key=key, more=more.get(name, ""))
            for name, (cert, key) in pairs.items()
        )
        with pytest.MonkeyPatch.context() as patch:
            plain = vault.configuration
            patch.setattr(vault, "configuration", lambda product: plain(product) + listeners)
            stack = Stack(folder / "stack")
            undo.callback(stack.down, wipe=True)
            stack.up()
        s3 = {
            name: undo.enter_context(_s3_over_tls(stack, *pairs[name]))
            for name in ("good", "expired", "soon", "elsewhere")
        }
        kms = {
            name: undo.enter_context(tls_front(server_context(*pairs[name]), stack.endpoint("kms")))
            for name in ("good", "expired", "elsewhere")
        }
        yield SecureStack(
            stack=stack,
            certificates=certificates,
            vault={name: f"https://127.0.0.1:{port}" for name, port in ports.items()},
            s3=s3,
            kms=kms,
        )


@contextmanager
def s3_server(stack: Any, *options: str) -> Iterator[int]:
    """Start a further process of the stack's S3 on the same files; its port."""
    from pipeline.devstack import build, processes
    from pipeline.devstack.programs import VERSITYGW
    from pipeline.devstack.progress import Progress
    from pipeline.devstack.s3 import S3Server

    port = processes.free_port(None)
    argv, env = S3Server(stack.layout).command(build.ensure(VERSITYGW, Progress()), port)
    log = stack.layout.root / f"s3-{port}.log"
    process = processes.spawn([argv[0], *options, *argv[1:]], log=log, env=env)
    try:
        _until_open(port, log)
        yield port
    finally:
        processes.stop(process)


@contextmanager
def _s3_over_tls(stack: Any, cert: Path, key: Path) -> Iterator[str]:
    with s3_server(stack, "--cert", str(cert), "--key", str(key)) as port:
        yield f"https://127.0.0.1:{port}"


def _until_open(port: int, log: Path) -> None:
    import socket

    for _ in range(600):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def server_context(cert: Path, key: Path) -> Any:
    """What a server of the test's own shows."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context
