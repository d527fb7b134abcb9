from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.core import files
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import (
    Code,
    DeadlinePassed,
    Denied,
    IntegrityProblem,
    LocalFilesProblem,
    NotEnoughShares,
    OrgkeyError,
    ProofFailed,
    Unreachable,
    UsageProblem,
    WrongShare,
)
from pipeline.core.finding import Level
from pipeline.core.secret import Secret
from pipeline.custody.shares import passphrase
from pipeline.monitoring import doctor
from pipeline.openpgp.format import armor
from pipeline.openpgp.key import rewrap
from pipeline.openpgp.key.rewrap import UnlockedKey
from pipeline.record import create, tar
from pipeline.record.verify import Record, verify_record
from pipeline.unseal.ceremony import Brought, UnsealRequest
from pipeline.unseal.unseal import recover_passphrase
from pipeline.workflows.drill import DrillRequest, drill
from pipeline.workflows.restore import FoundRecord, Restored, RestoreRequest, find, restore
from tests.support import inmemory
from tests.support import openpgp_writer as writer
from tests.support.inmemory import (
    ASSETS,
    ATTACKER,
    ORG,
    MemoryEstate,
    MemoryHolder,
    MemoryMirror,
    World,
    attackers,
    denied,
    export,
    forged,
    slot_of,
    unlocked,
    unreachable,
)
from tests.support.key_forms import FORMS
from tests.support.withpeople import machines_words

NEW = Secret("a passphrase of my own")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "restored"
    folder.mkdir(mode=0o700)
    return folder / "key.asc"


class PatientClock(SystemClock):
    """A clock by which an hour passes while a person thinks."""

    thought = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.thought

    def pass_(self, answer: Secret) -> Secret:
        self.thought += 3600
        return answer


def new_passphrase() -> Secret:
    return NEW


def never() -> Secret:
    raise AssertionError("nobody is asked before the key is open")


def run(
    world: World,
    out: Path,
    ask: Callable[[], Secret] = new_passphrase,
    found: FoundRecord | None = None,
    **more: Any,
) -> Restored:
    context, estate = world.context, MemoryEstate(world)
    unseal = UnsealRequest(more.pop("path", None), more.pop("shares", ()))
    request = RestoreRequest(out, unseal=unseal, **more)
    return restore(
        found or find(context, request), request, estate, ask,
        context.deadline,
    )  # fmt: skip


def failing(world: World, out: Path, kind: type[OrgkeyError], **more: Any) -> OrgkeyError:
    with pytest.raises(kind) as caught:
        run(world, out, **more)
    assert list(out.parent.iterdir()) == [], "after a failure nothing is left"
    assert caught.value.hint
    return caught.value


# -- what comes back -------------------------------------------------------------------------------


def test_the_key_comes_back_under_the_passphrase_that_was_chosen(world: World, out: Path) -> None:
    made = world.store(world.mint())
    restored = run(world, out)
    assert restored == Restored(made.epoch, made.fingerprint, "a", "unattended", out)
    back = rewrap.unlock(out.read_bytes(), NEW)
    assert back.key_state == unlocked().key_state
    assert list(out.parent.iterdir()) == [out]


def test_the_time_that_a_person_takes_for_a_passphrase_is_not_the_runs(world: World, out: Path) -> None:
    world.store(world.mint())
    clock = PatientClock()
    found = find(world.context, RestoreRequest(out))
    deadline = Deadline(60, clock)
    restore(found, RestoreRequest(out), MemoryEstate(world), lambda: clock.pass_(NEW), deadline)
    assert 0 < deadline.left() <= 60


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 4 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_room_for_the_key_is_told_before_anybody_is_asked(
    world: World, out: Path, small_files: None
) -> None:
    world.store(world.mint())
    world.holders.clear()  # opening a share would be another failure
    failing(world, out, LocalFilesProblem, ask=never)


def test_a_disk_without_room_for_evidence_is_told_before_the_work(world: World, small_files: None) -> None:
    with pytest.raises(LocalFilesProblem, match="cannot write"), world.context.locked():
        raise AssertionError("the work has begun")


