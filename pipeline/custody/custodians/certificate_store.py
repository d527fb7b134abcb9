"""What lies in the place where custodians' certificates are kept.

Whoever can write there is not trusted: files are bounded, only regular ones are read, and nothing in
them decides who a custodian is. Revocations count wherever they stand, since only the key itself, or
whom it named, can make one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.core.errors import NotAKey, UsageProblem
from pipeline.core.files import read_regular
from pipeline.openpgp.format import armor
from pipeline.openpgp.format.packets import IGNORED, Packet, Tag, parse
from pipeline.openpgp.format.signatures import KEY_REVOCATION, read_signature
from pipeline.openpgp.key import parsing
from pipeline.openpgp.key.model import TransferableKey, merge, union
from pipeline.openpgp.key.validity import user_ids

if TYPE_CHECKING:
    from pipeline.config.holders import OpenpgpHolderConfig

ENDINGS: Final = (".asc", ".gpg", ".pgp", ".key")
MAX_FILES: Final = 1000
MAX_BYTES: Final = 4 << 20
"""Of one file; a certificate has some kilobytes."""
MAX_TOTAL: Final = 64 << 20
"""Of all files; bounds the time that a filled place can cost."""


@dataclass(frozen=True)
class StoredCertificate:
    """A key, and where it lies.

    Attributes:
        fingerprint: Of the primary key, 40 upper-case hexadecimal digits.
        user_ids: As the file has them; nothing says that they are true.
        file: The file.
    """

    fingerprint: str
    user_ids: tuple[str, ...]
    file: Path


@dataclass(frozen=True)
class CertificateStore:
    """What the configured place holds.

    Attributes:
        certificates: The certificates of members, by the primary key's fingerprint.
        strangers: Certificates that lie there for nobody, which are not used, by fingerprint.
        problems: Files, or parts of them, that could not be used, in words.
        secrets: Secret keys, of whomever. Only their public part is looked at.
    """

    certificates: dict[str, TransferableKey] = field(default_factory=dict)
    strangers: dict[str, StoredCertificate] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    secrets: list[StoredCertificate] = field(default_factory=list)


def read_store(item: OpenpgpHolderConfig) -> CertificateStore:
    """Read the certificates of a group; forms of one certificate in several files are merged.

    Args:
        item: The holder's configuration.

    Raises:
        UsageProblem: The place cannot be read, or holds far too much.
    """
    place = Path(item.certificates)
    members = {token.fingerprint for member in item.members for token in member.tokens}
    store = CertificateStore()
    revocations: list[tuple[Path, str, Packet]] = []
    total = 0
    for path in _files(place):
        try:
            # Or a link to one: that is how container platforms mount files.
            data = read_regular(path, MAX_BYTES)
        except OSError as error:
            store.problems.append(f"{path} cannot be read: {error.strerror or error}")
            continue
        if data is None or len(data) > MAX_BYTES:
            told = "is not a regular file" if data is None else f"has more than {MAX_BYTES >> 20} MiB"
            store.problems.append(f"{path} {told}")
            continue
        total += len(data)
        if total > MAX_TOTAL:
            raise UsageProblem(
                f"the files in {place} have more than {MAX_TOTAL >> 20} MiB",
                hint="find out who put so much there; a certificate has some kilobytes",
            )
        read = parsing.read_all(data)
        alone = [] if read.keys else list(_revocations(data))
        revocations += [(path, issuer, packet) for issuer, packet in alone]
        store.problems.extend(f"{path}: {problem.message}" for problem in read.problems if not alone)
        for key in read.keys:
            _take(store, members, path, key)
    for path, issuer, packet in revocations:
        mine = [key for key in store.certificates.values() if key.primary.public.key_id == issuer]
        if not mine:
            store.problems.append(f"{path}: a revocation of a key that is nobody's in the group")
        for key in mine:
            primary = replace(key.primary, signatures=union(key.primary.signatures, [packet]))
            store.certificates[key.fingerprint] = replace(key, primary=primary)
    return store


def _take(store: CertificateStore, members: set[str], path: Path, key: TransferableKey) -> None:
    placed = StoredCertificate(key.fingerprint, tuple(user_ids(key)), path)
    if any(component.secret_here for component in key.components):
        store.secrets.append(placed)
    if key.fingerprint not in members:
        store.strangers.setdefault(key.fingerprint, placed)
        return
    known = store.certificates.get(key.fingerprint)
    # Without the bytes as they came: nobody needs them, and a thousand files would pile them up.
    store.certificates[key.fingerprint] = replace(merge(known, key) if known else key, raw=b"")


def _files(place: Path) -> list[Path]:
    try:
        if not place.is_dir():
            return [place] if place.stat() else []
        files = sorted(path for path in place.iterdir() if path.suffix.lower() in ENDINGS)
    except OSError as error:
        raise UsageProblem(
            f"the custodians' certificates in {place} cannot be read: {error.strerror or error}",
            hint=f"`certificates` names a file, or a folder of files that end in {', '.join(ENDINGS)}",
        ) from None
    if len(files) > MAX_FILES:
        raise UsageProblem(f"{place} holds more than {MAX_FILES} files", hint="name a folder of its own")
    return files


def _revocations(data: bytes) -> Iterator[tuple[str, Packet]]:
    """Revocations of whole keys in a file that holds nothing else: what `gpg --gen-revoke` writes."""
    try:
        packets = [packet for packet in parse(armor.dearmor(data)) if packet.tag not in IGNORED]
    except NotAKey:
        return
    for packet in packets:
        made = read_signature(packet.body) if packet.tag == Tag.SIGNATURE else None
        if made and made.kind == KEY_REVOCATION:
            yield made.issuer, packet
