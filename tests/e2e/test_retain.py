"""`orgkey retain` on a bucket with Object Lock: what is extended, what is left alone, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.support.commandline import Desk, converse, environment, record_of

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

LOCKED = (
    'lock_mode = "GOVERNANCE"  # COMPLIANCE cannot be shortened by anyone; try with this first\nlock_days = 1'
)


def in_days(days: int) -> str:
    """A date on the command line, in so many days."""
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"


def end_of(day: str) -> datetime:
    """The last second of that day."""
    return datetime.fromisoformat(f"{day}T23:59:59+00:00")


class Bench:
    """A desk with one epoch, and the bucket as its administrator sees it."""

    def __init__(self, desk: Desk, epoch: str, data: bytes) -> None:
        self.desk, self.epoch, self.data = desk, epoch, data
        self.client = desk.at_s3.client
        self.bucket = desk.at_s3.bucket
        self.key = desk.at_s3.key(desk.slot(epoch))

    def put(self, data: bytes | None = None, key: str | None = None, **lock: Any) -> str:
        """Store one version, behind the program's back."""
        answer = self.client.put_object(
            Bucket=self.bucket, Key=key or self.key, Body=self.data if data is None else data, **lock
        )
        return str(answer["VersionId"])

    def lock(self, version: str, mode: str, days: float, key: str | None = None) -> None:
        """Lock a version."""
        until = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
        self.client.put_object_retention(
            Bucket=self.bucket,
            Key=key or self.key,
            VersionId=version,
            Retention={"Mode": mode, "RetainUntilDate": until},
        )

    def retention(self, version: str, key: str | None = None) -> tuple[str, datetime] | None:
        """What the server says of a version's retention."""
        try:
            found = self.client.get_object_retention(
                Bucket=self.bucket, Key=key or self.key, VersionId=version
            )["Retention"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchObjectLockConfiguration":
                return None
            raise
        return found["Mode"], found["RetainUntilDate"].astimezone(UTC)

    def retain(self, *words: str, expect: int = 0, **how: Any) -> dict[str, Any]:
        """Run the command."""
        return self.desk.ask("retain", *words, expect=expect, **how)

    def events(self) -> list[dict[str, Any]]:
        """The ledger's entries of the command."""
        shown = self.desk.ask("ledger", "show")["entries"]
        return [entry for entry in shown if entry["event"].startswith("retain")]


@pytest.fixture
def bench(stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path) -> Bench:
    """A desk without any stored copy; tests put what they need."""
    epoch, data = record_of(stack, fresh_place)
    return Bench(Desk(fresh_place(stack), tmp_path), epoch, data)


def versions(document: dict[str, Any]) -> dict[str | None, dict[str, Any]]:
    """The versions of a document by their ids."""
    return {item["version"]: item for item in document["versions"]}


def test_an_escrow_is_extended_and_the_gate_sees_it(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path, more="min_retention_days = 30\n")
    epoch = desk.escrow()["epoch"]
    desk.ask("status", expect=40)
    day = in_days(40)
    document = desk.ask("retain", "--until", day)
    (version,) = document["versions"]
    assert document["schema"] == "orgkey.retain/1"
    assert version["epoch"] == epoch
    assert (version["action"], version["mode"]) == ("extended", "GOVERNANCE")
    assert version["retain_until"] == f"{day}T23:59:59Z" == document["until"]
    assert version["retain_until_before"] < version["retain_until"]
    assert document["without_retention"] == [{"target": "vault", "kind": "vault"}]
    assert Bench(desk, epoch, b"").retention(version["version"]) == ("GOVERNANCE", end_of(day))
    rules = desk.ask("status")["gate"]["rules"]
    assert next(rule for rule in rules if rule["name"] == "min_retention_days")["value"] >= 39
    run = desk.run("retain", "--until", day, expect=0)
    assert "kept" in run.out
    assert "vault: has no retention (vault)" in run.err


def test_what_was_done_is_in_the_ledger(bench: Bench) -> None:
    version = bench.put()
    bench.lock(version, "GOVERNANCE", 1)
    day = in_days(3)
    bench.retain("--until", day)
    bench.retain("--until", day)
    bench.retain("--until", "2001-01-01", expect=2)
    first, second, refused = bench.events()
    assert first["event"] == "retain"
    assert first["details"] == {
        "code": 0,
        "until": f"{day}T23:59:59Z",
        "mode": None,
        "epochs": [bench.epoch],
        "targets": ["s3"],
        "extended": 1,
        "kept": 0,
        "ledger": [],
        "failures": [],
    }
    assert (second["details"]["extended"], second["details"]["kept"]) == (0, 1)
    assert (refused["event"], refused["details"]["code"]) == ("retain-failed", 2)


def test_every_authentic_version_is_extended_and_no_other(bench: Bench) -> None:
    """Older ones, repaired ones and those behind a delete marker; not the false one on top."""
    repaired = bench.desk.at_s3.key(bench.desk.slot(f"{bench.epoch}-r1"))
    older, beside = bench.put(), bench.put(key=repaired)
    false, foreign = bench.put(b"false"), bench.put(bench.data[:-1] + b"x")
    bench.client.delete_object(Bucket=bench.bucket, Key=repaired)
    for version, key in ((older, bench.key), (beside, repaired), (false, bench.key), (foreign, bench.key)):
        bench.lock(version, "GOVERNANCE", 1, key)
    day = in_days(5)
    before = bench.retention(false), bench.retention(foreign)
    document = bench.retain("--until", day, expect=23)
    found = versions(document)
    assert {name: item["action"] for name, item in found.items()} == {
        older: "extended",
        beside: "extended",
        false: "left alone",
        foreign: "left alone",
    }
    assert found[beside]["problem"] == "hidden behind a delete marker"
    assert "not a whole record" in found[foreign]["problem"]
    assert bench.retention(older) == bench.retention(beside, repaired) == ("GOVERNANCE", end_of(day))
    assert (bench.retention(false), bench.retention(foreign)) == before


def test_nothing_is_shortened(bench: Bench) -> None:
    longer, shorter = bench.put(), bench.put()
    bench.lock(longer, "GOVERNANCE", 9)
    bench.lock(shorter, "GOVERNANCE", 1)
    before = bench.retention(longer)
    found = versions(bench.retain("--until", in_days(4)))
    assert (found[longer]["action"], found[shorter]["action"]) == ("kept", "extended")
    assert found[longer]["retain_until"] > found[shorter]["retain_until"]
    assert bench.retention(longer) == before


def test_compliance_needs_a_yes_and_is_then_extended(bench: Bench) -> None:
    governed, complied = bench.put(), bench.put()
    bench.lock(governed, "GOVERNANCE", 1)
    bench.lock(complied, "COMPLIANCE", 1)
    before = bench.retention(governed), bench.retention(complied)
    day = in_days(2)
    refused = bench.retain("--until", day, expect=2)
    assert "cannot be undone" in refused["error"]["message"]
    assert "--yes" in refused["error"]["hint"]
    assert (bench.retention(governed), bench.retention(complied)) == before
    run = bench.desk.run("retain", "--until", day, "--yes", expect=0)
    assert "1 versions would be under COMPLIANCE" in run.err
    assert bench.retention(governed) == ("GOVERNANCE", end_of(day))
    assert bench.retention(complied) == ("COMPLIANCE", end_of(day))
    # The mode of the one can be weakened by nobody; this server lets only a bypass change the other's.
    weaker = bench.retain("--until", in_days(3), "--mode", "governance", expect=2)
    assert "nobody can weaken" in weaker["error"]["message"]
    assert bench.retention(governed) == ("GOVERNANCE", end_of(day))
    found = versions(bench.retain("--until", day, "--mode", "COMPLIANCE", "--yes", expect=21))
    assert (found[governed]["action"], found[complied]["action"]) == ("failed", "kept")
    assert "only for who may lift it" in found[governed]["problem"]
    assert bench.retention(governed) == ("GOVERNANCE", end_of(day))
    kept = versions(bench.retain("--until", day, "--mode", "GOVERNANCE"))
    assert {item["action"] for item in kept.values()} == {"kept"}


def test_governance_that_lasts_longer_is_not_made_compliance(bench: Bench) -> None:
    version = bench.put()
    bench.lock(version, "GOVERNANCE", 9)
    before = bench.retention(version)
    (item,) = bench.retain("--until", in_days(4), "--mode", "COMPLIANCE", "--yes", expect=24)["versions"]
    assert (item["action"], item["exit_code"], item["mode"]) == ("kept", 24, "GOVERNANCE")
    assert bench.retention(version) == before


def test_a_person_is_asked_before_compliance(bench: Bench) -> None:
    version = bench.put()
    bench.lock(version, "COMPLIANCE", 1)
    before = bench.retention(version)
    day = in_days(2)
    desk = bench.desk
    words = ["retain", "--until", day, "--config", str(desk.config), "--state-dir", str(desk.state)]
    env = environment(desk.folder)
    code, shown = converse(desk.folder, words, [(b"Lock them?", b"n")], env=env)
    assert code == 2
    assert "not even the account's root" in shown
    assert bench.retention(version) == before
    code, shown = converse(desk.folder, words, [(b"Lock them?", b"y")], env=env)
    assert code == 0, shown
    assert bench.retention(version) == ("COMPLIANCE", end_of(day))


def test_without_a_retention_the_configured_mode_is_taken(bench: Bench) -> None:
    version = bench.put()
    assert bench.retention(version) is None
    bench.desk.edit(LOCKED, "")
    refused = bench.retain("--until", in_days(2), expect=2)
    assert "no retention yet" in refused["error"]["message"]
    assert bench.retention(version) is None
    bench.desk.edit("path_style = true", f"path_style = true\n{LOCKED}")
    day = in_days(2)
    (item,) = bench.retain("--until", day)["versions"]
    assert (item["action"], item["mode_before"], item["retain_until_before"]) == ("extended", None, None)
    assert bench.retention(version) == ("GOVERNANCE", end_of(day))


def test_a_dry_run_changes_nothing(bench: Bench) -> None:
    version = bench.put()
    bench.lock(version, "COMPLIANCE", 1)
    before = bench.retention(version)
    document = bench.retain("--until", in_days(4), "--dry-run")
    (item,) = document["versions"]
    assert (document["dry_run"], item["action"]) == (True, "would extend")
    assert bench.retention(version) == before
    assert not bench.desk.state.exists()
    assert "nothing was written" in bench.desk.run("retain", "--until", in_days(4), "--dry-run").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--until", "tomorrow"), "is not a date"),
        (("--until", "2030-01-01T00:00:00"), "is not a date"),
        (("--until", "2001-01-01"), "has passed"),
        (("--until", in_days(3700)), "policy.max_lock_days"),
        (("--until", in_days(2), "--target", "vault"), "has no retention"),
        (("--until", in_days(2), "--target", "elsewhere"), "no target elsewhere"),
        (("--until", in_days(2), "--epoch", "20200101T000000Z-00000000"), "no epoch 20200101T000000Z"),
    ],
)
def test_what_cannot_be_meant_is_refused(bench: Bench, words: tuple[str, ...], said: str) -> None:
    version = bench.put()
    bench.lock(version, "GOVERNANCE", 1)
    before = bench.retention(version)
    assert said in bench.retain(*words, expect=2)["error"]["message"]
    assert bench.retention(version) == before


