"""Makes the throwaway keys under ``tests/assets/keys`` with gpg. Run: ``python -m tools.make_keys``.

Every key exists to be published: nothing real is ever protected by them. ``*-unprotected.asc`` are
what gpg exports; the others are written from those by :mod:`tests.support.openpgp_writer`. All are
valid for thirty years, so that tests do not rot, except those that say otherwise.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import openpgp_writer as writer

KEYS = Path(__file__).parents[1] / "tests" / "assets" / "keys"
MADE = "20250101T120000"  # creation time of every key
UID = "Example Org <org@example.com>"
DOMAIN_UID = "{} Organization Key <keys@example.com>"

# name -> (primary algorithm with usage, encryption subkey's algorithm)
ALGORITHMS: dict[str, tuple[str, str]] = {
    "rsa4096": ("rsa4096", "rsa4096"),
    "rsa2048": ("rsa2048", "rsa2048"),
    "ed25519": ("ed25519", "cv25519"),
    "nistp256": ("nistp256", "nistp256"),
    "nistp384": ("nistp384", "nistp384"),
    "nistp521": ("nistp521", "nistp521"),
    "brainpoolp256": ("brainpoolP256r1", "brainpoolP256r1"),
    "brainpoolp384": ("brainpoolP384r1", "brainpoolP384r1"),
    "brainpoolp512": ("brainpoolP512r1", "brainpoolP512r1"),
    "secp256k1": ("secp256k1", "secp256k1"),
    "dsa2048": ("dsa2048", "elg2048"),
}


class Home:
    """A gpg home for the making of one key."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="mk-"))

    def gpg(self, *argv: str, stdin: bytes = b"", at: str = MADE) -> bytes:
        """Run gpg at a faked time and return its output."""
        command = ["gpg", "--homedir", str(self.path), "--batch", "--yes", "--no-tty", "--quiet"]
        command += ["--faked-system-time", at + "!", "--pinentry-mode", "loopback", "--passphrase", ""]
        done = subprocess.run([*command, *argv], input=stdin, capture_output=True, timeout=300, check=False)
        if done.returncode:
            raise SystemExit(f"gpg {argv}: {done.stderr.decode()}")
        return done.stdout

    def make(self, uid: str, primary: str, subkey: str, expire: str = "30y", usage: str = "cert,sign") -> str:
        """Make a key and return its fingerprint."""
        self.gpg("--quick-generate-key", uid, primary, usage, expire)
        lines = self.gpg("--with-colons", "--list-keys").decode().splitlines()
        fingerprint = next(line.split(":")[9] for line in lines if line.startswith("fpr"))
        self.gpg("--quick-add-key", fingerprint, subkey, "encr", expire)
        return fingerprint

    def secret(self) -> list[writer.Packet]:
        """Export everything, unprotected."""
        return writer.split(self.gpg("--export-secret-keys"))

    def public(self) -> list[writer.Packet]:
        """Export the public part."""
        return writer.split(self.gpg("--export"))

    def close(self) -> None:
        """End the agent and remove the home."""
        subprocess.run(
            ["gpgconf", "--homedir", str(self.path), "--kill", "all"],
            timeout=30,
            check=False,
            capture_output=True,
        )
        shutil.rmtree(self.path, ignore_errors=True)


def save(name: str, text: str) -> None:
    """Write one committed key."""
    (KEYS / f"{name}.asc").write_text(text)
    print(f"{name}.asc")


def algorithm(name: str) -> None:
    """One key of one algorithm, unprotected and in the product's layout."""
    home = Home()
    try:
        primary, subkey = ALGORITHMS[name]
        home.make(DOMAIN_UID.format(name), primary, subkey)
        packets = home.secret()
    finally:
        home.close()
    save(f"{name}-unprotected", writer.armor(writer.join(packets), "PRIVATE KEY BLOCK"))
    save(f"{name}-two-block", writer.two_block(packets))
    if name in ("rsa2048", "ed25519"):
        save(f"{name}-single", writer.single(packets))


def renewed() -> None:
    """A key whose validity of one year was renewed: two generations of self-signatures; and the old one."""
    home = Home()
    try:
        fingerprint = home.make(UID, "rsa2048", "rsa2048", "1y")
        old = home.secret()
        save("expired-two-block", writer.two_block(old))
        home.gpg("--quick-set-expire", fingerprint, "29y", at="20251201T120000")
        home.gpg("--quick-set-expire", fingerprint, "29y", "*", at="20251201T120000")
        save("renewed-two-block", writer.two_block(old, public=home.public()))
    finally:
        home.close()


def revoked() -> None:
    """A key whose revocation stands only in the second block."""
    home = Home()
    try:
        fingerprint = home.make(UID, "rsa2048", "rsa2048")
        packets = home.secret()
        lines = (home.path / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text()
        home.gpg("--import", stdin=lines.replace(":-----BEGIN", "-----BEGIN").encode())
        save("revoked-two-block", writer.two_block(packets, public=home.public()))
    finally:
        home.close()


def certify_only() -> None:
    """A primary key that only certifies; then the same with a subkey that signs."""
    home = Home()
    try:
        fingerprint = home.make(UID, "rsa2048", "rsa2048", usage="cert")
        save("certify-only-unprotected", writer.armor(writer.join(home.secret()), "PRIVATE KEY BLOCK"))
        home.gpg("--quick-add-key", fingerprint, "rsa2048", "sign", "30y")
        save("signing-subkey-unprotected", writer.armor(writer.join(home.secret()), "PRIVATE KEY BLOCK"))
    finally:
        home.close()


def dsa1024() -> None:
    """The classic DH/DSS key: SHA-1 in its self-signatures, and what gpg signs with SHA-1 by itself."""
    home = Home()
    try:
        old = ("--cert-digest-algo", "SHA1")
        home.gpg(*old, "--quick-generate-key", "Old DSS <dss@example.com>", "dsa1024", "cert,sign", "30y")
        lines = home.gpg("--with-colons", "--list-keys").decode().splitlines()
        fingerprint = next(line.split(":")[9] for line in lines if line.startswith("fpr"))
        home.gpg(*old, "--quick-add-key", fingerprint, "elg1024", "encr", "30y")
        save("makers/gnupg22-dsa1024", writer.two_block(home.secret()))
    finally:
        home.close()


SPECIAL = {"dsa1024": dsa1024, "renewed": renewed, "revoked": revoked, "certify-only": certify_only}


def main(names: list[str]) -> None:
    """Make the keys that are named, or all."""
    KEYS.mkdir(exist_ok=True)
    for name in names or [*ALGORITHMS, *SPECIAL]:
        if name in SPECIAL:
            SPECIAL[name]()
        else:
            algorithm(name)


if __name__ == "__main__":
    main(sys.argv[1:])
