"""Bundles as a forger, an accident or a mistake leaves them, made from a good one; a seed decides all."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pgpy import PGPKey

from tests.support.bundles import Made

Files = dict[str, bytes]
SUMS = "SHA256SUMS"
_KEYS = Path(__file__).parents[1] / "assets" / "keys"


@dataclass(frozen=True)
class Altered:
    """A bundle that was altered, and with what it is checked.

    Attributes:
        kind: How it was altered, in words.
        what: Which file.
        files: Its files.
        pinned: The fingerprint that the auditor gives; empty where he gives none.
        record: The record that he gives; empty where he gives none.
        data: The zip; its own bytes may be what was altered.
    """

    kind: str
    what: str
    files: Files
    pinned: str
    record: bytes
    data: bytes


def zipped(files: Files) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return memory.getvalue()


def summed(files: Files) -> Files:
    """With ``SHA256SUMS`` written anew: what a forger does last."""
    rest = {name: data for name, data in sorted(files.items()) if name != SUMS}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in rest.items()]
    return rest | {SUMS: "".join(lines).encode()}


def alterations(made: Made, files: Files, count: int, seed: int) -> list[Altered]:
    """As many bundles as asked for, of every kind in turn.

    Args:
        made: The good bundle.
        files: Its files.
        count: How many.
        seed: The same gives the same.
    """
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    found = []
    for number in range(count):
        kind, alter = KINDS[number % len(KINDS)]
        changed = dict(files)
        what = alter(changed, chance)
        anew = chance.random() < 0.7
        if anew and what != SUMS:
            changed = summed(changed)
        pinned = chance.choice((made.fingerprint, made.fingerprint, ""))
        one = Altered(kind, what, changed, pinned, b"", b"")
        if kind == "another fingerprint":
            one = replace(one, pinned=what)
        if kind == "another record":
            one = replace(one, record=flipped(made.record, chance), pinned=made.fingerprint)
        elif number % 10 == 0:
            one = replace(one, record=made.record)
        data = zipped(one.files)
        found.append(replace(one, data=flipped(data, chance) if kind == "bit of the zip" else data))
    return found


def flipped(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _pick(files: Files, chance: random.Random, *beginnings: str) -> str:
    return chance.choice([name for name in sorted(files) if name.startswith(beginnings) and files[name]])


def _flip(*beginnings: str) -> Callable[[Files, random.Random], str]:
    def alter(files: Files, chance: random.Random) -> str:
        name = _pick(files, chance, *beginnings)
        files[name] = flipped(files[name], chance)
        return name

    return alter


def _remove(*beginnings: str) -> Callable[[Files, random.Random], str]:
    def alter(files: Files, chance: random.Random) -> str:
        name = _pick(files, chance, *beginnings)
        del files[name]
        return name

    return alter


def _swap(*beginnings: str) -> Callable[[Files, random.Random], str]:
    def alter(files: Files, chance: random.Random) -> str:
        one, other = (_pick(files, chance, *beginnings) for _ in range(2))
        files[one], files[other] = files[other], files[one]
        return f"{one} and {other}"

    return alter


def _cut(files: Files, chance: random.Random) -> str:
    name = _pick(files, chance, "")
    files[name] = files[name][: chance.randrange(len(files[name]))]
    return name


def _add(files: Files, chance: random.Random) -> str:
    name = chance.choice(("more.txt", "csv/more.csv", "certificates/more.txt", "ledger/more.txt"))
    files[name] = b"more\n"
    return name


def _entries(files: Files) -> list[str]:
    return sorted(name for name in files if name.startswith("ledger/"))


def _copied_entry(files: Files, chance: random.Random) -> str:
    names = _entries(files)
    name = f"{names[0][: names[0].rindex('/')]}/{len(names) + 1:09d}.json"
    files[name] = files[chance.choice(names)]
    return name


def _moved_entries(files: Files, chance: random.Random) -> str:
    names = _entries(files)
    order = chance.sample([files[name] for name in names], len(names))
    files |= dict(zip(names, order, strict=True))
    return "the ledger"


def _chained_anew(files: Files, chance: random.Random) -> str:
    """One entry is re-dated, and everything after it chained to that: only a certificate can tell."""
    names = _entries(files)
    changed = chance.choice(names)
    before = hashlib.sha256(b"").hexdigest()
    for name in names:
        entry: dict[str, Any] = json.loads(files[name]) | {"previous": before}
        if name == changed:
            entry["at"] = "2020-01-01T00:00:00Z"
        files[name] = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        before = hashlib.sha256(files[name]).hexdigest()
    return changed


def _cut_tail(files: Files, chance: random.Random) -> str:
    """Nothing here shows it where the report does not name the entry."""
    name = _entries(files)[-1]
    del files[name]
    if chance.random() < 0.5:
        report = json.loads(files["report.json"])
        report["evidence"] = [item for item in report["evidence"] if item["file"] != name]
        files["report.json"] = json.dumps(report).encode()
    return name


def _certificates(files: Files) -> list[str]:
    return sorted(name for name in files if name.startswith("certificates/") and name.endswith(".json"))


def _re_dated(files: Files, chance: random.Random) -> str:
    """A certificate of another day, its inner digest written anew."""
    name = chance.choice(_certificates(files))
    files[name] = _dated(files[name])
    return name


def _dated(certificate: bytes) -> bytes:
    statement = json.loads(certificate)
    configuration = statement["predicate"]["configuration"][0]
    details = json.loads(base64.b64decode(configuration["content"])) | {"at": "2026-12-01T00:00:00Z"}
    data = json.dumps(details).encode()
    configuration["content"] = base64.b64encode(data).decode()
    configuration["digest"]["sha256"] = hashlib.sha256(data).hexdigest()
    return json.dumps(statement).encode()


@cache
def _other_key() -> PGPKey:
    key, _ = PGPKey.from_file(str(_KEYS / "nistp256-unprotected.asc"))
    return key


def _forged(*, whole: bool) -> Callable[[Files, random.Random], str]:
    def alter(files: Files, chance: random.Random) -> str:
        """Certificates by a forger's own key and witness; as a whole also with his public key and number."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        witness = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        pem = witness.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        names = _certificates(files)
        for name in names if whole else [chance.choice(names)]:
            files[name] = _dated(files[name])
            files[f"{name}.asc"] = str(_other_key().sign(files[name])).encode()
            files[f"{name}.sig"] = witness.sign(files[name])
            files[name.removesuffix("json") + "witness.pem"] = pem
        if not whole:
            return names[0]
        files["public.asc"] = str(_other_key().pubkey).encode()
        report = json.loads(files["report.json"])
        report["key"]["fingerprint"] = str(_other_key().fingerprint)
        for item in report["evidence"]:
            if item["file"] in files:
                item["sha256"] = hashlib.sha256(files[item["file"]]).hexdigest()
        files["report.json"] = json.dumps(report).encode()
        return "all of it"

    return alter