def test_the_file_is_the_owners_alone_whatever_the_umask(world: World, out: Path) -> None:
    world.store(world.mint())
    before = os.umask(0)
    try:
        run(world, out)
    finally:
        os.umask(before)
    assert out.stat().st_mode & 0o7777 == 0o600


@pytest.mark.usefixtures("full_stretching")
def test_a_persons_passphrase_gets_the_maximal_stretching(world: World, out: Path) -> None:
    world.store(world.mint())
    run(world, out)
    parts = [body for tag, body in writer.split(writer.dearmor(out.read_text())) if tag in (5, 7)]
    assert len(parts) == 2
    for body in parts:
        # usage 254, AES-256, iterated-salted S2K with SHA-256, the salt, the coded count
        assert any(
            body[at : at + 4] == b"\xfe\x09\x03\x08" and body[at + 12] == 0xFF for at in range(len(body) - 12)
        )


def test_the_original_comes_back_byte_for_byte(world: World, out: Path) -> None:
    world.store(world.mint())
    run(world, out, never, original=True)
    assert out.read_bytes() == export()
    assert out.stat().st_mode & 0o7777 == 0o600


def test_the_escrow_passphrase_does_not_open_the_restored_key(world: World, out: Path) -> None:
    made = world.store(world.mint())
    run(world, out)
    raw = recover_passphrase(made, "unattended", dict(world.holders))
    with pytest.raises(OrgkeyError):
        rewrap.unlock(out.read_bytes(), passphrase.written(raw))


def test_a_newer_public_part_of_the_same_key_is_merged(world: World, out: Path) -> None:
    old = (ASSETS / "expired-two-block.asc").read_bytes()
    renewed = (ASSETS / "renewed-two-block.asc").read_bytes()
    phrase = Secret(writer.PASSPHRASE)
    before, after = rewrap.unlock(old, phrase), rewrap.unlock(renewed, phrase)
    assert before.fingerprint == after.fingerprint
    made = mint_of(world, before)
    run(world, out, found=FoundRecord(made, "a"))
    alone = rewrap.unlock(out.read_bytes(), NEW)
    out.unlink()
    run(world, out, found=FoundRecord(made, "a", (after.public,)))
    merged = rewrap.unlock(out.read_bytes(), NEW)
    assert alone.summary()["expires"] == before.summary()["expires"]
    assert merged.summary()["expires"] == after.summary()["expires"] != before.summary()["expires"]


def mint_of(world: World, key: UnlockedKey) -> Record:
    from pipeline.record import create

    return create.create_record(key, world.plan(), now=world.clock.now(), deadline=Deadline(60))


# -- which record ----------------------------------------------------------------------------------


def test_latest_named_and_from(world: World, out: Path) -> None:
    one, two = world.store(world.mint()), world.store(world.mint(later=5))
    assert run(world, out).epoch == two.epoch
    out.unlink()
    assert run(world, out, epoch=one.epoch).epoch == one.epoch
    out.unlink()
    assert run(world, out, source="c").origin == "c"


def test_an_unproven_epoch_is_restored_with_a_warning(world: World, out: Path) -> None:
    made = world.store(world.mint())
    run(world, out)
    assert any("no drill that this host knows of proved it" in line for line in world.lines)
    world.lines.clear()
    world.context.journal.begin(made.epoch, None).mark_proven({"record_sha256": made.sha256.hex})
    out.unlink()
    run(world, out)
    assert not any("no drill" in line for line in world.lines)


