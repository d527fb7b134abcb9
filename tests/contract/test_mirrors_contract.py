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
HOST, OTHER = "0123456789abcdef", "fedcba9876543210"
NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)


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
    from pipeline.config.places import DirectoryTargetConfig

    settings = DirectoryTargetConfig(kind="directory", controlled_by=CONTROL, path=str(place.top))
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
    assert reader.listing(HOST, 0) == {}
    for number in (1, 2, 3, 10, 11):
        writer.put(HOST, number, document(number), NOW)
    listing = reader.listing(HOST, 0)
    assert list(listing) == [1, 2, 3, 10, 11]
    assert [reader.get(handle) for (handle,) in listing.values()] == [
        document(number) for number in (1, 2, 3, 10, 11)
    ]
    assert list(reader.listing(HOST, 2)) == [3, 10, 11]
    assert list(reader.listing(HOST, 10)) == [11]
    assert list(reader.listing(HOST, 11)) == list(reader.listing(HOST, 999_999_998)) == []


def test_an_entry_that_lies_there_without_its_lock_is_not_confirmed(
    s3_place: S3Place, fingerprint: str
) -> None:
    now = datetime.now(UTC)
    s3_mirror(s3_place, fingerprint).put(HOST, 1, document(1), now)  # as where the lock is ignored
    locking = s3_mirror(s3_place, fingerprint, lock_mode="GOVERNANCE", lock_days=2)
    with pytest.raises(IntegrityProblem, match=r"GOVERNANCE until .* the server says no retention"):
        locking.put(HOST, 1, document(1), now)
    for _ in range(2):
        locking.put(HOST, 2, document(2), now)


def test_each_host_has_a_folder_of_its_own(mirror: Make) -> None:
    assert mirror("driller").hosts() == ()
    mirror().put(OTHER, 1, document(1, "other"), NOW)
    mirror().put(HOST, 1, document(1), NOW)
    mirror().put(HOST, 2, document(2), NOW)
    reader = mirror("driller")
    assert reader.hosts() == (HOST, OTHER)
    assert [list(reader.listing(host, 0)) for host in (HOST, OTHER, "0" * 16)] == [[1, 2], [1], []]
    ((handle,),) = reader.listing(OTHER, 0).values()
    assert reader.get(handle) == document(1, "other")


def test_nothing_is_overwritten(mirror: Make) -> None:
    mirror().put(HOST, 1, document(1), NOW)
    with pytest.raises(Conflict):
        mirror().put(HOST, 1, document(1, "other"), NOW)
    mirror().put(HOST, 1, document(1), NOW)  # the same again: an answer was lost
    ((handle,),) = mirror().listing(HOST, 0).values()
    assert mirror().get(handle) == document(1)


def test_of_concurrent_writers_one_wins(mirror: Make) -> None:
    places = [mirror() for _ in range(6)]

    def write(number: int) -> OrgkeyError | None:
        try:
            places[number].put(HOST, 1, document(1, str(number)), NOW)
        except OrgkeyError as error:
            return error
        return None

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(write, range(6)))
    assert outcomes.count(None) == 1
    assert all(isinstance(item, Conflict | Unreachable) for item in outcomes if item)
    ((handle,),) = mirror().listing(HOST, 0).values()
    assert mirror().get(handle) == document(1, str(outcomes.index(None)))


def test_what_is_gone_is_said_to_be(mirror: Make) -> None:
    mirror().put(HOST, 1, document(1), NOW)
    with pytest.raises(IntegrityProblem):
        mirror().get(mirror().listing(HOST, 0)[1][0].replace("1", "2"))


# -- beside records, and under the identities ------------------------------------------------------


@pytest.mark.parametrize("kind", ["directory", "s3", "vault"])
def test_records_are_listed_without_the_ledger(
    request: pytest.FixtureRequest, kind: str, fingerprint: str
) -> None:
    place = request.getfixturevalue(f"{kind}_place")
    build = BUILD[kind]
    slot = Slot(fingerprint, "20260131T080000Z-0a1b2c3d")
    build(place, fingerprint).put(HOST, 1, document(1), NOW)
    assert place.target("driller").find(fingerprint) == []
    place.target().put(slot, b"record")
    build(place, fingerprint).put(HOST, 2, document(2), NOW)
    assert [stored.slot for stored in place.target("driller").find(fingerprint)] == [slot]
    assert place.target().get(slot) == b"record"
    assert list(build(place, fingerprint).listing(HOST, 0)) == [1, 2]