def _signed_by_other(files: Files, chance: random.Random) -> str:
    name = chance.choice(_certificates(files))
    files[f"{name}.asc"] = str(_other_key().sign(files[name])).encode()
    return f"{name}.asc"


def _both_keys(files: Files, chance: random.Random) -> str:
    """The forger's key beside the right one in one file, in armor of its own."""
    files["public.asc"] += str(_other_key().pubkey).encode()
    return _signed_by_other(files, chance)


def _revoked(files: Files, chance: random.Random) -> str:
    key, _ = PGPKey.from_file(str(_KEYS / "ed25519-unprotected.asc"))
    key |= key.revoke(key)
    files["public.asc"] = str(key.pubkey).encode()
    return "public.asc"


def _witness_of_forger(files: Files, chance: random.Random) -> str:
    """Signed anew by another witness: without the record nobody sees it."""
    name = chance.choice(_certificates(files))
    kept = {one: files[one] for one in (name, f"{name}.asc", "public.asc", "report.json")}
    _forged(whole=False)(files, random.Random(chance.random()))  # noqa: S311 - nothing secret
    signature, pem = f"{name}.sig", name.removesuffix("json") + "witness.pem"
    forged = {one: files[one] for one in (signature, pem)}
    files |= kept | forged
    return pem


def _copied_certificate(files: Files, chance: random.Random) -> str:
    name = chance.choice(_certificates(files))
    stem = name.removesuffix(".json")
    for ending in (".json", ".json.asc", ".json.sig", ".witness.pem"):
        files[f"{stem}-again{ending}"] = files[f"{stem}{ending}"]
    return name


def _nothing(files: Files, chance: random.Random) -> str:
    return ""


_BITS = "bit of "
KINDS: tuple[tuple[str, Callable[[Files, random.Random], str]], ...] = (
    ("unaltered", _nothing),
    (_BITS + "a certificate", _flip("certificates/")),
    (_BITS + "an entry", _flip("ledger/")),
    (_BITS + "public.asc", _flip("public.asc")),
    (_BITS + "report.json", _flip("report.json")),
    (_BITS + "SHA256SUMS", _flip(SUMS)),
    (_BITS + "any file", _flip("")),
    ("bit of the zip", _nothing),
    ("file swapped", _swap("")),
    ("certificates' files swapped", _swap("certificates/")),
    ("file removed", _remove("")),
    ("certificate's file removed", _remove("certificates/")),
    ("entry removed", _remove("ledger/")),
    ("file cut", _cut),
    ("file added", _add),
    ("entry added", _copied_entry),
    ("entries moved", _moved_entries),
    ("ledger re-dated and chained anew", _chained_anew),
    ("tail cut", _cut_tail),
    ("certificate re-dated", _re_dated),
    ("certificate forged by another key", _forged(whole=False)),
    ("bundle forged as a whole", _forged(whole=True)),
    ("signature by another key", _signed_by_other),
    ("two keys in public.asc", _both_keys),
    ("key revoked", _revoked),
    ("witness forged", _witness_of_forger),
    ("certificate copied", _copied_certificate),
    ("another fingerprint", lambda files, chance: f"{chance.getrandbits(160):040X}"),
    ("another record", _nothing),
)