class Forms(World):
    """A world around a key of the table of forms."""

    @property
    def fingerprint(self) -> str:
        return Forms.key_of("plain").fingerprint

    @staticmethod
    def key_of(form: str) -> UnlockedKey:
        """A form of it, open."""
        return rewrap.load(FORMS[form].export(), inmemory.EXPORT_PASSPHRASE, pin=None, now=datetime.now(UTC))

    def made(self, form: str, later: float, *targets: str) -> Record:
        """A record of a form of it, stored at some targets."""
        key, now = self.key_of(form), datetime.now(UTC) + timedelta(seconds=later)
        return self.store(create.create_record(key, self.plan(), now=now, deadline=Deadline(60)), *targets)


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        ("plain", "two-encryption-subkeys", True),
        ("plain", "two-encryption-subkeys-one-revoked", True),
        ("two-encryption-subkeys", "plain", False),
    ],
)
def test_a_newer_epoch_is_taken_where_it_alone_has_a_subkey(
    tmp_path: Path, out: Path, before: str, after: str, *, taken: bool
) -> None:
    """What this host has proven opens, and does not open the backups of today."""
    world = Forms(tmp_path / "state")
    old = world.made(before, 0, "a", "b")
    world.context.journal.begin(old.epoch, None).mark_proven({"record_sha256": old.sha256.hex})
    new = world.made(after, 5, "b")
    assert run(world, out).epoch == (new if taken else old).epoch
    assert any(f"--epoch {old.epoch} takes the other" in line for line in world.lines) == taken
    out.unlink()
    assert run(world, out, epoch=old.epoch).epoch == old.epoch


def test_where_a_holders_key_was_lost_the_newer_epoch_opens(world: World, out: Path) -> None:
    """Another host has made new shares; this one has not drilled since."""
    old = world.store(world.mint())
    world.context.journal.begin(old.epoch, None).mark_proven({"record_sha256": old.sha256.hex})
    words = {old.epoch: machines_words(world, old, "unattended", "vault")}
    lost, world.holders["vault"] = world.holders["vault"], MemoryHolder("vault")
    new = world.store(world.mint(later=5), "b")
    words[new.epoch] = machines_words(world, new, "unattended", "vault")
    for path in (None, "unattended"):
        assert run(world, out, path=path).epoch == new.epoch
        out.unlink()
    for made in (old, new):
        assert run(world, out, shares=(Brought(words[made.epoch], "it"),)).epoch == made.epoch
        out.unlink()
    failing(world, out, WrongShare, epoch=old.epoch)
    failing(world, out, WrongShare, shares=(Brought(words[new.epoch], "it"), Brought(words[old.epoch], "it")))
    world.holders["vault"] = lost
    assert run(world, out).epoch == old.epoch, "what is known to open goes first"


@pytest.mark.parametrize("name", ["proven.json", "receipts/a.json"])
def test_what_is_damaged_on_this_host_keeps_no_key_away(name: str, world: World, out: Path) -> None:
    made = world.store(world.mint())
    drill(world.context, DrillRequest())
    (entry,) = world.context.journal.entries()
    (entry.path / name).write_bytes(b"{")
    assert run(world, out).epoch == made.epoch
    (said,) = [line for line in world.lines if "what this host knew is left out" in line]
    assert name in said
    told = [found for found in doctor.foretell(world.context) if found.level is Level.FAIL]
    assert any(name in found.message for found in told)


@pytest.mark.parametrize("bad", ["a", "b"])
def test_a_damaged_copy_is_passed_over_and_told(world: World, out: Path, bad: str) -> None:
    made = world.store(world.mint())
    world.targets[bad].damage(slot_of(made))
    restored = run(world, out)
    assert restored.origin == ("b" if bad == "a" else "a")
    assert any(f"warning: {bad}: " in line for line in world.lines)


def test_targets_that_do_not_answer_are_passed_over_and_told(world: World, out: Path) -> None:
    world.store(world.mint())
    world.targets["a"].failures["find"] = unreachable("a")
    world.targets["b"].failures["get"] = unreachable("b")
    assert run(world, out).origin == "c"
    assert any("a was left out" in line for line in world.lines)
    assert not any("warning: a: " in line for line in world.lines), "its copies are told once more"


def test_an_attackers_later_record_is_not_restored(world: World, out: Path) -> None:
    made = world.store(world.mint())
    for target in world.targets.values():
        target.plant(slot_of(made), attackers(made))
    assert run(world, out).epoch == made.epoch
    assert rewrap.unlock(out.read_bytes(), NEW).fingerprint == unlocked(ORG).fingerprint


def test_one_version_of_one_copy(world: World, out: Path) -> None:
    made = world.store(world.mint())
    world.targets["b"].plant(slot_of(made), b"garbage")
    assert run(world, out, source="b", epoch=made.epoch, version="1").origin == "b"
    out.unlink()
    failing(world, out, IntegrityProblem, source="b", epoch=made.epoch, version="2")
    failing(world, out, IntegrityProblem, source="b", epoch=made.epoch, version="77")


