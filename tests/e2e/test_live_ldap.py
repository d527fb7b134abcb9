"""The live key in an LDAP directory with the OpenPGP key server schema, on Debian's slapd."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_live_key import public, self_signed, status
from tests.support.commandline import Desk, fingerprint_of
from tests.support.ports import distinct_ports

if TYPE_CHECKING:
    from tests.conftest import Place

SLAPD = shutil.which("slapd", path="/usr/sbin:/usr/lib/openldap:/usr/libexec")
pytestmark = pytest.mark.skipif(SLAPD is None, reason="slapd is not installed (Debian: apt install slapd)")

# The schema of OpenPGP key servers, as GnuPG documents it (doc/ldap): names and numbers are theirs.
STRING = "SYNTAX 1.3.6.1.4.1.1466.115.121.1.15"
MATCH = f"EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch {STRING}"
ATTRIBUTES = {
    "pgpBaseKeySpaceDN": ("8.2.8", "SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 SINGLE-VALUE"),
    "pgpSoftware": ("8.2.9", f"{STRING} SINGLE-VALUE"),
    "pgpVersion": ("8.2.10", f"{STRING} SINGLE-VALUE"),
    "pgpKey": ("8.2.11", "SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 SINGLE-VALUE"),
    "pgpCertID": ("8.2.12", f"{MATCH} SINGLE-VALUE"),
    "pgpDisabled": ("8.2.13", f"EQUALITY caseIgnoreMatch {STRING} SINGLE-VALUE"),
    "pgpKeyID": ("8.2.14", f"{MATCH} SINGLE-VALUE"),
    "pgpKeyType": ("8.2.15", f"EQUALITY caseIgnoreMatch {STRING} SINGLE-VALUE"),
    "pgpUserID": ("8.2.16", MATCH),
    "pgpKeyCreateTime": ("8.2.17", f"EQUALITY caseIgnoreMatch {STRING} SINGLE-VALUE"),
    "pgpSignerID": ("8.2.18", f"EQUALITY caseIgnoreMatch {STRING}"),
    "pgpRevoked": ("8.2.19", f"EQUALITY caseIgnoreMatch {STRING} SINGLE-VALUE"),
    "pgpSubKeyID": ("8.2.20", f"EQUALITY caseIgnoreMatch {STRING}"),
    "pgpKeySize": ("8.2.21", f"EQUALITY caseIgnoreMatch {STRING} SINGLE-VALUE"),
    "pgpKeyExpireTime": ("8.2.22", f"EQUALITY caseIgnoreMatch {STRING} SINGLE-VALUE"),
}
KEY_ATTRIBUTES = " $ ".join(
    name for name in ATTRIBUTES if name not in ("pgpCertID", "pgpBaseKeySpaceDN", "pgpKey")
)
SCHEMA = "\n".join(
    [
        f"attributetype ( 1.3.6.1.4.1.3401.{number} NAME '{name}' {rest} )"
        for name, (number, rest) in ATTRIBUTES.items()
    ]
    + [
        "objectclass ( 1.3.6.1.4.1.3401.8.2.23 NAME 'pgpServerInfo' SUP top STRUCTURAL"
        " MUST ( cn $ pgpBaseKeySpaceDN ) MAY ( pgpSoftware $ pgpVersion ) )",
        "objectclass ( 1.3.6.1.4.1.3401.8.2.24 NAME 'pgpKeyInfo' SUP top STRUCTURAL"
        f" MUST ( pgpCertID $ pgpKey ) MAY ( {KEY_ATTRIBUTES} ) )",
    ]
)
BASE = """\
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: cn=PGPServerInfo,dc=example,dc=com
objectClass: pgpServerInfo
cn: PGPServerInfo
pgpBaseKeySpaceDN: ou=PGP Keys,dc=example,dc=com
pgpSoftware: PGP Server
pgpVersion: 1

dn: ou=PGP Keys,dc=example,dc=com
objectClass: organizationalUnit
ou: PGP Keys
"""


def entry(key: str) -> str:
    """A key's entry, as the product publishes it."""
    key_id = fingerprint_of(key)[-16:]
    values = {
        "objectClass": "pgpKeyInfo", "pgpCertID": key_id, "pgpKeyID": key_id[-8:], "pgpDisabled": "0",
        "pgpRevoked": "0", "pgpKeyType": "RSA", "pgpUserID": "ed25519 Organization Key <keys@example.com>",
        "pgpKeyCreateTime": "20250101120000Z", "pgpKeySize": "00256",
    }  # fmt: skip
    lines = [f"{name}: {value}" for name, value in values.items()]
    lines.append(f"pgpKey:: {base64.b64encode(public(key)).decode()}")
    return f"\ndn: pgpCertID={key_id},ou=PGP Keys,dc=example,dc=com\n" + "\n".join(lines) + "\n"


@contextmanager
def directory(folder: Path, *keys: str, tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Run slapd with these keys."""
    assert SLAPD is not None
    data = folder / "data"
    data.mkdir(parents=True)
    (folder / "pgp.schema").write_text(SCHEMA)
    config = folder / "slapd.conf"
    lines = [
        "include /etc/ldap/schema/core.schema",
        f"include {folder}/pgp.schema",
        "modulepath /usr/lib/ldap",
    ]
    lines += ["moduleload back_mdb", f"pidfile {folder}/pid"]
    if tls is not None:
        lines += [f"TLSCertificateFile {tls[0]}", f"TLSCertificateKeyFile {tls[1]}"]
    lines += [
        "database mdb",
        'suffix "dc=example,dc=com"',
        f"directory {data}",
        "maxsize 10485760",
        "access to * by * read",
    ]
    config.write_text("\n".join(lines) + "\n")
    content = folder / "content.ldif"
    content.write_text(BASE + "".join(entry(key) for key in keys))
    loaded = subprocess.run(
        [SLAPD, "-Tadd", "-f", str(config), "-l", str(content)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    (port,) = distinct_ports(1)
    url = f"{'ldaps' if tls else 'ldap'}://127.0.0.1:{port}"
    with subprocess.Popen(
        [SLAPD, "-d", "0", "-f", str(config), "-h", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert child.poll() is None, "slapd ended"
                time.sleep(0.05)
            yield url
        finally:
            child.terminate()


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    desk = Desk(place, tmp_path)
    desk.escrow()
    return desk


def test_ldap_has_the_same_key_another_or_none(desk: Desk, tmp_path: Path) -> None:
    with directory(tmp_path / "same", "ed25519") as url:
        assert status(desk, url, 0)["live"] == "same"
        assert desk.ask("refresh")["refreshed"] is False
    with directory(tmp_path / "another", "nistp256") as url:
        found = status(desk, url, 40)
        assert (found["live"], found["live_others"]) == ("replaced", [fingerprint_of("nistp256")])
    with directory(tmp_path / "both", "nistp256", "ed25519") as url:
        found = status(desk, url, 0)
        assert (found["live"], len(found["live_others"])) == ("same", 1)
    with directory(tmp_path / "none") as url:
        assert status(desk, url, 40)["live"] == "unknown"
    assert status(desk, url, 40)["live"] == "unknown", "the server is gone"


def test_ldaps_with_an_authority_of_ones_own(desk: Desk, tmp_path: Path) -> None:
    ca, secret = self_signed(tmp_path)
    with directory(tmp_path / "tls", "ed25519", tls=(ca, secret)) as url:
        assert status(desk, url, 40)["live"] == "unknown", "its authority is not known"
        assert status(desk, url, 0, live_ca_file=f'"{ca}"')["live"] == "same"
