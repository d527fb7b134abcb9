"""`orgkey retain` and the ledger's entries at a mirror with Object Lock: extended along, no other's bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.test_ledger import MIRRORED, host_of, ledger, second_host
from tests.e2e.test_retain import end_of, in_days
from tests.support.commandline import Desk

if TYPE_CHECKING:
    from tests.conftest import Place

Ends = dict[tuple[str, str], tuple[str, datetime]]


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    """A few entries at the mirrors: of an escrow and its drill, and of a `verify`."""
    made = Desk(place, tmp_path, disk=True, more=MIRRORED)
    made.escrow()
    made.ask("verify")
    return made


def key(desk: Desk, number: int) -> str:
    """Where an entry lies in the bucket."""
    return f"{desk.place.s3_prefix}/{desk.fingerprint}/ledger/{host_of(desk)}/{number:09d}.json"


def versions(desk: Desk) -> list[tuple[str, str]]:
    """Keys and versions of all entries in the bucket, the oldest first."""
    listed = desk.at_s3.client.list_object_versions(
        Bucket=desk.at_s3.bucket, Prefix=key(desk, 0).removesuffix("000000000.json")
    )["Versions"]
    return sorted((item["Key"], item["VersionId"]) for item in listed)


def ends(desk: Desk) -> Ends:
    """The retention of every version of an entry in the bucket."""
    found: Ends = {}
    for name, version in versions(desk):
        kept = desk.at_s3.client.get_object_retention(Bucket=desk.at_s3.bucket, Key=name, VersionId=version)[
            "Retention"
        ]
        found[name, version] = kept["Mode"], kept["RetainUntilDate"].astimezone(UTC)
    return found


def mirrored(document: dict[str, Any]) -> dict[str, Any]:
    """What a document says of the one mirror that has a retention."""
    (item,) = document["ledger"]
    assert isinstance(item, dict)
    assert item["target"] == "s3"
    return item


def test_entries_are_extended_with_the_records(desk: Desk) -> None:
    before, day = ends(desk), in_days(9)
    foreseen = desk.ask("retain", "--until", day, "--dry-run")
    assert mirrored(foreseen)["versions"] == {"would extend": len(before)}
    assert ends(desk) == before
    done = mirrored(desk.ask("retain", "--until", day))
    assert done == {
        "target": "s3",
        "versions": {"extended": len(before)},
        "missing": 0,
        "unknown": 0,
        "retain_until": f"{day}T23:59:59Z",
        "problem": None,
        "exit_code": 0,
    }
    after = ends(desk)
    assert {name: after[name] for name in before} == dict.fromkeys(before, ("GOVERNANCE", end_of(day)))
    # The run's own entry came after: it has the retention that it was written with, until the next run.
    (own,) = after.keys() - before.keys()
    assert after[own][1] < end_of(day)
    again = mirrored(desk.ask("retain", "--until", day))
    assert again["versions"] == {"extended": 1, "kept": len(before)}
    assert ends(desk)[own][1] == end_of(day)
    shown = [item for item in desk.ask("ledger", "show")["entries"] if item["event"] == "retain"]
    assert [item["details"]["ledger"][0]["extended"] for item in shown] == [len(before), 1]


def test_a_table_has_a_line_for_it(desk: Desk) -> None:
    run = desk.run("retain", "--until", in_days(9), expect=0)
    (line,) = (line for line in run.out.splitlines() if line.startswith("ledger"))
    assert line.split()[1:4] == ["s3", "extended", str(len(versions(desk)) - 1)]


def test_another_s_bytes_are_left_alone(desk: Desk) -> None:
    short = ("GOVERNANCE", end_of(in_days(1)))
    false = desk.at_s3.client.put_object(
        Bucket=desk.at_s3.bucket,
        Key=key(desk, 1),
        Body=b"{}",
        ObjectLockMode=short[0],
        ObjectLockRetainUntilDate=short[1],
    )["VersionId"]
    day = in_days(9)
    done = mirrored(desk.ask("retain", "--until", day))
    assert done["versions"]["left alone"] == 1
    found = ends(desk)
    assert found[key(desk, 1), false] == short
    assert max(end for (name, _), (_, end) in found.items() if name == key(desk, 1)) == end_of(day)


def test_a_removed_entry_is_told(desk: Desk) -> None:
    (version,) = (version for name, version in versions(desk) if name == key(desk, 1))
    desk.at_s3.client.delete_object(
        Bucket=desk.at_s3.bucket, Key=key(desk, 1), VersionId=version, BypassGovernanceRetention=True
    )
    done = mirrored(desk.ask("retain", "--until", in_days(9), expect=24))
    assert done["missing"] == 1
    assert "lacks 1 entry: `orgkey ledger sync`" in done["problem"]


def test_another_host_fetches_the_ledger_first(desk: Desk, tmp_path: Path) -> None:
    other, day = second_host(desk, tmp_path), in_days(9)
    foreseen = mirrored(other.ask("retain", "--until", day, "--dry-run", expect=24))
    assert (foreseen["versions"], foreseen["unknown"]) == ({}, len(versions(desk)))
    assert "orgkey ledger sync" in foreseen["problem"]
    assert not (other.state / desk.fingerprint / "ledger").exists()
    before = versions(desk)
    assert mirrored(other.ask("retain", "--until", day))["versions"] == {"extended": len(before)}
    assert {ends(desk)[item][1] for item in before} == {end_of(day)}


def test_one_epoch_leaves_the_ledger_alone(desk: Desk) -> None:
    before = ends(desk)
    assert desk.ask("retain", "--until", in_days(9), "--epoch", "latest")["ledger"] == []
    assert {name: ends(desk)[name] for name in before} == before


def test_a_lock_that_nobody_can_lift_needs_a_yes(desk: Desk) -> None:
    first, *others = versions(desk)
    desk.at_s3.client.put_object_retention(
        Bucket=desk.at_s3.bucket,
        Key=first[0],
        VersionId=first[1],
        Retention={"Mode": "COMPLIANCE", "RetainUntilDate": end_of(in_days(1))},
        BypassGovernanceRetention=True,
    )
    before, day = ends(desk), in_days(2)
    refused = desk.ask("retain", "--until", day, expect=2)
    assert "cannot be undone" in refused["error"]["message"]
    assert ends(desk).items() >= before.items()
    desk.ask("retain", "--until", day, "--yes")
    assert ends(desk)[first] == ("COMPLIANCE", end_of(day))
    assert {ends(desk)[item] for item in others} == {("GOVERNANCE", end_of(day))}


def test_a_login_without_the_right(desk: Desk) -> None:
    layout, before = desk.stack.layout, ends(desk)
    desk.edit(str(layout.aws_credentials("retention")), str(layout.aws_credentials("driller")))
    done = mirrored(desk.ask("retain", "--until", in_days(9), expect=21))
    assert (done["exit_code"], done["versions"]) == (21, {"failed": len(before)})
    assert done["problem"].startswith("entry 1: ")
    assert done["problem"].endswith(f"; {len(before) - 1} more like that")
    assert {name: ends(desk)[name] for name in before} == before


def test_a_broken_ledger_does_not_keep_the_records_from_it(desk: Desk) -> None:
    path = ledger(desk) / "000000001.json"
    path.write_bytes(path.read_bytes().replace(b"escrow", b"escrew", 1))
    day = in_days(9)
    document = desk.ask("retain", "--until", day, expect=41)
    (record,) = document["versions"]
    assert (record["action"], record["retain_until"]) == ("extended", f"{day}T23:59:59Z")
    assert mirrored(document)["exit_code"] == 41