@pytest.mark.parametrize(
    "more",
    [
        {"version": "1"},
        {"version": "1", "source": "a"},
        {"version": "1", "epoch": "20260131T080000Z-0a1b2c3d"},
        {"source": "nowhere"},
        {"epoch": "20260131T080000Z-0a1b2c3d"},
        {"path": "no-such-path"},
    ],
)
def test_what_is_asked_for_must_be_there(world: World, out: Path, more: dict[str, str]) -> None:
    world.store(world.mint())
    failing(world, out, UsageProblem, ask=never, **more)


def test_nothing_stored(world: World, out: Path) -> None:
    failing(world, out, UsageProblem, ask=never)


def test_no_copy_is_good(world: World, out: Path) -> None:
    made = world.store(world.mint())
    for target in world.targets.values():
        target.damage(slot_of(made))
    failing(world, out, IntegrityProblem, ask=never)
    problem = failing(world, out, IntegrityProblem, ask=never, epoch=made.epoch)
    assert all(f"{name}: " in problem.message for name in "abc")


def test_no_target_answers(world: World, out: Path) -> None:
    for target in world.targets.values():
        target.failures["find"] = unreachable(target.name)
    told = failing(world, out, Unreachable, ask=never)
    assert told.code is Code.UNREACHABLE
    assert told.message == "a does not answer; b does not answer; c does not answer"
    assert told.hint == "look at its network"
    world.targets["b"].failures["find"] = denied("b")
    told = failing(world, out, Denied, ask=never)
    assert "b refuses" in told.message
    for name in "abc":
        world.targets[name].failures["find"] = UsageProblem(f"{name} has no login", hint="give one")
    assert "a has no login; b has no login" in failing(world, out, UsageProblem, ask=never).message


def test_an_epoch_that_is_not_there_beside_others_is_no_reason_to_make_the_first_one(
    world: World, out: Path
) -> None:
    world.store(world.mint())
    told = failing(world, out, UsageProblem, ask=never, epoch="20200101T000000Z-00000000")
    assert told.hint == "`orgkey list` shows what is stored"


# -- a record by the right key that holds a wrong one -------------------------------------------------


def wrong_keypair(made: Record, world: World, how: str) -> Record:
    raw = recover_passphrase(made, "unattended", dict(world.holders))
    written = passphrase.written(raw)
    if how == "another key":
        packets = unlocked(ATTACKER).protect(written, s2k_count_octet=0)
    elif how == "another's secret under the right public part":
        mine = writer.split(unlocked(ORG).protect(written, s2k_count_octet=0))
        theirs = writer.split(unlocked("nistp256").protect(written, s2k_count_octet=0))
        public = next(body for tag, body in writer.split(unlocked(ORG).public) if tag == 6)
        other = next(body for tag, body in writer.split(unlocked("nistp256").public) if tag == 6)
        grafted = public + next(body for tag, body in theirs if tag == 5)[len(other) :]
        packets = writer.join([(tag, grafted if tag == 5 else body) for tag, body in mine])
    elif how == "another passphrase":
        packets = unlocked(ORG).protect(NEW, s2k_count_octet=0)
    elif how == "public only":
        packets = unlocked(ORG).public
    else:
        packets = b"\x95\x00\x03abc"
    changed = {tar.KEYPAIR: armor.armor(packets, "PRIVATE KEY BLOCK")}
    data = forged(made, by=ORG, members=changed)
    return verify_record(data, made.fingerprint, deadline=Deadline(60), now=world.clock.now())


@pytest.mark.parametrize(
    "how",
    [
        "another key",
        "another's secret under the right public part",
        "another passphrase",
        "public only",
        "no key",
    ],
)
def test_a_wrong_keypair_in_an_authentic_record_is_never_written(world: World, out: Path, how: str) -> None:
    false = wrong_keypair(world.mint(), world, how)
    problem = failing(world, out, IntegrityProblem, ask=never, found=FoundRecord(false, "a"))
    assert problem.code is Code.INTEGRITY


