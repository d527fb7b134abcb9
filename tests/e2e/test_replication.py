"""What a replicating bucket says is told, and counts for nothing; a copy that replication wrote is a copy.

versitygw does not replicate: a balancer in front of it adds the header, and root writes as replication would.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.storage.interface import REPLICATION_PATIENCE, Slot
from tests.support.balancer import Balancer, in_front_of
from tests.support.commandline import Desk, copies
from tests.support.target_places import S3Place

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

HEADER = "x-amz-replication-status"
REPLICA = """
[target.s3-replica]
kind = "s3"
domain = "another-region"
controlled_by = ["aws-admins"]
endpoint_url = {endpoint}
bucket = {bucket}
prefix = {prefix}
path_style = true
replicated = true
"""


@pytest.fixture
def balancer(stack: Stack) -> Iterator[Balancer]:
    port = int(stack.endpoint("s3").rpartition(":")[2])
    with in_front_of(lambda: port) as made:
        yield made


@pytest.fixture
def desk(place: Place, tmp_path: Path, balancer: Balancer) -> Desk:
    """An escrowed key; the bucket is said to be replicated."""
    made = Desk(place, tmp_path)
    made.edit(place.stack.endpoint("s3"), balancer.url)
    made.edit("path_style = true", "path_style = true\nreplicated = true")
    made.escrow()
    return made


@pytest.mark.parametrize("status", ["COMPLETED", "PENDING", "REPLICA", "FAILED"])
def test_it_is_shown(status: str, desk: Desk, balancer: Balancer) -> None:
    balancer.extra[HEADER] = status
    for command in ("list", "verify", "status"):
        run = desk.run(command, "--json", expect=0)
        document = run.document
        shown = document.get("copies") or document["epochs"][0]["copies"]
        told = {copy["target"]: copy["replication"] for copy in shown}
        assert told == {"vault": None, "s3": status}, command
        assert ("its replication failed" in run.err) is (status == "FAILED"), run
        assert "pending since" not in run.err, "an hour has not passed"
        assert status.lower() in desk.run(command, expect=0).out
    findings = desk.ask("doctor")["findings"]
    bad = [item for item in findings if item["subject"] == "replication of s3"]
    assert [item["level"] for item in bad] == (["warn"] if status == "FAILED" else [])


def test_it_counts_for_nothing(place: Place, desk: Desk, balancer: Balancer) -> None:
    """All is replicated, says the bucket; nothing was read back at the replica's, so that copy is missing."""
    balancer.extra[HEADER] = "COMPLETED"
    assert desk.ask("status")["gate"]["ok"] is True
    desk.edit("copies = 2", "copies = 3")
    desk.config.write_text(desk.config.read_text() + replica_table(place, balancer))
    missing = copies(desk.ask("verify", expect=23), desk.ask("list")["epochs"][0]["epoch"])["s3-replica"]
    assert (missing["ok"], missing["replication"]) == (False, None)
    assert desk.ask("status", expect=40)["gate"]["ok"] is False


def test_a_bucket_that_says_nothing_is_a_warning_of_the_doctor(desk: Desk) -> None:
    (epoch,) = desk.ask("list")["epochs"]
    assert [copy["replication"] for copy in epoch["copies"]] == [None, None]
    (finding,) = [item for item in desk.ask("doctor")["findings"] if item["subject"] == "replication of s3"]
    assert finding["level"] == "warn"
    assert "rule" in finding["hint"]


def test_nobody_asks_where_it_is_not_configured(place: Place, tmp_path: Path, balancer: Balancer) -> None:
    plain = Desk(place, tmp_path)
    plain.edit(place.stack.endpoint("s3"), balancer.url)
    plain.escrow("--no-drill")
    balancer.extra[HEADER] = "FAILED"
    heads = [call for call in balancer.calls() if call.startswith("HEAD")]
    run = plain.run("list", "--json", expect=0)
    assert "replication" not in run.err
    assert [copy["replication"] for copy in run.document["epochs"][0]["copies"]] == [None, None]
    assert [call for call in balancer.calls() if call.startswith("HEAD")] == heads


