"""What a report does not know it does not claim: certificates, locks, backups that nothing vouches for."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.config.places import S3TargetConfig
from pipeline.core.errors import Code
from pipeline.core.secret import Secret
from pipeline.custody.shares import witness
from pipeline.evidence.timestamp import Stamped
from pipeline.report.build import build
from pipeline.report.certificates import words
from pipeline.report.formats import html, oscal
from pipeline.report.model import Restorability, Support
from pipeline.report.summary import Summary
from pipeline.workflows.drill import DrillRequest, drill
from tests.support.drilled import drilled, gaps, report
from tests.support.inmemory import World, named, unreachable


@pytest.fixture
def told(world: World) -> World:
    """A complete epoch, drilled a moment ago."""
    return drilled(world)


def test_certificates_vouch_for_nothing_where_no_key_is_known_to_check_them_by(told: World) -> None:
    for _ in range(2):
        told.clock.shift += timedelta(seconds=2)
        assert drill(told.context, DrillRequest()).code is Code.OK
    found = report(told)
    assert (found.ledger.anchored_to, {it.kind for it in found.evidence if it.id[0] == "C"}) == (
        2,
        {"certificate"},
    )
    for target in told.targets.values():
        target.failures = dict.fromkeys(("find", "get"), unreachable(f"target {target.name}"))
    found = report(told)
    assert (found.verdict.answer, found.ledger.anchored_to) == (Restorability.UNKNOWN, 0)
    unchecked = [item for item in found.evidence if item.kind == "unchecked certificate"]
    assert [item.what[-35:] for item in unchecked] == ["; who signed it could not be checked"[1:]] * 3
    assert {it.id: it.support for it in found.controls}["AU-10"] is Support.UNKNOWN


def test_a_time_stamp_that_was_not_checked_is_not_told_as_one_that_was(told: World) -> None:
    (one,) = build(told.context).certificates
    at = datetime(2020, 1, 31, 8, 0, tzinfo=UTC)
    for reason, ending in (
        (None, "08:00"),
        ("no authority is trusted", "by an authority that is not checked"),
    ):
        said = words(replace(one, stamped=Stamped("stamped", at, reason)))
        assert "time-stamped 2020-01-31 08:00" in said
        assert said.endswith(ending)


def test_a_certificate_of_an_older_epoch_needs_the_witness_of_its_record(told: World) -> None:
    (path,) = (told.context.root / "certificates").glob("*.json")
    told.store(told.mint(later=60))
    told.clock.shift = timedelta(seconds=90)
    assert gaps(told).count("certificate ") == 0
    raw, body = Secret(bytes(32)), path.read_bytes()
    witness_file, signature = path.with_name(f"{path.stem}.witness.pem"), path.with_name(f"{path.name}.sig")
    for file, data in (
        (witness_file, witness.public_pem(raw, "0" * 32).encode()),
        (signature, witness.sign(raw, "0" * 32, body)),
    ):
        file.chmod(0o600)
        file.write_bytes(data)
    assert f"certificate {path.name}: its witness is not the one that the record's manifest names" in gaps(
        told
    )


class LockedWorld(World):
    """Its first target is a bucket with a lock."""

    @property
    def config(self) -> Config:
        found = super().config
        bucket = S3TargetConfig(
            kind="s3", bucket="b", lock_mode="COMPLIANCE", lock_days=30, controlled_by=("a-admins",)
        )
        return found.model_copy(update={"target": {**found.target, "a": bucket}})


def test_a_lock_that_the_server_tells_otherwise_locks_nothing(tmp_path: Path) -> None:
    world = LockedWorld(tmp_path, targets=named("a"), copies=1)
    world.store(world.mint())
    ((version,),) = world.targets["a"].places.values()
    version.retain_until = world.clock.now() + timedelta(days=30)
    (copy,) = report(world).copies
    assert (copy.lock_mode, len(Summary(report(world)).locked)) == ("COMPLIANCE", 1)
    version.unlocked = "COMPLIANCE is configured, the server says GOVERNANCE"
    found = report(world)
    assert (found.copies[0].lock_mode, Summary(found).locked) == (None, ())
    assert Summary(found).erasers == ["a-admins"]


def test_a_copy_that_does_not_answer_is_not_called_bad(told: World) -> None:
    told.targets["a"].failures["get"] = unreachable("target a")
    told.targets["b"].damage(next(iter(told.targets["b"].places)))
    found = report(told)
    assert [copy.state for copy in found.copies] == ["not known", "not good", "good"]
    document = json.loads(oscal.render(found))["assessment-results"]["results"][0]
    titles = {one["title"] for one in document["observations"]}
    assert {"Copy at a: not known", "Copy at b: not good", "Copy at c: good"} <= titles


def test_no_backup_in_a_configured_place_is_told_apart_from_no_place(told: World, tmp_path: Path) -> None:
    assert "No place of backups is configured" in html.render(report(told)).decode()
    (tmp_path / "backups").mkdir()
    told.backups = f'[backups.server]\nlocation = "{tmp_path}/backups"\n'
    found = report(told)
    page = html.render(found).decode()
    assert "No place of backups is configured" not in page
    assert "<p>No backup has arrived in any place of [backups].</p>" in page
    assert (
        "Nothing is known of the server's backups: none was seen in the places of [backups]."
        in found.not_covered
    )
    (tmp_path / "backups" / "odd").write_text("not a message")
    (backup,) = report(told).backups
    assert (backup.unknown, backup.state, backup.epoch) == (True, "not known", None)