def test_an_original_that_does_not_open_is_an_integrity_problem(world: World, out: Path) -> None:
    made = world.mint()
    data = forged(made, by=ORG, members={tar.ORIGINAL: world.mint().members[tar.ORIGINAL]})
    false = verify_record(data, made.fingerprint, deadline=Deadline(60), now=world.clock.now())
    failing(world, out, IntegrityProblem, ask=never, found=FoundRecord(false, "a"), original=True)


# -- holders ---------------------------------------------------------------------------------------


def test_a_holder_that_does_not_answer_is_named(world: World, out: Path) -> None:
    world.store(world.mint())
    world.holders["aws"].failures["open"] = unreachable("holder aws")
    assert "aws" in failing(world, out, Unreachable, ask=never).message


def test_a_holder_that_is_not_here_is_named(world: World, out: Path) -> None:
    made = world.store(world.mint())
    del world.holders["aws"]
    assert "aws" in failing(world, out, NotEnoughShares, ask=never, found=FoundRecord(made, "a")).message


def test_a_share_that_is_damaged_is_named(world: World, out: Path) -> None:
    made = world.mint()
    share = "custody/unattended/vault.mem"
    data = forged(made, by=ORG, members={share: made.members[share][:-1] + b"?"})
    false = verify_record(data, made.fingerprint, deadline=Deadline(60), now=world.clock.now())
    assert "holder vault" in failing(world, out, WrongShare, ask=never, found=FoundRecord(false, "a")).message


def test_words_that_people_bring_replace_a_holder(world: World, out: Path) -> None:
    made = world.store(world.mint())
    from pipeline.custody.holders.interface import Binding
    from pipeline.custody.shares.recover import open_share

    entry = made.manifest.custody.path("unattended")
    (share,) = entry.shares_of("aws")
    binding = Binding(made.fingerprint, made.manifest.record_id)
    words = open_share(entry, share, made.members, world.holders["aws"], binding)
    world.holders["aws"].failures["open"] = denied("holder aws")
    failing(world, out, OrgkeyError, ask=never)
    assert run(world, out, shares=(Brought(words, "the share"),)).path == "unattended"
    out.unlink()
    failing(world, out, WrongShare, ask=never, shares=(Brought(Secret("not a share at all"), "it"),))


# -- the output ------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["a file", "an empty file", "a link", "a dangling link", "a directory"])
def test_nothing_is_ever_overwritten(world: World, out: Path, what: str) -> None:
    world.store(world.mint())
    elsewhere = out.parent / "elsewhere"
    if what == "a directory":
        out.mkdir()
    elif what == "a link":
        elsewhere.write_text("precious")
        out.symlink_to(elsewhere)
    elif what == "a dangling link":
        out.symlink_to(elsewhere)
    else:
        out.write_text("precious" if what == "a file" else "")
    before = {path: path.read_bytes() for path in out.parent.iterdir() if path.is_file()}
    with pytest.raises(LocalFilesProblem, match="exists already"):
        files.check_new(out)
    with pytest.raises(LocalFilesProblem):
        run(world, out)
    assert {path: path.read_bytes() for path in out.parent.iterdir() if path.is_file()} == before
    assert not (what == "a dangling link" and elsewhere.exists())


def test_a_file_that_appears_meanwhile_is_not_overwritten(world: World, out: Path) -> None:
    world.store(world.mint())

    def slow() -> Secret:
        out.write_text("precious")
        return NEW

    files.check_new(out)
    with pytest.raises(LocalFilesProblem):
        run(world, out, slow)
    assert out.read_text() == "precious"
    assert list(out.parent.iterdir()) == [out]


def test_a_directory_that_is_not_there_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(LocalFilesProblem, match="No such file or directory"):
        files.check_new(tmp_path / "nowhere" / "key.asc")


