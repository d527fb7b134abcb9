"""What only S3 does."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from pipeline.archive.replicate import write_one
from pipeline.core.errors import Conflict, Denied, IntegrityProblem, OrgkeyError, Unreachable, UsageProblem
from pipeline.storage.interface import Presence, Retention, Slot, Stored
from pipeline.storage.s3 import trial
from pipeline.storage.s3.backend import S3Backend
from pipeline.storage.s3.retention import S3Retainer
from tests.support import relays
from tests.support.target_places import S3Place

RECORD = b"record" * 1000
LOCK: dict[str, Any] = {"lock_mode": "GOVERNANCE", "lock_days": 1}
CHECKSUM = base64.b64encode(hashlib.sha256(RECORD).digest()).decode()


def test_the_lock_that_was_asked_for_is_confirmed(s3_place: S3Place, slot: Slot) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    receipt = s3_place.target(**LOCK).put(slot, RECORD)
    assert receipt.retain_until is not None
    assert before + timedelta(days=1) <= receipt.retain_until <= datetime.now(UTC) + timedelta(days=1)
    (stored,) = s3_place.target("driller", **LOCK).find(slot.fingerprint)
    assert stored.retain_until == receipt.retain_until
    assert stored.version == receipt.version


def test_without_a_lock_nothing_is_claimed(s3_place: S3Place, slot: Slot) -> None:
    assert s3_place.target().put(slot, RECORD).retain_until is None
    (stored,) = s3_place.target("driller").find(slot.fingerprint, slot.epoch)
    assert stored.retain_until is None


def test_a_delete_marker_hides_but_loses_nothing(s3_place: S3Place, slot: Slot) -> None:
    receipt = s3_place.target(**LOCK).put(slot, RECORD)
    s3_place.hide(slot)
    target = s3_place.target("driller", **LOCK)
    (stored,) = target.find(slot.fingerprint)
    assert stored.presence is Presence.HIDDEN
    assert stored.readable
    assert stored.version == receipt.version
    assert stored.retain_until == receipt.retain_until
    assert target.get(slot, stored.version) == RECORD
    with pytest.raises(IntegrityProblem, match="hidden by a delete marker"):
        target.get(slot)
    # Whether a write that is only for a free place may go over a delete marker: servers differ.
    with suppress(Conflict):
        assert s3_place.target().put(slot, b"other").version != stored.version
    assert target.get(slot, stored.version) == RECORD
    marker = s3_place.client.list_object_versions(Bucket=s3_place.bucket, Prefix=s3_place.key(slot))
    with pytest.raises(IntegrityProblem, match="delete marker"):
        target.get(slot, marker["DeleteMarkers"][0]["VersionId"])


def test_an_unconditional_write_leaves_the_older_version(s3_place: S3Place, slot: Slot) -> None:
    receipt = s3_place.target().put(slot, RECORD)
    s3_place.overwrite(slot, b"false")
    target = s3_place.target("driller")
    newer, older = target.find(slot.fingerprint, slot.epoch)
    assert (newer.presence, older.presence) == (Presence.CURRENT, Presence.OLDER)
    assert older.version == receipt.version
    assert target.get(slot) == b"false"
    assert target.get(slot, older.version) == RECORD


def test_even_root_is_denied_the_versioned_delete(s3_place: S3Place, slot: Slot) -> None:
    from botocore.exceptions import ClientError

    receipt = s3_place.target(**LOCK).put(slot, RECORD)
    with pytest.raises(ClientError):
        s3_place.client.delete_object(
            Bucket=s3_place.bucket, Key=s3_place.key(slot), VersionId=receipt.version
        )
    assert s3_place.target("driller").get(slot, receipt.version) == RECORD


def test_a_long_listing_is_read_to_its_end(
    s3_place: S3Place, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = [f"20260131T0800{number:02}Z-{slot.epoch[-8:]}" for number in range(7)]
    for epoch in epochs:
        s3_place.target().put(Slot(slot.fingerprint, epoch), RECORD)
    target = s3_place.target("driller")
    client = target.session.client("s3")
    asked: list[dict[str, Any]] = []
    plain = client.list_object_versions

    def two_at_a_time(**request: Any) -> Any:
        asked.append(request)
        return plain(**request, MaxKeys=2)

    monkeypatch.setattr(client, "list_object_versions", two_at_a_time)
    assert [stored.slot.epoch for stored in target.find(slot.fingerprint)] == epochs
    assert len(asked) >= 4


def test_a_bucket_that_is_gone(s3_place: S3Place, slot: Slot) -> None:
    target = s3_place.target("root", bucket="no-such-bucket")
    for call in (
        lambda: target.put(slot, RECORD),
        lambda: target.get(slot),
        lambda: target.find(slot.fingerprint),
    ):
        with pytest.raises(Unreachable, match="bucket does not exist") as raised:
            call()
        assert not raised.value.again
    (finding,) = target.check()
    assert finding.code == 20


def test_a_lock_where_the_bucket_has_none(s3_place: S3Place, slot: Slot) -> None:
    bucket = f"plain-{s3_place.prefix[-12:]}"
    s3_place.client.create_bucket(Bucket=bucket)
    target = s3_place.target("root", bucket=bucket, **LOCK)
    with pytest.raises((UsageProblem, IntegrityProblem)):
        target.put(slot, RECORD)
    said = "; ".join(finding.message for finding in target.check())
    assert "has no Object Lock" in said
    assert "keeps no versions" in said


def test_the_check_names_whoever_can_delete_versions(s3_place: S3Place) -> None:
    findings = s3_place.target("root", **LOCK).check()
    assert any("may delete versions" in finding.message and finding.level == "fail" for finding in findings)


def test_the_check_asks_each_role_for_its_own_rights(s3_place: S3Place) -> None:
    s3_place.stack.demand_roles("s3")
    for role in ("auditor", "retention"):
        (finding,) = s3_place.target(role, **LOCK).check()
        assert finding.level == "ok"
        assert finding.message.startswith(f"{role}: ")
    target = s3_place.target("root", **LOCK)
    target.session.role = "auditor"
    said = [finding.message for finding in target.check() if finding.level == "fail"]
    assert said == [
        "the auditor may delete versions of records",
        "the auditor may read records",
        "the auditor may write records",
        "the auditor may set retention",
        "the auditor may set legal holds",
    ]


def test_a_login_shared_by_roles_is_not_held_to_one_of_them(s3_place: S3Place) -> None:
    s3_place.stack.demand_roles("s3")
    target = s3_place.target("writer", **LOCK)
    target.session.role, target.session.apart = "driller", False
    assert [finding.level for finding in target.check()] == ["ok"]


def test_the_check_warns_where_nothing_is_locked(s3_place: S3Place) -> None:
    s3_place.stack.demand_roles("s3")
    findings = s3_place.target().check()
    assert [finding.level for finding in findings] == ["warn", "unseen"]
    assert "not locked" in findings[0].message


def test_a_server_that_lacks_nothing_passes_the_trial_which_stays_locked(s3_place: S3Place) -> None:
    s3_place.stack.demand_roles("s3")
    target = s3_place.target(**LOCK)
    assert "--try-writing" in target.check()[-1].hint
    (finding,) = target.try_writing()
    assert finding.level == "ok", finding
    listed = s3_place.client.list_object_versions(Bucket=s3_place.bucket, Prefix=target.settings.prefix)
    (tried,) = listed["Versions"]
    assert finding.message.endswith(f"s3://{s3_place.bucket}/{tried['Key']}")
    kept = s3_place.client.get_object_retention(
        Bucket=s3_place.bucket, Key=tried["Key"], VersionId=tried["VersionId"]
    )
    assert kept["Retention"]["Mode"] == "GOVERNANCE"
    assert "unseen" not in [finding.level for finding in target.check()]  # seen, and not asked for again


def test_a_trial_names_each_feature_that_the_server_lacks(s3_place: S3Place) -> None:
    with relays.unlocking(s3_place.stack.endpoint("s3")) as url:
        findings = s3_place.target(endpoint_url=url, **LOCK).try_writing()
    assert [(finding.level, finding.code) for finding in findings] == [("fail", 2)]
    assert findings[0].message.startswith(f"the server lacks {trial.LOCK}: GOVERNANCE until ")
    bucket = f"unversioned-{s3_place.prefix[-12:]}"
    s3_place.client.create_bucket(Bucket=bucket)
    said = [finding.message for finding in s3_place.target("root", bucket=bucket).try_writing()]
    assert [words.partition(":")[0] for words in said] == [f"the server lacks {trial.LISTING}"]


def test_the_check_names_a_public_bucket(s3_place: S3Place) -> None:
    target = s3_place.target(**LOCK)
    client = target.session.client("s3")
    with Stubber(client) as stub:
        named = {"Bucket": s3_place.bucket}
        stub.add_response("list_object_versions", {}, named | {"MaxKeys": 1, "Prefix": ANY})
        stub.add_client_error("put_object", "BadDigest", http_status_code=400)
        stub.add_client_error("delete_object", "AccessDenied", http_status_code=403)
        stub.add_client_error("head_object", "404", http_status_code=404)
        stub.add_client_error("put_object", "BadDigest", http_status_code=400)
        stub.add_client_error("put_object_legal_hold", "AccessDenied", http_status_code=403)
        stub.add_client_error("put_object", "AccessDenied", http_status_code=403)
        stub.add_response("get_bucket_versioning", {"Status": "Enabled"}, named)
        locked = {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}
        stub.add_response("get_object_lock_configuration", locked, named)
        stub.add_response("get_bucket_policy_status", {"PolicyStatus": {"IsPublic": True}}, named)
        stub.add_client_error("get_bucket_acl", "NotImplemented", http_status_code=501)
        (finding,) = target.check()
    assert (finding.level, finding.message) == ("fail", f"bucket {s3_place.bucket} is public")


def made(slot: Slot, ago: timedelta) -> Slot:
    """The slot of a record that was made some time ago."""
    return Slot(slot.fingerprint, f"{datetime.now(UTC) - ago:%Y%m%dT%H%M%SZ}-{slot.epoch[-8:]}")


@pytest.mark.parametrize("ago", [timedelta(), timedelta(days=6)])
def test_a_copy_of_an_earlier_try_has_to_be_locked_as_configured(
    s3_place: S3Place, slot: Slot, ago: timedelta
) -> None:
    where = made(slot, ago)
    s3_place.target().put(where, RECORD)  # as where the lock that was asked for is ignored
    target = s3_place.target(lock_mode="GOVERNANCE", lock_days=9)
    for _ in range(2):
        with pytest.raises(
            IntegrityProblem, match=r"GOVERNANCE until .* is configured, .* no reten"
        ) as raised:
            write_one(target, where, RECORD)
        assert "orgkey retain --until" in raised.value.hint
    assert target.session.deadline.dates.seen, "what the server says of the time is taken from its answers"
    for listed in (target.find(where.fingerprint), target.find(where.fingerprint, where.epoch)):
        assert [("is configured, the server says no reten" in str(item.unlocked)) for item in listed] == [
            True
        ]
    assert [item.unlocked for item in s3_place.target().find(where.fingerprint)] == [None], (
        "none is asked for"
    )
    (stored,) = target.find(where.fingerprint, where.epoch)
    retainer = S3Retainer("place", target.settings, s3_place.target("retention").session, target.place)
    retainer.retain(stored, Retention("GOVERNANCE", datetime.now(UTC) + timedelta(days=1)))
    with pytest.raises(
        IntegrityProblem, match=r"GOVERNANCE until .* the server says GOVERNANCE until"
    ) as raised:
        write_one(target, where, RECORD)
    assert raised.value.hint.startswith("extend its lock: `orgkey retain --until")
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=9)
    retainer.retain(stored, Retention("GOVERNANCE", until))
    receipt = write_one(target, where, RECORD)
    assert (receipt.version, receipt.retain_until) == (stored.version, until)
    assert [item.unlocked for item in target.find(where.fingerprint)] == [None]


@pytest.mark.parametrize(
    ("stored", "configured", "good"),
    [
        ("COMPLIANCE", "GOVERNANCE", True),
        ("GOVERNANCE", "GOVERNANCE", True),
        ("GOVERNANCE", "COMPLIANCE", False),
    ],
)
def test_a_stronger_lock_of_an_earlier_try_will_do(
    s3_place: S3Place, slot: Slot, stored: str, configured: str, good: bool
) -> None:
    where, target = made(slot, timedelta()), s3_place.target(lock_mode=configured, lock_days=9)
    ends = datetime.now(UTC) + timedelta(days=9)
    listed = Stored(where, "there", "v1", Presence.CURRENT)
    with Stubber(target.session.client("s3")) as stub:
        stub.add_response("get_object_retention", {"Retention": {"Mode": stored, "RetainUntilDate": ends}})
        if good:
            assert target.confirm(listed) == ends
        else:
            with pytest.raises(IntegrityProblem, match="COMPLIANCE until") as raised:
                target.confirm(listed)
            assert "--mode COMPLIANCE" in raised.value.hint


def test_where_no_lock_is_configured_none_is_asked_for(s3_place: S3Place, slot: Slot) -> None:
    where = made(slot, timedelta())
    receipt = s3_place.target().put(where, RECORD)
    assert write_one(s3_place.target(), where, RECORD).version == receipt.version


# -- what versitygw cannot be made to do ---------------------------------------------------------


def stubbed(s3_place: S3Place, **changes: Any) -> tuple[S3Backend, Stubber]:
    target = s3_place.target(**changes)
    return target, Stubber(target.session.client("s3"))


def put_with(s3_place: S3Place, slot: Slot, head: dict[str, Any], **changes: Any) -> Any:
    target, stub = stubbed(s3_place, **changes)
    with stub:
        stub.add_response("put_object", {"VersionId": "v1", "ETag": "e"})
        stub.add_response("head_object", {"ContentLength": len(RECORD), "ETag": "e"} | head)
        receipt = target.put(slot, RECORD)
        stub.assert_no_pending_responses()
    return receipt


def test_everything_configured_is_sent(s3_place: S3Place, slot: Slot) -> None:
    changes = {"expected_bucket_owner": "123456789012", "kms_key_id": "alias/records"}
    target, stub = stubbed(s3_place, lock_mode="COMPLIANCE", lock_days=30, **changes)
    address = {
        "Bucket": s3_place.bucket,
        "ExpectedBucketOwner": "123456789012",
        "Key": s3_place.key(slot),
    }
    head = {
        "ContentLength": len(RECORD),
        "ETag": "e",
        "ChecksumSHA256": CHECKSUM,
        "ObjectLockMode": "COMPLIANCE",
        "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=30, seconds=60),
    }
    sent = address | {
        "Body": RECORD,
        "ContentType": "application/x-tar",
        "IfNoneMatch": "*",
        "ChecksumAlgorithm": "SHA256",
        "ChecksumSHA256": CHECKSUM,
        "ObjectLockMode": "COMPLIANCE",
        "ObjectLockRetainUntilDate": ANY,
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/records",
    }
    with stub:
        stub.add_response("put_object", {"VersionId": "v1", "ETag": "e"}, sent)
        stub.add_response("head_object", head, address | {"ChecksumMode": "ENABLED", "VersionId": "v1"})
        assert target.put(slot, RECORD).version == "v1"


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"ObjectLockMode": "GOVERNANCE"},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime.now(UTC)},
        {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=2)},
    ],
)
def test_another_retention_than_asked_for_is_no_receipt(
    s3_place: S3Place, slot: Slot, head: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityProblem, match="asked for GOVERNANCE"):
        put_with(s3_place, slot, head, **LOCK)


@pytest.mark.parametrize("head", [{"ContentLength": 1}, {"ChecksumSHA256": "AAAA"}])
def test_other_bytes_than_sent_are_no_receipt(s3_place: S3Place, slot: Slot, head: dict[str, Any]) -> None:
    with pytest.raises(IntegrityProblem, match="other bytes"):
        put_with(s3_place, slot, head)


@pytest.mark.parametrize(
    ("code", "status", "kind", "again", "said"),
    [
        ("PreconditionFailed", 412, Conflict, None, "exists already"),
        ("ConditionalRequestConflict", 409, Unreachable, True, "cannot serve now"),
        ("OperationAborted", 409, Unreachable, True, "cannot serve now"),
        ("SlowDown", 503, Unreachable, True, "SlowDown"),
        ("InternalError", 500, Unreachable, True, "InternalError"),
        ("AccessDenied", 403, Denied, None, "does not permit this to the writer"),
        ("InvalidAccessKeyId", 403, Denied, None, "credentials"),
        ("ExpiredToken", 400, Denied, None, "expired"),
        ("RequestTimeTooSkewed", 403, Denied, None, "clock"),
        ("NoSuchBucket", 404, Unreachable, False, "bucket does not exist"),
        ("PermanentRedirect", 301, UsageProblem, None, "another region"),
        ("InvalidRequest", 400, UsageProblem, None, "does not accept"),
        ("EntityTooLarge", 400, UsageProblem, None, "does not accept"),
    ],
)
def test_each_refusal_has_its_meaning(
    s3_place: S3Place,
    slot: Slot,
    code: str,
    status: int,
    kind: type[OrgkeyError],
    again: bool | None,
    said: str,
) -> None:
    target, stub = stubbed(s3_place)
    with stub:
        stub.add_client_error("put_object", code, "told so", http_status_code=status)
        with pytest.raises(kind, match=said) as raised:
            target.put(slot, RECORD)
    assert getattr(raised.value, "again", None) == again


def test_a_wrong_account_s_bucket_is_refused(s3_place: S3Place, slot: Slot) -> None:
    target, stub = stubbed(s3_place, expected_bucket_owner="123456789012")
    with stub:
        stub.add_client_error("get_object", "AccessDenied", http_status_code=403)
        with pytest.raises(Denied) as raised:
            target.get(slot)
    assert "expected_bucket_owner" in raised.value.hint


def test_an_archived_record_is_named(s3_place: S3Place, slot: Slot) -> None:
    target, stub = stubbed(s3_place)
    with stub:
        stub.add_client_error("get_object", "InvalidObjectState", http_status_code=403)
        with pytest.raises(Unreachable, match="archived") as raised:
            target.get(slot)
    assert not raised.value.again


@pytest.mark.parametrize("marks", [{"NextKeyMarker": "k", "NextVersionIdMarker": "v"}, {}])
def test_a_listing_that_does_not_go_on_is_left_and_never_taken_for_whole(
    s3_place: S3Place, slot: Slot, marks: dict[str, str]
) -> None:
    target, stub = stubbed(s3_place)
    with stub:
        for _ in range(2 if marks else 1):
            stub.add_response("list_object_versions", {"IsTruncated": True, **marks})
        with pytest.raises(Unreachable, match="cuts its listing short"):
            target.find(slot.fingerprint)