@pytest.mark.parametrize("kind", ["s3", "vault"])
def test_the_driller_writes_nothing(request: pytest.FixtureRequest, kind: str, fingerprint: str) -> None:
    place = request.getfixturevalue(f"{kind}_place")
    place.stack.demand_roles(kind)
    build = BUILD[kind]
    with pytest.raises(Denied):
        build(place, fingerprint, "driller").put(HOST, 1, document(1), NOW)


# -- S3 --------------------------------------------------------------------------------------------


def test_more_than_a_page(s3_place: S3Place, fingerprint: str) -> None:
    """Listings come in pages of a thousand."""
    mirror = s3_mirror(s3_place, fingerprint)
    mirror.put(HOST, 1, document(1), NOW)
    first = mirror.listing(HOST, 0)[1][0].partition(" ")[2]
    client, bucket = s3_place.client, s3_place.bucket

    def put(number: int) -> None:
        key = first.replace("000000001", f"{number:09d}")
        client.put_object(Bucket=bucket, Key=key, Body=document(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(2, 1103)))
    assert list(mirror.listing(HOST, 0)) == list(range(1, 1103))
    assert list(mirror.listing(HOST, 57)) == list(range(58, 1103))
    assert all(len(handles) == 1 for handles in mirror.listing(HOST, 0).values())


def test_a_locked_entry_cannot_be_deleted_even_by_root(s3_place: S3Place, fingerprint: str) -> None:
    import botocore.exceptions

    mirror = s3_mirror(s3_place, fingerprint, lock_mode="GOVERNANCE", lock_days=1)
    mirror.put(HOST, 1, document(1), NOW)
    (handle,) = mirror.listing(HOST, 0)[1]
    version, _, key = handle.partition(" ")
    with pytest.raises(botocore.exceptions.ClientError, match=r"AccessDenied|WORM|locked|protected"):
        s3_place.client.delete_object(Bucket=s3_place.bucket, Key=key, VersionId=version)
    # What root can do is hide it: the version behind the marker is still read.
    s3_place.client.delete_object(Bucket=s3_place.bucket, Key=key)
    assert mirror.listing(HOST, 0) == {1: (handle,)}
    assert mirror.get(handle) == document(1)


def test_a_newer_version_comes_after_the_first(s3_place: S3Place, fingerprint: str) -> None:
    mirror = s3_mirror(s3_place, fingerprint)
    mirror.put(HOST, 1, document(1), NOW)
    key = mirror.listing(HOST, 0)[1][0].partition(" ")[2]
    for more in ("x", "y"):
        s3_place.client.put_object(Bucket=s3_place.bucket, Key=key, Body=document(1, more))
    assert [mirror.get(handle) for handle in mirror.listing(HOST, 0)[1]] == [
        document(1), document(1, "x"), document(1, "y")
    ]  # fmt: skip
    mirror.put(HOST, 1, document(1), NOW)  # it is there all the same


# -- Vault -----------------------------------------------------------------------------------------


def test_a_head_that_was_overwritten_is_read_as_it_was(vault_place: VaultPlace, fingerprint: str) -> None:
    place = heads(vault_place, fingerprint)
    place.put(HOST, 1, document(1), NOW)
    path = f"{vault_place.prefix}/{fingerprint}/ledger/{HOST}/head-000000001"
    vault_place.kv.create_or_update_secret(path, {"sha256": "00"}, mount_point="orgkey")
    assert place.get(place.listing(HOST, 0)[1][0]) == document(1)


# -- directory -------------------------------------------------------------------------------------


def test_files_are_read_only_and_links_are_not_followed(
    directory_place: DirectoryPlace, fingerprint: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mirror = directory_mirror(directory_place, fingerprint)
    mirror.put(HOST, 1, document(1), NOW)
    path = directory_place.top / fingerprint / "ledger" / HOST / "000000001.json"
    assert path.stat().st_mode & 0o777 == 0o400
    (path.parent / "000000002.json").symlink_to(path)
    (path.parent / "notes.txt").write_text("x")
    (path.parent / "000000003.json").mkdir()
    assert list(mirror.listing(HOST, 0)) == [1]
    with pytest.raises(IntegrityProblem, match="link"):
        mirror.get(f"{HOST}/000000002.json")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path.parent.rename(elsewhere / HOST)
    path.parent.symlink_to(elsewhere / HOST)
    for call in (lambda: mirror.listing(HOST, 0), lambda: mirror.put(HOST, 5, document(5), NOW)):
        with pytest.raises(IntegrityProblem, match="link"):
            call()


def test_a_disk_that_is_not_mounted_is_not_made(directory_place: DirectoryPlace, fingerprint: str) -> None:
    mirror = directory_mirror(directory_place, fingerprint)
    directory_place.top.rmdir()
    with pytest.raises(Unreachable):
        mirror.put(HOST, 1, document(1), NOW)
    assert not directory_place.top.exists()