@pytest.mark.parametrize("step", ["write", "fsync", "link"])
def test_a_full_disk_leaves_nothing(
    world: World, out: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.store(world.mint())
    found = FoundRecord(made, "a")

    def full(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    def armed() -> Secret:
        monkeypatch.setattr(os, {"write": "fchmod", "fsync": "fsync", "link": "link"}[step], full)
        return NEW

    try:
        failing(world, out, LocalFilesProblem, ask=armed, found=found)
    finally:
        monkeypatch.undo()


def test_a_key_that_does_not_open_again_is_not_written(
    world: World, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store(world.mint())
    real = UnlockedKey.protect
    monkeypatch.setattr(
        UnlockedKey,
        "protect",
        lambda self, new, *, s2k_count_octet: real(self, Secret("other"), s2k_count_octet=s2k_count_octet),
    )
    failing(world, out, ProofFailed)


def test_a_passphrase_that_is_not_given_leaves_nothing(world: World, out: Path) -> None:
    world.store(world.mint())

    def refuses() -> Secret:
        raise UsageProblem("not running in a terminal", hint="give --new-passphrase-file")

    failing(world, out, UsageProblem, ask=refuses)


def test_an_empty_passphrase_is_refused(world: World, out: Path) -> None:
    world.store(world.mint())
    failing(world, out, UsageProblem, ask=lambda: Secret(""))


def test_a_deadline_that_passes_leaves_nothing(world: World, out: Path) -> None:
    made = world.store(world.mint())
    request, estate = RestoreRequest(out, original=True), MemoryEstate(world)
    with pytest.raises(DeadlinePassed):
        restore(FoundRecord(made, "a"), request, estate, never, Deadline(0.0))
    assert list(out.parent.iterdir()) == []


def test_the_passphrase_is_asked_for_only_when_the_key_is_open(world: World, out: Path) -> None:
    made = world.store(world.mint())
    opened: list[int] = []

    def ask() -> Secret:
        opened.append(sum(holder.calls.count("open") for holder in world.holders.values()))
        return NEW

    for holder in world.holders.values():
        holder.calls.clear()
    run(world, out, ask, found=FoundRecord(made, "a"))
    assert opened == [2]


def test_nothing_secret_is_said(world: World, out: Path) -> None:
    world.store(world.mint())
    run(world, out)
    assert NEW.text() not in "\n".join(world.lines)
    given = Brought(NEW, "the share in a file")
    assert NEW.text() not in repr(RestoreRequest(out, unseal=UnsealRequest(shares=(given,))))


def test_a_write_never_leaves_a_temporary_file(out: Path) -> None:
    files.write_new(out, b"x")
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("where", ["journal", "ledger"])
def test_a_newer_epoch_that_this_host_knows_and_nobody_shows_is_told(
    world: World, out: Path, where: str
) -> None:
    """Somebody rolled the targets back, or a target that is not configured any more has it."""
    made = world.store(world.mint())
    newer = "20990101T000000Z-00000000"
    if where == "journal":
        world.context.journal.begin(newer, None)
    else:
        world.enter("escrow", {"epoch": newer})
    assert find(world.context, RestoreRequest(out)).record == made
    assert any(f"this host's {where} knows of epoch {newer}" in line for line in world.lines)


def test_a_newer_epoch_of_which_only_a_mirror_of_the_ledger_tells_is_told(
    world: World, make_world: Callable[[str], World], out: Path
) -> None:
    """This host's state is a backup's, and the newest epoch was taken away at the targets."""
    made = world.store(world.mint())
    newer = "20990101T000000Z-00000000"
    elsewhere = make_world("elsewhere")
    elsewhere.mirrors = world.mirrors = {"a": MemoryMirror("a"), "b": MemoryMirror("b")}
    elsewhere.enter("escrow", {"epoch": newer, "copies": {"a": {}}})
    elsewhere.enter("drill", {"epoch": newer})  # malformed
    world.mirrors["a"].chains[elsewhere.context.ledger.host][3] = [b"nonsense"]
    world.mirrors["b"].failure = unreachable("b")
    assert find(world.context, RestoreRequest(out)).record == made
    (said,) = (line for line in world.lines if newer in line)
    assert said.startswith(f"warning: the ledger's mirror a knows of epoch {newer}, which is newer than")
    world.lines.clear()
    world.targets["a"].failures["find"] = unreachable("a")
    world.mirrors["a"].calls.clear()
    find(world.context, RestoreRequest(out))
    assert world.mirrors["a"].calls == [], "who did not answer as a target is not asked again"
    assert not any(newer in line for line in world.lines)
