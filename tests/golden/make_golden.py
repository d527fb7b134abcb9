"""Makes golden records. Run: ``python -m tests.golden.make_golden``. What is there is never made again.

A golden record stands for all records that users have stored: every later version must list, verify and
restore it. So the files under ``records/`` and ``newer/`` and their entries in ``golden.json`` are only ever
added to. They are made at fixed times in the past, so that no clock finds them in the future.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from pipeline.core.clock import Deadline
from pipeline.core.digest import sha256
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Holder
from pipeline.custody.shares import commitments, passphrase, paths
from pipeline.custody.shares.commitments import Place
from pipeline.openpgp import signing
from pipeline.openpgp.gnupg.driver import GnuPG
from pipeline.openpgp.key import rewrap
from pipeline.openpgp.proofs.views import Views
from pipeline.record import create, manifest, tar
from pipeline.record.verify import Record
from pipeline.unseal.unseal import recover_passphrase
from tests.golden import holders

HERE = Path(__file__).parent
INDEX = HERE / "golden.json"
EXPORTS = HERE.parent / "assets" / "keys"
EXPORT_PASSPHRASE = Secret("correct horse battery staple")
FIRST = datetime(2025, 6, 1, tzinfo=UTC)
# Only ever added to, at the end: the position gives the time.
NAMES = ("rsa4096", "ed25519", "nistp256", "brainpoolp256", "dsa2048", "nistp384")
WITH_PEOPLE = "ed25519"
WITH_CUSTODIANS = "nistp384"
CUSTODIANS = ("alice", "bob", "carol")
KEEPERS = ("safe-berlin", "notary-paris")
NEWER = "ed25519"


PRINTED: dict[str, list[str]] = {}
"""What the sheets of paper of a record say, until it is described."""


def load() -> dict[str, Any]:
    """The index, empty where there is none yet."""
    return dict(json.loads(INDEX.read_text())) if INDEX.exists() else {"records": {}, "newer": {}}


def plan(name: str) -> create.CustodyPlan:
    """The unattended path; for one key, custodians besides."""
    known: dict[str, Holder] = holders.machines()
    ways = [paths.Path("unattended", (paths.PathNeed("vault", 1, 1), paths.PathNeed("aws", 1, 1)))]
    if name == WITH_PEOPLE:
        known["people"] = holders.people()
        ways.append(paths.Path("people", (paths.PathNeed("people", 2, 3),)))
    if name == WITH_CUSTODIANS:
        known["custodians"] = holders.custodians(CUSTODIANS)
        known["sheets"] = holders.Sheets(KEEPERS)
        ways.append(paths.Path("custodians", (paths.PathNeed("custodians", 2, 3),)))
        ways.append(paths.Path("paper", (paths.PathNeed("sheets", 2, 2),)))
        ways.append(paths.Path("mixed", (paths.PathNeed("vault", 1, 1), paths.PathNeed("custodians", 2, 3))))
    return create.CustodyPlan(tuple(ways), known, holders.machines(), paths.describe(known, known))


def at(moment: datetime) -> Any:
    """Sign at a time in the past, which only gpg can be told."""

    def sign(views: Views, opens: Secret, data: bytes, deadline: Deadline) -> bytes:
        with GnuPG(deadline, moment=moment) as gpg:
            gpg.import_keys(views.secret, {views.fingerprint: True})
            return gpg.sign(data, views.fingerprint, opens)

    return mock.patch.object(signing, "_by_sequoia", sign)


def make(name: str, moment: datetime) -> Record:
    """Mint one record as an escrow does."""
    data = (EXPORTS / f"{name}-two-block.asc").read_bytes()
    key = rewrap.load(data, EXPORT_PASSPHRASE, pin=None, now=moment)
    chosen = plan(name)
    with at(moment):
        made = create.create_record(
            key, chosen, now=moment, deadline=Deadline(120), export_passphrase=EXPORT_PASSPHRASE
        )
    sheets = chosen.holders.get("sheets")
    if isinstance(sheets, holders.Sheets):
        PRINTED[name] = [words.text() for words in sheets.printed]
    return made


def make_newer(old: Record, moment: datetime) -> bytes:
    """The same record as a version to come might write it: authentic, of a schema not known today."""
    document = json.loads(old.members[tar.MANIFEST])
    document |= {"schema": "orgkey.record/2", "created": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "novelty": True}
    body = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    opens = passphrase.written(recover_passphrase(old, "unattended", holders.machines()))
    with at(moment):
        made = signing.sign_detached(old.keypair, opens, old.public, body, deadline=Deadline(120), now=moment)
    return tar.pack({**old.members, tar.MANIFEST: body, tar.MANIFEST_SIGNATURE: made})


def describe(made: Record) -> dict[str, Any]:
    """What later versions must find in a record."""
    raw = recover_passphrase(made, "unattended", holders.machines())
    described: dict[str, Any] = {
        "fingerprint": made.fingerprint,
        "epoch": made.epoch,
        "sha256": made.sha256.hex,
        "record_id": made.manifest.record_id,
        "key_state": made.manifest.key_state,
        "plan": made.manifest.plan,
        "escrow_passphrase": passphrase.written(raw).text(),
    }
    if "people" in made.manifest.custody.holders:
        described["people"] = _people(made)
    if made.manifest.custody.holders.keys() >= {"sheets"}:
        (described["sheets"],) = PRINTED.values()
    return described


def _people(made: Record) -> list[Mapping[str, Any]]:
    from pipeline.custody.shares.recover import open_share

    entry = made.manifest.custody.path("people")
    binding = Binding(made.fingerprint, made.manifest.record_id)
    told: list[Mapping[str, Any]] = []
    for share in entry.shares:
        words = open_share(entry, share, made.members, holders.people(), binding)
        place = Place(made.manifest.record_id, entry.name, share.holder, share.index)
        codes = [commitments.code(place, number, words).text() for number in range(3)]
        told.append({"words": words.text(), "commitment": share.commitment, "codes": codes})
    return told


def store(folder: str, fingerprint: str, epoch: str, data: bytes) -> None:
    """Write a new file, never an old one."""
    path = HERE / folder / fingerprint / f"{epoch}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        stream.write(data)
    print(path.relative_to(HERE))


def main() -> None:
    """Add what is missing."""
    index = load()
    for number, name in enumerate(NAMES):
        if name in index["records"]:
            continue
        made = make(name, FIRST + timedelta(days=number))
        store("records", made.fingerprint, made.epoch, made.data)
        index["records"][name] = describe(made)
        if name == NEWER:
            moment = FIRST + timedelta(days=100)
            data = make_newer(made, moment)
            epoch = manifest.epoch_name(moment, made.manifest.record_id)
            store("newer", made.fingerprint, epoch, data)
            index["newer"][name] = {
                "fingerprint": made.fingerprint,
                "epoch": epoch,
                "sha256": sha256(data).hex,
            }
        INDEX.write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    main()
