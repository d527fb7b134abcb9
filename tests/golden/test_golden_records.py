"""Records that users have stored stay good: every version lists, verifies, drills and restores them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pipeline import config
from pipeline.archive.run import KeyScope
from pipeline.config.places import DirectoryTargetConfig
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import Code, NotEnoughShares, UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding
from pipeline.custody.shares import commitments, paths, slip39, witness
from pipeline.custody.shares.commitments import Place
from pipeline.custody.shares.recover import open_share
from pipeline.openpgp.format import armor
from pipeline.openpgp.gnupg.driver import GnuPG
from pipeline.openpgp.key import rewrap
from pipeline.record import tar, verify
from pipeline.record.tar import MANIFEST
from pipeline.storage.directory.backend import DirectoryBackend
from pipeline.unseal.ceremony import Brought, UnsealRequest
from pipeline.unseal.unseal import recover_passphrase
from pipeline.workflows import drill, restore
from tests.golden import holders, make_golden
from tests.support import forkserver
from tests.support.reporter import Lines

HERE = Path(__file__).parent
INDEX = make_golden.load()
RECORDS: dict[str, dict[str, Any]] = INDEX["records"]
NAMES = tuple(RECORDS)
NEW = Secret("a passphrase that the operator chose")
SINGLE = {"brainpoolp256", "dsa2048"}
"""Keys of which some proof has one implementation only, which is 24."""
CONFIG = """
[key]
fingerprint = "{pin}"
former = {former}

[target.disk]
kind = "directory"
controlled_by = ["storage-admins"]
path = "{path}"

[holder.vault]
kind = "vault-transit"
controlled_by = ["vault-admins"]
address = "https://vault.example.com:8200"
mount = "transit"
key = "orgkey-escrow"

[holder.aws]
kind = "aws-kms"
controlled_by = ["aws-admins"]
region = "eu-central-1"
key_id = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

[path.unattended]
needs = ["vault", "aws"]