def test_only_the_chosen_epoch_is_extended(
    bench: Bench, stack: Stack, fresh_place: Callable[[Stack], Place]
) -> None:
    later, data = record_of(stack, fresh_place, number=1)
    key = bench.desk.at_s3.key(bench.desk.slot(later))
    old, new = bench.put(), bench.put(data, key)
    bench.lock(old, "GOVERNANCE", 1)
    bench.lock(new, "GOVERNANCE", 1, key)
    first, second = in_days(3), in_days(4)
    assert set(versions(bench.retain("--until", first, "--epoch", "latest"))) == {new}
    assert set(versions(bench.retain("--until", second, "--epoch", bench.epoch))) == {old}
    assert bench.retention(new, key) == ("GOVERNANCE", end_of(first))
    assert bench.retention(old) == ("GOVERNANCE", end_of(second))
    instant = (datetime.now(UTC) + timedelta(days=6)).replace(microsecond=0)
    bench.retain("--until", instant.isoformat())
    assert bench.retention(new, key) == bench.retention(old) == ("GOVERNANCE", instant)


def test_a_login_without_the_right_is_denied(bench: Bench) -> None:
    version = bench.put()
    bench.lock(version, "GOVERNANCE", 1)
    before = bench.retention(version)
    layout = bench.desk.stack.layout
    bench.desk.edit(str(layout.aws_credentials("retention")), str(layout.aws_credentials("driller")))
    (item,) = bench.retain("--until", in_days(3), expect=21)["versions"]
    assert (item["action"], item["exit_code"]) == ("failed", 21)
    assert (item["mode"], item["retain_until"]) == (None, None)
    assert item["retain_until_before"]
    (row,) = (
        line
        for line in bench.desk.run("retain", "--until", in_days(3), expect=21).out.splitlines()
        if "failed" in line
    )
    assert in_days(3) not in row
    assert bench.retention(version) == before
    assert bench.events()[0]["details"]["failures"][0]["code"] == 21


