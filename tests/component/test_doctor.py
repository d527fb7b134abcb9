"""What the doctor says of this host, without a server."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.config.identities import IdentityName
from pipeline.config.places import AwsPlace
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import Code
from pipeline.core.finding import Finding, Level
from pipeline.core.isolation import isolated
from pipeline.monitoring import custody_findings, doctor
from pipeline.openpgp import proofs
from pipeline.posture import model as posture
from pipeline.wiring.sessions import Sessions
from pipeline.workflows import provision as drift
from tests.support.inmemory import World
from tests.support.provers import quick


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    (made / "ledger").mkdir(parents=True, mode=0o700)
    made.chmod(0o700)
    return made


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and allowed(path, mode))


def state(root: Path) -> Finding:
    result = isolated(lambda: doctor._state(root), "state")
    (found,) = (item for item in doctor._findings("state", result) if item.subject == "state")
    return found


def test_a_state_that_can_be_written_is_ok(root: Path) -> None:
    assert state(root).level is Level.OK
    assert "made by the first run" in state(root / "absent" / "below").message
    assert not (root / "absent").exists()


@pytest.mark.parametrize("part", [".", "ledger"])
def test_a_state_that_no_run_can_write_is_a_failure(
    part: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, root / part)
    found = state(root)
    assert (found.level, found.code) == (Level.FAIL, Code.LOCAL_FILES)
    assert "Permission denied" in found.message
    assert "--state-dir" in found.hint


def test_a_state_that_the_first_run_cannot_make_is_a_failure(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, root)
    assert state(root / "absent" / "below").level is Level.FAIL


def test_a_read_only_file_system_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, root)
    facts = os.statvfs(root)
    read_only = os.statvfs_result((*facts[:8], facts.f_flag | os.ST_RDONLY, facts[9]))
    monkeypatch.setattr(os, "statvfs", lambda path: read_only)
    assert "Read-only file system" in state(root).message


def test_each_login_that_several_roles_have_is_told_in_one_line() -> None:
    text = """
[target.s3]
kind = "s3"
controlled_by = ["x"]
bucket = "b"
[target.disk]
kind = "directory"
controlled_by = ["x"]
path = "/mnt"
[holder.kms]
kind = "aws-kms"
controlled_by = ["x"]
key_id = "arn:aws:kms:eu-central-1:444455556666:key/1"
[path.all]
needs = ["kms"]
"""
    one, other = (f'aws.profile = "{name}"' for name in ("one", "other"))
    logins: dict[IdentityName, str] = {
        "writer": one,
        "driller": other,
        "auditor": other,
        "retention": "at.s3.profile = 'one'",
    }
    text += "".join(f"[identity.{role}]\n{login}\n" for role, login in logins.items())
    config = parse(text.encode(), Path("orgkey.toml"))
    found = [item.message for item in doctor._configuration(config) if item.subject == "identities"]
    assert found == [
        "one login at s3 for writer, retention: it may what any of them needs",
        "one login at s3 and kms for driller, auditor: it may what any of them needs",
    ]
    looked = [role for role in logins if not doctor._shared(config, role, "s3")]
    assert looked == ["writer", "driller"]
    assert not any(doctor._shared(config, role, "disk") for role in logins)
    sessions = Sessions(config, Deadline(1), SystemClock())
    place = config.target["s3"]
    assert isinstance(place, AwsPlace)
    assert not any(sessions.cloud(role, "s3", place).apart for role in logins)


def test_what_was_not_looked_at_is_not_ok(world: World) -> None:
    (found,) = drift.findings(world.context)
    assert found.level is Level.UNSEEN
    assert doctor.verdict([found]) is Code.OK


def test_the_doctor_sees_that_a_drill_would_have_no_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [item for item in doctor.examine(world.context) if item.subject == "proofs"]
    assert [item.level for item in good] == [Level.OK]
    facts = os.statvfs("/")
    small = os.statvfs_result((*facts[:3], 0, 0, *facts[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: small)
    found = doctor.examine(world.context)
    assert any(item.code is Code.LOCAL_FILES and "prove the key" in item.message for item in found), found


@pytest.mark.parametrize(
    ("ahead", "level", "code"),
    [(timedelta(), Level.OK, Code.OK), (timedelta(days=700), Level.FAIL, Code.LOCAL_FILES)],
)
def test_the_clock_is_judged_by_what_the_servers_say(
    ahead: timedelta, level: Level, code: Code, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_implementations", lambda _: [])
    context = world.context
    assert "clock" not in {item.subject for item in doctor.examine(context)}, "no server was asked"
    context.deadline.note_date("vault", format_datetime(datetime.now(UTC) + ahead))
    (found,) = (item for item in doctor.examine(context) if item.subject == "clock")
    assert (found.level, found.code) == (level, code)


def test_the_doctor_names_an_implementation_that_does_not_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = proofs.prove
    first = [quick()[0]]
    monkeypatch.setattr(proofs, "prove", lambda *args, **more: real(*args, **(more | {"provers": first})))
    found = [item for item in doctor.examine(world.context) if item.subject == "proofs"]
    assert found
    assert {item.level for item in found} == {Level.WARN}


def test_the_remedy_of_a_fatal_loss_fits_what_would_be_lost(world: World) -> None:
    machines = world.config
    losses = posture.single_losses(machines)
    assert posture.against_losses(machines, losses).startswith("add another custody path with other holders")
    alone = machines.model_copy(update={"target": {"a": machines.target["a"]}})
    losses = posture.single_losses(alone)
    assert {"target a", "domain a", "party a-admins", "holder vault"} <= set(losses)
    assert posture.against_losses(alone, losses).startswith("add a target in another domain")
    assert (
        posture.against_losses(alone, ["target a"]) == "add a target in another domain, controlled by others"
    )


def test_directories_on_one_file_system_are_not_two_failure_domains(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "same").mkdir()
    paths = {"a": tmp_path / "one", "b": tmp_path / "same", "shm": "/dev/shm", "gone": tmp_path / "gone"}
    tables = [
        f'[target.{name}]\nkind = "directory"\npath = "{path}"\ncontrolled_by = ["x"]\n'
        for name, path in paths.items()
    ]
    holder = 'kind = "aws-kms"\nkey_id = "alias/k"\nregion = "eu-central-1"\ncontrolled_by = ["y"]\n'
    tables.append(f'[holder.kms]\n{holder}[path.all]\nneeds = ["kms"]\n')
    (found,) = custody_findings.disks(parse("".join(tables).encode(), Path("orgkey.toml")))
    assert found.level is Level.WARN
    assert "targets a and b lie on one file system" in found.message
