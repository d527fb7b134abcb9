"""Killed at any extension of a retention, the next run does the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.scene import FINGERPRINT, Scene

COPIES = 3


@pytest.mark.parametrize(
    "at", [*(f"target retain s3 #{number}" for number in range(1, COPIES + 1)), "exit #1"]
)
def test_a_killed_run_is_finished_by_the_next(scene: Scene, at: str) -> None:
    escrowed = scene.run([*scene.escrow(), "--no-drill"])
    assert escrowed.code == 0, escrowed
    client, bucket = scene.place.stack.s3("root"), scene.place.stack.state.bucket
    key = f"{scene.place.s3_prefix}/{FINGERPRINT}/{escrowed.document['epoch']}.tar"
    (copies,) = scene.stored().values()
    for _ in range(COPIES - 1):  # the same record again: just as authentic
        client.put_object(Bucket=bucket, Key=key, Body=copies["s3"])
    day = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
    command = ["retain", "--until", day]
    killed = scene.run(command, at=at)
    assert killed.code == -9, killed
    again = scene.run(command)
    assert again.code == 0, again
    actions = [item["action"] for item in again.document["versions"]]
    assert len(actions) == COPIES
    assert set(actions) <= ({"kept"} if at == "exit #1" else {"kept", "extended"})
    listed = client.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
    ends = {
        client.get_object_retention(Bucket=bucket, Key=key, VersionId=item["VersionId"])["Retention"][
            "RetainUntilDate"
        ]
        .astimezone(UTC)
        .isoformat()
        for item in listed
    }
    assert ends == {f"{day}T23:59:59+00:00"}
    events = [entry.event for entry in scene.context().ledger.entries()]  # checks the chain
    assert events.count("retain") == (2 if at == "exit #1" else 1)


@pytest.mark.parametrize("at", [2, 3, 4])
def test_entries_of_the_ledger_are_finished_too(scene: Scene, at: int) -> None:
    """The first extension is the record's; the entries of an escrow and two of `verify` follow."""
    scene.config.write_text(scene.config.read_text() + '\n[ledger]\nmirrors = ["s3"]\n')
    for command in ([*scene.escrow(), "--no-drill"], ["verify"], ["verify"]):
        ended = scene.run(command)
        assert ended.code == 0, ended
    client, bucket = scene.place.stack.s3("root"), scene.place.stack.state.bucket
    listed = client.list_object_versions(
        Bucket=bucket, Prefix=f"{scene.place.s3_prefix}/{FINGERPRINT}/ledger/"
    )["Versions"]
    assert len(listed) == COPIES
    day = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
    command = ["retain", "--until", day]
    killed = scene.run(command, at=f"target retain s3 #{at}")
    assert killed.code == -9, killed
    again = scene.run(command)
    assert again.code == 0, again
    (mirrored,) = again.document["ledger"]
    assert mirrored["versions"]["extended"] + mirrored["versions"].get("kept", 0) == COPIES
    for item in listed:
        kept = client.get_object_retention(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])
        assert kept["Retention"]["RetainUntilDate"].astimezone(UTC).isoformat() == f"{day}T23:59:59+00:00"
