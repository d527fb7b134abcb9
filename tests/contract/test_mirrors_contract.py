"""What every place promises that the ledger is mirrored to, run over all kinds."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from pipeline.core.errors import Conflict, Denied, IntegrityProblem, OrgkeyError, Unreachable
from pipeline.storage.directory.ledger_mirror import DirectoryMirror
from pipeline.storage.interface import Slot
from pipeline.storage.ledger_mirror import Mirror
from pipeline.storage.s3.ledger_mirror import S3Mirror
from pipeline.storage.vault.ledger_heads import VaultHeads
from tests.support.inmemory import MemoryMirror
from tests.support.target_places import CONTROL, DirectoryPlace, S3Place, VaultPlace

Make = Callable[..., Mirror]


def document(number: int, more: str = "") -> bytes:
    """Canonical: a place for heads keeps the fields, and writes them canonically."""
    text = {"schema": "orgkey.ledger-head/1", "sequence": number, "sha256": f"{number:064x}", "at": more}
    return json.dumps(text, sort_keys=True, separators=(",", ":")).encode()


def s3_mirror(place: S3Place, fingerprint: str, role: str = "writer", **changes: object) -> S3Mirror:
    target = place.target(role, **changes)
    return S3Mirror("place", target.settings, target.session, fingerprint)


def heads(place: VaultPlace, fingerprint: str, role: str = "writer", **changes: object) -> VaultHeads:
    target = place.target(role, **changes)
    return VaultHeads("place", target.settings, target.session, fingerprint)


def directory_mirror(place: DirectoryPlace, fingerprint: str, role: str = "writer") -> DirectoryMirror:
    from pipeline import config

    settings = config.DirectoryTarget(kind="directory", controlled_by=CONTROL, path=str(place.top))
    return DirectoryMirror("place", settings, fingerprint)


BUILD: dict[str, Make] = {"directory": directory_mirror, "s3": s3_mirror, "vault": heads}


@pytest.fixture
def fingerprint() -> str:
    return secrets.token_hex(20).upper()


@pytest.fixture(params=["memory", "directory", "s3", "vault"])
def mirror(request: pytest.FixtureRequest, fingerprint: str) -> Make:
    """Makes the same place again, under a login of its own."""
    if request.param == "memory":
        one = MemoryMirror("place")
        return lambda role="writer": one
    place = request.getfixturevalue(f"{request.param}_place")
    return lambda role="writer": BUILD[request.param](place, fingerprint, role)


def test_what_was_put_comes_back_in_order(mirror: Make) -> None:
    writer, reader = mirror(), mirror("driller")
    assert reader.listing(0) == {}
    for number in (1, 2, 3, 10, 11):
        writer.put(number, document(number))
    listing = reader.listing(0)
    assert list(listing) == [1, 2, 3, 10, 11]
    assert [reader.get(handle) for (handle,) in listing.values()] == [
        document(number) for number in (1, 2, 3, 10, 11)
    ]
    for handles in listing.values():
        writer.confirm(handles[0], datetime.now(UTC))
    assert list(reader.listing(2)) == [3, 10, 11]
    assert list(reader.listing(10)) == [11]
    assert list(reader.listing(11)) == list(reader.listing(999_999_998)) == []


def test_an_entry_that_lies_there_without_its_lock_is_not_confirmed(
    s3_place: S3Place, fingerprint: str
) -> None:
    s3_mirror(s3_place, fingerprint).put(1, document(1))  # as where the lock that was asked for is ignored
    locking = s3_mirror(s3_place, fingerprint, lock_mode="GOVERNANCE", lock_days=2)
    ((handle,),) = locking.listing(0).values()
    with pytest.raises(IntegrityProblem, match=r"GOVERNANCE until .* the server says no retention"):
        locking.confirm(handle, datetime.now(UTC))
    locking.put(2, document(2))
    locking.confirm(locking.listing(1)[2][0], datetime.now(UTC))


def test_nothing_is_overwritten(mirror: Make) -> None:
    mirror().put(1, document(1))
    with pytest.raises(Conflict):
        mirror().put(1, document(1, "other"))
    with pytest.raises(Conflict):
        mirror().put(1, document(1))
    ((handle,),) = mirror().listing(0).values()
    assert mirror().get(handle) == document(1)


def test_where_a_number_is_taken_there_is_room_beside_it(mirror: Make) -> None:
    mirror().put(1, document(1))
    mirror().put(2, document(2))
    mirror().put(1, document(1, "a"), beside=True)
    mirror().put(1, document(1, "b"), beside=True)
    mirror().put(3, document(3), beside=True)
    listing = mirror("driller").listing(0)
    assert list(listing) == [1, 2, 3]
    assert [mirror().get(handle) for handle in listing[1]] == [
        document(1),
        document(1, "a"),
        document(1, "b"),
    ]
    assert list(mirror().listing(1)) == [2, 3]


def test_of_concurrent_writers_one_wins(mirror: Make) -> None:
    places = [mirror() for _ in range(6)]

    def write(number: int) -> OrgkeyError | None:
        try:
            places[number].put(1, document(1, str(number)))
        except OrgkeyError as error:
            return error
        return None

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(write, range(6)))
    assert outcomes.count(None) == 1
    assert all(isinstance(item, Conflict | Unreachable) for item in outcomes if item)
    ((handle,),) = mirror().listing(0).values()
    assert mirror().get(handle) == document(1, str(outcomes.index(None)))


def test_what_is_gone_is_said_to_be(mirror: Make) -> None:
    mirror().put(1, document(1))
    with pytest.raises(IntegrityProblem):
        mirror().get(mirror().listing(0)[1][0].replace("1", "2"))


# -- beside records, and under the identities ------------------------------------------------------


@pytest.mark.parametrize("kind", ["directory", "s3", "vault"])
def test_records_are_listed_without_the_ledger(
    request: pytest.FixtureRequest, kind: str, fingerprint: str
) -> None:
    place = request.getfixturevalue(f"{kind}_place")
    build = BUILD[kind]
    slot = Slot(fingerprint, "20260131T080000Z-0a1b2c3d")
    build(place, fingerprint).put(1, document(1))
    assert place.target("driller").find(fingerprint) == []
    place.target().put(slot, b"record")
    build(place, fingerprint).put(2, document(2))
    assert [stored.slot for stored in place.target("driller").find(fingerprint)] == [slot]
    assert place.target().get(slot) == b"record"
    assert list(build(place, fingerprint).listing(0)) == [1, 2]


@pytest.mark.parametrize("kind", ["s3", "vault"])
def test_the_driller_writes_nothing(request: pytest.FixtureRequest, kind: str, fingerprint: str) -> None:
    place = request.getfixturevalue(f"{kind}_place")
    build = BUILD[kind]
    with pytest.raises(Denied):
        build(place, fingerprint, "driller").put(1, document(1))


# -- S3 --------------------------------------------------------------------------------------------


def test_more_than_a_page(s3_place: S3Place, fingerprint: str) -> None:
    """Listings come in pages of a thousand."""
    mirror = s3_mirror(s3_place, fingerprint)
    mirror.put(1, document(1))
    first = mirror.listing(0)[1][0].partition(" ")[2]
    client, bucket = s3_place.client, s3_place.bucket

    def put(number: int) -> None:
        key = first.replace("000000001", f"{number:09d}")
        client.put_object(Bucket=bucket, Key=key, Body=document(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(2, 1103)))
    assert list(mirror.listing(0)) == list(range(1, 1103))
    assert list(mirror.listing(57)) == list(range(58, 1103))
    assert all(len(handles) == 1 for handles in mirror.listing(0).values())


def test_a_locked_entry_cannot_be_deleted_even_by_root(s3_place: S3Place, fingerprint: str) -> None:
    import botocore.exceptions

    mirror = s3_mirror(s3_place, fingerprint, lock_mode="GOVERNANCE", lock_days=1)
    mirror.put(1, document(1))
    (handle,) = mirror.listing(0)[1]
    version, _, key = handle.partition(" ")
    with pytest.raises(botocore.exceptions.ClientError, match=r"AccessDenied|WORM|locked|protected"):
        s3_place.client.delete_object(Bucket=s3_place.bucket, Key=key, VersionId=version)
    # What root can do is hide it: the version behind the marker is still read.
    s3_place.client.delete_object(Bucket=s3_place.bucket, Key=key)
    assert mirror.listing(0) == {1: (handle,)}
    assert mirror.get(handle) == document(1)


def test_a_newer_version_comes_after_the_first(s3_place: S3Place, fingerprint: str) -> None:
    mirror = s3_mirror(s3_place, fingerprint)
    mirror.put(1, document(1))
    key = mirror.listing(0)[1][0].partition(" ")[2]
    for more in ("x", "y"):
        s3_place.client.put_object(Bucket=s3_place.bucket, Key=key, Body=document(1, more))
    mirror.put(1, document(1, "z"), beside=True)
    assert [mirror.get(handle) for handle in mirror.listing(0)[1]] == [
        document(1), document(1, "x"), document(1, "y"), document(1, "z")
    ]  # fmt: skip


# -- Vault -----------------------------------------------------------------------------------------


def test_a_head_that_was_overwritten_is_read_as_it_was(vault_place: VaultPlace, fingerprint: str) -> None:
    place = heads(vault_place, fingerprint)
    place.put(1, document(1))
    path = f"{vault_place.prefix}/{fingerprint}/ledger/head-000000001"
    vault_place.kv.create_or_update_secret(path, {"sha256": "00"}, mount_point="orgkey")
    assert place.get(place.listing(0)[1][0]) == document(1)


# -- directory -------------------------------------------------------------------------------------


def test_files_are_read_only_and_links_are_not_followed(
    directory_place: DirectoryPlace, fingerprint: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mirror = directory_mirror(directory_place, fingerprint)
    mirror.put(1, document(1))
    path = directory_place.top / fingerprint / "ledger" / "000000001.json"
    assert path.stat().st_mode & 0o777 == 0o400
    (path.parent / "000000002.json").symlink_to(path)
    (path.parent / "notes.txt").write_text("x")
    (path.parent / "000000003.json").mkdir()
    assert list(mirror.listing(0)) == [1]
    with pytest.raises(IntegrityProblem, match="link"):
        mirror.get("000000002.json")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path.parent.rename(elsewhere / "ledger")
    path.parent.symlink_to(elsewhere / "ledger")
    for call in (lambda: mirror.listing(0), lambda: mirror.put(5, document(5))):
        with pytest.raises(IntegrityProblem, match="link"):
            call()


def test_a_disk_that_is_not_mounted_is_not_made(directory_place: DirectoryPlace, fingerprint: str) -> None:
    mirror = directory_mirror(directory_place, fingerprint)
    directory_place.top.rmdir()
    with pytest.raises(Unreachable):
        mirror.put(1, document(1))
    assert not directory_place.top.exists()
