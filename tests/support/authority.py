"""A time-stamp authority on loopback: `openssl ts` behind HTTP, with a CA of its own; honest or not."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

CONFIG = """
[tsa]
default_tsa = it
[it]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
"""
PURPOSE = (
    "extendedKeyUsage=critical,timeStamping\nbasicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n"
)


def openssl(*words: str | Path, stdin: bytes = b"") -> bytes:
    done = subprocess.run(
        ["openssl", *map(str, words)], input=stdin, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass
class Authority:
    """The authority.

    Attributes:
        folder: Its keys.
        url: Where it is.
        how: ``good``, ``refuses``, ``slow``, ``endless``, ``garbage``, ``other-bytes``, ``other-nonce``,
            ``other-imprint`` or ``gone``.
        asked: How many requests came.
    """

    folder: Path
    url: str = ""
    how: str = "good"
    asked: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def ca(self) -> Path:
        """Its CA's certificate."""
        return self.folder / "ca.pem"

    def reply(self, query: bytes) -> bytes:
        """Stamp what was asked."""
        path = self.folder / f"{time.monotonic_ns()}.tsq"
        path.write_bytes(query)
        config = self.folder / "openssl.cnf"
        return openssl("ts", "-reply", "-queryfile", path, "-config", config)


KINDS = {
    "ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
    "rsa": ("-newkey", "rsa:2048", "-nodes"),
}


def between(authority: Authority, *, send: bool) -> None:
    """Put an intermediate CA between an authority and its root; its answers carry both, or neither."""
    folder = authority.folder
    (folder / "may-sign").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    openssl("req", *KINDS["ec"], "-keyout", folder / "between.key", "-out", folder / "between.csr",
            "-subj", "/CN=between")  # fmt: skip
    for name, issuer, purpose in (("between", "ca", "may-sign"), ("tsa", "between", "purpose")):
        openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / f"{issuer}.pem",
                "-CAkey", folder / f"{issuer}.key", "-CAcreateserial", "-out", folder / f"{name}.pem",
                "-days", "20", "-extfile", folder / purpose)  # fmt: skip
    chain = folder / "chain.pem"
    chain.write_text((folder / "between.pem").read_text() + (folder / "ca.pem").read_text())
    if send:
        config = folder / "openssl.cnf"
        config.write_text(f"{config.read_text()}certs = {chain}\n")


def make(folder: Path, name: str = "a CA of a test", *, kind: str = "ec", days: int = 20) -> Authority:
    """Make the keys and certificates of an authority; with negative days its own has expired."""
    folder.mkdir()
    (folder / "serial").write_text("01\n")
    (folder / "openssl.cnf").write_text(CONFIG.format(folder=folder))
    (folder / "purpose").write_text(PURPOSE)
    curve = KINDS[kind]
    openssl("req", "-x509", *curve, "-keyout", folder / "ca.key", "-out", folder / "ca.pem",
            "-days", "30", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    openssl("req", *curve, "-keyout", folder / "tsa.key", "-out", folder / "tsa.csr", "-subj", "/CN=a TSA")
    openssl("x509", "-req", "-in", folder / "tsa.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
            "-CAcreateserial", "-out", folder / "tsa.pem", "-days", "20",
            "-extfile", folder / "purpose")  # fmt: skip
    if days < 0:
        _end(folder, days)
    return Authority(folder)


def _end(folder: Path, days: int) -> None:
    """Sign the authority's certificate again, so that it has ended; OpenSSL 3.5 makes none that has."""
    issued = x509.load_pem_x509_certificate((folder / "tsa.pem").read_bytes())
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    ended = datetime.now(UTC) + timedelta(days=days)
    builder = (
        x509.CertificateBuilder(issued.issuer, issued.subject, issued.public_key(), issued.serial_number)
        .not_valid_before(ended - timedelta(days=1))
        .not_valid_after(ended)
    )
    for extension in issued.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    signed = builder.sign(key, hashes.SHA256())
    (folder / "tsa.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))


@contextmanager
def serve(authority: Authority) -> Iterator[Authority]:
    """Answer on loopback until the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            authority.asked += 1
            query = self.rfile.read(int(self.headers["Content-Length"]))
            with suppress(OSError):
                self._answer(query)

        def _answer(self, query: bytes) -> None:
            if authority.how == "gone":
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            if authority.how == "slow":
                while not authority.over.wait(0.2):
                    self.wfile.write(b"\x30")
                    self.wfile.flush()
            elif authority.how == "endless":
                while True:
                    self.wfile.write(bytes(65536))
            elif authority.how == "garbage":
                self.wfile.write(b"\x30\x82no time-stamp")
            elif authority.how == "other-bytes":
                other = openssl("ts", "-query", "-data", authority.folder / "purpose", "-sha256", "-cert")
                self.wfile.write(authority.reply(other))
            elif authority.how in ("other-nonce", "other-imprint"):
                # SEQUENCE { 1, SEQUENCE { algorithm, OCTET STRING of 32 }, INTEGER nonce, BOOLEAN }
                imprint = query.index(b"\x04\x20") + 2
                nonce = imprint + 32 + 1 + query[imprint + 33]
                at = nonce if authority.how == "other-nonce" else imprint
                self.wfile.write(authority.reply(query[:at] + bytes([query[at] ^ 1]) + query[at + 1 :]))
            elif authority.how == "refuses":
                self.wfile.write(authority.reply(b"\x30\x03\x02\x01\x01"))
            else:
                self.wfile.write(authority.reply(query))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    authority.url = f"http://127.0.0.1:{server.server_address[1]}/tsr"
    try:
        yield authority
    finally:
        authority.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