def test_pending_for_long_is_told(stack: Stack, balancer: Balancer) -> None:
    """The clock is moved, since the server's cannot be."""
    place = S3Place(stack, "pending-" + balancer.url.rpartition(":")[2])
    target = place.target(endpoint_url=balancer.url, replicated=True)
    slot = Slot("AB" * 20, "20260101T000000Z-0a1b2c3d")
    target.put(slot, b"record")
    balancer.extra[HEADER] = "PENDING"
    (stored,) = target.find(slot.fingerprint)
    assert stored.replication
    since = stored.replication.since
    assert stored.replication.problem(since + REPLICATION_PATIENCE) is None
    late = stored.replication.problem(since + REPLICATION_PATIENCE + timedelta(seconds=1))
    assert late == f"its replication has been pending since {since:%Y-%m-%dT%H:%M:%SZ}"


# -- the replica's bucket as a target of its own -----------------------------------------------------------


def replica_table(place: Place, balancer: Balancer) -> str:
    return REPLICA.format(
        endpoint=json.dumps(balancer.url),
        bucket=json.dumps(place.stack.state.bucket),
        prefix=json.dumps(f"{place.s3_prefix}/replica"),
    )


def with_replica(place: Place, folder: Path, balancer: Balancer) -> tuple[Desk, str]:
    """A workplace with a third target, and the place of objects there."""
    return Desk(place, folder, more=replica_table(place, balancer)), f"{place.s3_prefix}/replica"


def replicate(desk: Desk, prefix: str, data: bytes | None = None) -> None:
    """Write to the replica's bucket what replication would: the same bytes, without asking what is there."""
    (begun,) = desk.journal.glob("[0-9]*/record.tar")
    key = f"{prefix}/{desk.fingerprint}/{begun.parent.name}.tar"
    body = begun.read_bytes() if data is None else data
    desk.stack.s3("root").put_object(Bucket=desk.stack.state.bucket, Key=key, Body=body)


FIRST = "PUT /orgkey/orgkey/PLACE/replica/FPR/EPOCH.tar #1"


def test_replication_was_faster_than_the_escrow(place: Place, tmp_path: Path, balancer: Balancer) -> None:
    desk, prefix = with_replica(place, tmp_path, balancer)
    balancer.extra[HEADER] = "REPLICA"
    balancer.strike(FIRST, "before", lambda: replicate(desk, prefix))
    made = desk.escrow()
    assert balancer.struck
    assert {copy["target"]: copy["verified"] for copy in made["copies"]} == {
        "vault": True,
        "s3": True,
        "s3-replica": True,
    }
    assert len({copy["sha256"] for copy in made["copies"]}) == 1
    verified = copies(desk.ask("verify"), made["epoch"])
    assert verified["s3-replica"]["ok"] is True
    assert verified["s3-replica"]["replication"] == "REPLICA"
    assert desk.escrow()["already"] is True


def test_replication_comes_after_the_escrow(place: Place, tmp_path: Path, balancer: Balancer) -> None:
    """It writes without a condition: two versions of the same bytes, with which nothing is wrong."""
    desk, prefix = with_replica(place, tmp_path, balancer)
    balancer.strike(FIRST, "after", lambda: replicate(desk, prefix))
    made = desk.escrow()
    assert balancer.struck
    assert all(copy["verified"] for copy in made["copies"])
    verified = copies(desk.ask("verify"), made["epoch"])
    assert (verified["s3-replica"]["ok"], verified["s3-replica"]["problem"]) == (True, None)


def test_what_came_there_is_another_record(place: Place, tmp_path: Path, balancer: Balancer) -> None:
    desk, prefix = with_replica(place, tmp_path, balancer)
    balancer.extra[HEADER] = "REPLICA"
    balancer.strike(FIRST, "before", lambda: replicate(desk, prefix, b"something else"))
    made = desk.escrow("--no-drill", expect=24)
    assert balancer.struck
    bad = next(copy for copy in made["copies"] if copy["target"] == "s3-replica")
    assert (bad["verified"], bad["error"]["code"]) == (False, 22)
