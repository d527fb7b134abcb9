"""Which escrowed key opens which backup, and why none does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from pipeline.archive.journal import Journal
from pipeline.core.clock import Deadline
from pipeline.core.errors import Archived, Code, OrgkeyError, Unreachable
from pipeline.monitoring.status import status
from pipeline.openpgp.format import armor
from pipeline.openpgp.gnupg.driver import GnuPG
from pipeline.openpgp.key import rewrap
from pipeline.openpgp.key.rewrap import UnlockedKey
from pipeline.record import create
from pipeline.sources.backups.session_keys import SessionKeys
from pipeline.sources.backups.sources import BackupFile, BackupSource, Unlisted
from pipeline.workflows.backups import backup_map, prepare, verify
from pipeline.workflows.backups.backup_map import Backup, EscrowedKey
from tests.support import message_writer as writer
from tests.support import unwatched
from tests.support.inmemory import (
    ASSETS,
    ATTACKER,
    EXPORT_PASSPHRASE,
    ORG,
    MemoryEstate,
    World,
    denied,
    unlocked,
    unreachable,
)

HIDDEN = "0" * 16
STRANGER = "0123456789ABCDEF"


def encryption_id(name: str) -> str:
    """Key id of the encryption subkey."""
    return unlocked(name).key.components[-1].public.key_id


def backup(folder: Path, key_id: str) -> BackupFile:
    """A message that names this recipient; nobody has its session key."""
    path = folder / f"{key_id}.pgp"
    path.write_bytes(writer.message(writer.protected(writer.literal(b"x"), bytes(32)), [key_id]))
    return BackupFile(path)


@cache
def two_generations() -> tuple[UnlockedKey, bytes]:
    """The Org Key after it got another encryption subkey, and a message to that subkey."""
    data = (ASSETS / f"{ORG}-unprotected.asc").read_bytes()
    with GnuPG(Deadline(120)) as gpg:
        gpg.import_keys(armor.dearmor(data), {unlocked().fingerprint: True})
        options = ("--passphrase", "", "--quick-add-key", unlocked().fingerprint, "cv25519", "encr", "1y")
        assert gpg.call(*options).returncode == 0
        made = rewrap.unlock(gpg.call("--export-secret-keys").output, EXPORT_PASSPHRASE)
        (added,) = {part.public.key_id for part in made.key.components} - {
            part.public.key_id for part in unlocked().key.components
        }
        return made, gpg.encrypt(b"a backup" * 1000, f"{added}!")


def mapped(world: World, *sources: BackupFile) -> tuple[Sequence[Backup], Code]:
    """As `orgkey backups map` does it."""
    surveys = world.context.catalogs()
    missed = backup_map.missing(surveys)
    found = backup_map.map_backups(sources, backup_map.escrowed(surveys), missed)
    return found, backup_map.exit_code([item.code for item in found], missed)


@pytest.fixture
def two_keys(world: World) -> World:
    """The present key in targets a and b, a former one in c alone."""
    world.key = f'former = ["{unlocked(ATTACKER).fingerprint}"]'
    world.store(world.mint(), "a", "b")
    world.store(world.mint(key=ATTACKER), "c")
    return world


def test_a_key_that_was_never_escrowed_is_stale(world: World, tmp_path: Path) -> None:
    world.store(world.mint())
    (item,), code = mapped(world, backup(tmp_path, STRANGER))
    assert (item.code, code) == (Code.STALE, Code.STALE)
    assert item.problem == f"no escrowed key opens it: it is encrypted to {STRANGER}"
    (item,), code = mapped(world, backup(tmp_path, HIDDEN))
    assert (item.code, code) == (Code.DEGRADED, Code.DEGRADED)


@pytest.mark.parametrize("error", [unreachable(), denied()])
def test_a_key_whose_copies_cannot_be_reached_is_no_key_that_is_missing(
    two_keys: World, tmp_path: Path, error: OrgkeyError
) -> None:
    ours, former = backup(tmp_path, encryption_id(ORG)), backup(tmp_path, encryption_id(ATTACKER))
    assert mapped(two_keys, ours, former)[1] is Code.OK
    two_keys.targets["c"].failures["find"] = error
    found, code = mapped(two_keys, ours, former)
    assert code is error.code
    assert [item.source for item in found] == [former, ours]
    assert "or its copies cannot be read now" in str(found[0].problem)
    assert mapped(two_keys, ours)[1] is Code.OK
    result = verify.verify_backups(two_keys.context, unwatched.request([former]))
    assert result.code is error.code
    assert "or its copies cannot be read now" in str(result.backups[0].problem)


def test_a_key_whose_copies_are_damaged_is_an_integrity_problem(two_keys: World, tmp_path: Path) -> None:
    former = backup(tmp_path, encryption_id(ATTACKER))
    (slot,) = two_keys.targets["c"].places
    two_keys.targets["c"].damage(slot)
    (item,), code = mapped(two_keys, former)
    assert (item.code, code) == (Code.STALE, Code.INTEGRITY)
    assert verify.verify_backups(two_keys.context, unwatched.request([former])).code is Code.INTEGRITY
    two_keys.targets["a"].failures["find"] = two_keys.targets["b"].failures["find"] = unreachable()
    assert mapped(two_keys, former)[1] is Code.INTEGRITY


def test_nothing_that_can_be_read_opens_no_hidden_recipient(world: World, tmp_path: Path) -> None:
    source = backup(tmp_path, HIDDEN)
    assert mapped(world, source)[1] is Code.STALE
    world.store(world.mint())
    for target in world.targets.values():
        target.failures["find"] = unreachable()
    (item,), code = mapped(world, source)
    assert (item.code, code) == (Code.STALE, Code.UNREACHABLE)
    assert verify.verify_backups(world.context, unwatched.request([source])).code is Code.UNREACHABLE


def test_of_a_place_that_cannot_be_listed_whole_the_newest_is_not_known(world: World, tmp_path: Path) -> None:
    world.store(world.mint())
    world.backups = f'[backups.spool]\nlocation = "{tmp_path}"\n'
    source = backup(tmp_path, encryption_id(ORG))
    closed = Unlisted(f"{tmp_path}/closed", Unreachable("no answer", hint="wait"))
    both: list[BackupSource] = [closed, source]
    for sources, known in ((both[1:], True), (both, False)):
        request = unwatched.request(sources, whole=frozenset({"spool"}))
        result = verify.verify_backups(world.context, request)
        assert [item.recorded.was_newest for item in result.backups if item.source is source] == [known]
    assert [item.code for item in result.backups] == [Code.UNREACHABLE, Code.STALE]
    assert result.code is Code.UNREACHABLE
    assert result.backups[0].problem == "no answer"


def test_a_newer_epoch_opens_what_the_proven_one_does_not(world: World, tmp_path: Path) -> None:
    """The backups went on, to a new subkey; the epoch that has it is complete, and not drilled yet."""
    made, message = two_generations()
    old = world.store(world.mint())
    Journal(world.root / world.fingerprint).begin(old.epoch, None).mark_proven(
        {"record_sha256": old.sha256.hex, "at": "2026-01-31T08:00:00Z"}
    )
    now = datetime.now(UTC) + timedelta(seconds=1)
    new = world.store(
        create.create_record(
            made, world.plan(), now=now, deadline=Deadline(60), previous=None,
            export_passphrase=EXPORT_PASSPHRASE,
        )
    )  # fmt: skip
    (tmp_path / "new.pgp").write_bytes(message)
    source = BackupFile(tmp_path / "new.pgp")
    earlier = backup(tmp_path, encryption_id(ORG))
    found, code = mapped(world, source, earlier)
    assert code is Code.OK
    assert {
        item.source: (item.key and item.key.epoch.name, item.key and item.key.proven) for item in found
    } == {
        source: (new.epoch, False),
        earlier: (old.epoch, True),
    }
    result = verify.verify_backups(world.context, unwatched.request([source]))
    assert [(item.ok, item.key and item.key.epoch.name) for item in result.backups] == [(True, new.epoch)]


@pytest.mark.parametrize("options", [(), ("--throw-keyids",)])
def test_a_key_that_cannot_be_recovered_does_not_keep_another_from_opening(
    two_keys: World, tmp_path: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with GnuPG(Deadline(120)) as gpg:
        for name in (ORG, ATTACKER):
            gpg.import_keys(unlocked(name).public, {unlocked(name).fingerprint: False})
        words = ("--trust-model", "always", "--encrypt", *options)
        both = [word for name in (ORG, ATTACKER) for word in ("--recipient", unlocked(name).fingerprint)]
        message = gpg.call(*both, *words, stdin=b"a backup" * 1000).output
        ours = gpg.call(*both[:2], *words, stdin=b"a backup" * 1000).output
    (tmp_path / "both.pgp").write_bytes(message)
    (tmp_path / "ours.pgp").write_bytes(ours)
    recover = prepare._Keyring._recover

    def fail(self: prepare._Keyring, key: EscrowedKey) -> SessionKeys:
        if key.fingerprint == two_keys.fingerprint:
            raise denied("the holder")
        return recover(self, key)

    monkeypatch.setattr(prepare._Keyring, "_recover", fail)
    sources = [BackupFile(tmp_path / name) for name in ("both.pgp", "ours.pgp")]
    result = verify.verify_backups(two_keys.context, unwatched.request(sources))
    assert [(item.ok, item.code) for item in result.backups] == [(True, Code.OK), (False, Code.DENIED)]
    opened_by = result.backups[0].key
    assert opened_by is not None
    assert opened_by.fingerprint == unlocked(ATTACKER).fingerprint
    assert "the holder" in str(result.backups[1].problem)


class InGlacier(BackupFile):
    """An object of a storage class that cannot be read at once."""

    def start(self) -> bytes:
        raise Archived(f"{self.name} is archived and cannot be read at once", hint="restore it", again=False)


def test_one_archived_backup_breaks_nothing_beside_another(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store(world.mint())
    old, new = InGlacier(tmp_path / "old.pgp"), backup(tmp_path, encryption_id(ORG))
    found, code = mapped(world, old, new)
    assert [(item.code, item.archived) for item in found] == [(Code.UNREACHABLE, True), (Code.OK, False)]
    assert code is Code.UNREACHABLE
    assert "is archived" in str(found[0].problem)
    world.backups = f'[backups.here]\nlocation = "{tmp_path}"\n'
    both: tuple[list[BackupFile], bool] = ([old, new], True)
    for places, holds in (both, ([old], False)):
        monkeypatch.setattr(MemoryEstate, "backups", lambda *_, places=places, **__: places)
        rules = [rule for rule in status(world.context).rules if rule.name == "backups"]
        assert all(rule.ok for rule in rules) is holds
