"""The table of counterparts: what they are, where they come from, how they are started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Part(StrEnum):
    """What of the stack or the host a counterpart stands in for."""

    S3 = "S3"
    VAULT = "Vault"
    GPG = "GnuPG"
    PYTHON = "Python"
    OPENSSL = "OpenSSL"


@dataclass(frozen=True, slots=True)
class Counterpart:
    """One row of the matrix.

    Attributes:
        name: For people.
        part: What it stands in for.
        source: Where it comes from, for people.
        version: The version that is fetched; empty where the lock or the distribution decides.
        fetch: Function of :mod:`tools.interop.fetch` that brings it.
        argv: How a server is started; ``{got}`` is what was fetched, ``{port}`` its port.
        env: Its environment.
        port: Its port, in a network of its own.
        key: Access key and secret key, one for all roles.
        like: The row whose run is this one's, too: both are of what is here anyway.
    """

    name: str
    part: Part
    source: str
    version: str
    fetch: str
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    port: int = 9090
    key: tuple[str, str] = ("test", "test")
    like: str = ""


COUNTERPARTS = (
    Counterpart("versitygw", Part.S3, "Go module", "1.8.0", "nothing"),
    Counterpart(
        "MiniStack", Part.S3, "PyPI", "1.5.33", "ministack",
        ("{got}/bin/python", "-m", "ministack"),
        {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": "9090", "SERVICES": "s3"},
    ),
    Counterpart(
        "moto", Part.S3, "the lock", "", "nothing",
        ("{python}", "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"),
    ),
    Counterpart(
        "Adobe S3Mock", Part.S3, "Maven", "4.9.1", "s3mock", ("java", "-Xmx256m", "-jar", "{got}")
    ),
    Counterpart(
        "Ceph RGW", Part.S3, "Debian 13", "", "ceph",
        ("{python}", "-m", "tools.interop.ceph", "{got}", "{port}", "test", "test"),
    ),
    Counterpart(
        "s3rver", Part.S3, "npm", "3.7.1", "s3rver",
        ("{got}", "--directory", "{home}", "--address", "127.0.0.1", "--port", "{port}"),
        key=("S3RVER", "S3RVER"),
    ),
    Counterpart("OpenBao 2.7", Part.VAULT, "the lock", "", "nothing"),
    Counterpart("OpenBao 2.4", Part.VAULT, "Go module", "2.4.0", "openbao"),
    Counterpart("GnuPG of this host", Part.GPG, "the host", "", "nothing"),
    Counterpart("GnuPG 2.4", Part.GPG, "Debian 13", "", "gnupg"),
    Counterpart("Python 3.11", Part.PYTHON, "the host", "3.11", "python"),
    Counterpart("Python 3.12", Part.PYTHON, "the host", "3.12", "python"),
    Counterpart("Python 3.13", Part.PYTHON, "Debian 13", "3.13", "python"),
    Counterpart("Python 3.14", Part.PYTHON, "Debian unstable", "3.14", "python"),
    Counterpart(
        "OpenSSL of the lock", Part.OPENSSL, "the lock", "", "nothing", like="GnuPG of this host"
    ),
    Counterpart("OpenSSL of the host", Part.OPENSSL, "the host", "", "openssl"),
)  # fmt: skip