[policy]
copies = 1
"""


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Shelf:
    """A directory target with golden records in it."""

    path: Path
    config: Path

    def context(self, name: str) -> KeyScope:
        clock = SystemClock()
        place = DirectoryBackend(
            "disk", DirectoryTargetConfig(kind="directory", controlled_by=("x",), path=str(self.path))
        )
        fingerprint = RECORDS[name]["fingerprint"]
        return KeyScope(
            config=config.load(self.config),
            fingerprint=fingerprint,
            clock=clock,
            deadline=Deadline(120, clock),
            run_id="0" * 16,
            root=self.path.parent / "state" / fingerprint,
            reporter=Lines(),
            backends=lambda _: holders.GoldenEstate({"disk": place}),
        )

    def orgkey(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Run the command line, offline."""
        state = ["--config", str(self.config), "--state-dir", str(self.path.parent / "state")]
        done = forkserver.run(
            [sys.executable, "-m", "pipeline.cli.app", *words, *state, "--json"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture
def make_shelf(tmp_path: Path) -> Callable[..., Shelf]:
    def make(*folders: str) -> Shelf:
        shelf = tmp_path / "shelf"
        for folder in folders:
            shutil.copytree(HERE / folder, shelf, dirs_exist_ok=True)
        pins = [RECORDS[name]["fingerprint"] for name in NAMES]
        path = tmp_path / "orgkey.toml"
        path.write_text(CONFIG.format(pin=pins[0], former=json.dumps(pins[1:]), path=shelf))
        path.chmod(0o600)
        return Shelf(shelf, path)

    return make


@pytest.fixture
def shelf(make_shelf: Callable[..., Shelf]) -> Shelf:
    return make_shelf("records")


def file_of(name: str, folder: str = "records") -> Path:
    told = INDEX[folder][name]
    return HERE / folder / str(told["fingerprint"]) / f"{told['epoch']}.tar"


def opened(name: str) -> verify.Record:
    told = RECORDS[name]
    return verify.verify_record(
        file_of(name).read_bytes(),
        told["fingerprint"],
        deadline=Deadline(60),
        now=now(),
        epoch=told["epoch"],
    )


def raw_of(name: str) -> Secret:
    return Secret(bytes.fromhex(RECORDS[name]["escrow_passphrase"]))


# -- the files themselves ------------------------------------------------------------------------


def test_which_there_are() -> None:
    assert NAMES == make_golden.NAMES
    stored = {
        path for folder in ("records", "newer") for path in (HERE / folder).rglob("*") if path.is_file()
    }
    assert stored == {file_of(name, folder) for folder in INDEX for name in INDEX[folder]}


@pytest.mark.parametrize(("folder", "name"), [(folder, name) for folder in INDEX for name in INDEX[folder]])
def test_nobody_has_touched_them(folder: str, name: str) -> None:
    data = file_of(name, folder).read_bytes()
    assert hashlib.sha256(data).hexdigest() == INDEX[folder][name]["sha256"]
    assert tar.pack(tar.unpack(data)) == data


def test_the_script_makes_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_golden, "make", lambda *_: pytest.fail("made again"))
    before = make_golden.INDEX.read_bytes()
    make_golden.main()
    assert make_golden.INDEX.read_bytes() == before
    told = RECORDS[NAMES[0]]
    with pytest.raises(FileExistsError):
        make_golden.store("records", told["fingerprint"], told["epoch"], b"")


# -- the formats inside --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_authentic_and_as_it_was_described(name: str) -> None:
    told, found = RECORDS[name], opened(name)
    manifest = found.manifest
    assert (found.epoch, found.fingerprint) == (told["epoch"], told["fingerprint"])
    assert manifest.record_id == told["record_id"]
    assert manifest.to_bytes() == found.members[MANIFEST], "the manifest is written as it was"
    assert manifest.key_state == told["key_state"]
    assert manifest.key["algorithm"]
    # "Escrowed already" is judged by these two: they must come out the same in every version.
    written = Secret(told["escrow_passphrase"])
    assert rewrap.unlock(found.keypair, written).key_state == manifest.key_state
    export = (make_golden.EXPORTS / f"{name}-two-block.asc").read_bytes()
    loaded = rewrap.load(export, make_golden.EXPORT_PASSPHRASE, pin=None, now=now())
    assert loaded.key_state == manifest.key_state
    assert manifest.custody.plan_digest() == manifest.plan == told["plan"]
    described = {key: item.coordinates for key, item in manifest.custody.holders.items()}
    for people_only in ("people", "custodians", "sheets"):
        described.pop(people_only, None)
    assert described == {"vault": holders.TRANSIT, "aws": holders.KMS}


@pytest.mark.parametrize("name", NAMES)
def test_shares_commitments_and_witness(name: str) -> None:
    found = opened(name)
    section, record_id = found.manifest.custody, found.manifest.record_id
    binding = Binding(found.fingerprint, record_id)
    entry = section.path("unattended")
    openers = holders.GoldenEstate({}).openers(section)
    words = []
    for share in entry.shares:
        opened_share = open_share(entry, share, found.members, openers[share.holder], binding)
        place = Place(record_id, entry.name, share.holder, share.index)
        assert commitments.verify(share.commitment, share.salt, place, opened_share)
        assert share.checks == ()
        words.append(opened_share)
    assert slip39.combine(words) == raw_of(name)
    assert witness.public_pem(raw_of(name), record_id) == section.witness
    witness.verify(section.witness, b"data", witness.sign(raw_of(name), record_id, b"data"))
    assert load_pem_public_key(section.witness.encode())


def test_the_custodians_words_commitments_and_check_codes() -> None:
    name = make_golden.WITH_PEOPLE
    found = opened(name)
    section, record_id = found.manifest.custody, found.manifest.record_id
    entry = section.path("people")
    assert [(need.holder, need.threshold, need.size) for need in entry.needs] == [("people", 2, 3)]
    for share, told in zip(entry.shares, RECORDS[name]["people"], strict=True):
        words = Secret(told["words"])
        place = Place(record_id, "people", "people", share.index)
        assert share.commitment == told["commitment"] == commitments.commitment(share.salt, place, words)
        assert share.checks == commitments.code_hashes(share.salt, place, words)
        for number, code in enumerate(told["codes"]):
            assert commitments.code(place, number, words).text() == code
            assert commitments.code_hash(share.salt, place, number, Secret(code)) == share.checks[number]
    all_words = [Secret(told["words"]) for told in RECORDS[name]["people"]]
    assert slip39.combine(all_words[1:]) == raw_of(name)
    assert recover_passphrase(found, "people", {}, all_words[:2]) == raw_of(name)
    with pytest.raises(NotEnoughShares):
        recover_passphrase(found, "people", {}, all_words[:1])
    with pytest.raises(WrongShare):
        recover_passphrase(found, "unattended", holders.machines(), all_words[:1])


def test_custodians_and_paper_as_they_were_sealed() -> None:
    """Shares that real certificates' keys open, and words that were printed."""
    from tests.support import people

    name = make_golden.WITH_CUSTODIANS
    found = opened(name)
    section = found.manifest.custody
    assert section.holders["custodians"].kind == "openpgp"
    assert section.holders["custodians"].coordinates["members"] == [
        people.FINGERPRINTS[who] for who in make_golden.CUSTODIANS
    ]
    assert section.holders["sheets"].coordinates == {"kept_by": list(make_golden.KEEPERS)}
    for pair in (("alice", "bob"), ("bob", "carol"), ("carol", "alice")):
        words = [people.words(who, found) for who in pair]
        assert recover_passphrase(found, "custodians", {}, words) == raw_of(name)
        mixed = [people.words(who, found, "mixed") for who in pair]
        assert recover_passphrase(found, "mixed", holders.machines(), mixed) == raw_of(name)
    sheets = [Secret(text) for text in RECORDS[name]["sheets"]]
    assert recover_passphrase(found, "paper", {}, sheets) == raw_of(name)
    for share in section.path("custodians").shares:
        assert len(share.checks) == commitments.CODES
        assert found.members[share.member].startswith(b"-----BEGIN PGP MESSAGE-----")


@pytest.mark.parametrize("name", NAMES)
def test_recovery_text_and_plain_tools(name: str, tmp_path: Path) -> None:
    """What stands in the record is enough for ``tar`` and ``gpg``, in the words of its own RECOVERY.txt."""
    subprocess.run(["tar", "-xf", file_of(name), "-C", tmp_path], check=True, timeout=60)
    text = (tmp_path / "RECOVERY.txt").read_text("ascii")
    told = RECORDS[name]
    for part in (told["fingerprint"], told["epoch"], told["record_id"], holders.TRANSIT["address"]):
        assert str(part) in text
    commands = re.findall(r"^    \$ (.+)$", text, re.MULTILINE)
    for word in (
        "tar -xf",
        "gpg --batch --import public.asc",
        "shamir recover",
        "aws kms decrypt",
        "keypair.asc",
    ):
        assert any(word in command for command in commands), word
    with GnuPG(Deadline(60)) as gpg:
        secret = armor.dearmor((tmp_path / "keypair.asc").read_bytes())
        gpg.import_keys(secret, {told["fingerprint"]: True})
        made = gpg.sign(b"data", told["fingerprint"], Secret(told["escrow_passphrase"]))
        assert gpg.verify(b"data", made)
        original = gpg.decrypt((tmp_path / "original.gpg").read_bytes(), Secret(told["escrow_passphrase"]))
    assert original == (make_golden.EXPORTS / f"{name}-two-block.asc").read_bytes()


# -- the commands --------------------------------------------------------------------------------


def test_list_and_verify(shelf: Shelf) -> None:
    wanted = {told["epoch"]: told["sha256"] for told in RECORDS.values()}
    for command in ("list", "verify"):
        code, document, said = shelf.orgkey(command)
        assert code == 0, said
        found = {epoch["epoch"]: epoch for epoch in document["epochs"]}
        assert set(found) == set(wanted)
        for epoch, sha256 in wanted.items():
            (copy,) = found[epoch]["copies"]
            assert (copy["ok"], copy["sha256"], copy["problem"]) == (True, sha256, None)


@pytest.mark.parametrize("name", NAMES)
def test_drill(name: str, shelf: Shelf) -> None:
    context = shelf.context(name)
    result = drill.drill(context, drill.DrillRequest(unseal=UnsealRequest(path="unattended")))
    assert result.code is (Code.DEGRADED if name in SINGLE else Code.OK)
    (one,) = result.results
    assert all(proof.ok for proof in one.proofs.values()), one.proofs
    assert one.record_sha256 is not None
    assert one.record_sha256.hex == RECORDS[name]["sha256"]
    assert result.certificate is not None


@pytest.mark.parametrize("name", NAMES)
def test_restore(name: str, shelf: Shelf, tmp_path: Path) -> None:
    context = shelf.context(name)
    estate = context.backends("driller")
    request = restore.RestoreRequest(out=tmp_path / "restored.asc", unseal=UnsealRequest(path="unattended"))
    found = restore.find(context, request)
    done = restore.restore(found, request, estate, lambda: NEW, context.deadline)
    assert (done.epoch, done.origin, done.path) == (RECORDS[name]["epoch"], "disk", "unattended")
    restored = armor.dearmor(done.out.read_bytes())
    assert rewrap.unlock(restored, NEW).key_state == RECORDS[name]["key_state"]
    with GnuPG(Deadline(60)) as gpg:
        gpg.import_keys(restored, {RECORDS[name]["fingerprint"]: True})
        assert gpg.verify(b"data", gpg.sign(b"data", RECORDS[name]["fingerprint"], NEW))

    original = restore.RestoreRequest(
        out=tmp_path / "original.asc", original=True, unseal=UnsealRequest(path="unattended")
    )
    restore.restore(found, original, estate, lambda: NEW, context.deadline)
    assert original.out.read_bytes() == (make_golden.EXPORTS / f"{name}-two-block.asc").read_bytes()


def test_restore_by_people(shelf: Shelf, tmp_path: Path) -> None:
    name = make_golden.WITH_PEOPLE
    context = shelf.context(name)
    estate = context.backends("driller")
    words = tuple(Brought(Secret(told["words"]), "a share") for told in RECORDS[name]["people"][1:])
    request = restore.RestoreRequest(
        out=tmp_path / "restored.asc", unseal=UnsealRequest(path="people", shares=words)
    )
    found = restore.find(context, request)
    restore.restore(found, request, estate, lambda: NEW, context.deadline)
    restored = armor.dearmor(request.out.read_bytes())
    assert rewrap.unlock(restored, NEW).key_state == RECORDS[name]["key_state"]


# -- a record of a version to come ---------------------------------------------------------------


def test_a_newer_schema_is_said_to_be_newer() -> None:
    told = INDEX["newer"][make_golden.NEWER]
    data = file_of(make_golden.NEWER, "newer").read_bytes()
    with pytest.raises(UsageProblem, match=r"orgkey\.record/2") as caught:
        verify.verify_record(data, told["fingerprint"], deadline=Deadline(60), now=now())
    assert "upgrade" in caught.value.hint


def test_a_newer_schema_at_the_command_line(make_shelf: Callable[..., Shelf], tmp_path: Path) -> None:
    """It is named, with the hint and its code, and what is older is still listed and verified."""
    shelf = make_shelf("records", "newer")
    newer = INDEX["newer"][make_golden.NEWER]["epoch"]
    for command in ("list", "verify"):
        code, document, said = shelf.orgkey(command)
        assert code == 2, (command, document, said)
        found = {epoch["epoch"]: epoch["copies"][0] for epoch in document["epochs"]}
        problem = found.pop(newer)["problem"]
        assert "newer schema orgkey.record/2" in problem
        assert "upgrade orgkey-escrow" in problem
        assert all(copy["ok"] for copy in found.values())
    words = ["restore", "--out", str(tmp_path / "out.asc"), "--new-passphrase-command", "echo new"]
    words += ["--record", str(file_of(make_golden.NEWER, "newer"))]
    words += ["--fingerprint", RECORDS[make_golden.NEWER]["fingerprint"]]
    done = forkserver.run(
        [sys.executable, "-m", "pipeline.cli.app", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    error, hint = done.stderr.splitlines()[-2:]
    assert "newer schema orgkey.record/2" in error
    assert "upgrade orgkey-escrow" in hint
    assert not (tmp_path / "out.asc").exists()


def test_latest_is_what_this_version_can_read(make_shelf: Callable[..., Shelf], tmp_path: Path) -> None:
    shelf = make_shelf("records", "newer")
    context = shelf.context(make_golden.NEWER)
    request = restore.RestoreRequest(out=tmp_path / "restored.asc")
    found = restore.find(context, request)
    assert found.record.epoch == RECORDS[make_golden.NEWER]["epoch"]


def test_a_plan_is_the_same_plan_in_every_version() -> None:
    """The digest by which "already escrowed" is judged, for the plan of the golden records."""
    for name in ("rsa4096", make_golden.WITH_CUSTODIANS):
        plan = make_golden.plan(name)
        assert paths.plan_digest(plan.paths, plan.descriptions) == RECORDS[name]["plan"]