def test_the_retention_login_can_do_nothing_else(bench: Bench) -> None:
    version = bench.put()
    bench.lock(version, "GOVERNANCE", 5)
    before = bench.retention(version)
    client = bench.desk.stack.s3("retention")
    there = {"Bucket": bench.bucket, "Key": bench.key}
    sooner = datetime.now(UTC) + timedelta(days=2)
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": sooner}
    for call, more in (
        ("get_object", {}),
        ("put_object", {"Body": b"x"}),
        ("delete_object", {"VersionId": version}),
        ("put_object_retention", {"VersionId": version, "Retention": shorter}),
        (
            "put_object_retention",
            {"VersionId": version, "Retention": shorter, "BypassGovernanceRetention": True},
        ),
    ):
        with pytest.raises(ClientError) as caught:
            getattr(client, call)(**there, **more)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403), call
    assert bench.retention(version) == before


def test_a_dead_server_is_told_as_such(
    breakable_stack: Stack, stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path
) -> None:
    epoch, data = record_of(stack, fresh_place)
    bench = Bench(Desk(fresh_place(breakable_stack), tmp_path, more="deadline_seconds = 60\n"), epoch, data)
    version = bench.put()
    bench.lock(version, "GOVERNANCE", 1)
    breakable_stack.stop_member("s3")
    assert bench.retain("--until", in_days(3), expect=20)["error"]["name"] == "unreachable"
    breakable_stack.start_member("s3")
    breakable_stack.stop_member("vault")  # what has no retention is not needed
    bench.retain("--until", in_days(3))


def test_a_target_without_a_copy_degrades(bench: Bench) -> None:
    config = bench.desk.config.read_text()
    begin = config.index("[target.s3]")
    table = config[begin : config.index("# Two holders")]
    prefix = bench.desk.place.s3_prefix
    other = table.replace("[target.s3]", "[target.s3-b]").replace(f'"{prefix}"', f'"{prefix}/b"')
    bench.desk.config.write_text(config + other)
    version = bench.put()
    bench.lock(version, "GOVERNANCE", 1)
    document = bench.retain("--until", in_days(3), expect=24)
    assert versions(document)[version]["action"] == "extended"
    assert "orgkey repair" in versions(document)[None]["problem"]
    bench.retain("--until", in_days(3), "--target", "s3")
