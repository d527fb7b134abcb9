"""What only Vault does."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hvac.exceptions
import pytest

from pipeline.config import places
from pipeline.config.identities import VaultIdentity
from pipeline.core.clock import Deadline
from pipeline.core.errors import Denied, IntegrityProblem, Unreachable, UsageProblem
from pipeline.providers.vault.answers import Health
from pipeline.providers.vault.session import VaultSession
from pipeline.storage.interface import Presence, Slot
from pipeline.storage.vault.backend import VaultBackend
from tests.support.target_places import VaultPlace

RECORD = b"record" * 1000


def test_everything_is_inside_the_entry(vault_place: VaultPlace, slot: Slot) -> None:
    receipt = vault_place.target().put(slot, RECORD)
    assert receipt.version == "1"
    answer = vault_place.kv.read_secret_version(
        vault_place.path(slot), mount_point="orgkey", raise_on_deleted_version=True
    )
    assert answer["data"]["metadata"]["custom_metadata"] is None
    assert answer["data"]["data"] == {
        "schema": "orgkey.vault-entry/1",
        "record": base64.b64encode(RECORD).decode(),
        "sha256": hashlib.sha256(RECORD).hexdigest(),
        "size": str(len(RECORD)),
    }


def test_versions_are_told_apart(vault_place: VaultPlace, slot: Slot) -> None:
    vault_place.target().put(slot, RECORD)
    for body in (b"two", b"three", b"four"):
        vault_place.overwrite(slot, body)
    kv, path = vault_place.kv, vault_place.path(slot)
    kv.delete_secret_versions(path, [2], mount_point="orgkey")
    kv.destroy_secret_versions(path, [3], mount_point="orgkey")
    target = vault_place.target("driller")
    assert [(stored.version, stored.presence) for stored in target.find(slot.fingerprint)] == [
        ("4", Presence.CURRENT),
        ("3", Presence.DESTROYED),
        ("2", Presence.DELETED),
        ("1", Presence.OLDER),
    ]
    assert target.get(slot) == b"four"
    assert target.get(slot, "1") == RECORD
    with pytest.raises(IntegrityProblem, match="is deleted"):
        target.get(slot, "2")
    with pytest.raises(IntegrityProblem, match="is destroyed"):
        target.get(slot, "3")
    vault_place.hide(slot)
    (newest, *_) = target.find(slot.fingerprint)
    assert newest.presence is Presence.DELETED
    assert not newest.readable
    where = f"-address={target.settings.address} -mount={target.settings.mount} -versions={newest.version}"
    assert newest.undo == f"vault kv undelete {where} {vault_place.path(slot)}"


def test_a_version_that_is_to_expire_can_still_be_read(vault_place: VaultPlace, slot: Slot) -> None:
    path = vault_place.path(slot)
    vault_place.kv.update_metadata(path, delete_version_after="1h", mount_point="orgkey")
    vault_place.overwrite(slot, RECORD)
    (stored,) = vault_place.target().find(slot.fingerprint)
    assert stored.presence is Presence.CURRENT
    findings = vault_place.target("driller").check()
    assert any(finding.level == "fail" and "1h" in finding.message for finding in findings), findings


def test_metadata_removed_and_written_again_is_version_one(vault_place: VaultPlace, slot: Slot) -> None:
    """The number of a version proves nothing: that is why records are signed."""
    vault_place.target().put(slot, RECORD)
    vault_place.kv.delete_metadata_and_all_versions(vault_place.path(slot), mount_point="orgkey")
    assert vault_place.target().put(slot, b"other").version == "1"


@pytest.mark.parametrize(
    "entry",
    [
        {"something": "else"},
        {"record": 7},
        {"record": "not base64!", "sha256": "00"},
        {"record": base64.b64encode(RECORD).decode(), "sha256": "00" * 32},
        {"record": base64.b64encode(RECORD).decode()},
        {},
    ],
)
def test_an_entry_that_was_changed_is_no_copy(
    vault_place: VaultPlace, slot: Slot, entry: dict[str, object]
) -> None:
    vault_place.target().put(slot, RECORD)
    vault_place.write(slot, entry)
    with pytest.raises(IntegrityProblem, match=slot.epoch):
        vault_place.target().get(slot)
    assert vault_place.target().get(slot, "1") == RECORD


def test_too_large_is_said_before_anything_is_sent(vault_place: VaultPlace, slot: Slot) -> None:
    target = vault_place.target()
    with pytest.raises(UsageProblem, match=r"has 819,200 bytes, and the target .* takes"):
        target.put(slot, b"x" * (800 * 1024))
    assert target.session.request_ids == []
    target.put(slot, b"x" * (760 * 1024))
    assert len(target.get(slot)) == 760 * 1024


def test_an_identity_without_metadata_finds_the_current_version(
    vault_place: VaultPlace, slot: Slot, tmp_path: Path
) -> None:
    vault_place.target().put(slot, RECORD)
    policy = f'path "orgkey/data/{vault_place.prefix}/*" {{ capabilities = ["read"] }}'
    session = narrow(vault_place, tmp_path, policy)
    target = VaultBackend("vault", vault_place.target().settings, session)
    (stored,) = target.find(slot.fingerprint, slot.epoch)
    assert (stored.version, stored.presence) == ("1", Presence.CURRENT)
    assert target.find(slot.fingerprint, "20260131T080000Z-ffffffff") == []
    with pytest.raises(Denied):
        target.find(slot.fingerprint)
    vault_place.hide(slot)
    (stored,) = target.find(slot.fingerprint, slot.epoch)
    assert stored.presence is Presence.DELETED


def narrow(place: VaultPlace, tmp_path: Path, policy: str, role: str = "writer") -> VaultSession:
    """A session with a token of the given policy."""
    root = place.stack.vault("root")
    name = place.prefix.replace("/", "-")
    root.sys.create_or_update_policy(name, policy)
    token = root.auth.token.create(policies=[name], ttl="10m")["auth"]["client_token"]
    (tmp_path / "token").write_text(token)
    identity = VaultIdentity(token_file=str(tmp_path / "token"))
    where = places.VaultPlace(address=place.stack.endpoint("vault"))
    return VaultSession(where, identity, call_seconds=5, deadline=Deadline(60), role=role)


@pytest.mark.parametrize(
    ("role", "data", "metadata", "said"),
    [
        ("writer", '["create", "read", "update"]', '["read", "list"]', "may update orgkey/data"),
        ("writer", '["create", "read", "delete"]', '["read", "list"]', "may delete orgkey/data"),
        ("writer", '["create", "read", "patch"]', '["read", "list"]', "may patch orgkey/data"),
        ("writer", '["create", "read"]', '["read", "list", "delete"]', "may delete orgkey/metadata"),
        ("writer", '["create", "read"]', '["update"]', "may update orgkey/metadata"),
        ("writer", '["read"]', '["read", "list"]', "may not create"),
        ("driller", '["create", "read"]', '["read", "list"]', "may create"),
        ("driller", '["list"]', '["read", "list"]', "may not read"),
        ("auditor", '["read"]', '["read", "list"]', "auditor may read orgkey/data"),
        ("auditor", '["create"]', '["read", "list"]', "auditor may create orgkey/data"),
        ("auditor", '["deny"]', '["update"]', "auditor may update orgkey/metadata"),
    ],
)
def test_the_check_names_each_right_too_many_or_too_few(
    vault_place: VaultPlace, tmp_path: Path, role: str, data: str, metadata: str, said: str
) -> None:
    prefix = vault_place.prefix
    policy = (
        f'path "orgkey/data/{prefix}/*" {{ capabilities = {data} }}\n'
        f'path "orgkey/metadata/{prefix}/*" {{ capabilities = {metadata} }}\n'
    )
    session = narrow(vault_place, tmp_path, policy, role)
    target = VaultBackend("vault", vault_place.target(role).settings, session)
    failures = [finding for finding in target.check() if finding.level == "fail"]
    assert any(said in finding.message for finding in failures), failures
    assert all(finding.hint and finding.code for finding in failures)


def test_the_check_names_a_root_token(vault_place: VaultPlace) -> None:
    findings = vault_place.target("root").check()
    assert any("root token" in finding.message and finding.level == "fail" for finding in findings)


def test_the_check_names_what_the_mount_would_lose(vault_place: VaultPlace) -> None:
    kv = vault_place.kv
    kv.configure(delete_version_after="24h", max_versions=1, mount_point="orgkey")
    try:
        said = "; ".join(finding.message for finding in vault_place.target().check())
    finally:
        kv.configure(delete_version_after="0s", max_versions=100, mount_point="orgkey")
    assert "deletes versions 24h" in said
    assert "keeps one version" in said


def test_the_check_refuses_a_mount_of_version_one(vault_place: VaultPlace) -> None:
    root = vault_place.stack.vault("root")
    root.sys.enable_secrets_engine("kv", path="old", options={"version": "1"})
    findings = vault_place.target("root", mount="old").check()
    assert any("a key-value store of version 1" in finding.message for finding in findings), findings


def test_nothing_is_written_to_a_mount_of_version_one(vault_place: VaultPlace, slot: Slot) -> None:
    """It takes any write, and answers a listing that there is nothing."""
    root = vault_place.stack.vault("root")
    root.sys.enable_secrets_engine("kv", path="plain", options={"version": "1"})
    target = vault_place.target("root", mount="plain")
    for call in (
        lambda: target.put(slot, RECORD),
        lambda: target.get(slot),
        lambda: target.find(slot.fingerprint),
    ):
        with pytest.raises(UsageProblem, match="of version 1, not of version 2") as raised:
            call()
        assert "enable-versioning" in raised.value.hint
    with pytest.raises(hvac.exceptions.InvalidPath):
        root.secrets.kv.v1.list_secrets("", mount_point="plain")


def test_a_mount_that_is_not_there(vault_place: VaultPlace, slot: Slot) -> None:
    target = vault_place.target("root", mount="nowhere")
    for call in (
        lambda: target.put(slot, RECORD),
        lambda: target.get(slot),
        lambda: target.find(slot.fingerprint),
        lambda: target.find(slot.fingerprint, slot.epoch),
    ):
        with pytest.raises(UsageProblem, match="no handler"):
            call()


def test_a_sealed_server_is_named_and_useless_until_unsealed(vault_place: VaultPlace, slot: Slot) -> None:
    stack = vault_place.stack
    known, fresh = vault_place.target(), vault_place.target()
    known.put(slot, RECORD)
    stack.seal()
    try:
        for target in (known, fresh):
            with pytest.raises(Unreachable, match="is sealed") as raised:
                target.get(slot)
            assert not raised.value.again
        assert fresh.session.health() is Health.SEALED
        (finding,) = fresh.check()
        assert finding.code == 20
        assert "is sealed" in finding.message
    finally:
        stack.unseal()
    assert known.get(slot) == RECORD
    assert fresh.get(slot) == RECORD


def test_time_ahead_and_behind() -> None:
    from pipeline.storage.vault.backend import _presence

    now = datetime.now(UTC)
    ahead = (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    behind = (now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    assert _presence({"deletion_time": ahead, "destroyed": False}, now, True) is Presence.CURRENT
    assert _presence({"deletion_time": behind, "destroyed": False}, now, True) is Presence.DELETED
    assert _presence({"deletion_time": "nonsense"}, now, True) is Presence.DELETED
    assert _presence({"deletion_time": "", "destroyed": True}, now, True) is Presence.DESTROYED


def test_the_request_ids_are_those_of_the_audit_log(vault_place: VaultPlace, slot: Slot) -> None:
    vault_place.stack.demand_own("vault")
    target = vault_place.target()
    target.put(slot, RECORD)
    target.get(slot)
    lines = vault_place.stack.layout.audit.read_text().splitlines()
    logged = {json.loads(line)["request"]["id"] for line in lines}
    assert len(target.session.request_ids) >= 2
    assert set(target.session.request_ids) <= logged


def test_a_standby_that_lags_behind_a_write_is_no_missing_copy(vault_place: VaultPlace, slot: Slot) -> None:
    target = vault_place.target()
    target.put(slot, RECORD)
    vault_place.stack.vault("root").secrets.kv.v2.delete_metadata_and_all_versions(
        target.path(slot), mount_point="orgkey"
    )
    with pytest.raises(Unreachable, match="is not there yet") as raised:
        target.get(slot)
    assert raised.value.again
    with pytest.raises(IntegrityProblem, match="holds no record"):
        vault_place.target().get(slot)
