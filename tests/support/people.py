"""Six custodians with committed throwaway keys (no passphrase), and what each does on an own machine."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pysequoia

from pipeline.core.secret import Secret
from pipeline.record.verify import Record

FOLDER = Path(__file__).parents[1] / "assets" / "custodians"
CERTIFICATES = FOLDER / "certificates"
FINGERPRINTS: Mapping[str, str] = {
    "alice": "673DAB67384D80530F27962B310E37826E312229",
    "bob": "589D6A7A77CB78EB206529671EDD27AAD069D385",
    "carol": "A57B76E4ABF020B5829CC875880229796C0D9789",
    "dave": "DE34C07A0000071784338AE7FB7E94B48A125512",
    "erin": "795B0DAE42624A8EBF14CB841D9400FFE642BC7F",
    "frank": "6D23AE63D175E82E68701602FBD2C8D0B0E62934",
}
NAMES = tuple(FINGERPRINTS)
EVERYBODY = ("alice", "bob", "carol", "dave", "erin")


def certificate(name: str) -> bytes:
    """One custodian's certificate, armored."""
    return (CERTIFICATES / f"{name}.asc").read_bytes()


def secret_key(name: str) -> bytes:
    """The same person's secret key, armored, without a passphrase."""
    return (FOLDER / f"{name}.key.asc").read_bytes()


def folder(place: Path, names: Sequence[str] = EVERYBODY) -> Path:
    """Make a folder with certificates, as an operator collects them."""
    place.mkdir(exist_ok=True)
    for name in names:
        shutil.copyfile(CERTIFICATES / f"{name}.asc", place / f"{name}.asc")
    return place


def decrypt(name: str, message: bytes) -> Secret:
    """What a custodian does with gpg, faster: open a message with the own key."""
    tsk = pysequoia.Tsk.from_bytes(secret_key(name))
    done = pysequoia.decrypt(message, decryptor=tsk.decryptor())
    return Secret(bytes(done.bytes or b""))


def mistyped(words: Sequence[str], at: int) -> list[str]:
    """The same words with another one at one place."""
    other = "acid" if words[at] == "academic" else "academic"
    return [*words[:at], other, *words[at + 1 :]]


def words(name: str, record: Record, path: str = "custodians") -> Secret:
    """The words of one custodian's share on one path of a record."""
    (share,) = (
        share for share in record.manifest.custody.path(path).shares if share.label == FINGERPRINTS[name]
    )
    return Secret(decrypt(name, record.members[share.member]).reveal().strip())


def tables(
    certificates: Path,
    *,
    members: Sequence[str] = EVERYBODY,
    threshold: int = 3,
    holder: str = "custodians",
    path: str | None = "custodians",
) -> str:
    """The configuration of a group, and of a path that needs it alone."""
    listed = ", ".join(f'"{FINGERPRINTS[name]}"' for name in members)
    text = f'\n[holder.{holder}]\nkind = "openpgp"\nmembers = [{listed}]\ncertificates = "{certificates}"\n'
    if path:
        text += f'[path.{path}]\nneeds = [{{ holder = "{holder}", threshold = {threshold} }}]\n'
    return text
