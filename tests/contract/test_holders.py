"""What every holder keeps to, machines on real servers; and what is special about each."""

from __future__ import annotations

import base64
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pipeline.config.holders import KmsHolderConfig, OpenpgpHolderConfig, TransitHolderConfig
from pipeline.config.identities import AwsIdentity, VaultIdentity
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import (
    DeadlinePassed,
    Denied,
    NotEnoughShares,
    OrgkeyError,
    Unreachable,
    UsageProblem,
    WrongShare,
)
from pipeline.core.finding import Level
from pipeline.core.retry import Retrier, retrying
from pipeline.core.secret import Secret
from pipeline.custody import recovery_guide
from pipeline.custody.holders.interface import HOLDER_CALLS, Binding, Holder, SealedShare
from pipeline.custody.holders.kms import KmsKey, KmsKeyHolder
from pipeline.custody.holders.openpgp import CustodianGroup
from pipeline.custody.holders.transit import TransitKeyHolder
from pipeline.custody.shares import passphrase, paths
from pipeline.custody.shares.recover import recover
from pipeline.custody.shares.seal import seal
from pipeline.openpgp.format import armor
from pipeline.providers.aws.session import AwsSession
from pipeline.providers.vault.session import VaultSession
from tests.support import people

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

WORDS = Secret("academic acid " + "acne " * 30 + "acquire")
BINDING = Binding("A" * 40, "0123456789abcdef" * 2)
KINDS = ("vault-transit", "aws-kms")
MEMBER = {"vault-transit": "vault", "aws-kms": "kms"}


@dataclass
class World:
    """Holders of every kind, under any identity of the stack."""

    stack: Stack

    def vault_identity(self, role: str) -> VaultIdentity:
        layout = self.stack.layout
        if role == "root":
            return VaultIdentity(token_file=str(layout.root_token))
        return VaultIdentity(
            role_id_file=str(layout.role_id(role)), secret_id_file=str(layout.secret_id(role))
        )

    def transit(
        self, role: str = "writer", *, key: str = "orgkey-escrow", mount: str = "transit", call: float = 5.0
    ) -> TransitKeyHolder:
        place = TransitHolderConfig(
            kind="vault-transit",
            controlled_by=("vault-admins",),
            address=self.stack.endpoint("vault"),
            mount=mount,
            key=key,
        )
        session = VaultSession(
            place, self.vault_identity(role), call_seconds=call, deadline=Deadline(60), role=role
        )
        return TransitKeyHolder("vault", place, session)

    def kms(
        self,
        role: str = "writer",
        *,
        key: str | None = None,
        call: float = 5.0,
        credentials: Path | None = None,
    ) -> KmsKeyHolder:
        place = KmsHolderConfig(
            kind="aws-kms",
            controlled_by=("aws-admins",),
            endpoint_url=self.stack.endpoint("kms"),
            key_id=key or self.stack.state.kms_key,
        )
        file = credentials or self.stack.layout.aws_credentials(role)
        session = AwsSession(
            place,
            AwsIdentity(credentials_file=str(file)),
            call_seconds=call,
            deadline=Deadline(60),
            role=role,
        )
        return KmsKeyHolder("aws", place, session)

    def holder(self, kind: str, role: str = "writer", *, call: float = 5.0) -> Holder:
        return self.transit(role, call=call) if kind == "vault-transit" else self.kms(role, call=call)

    def key(self, **settings: Any) -> str:
        """A Transit key of its own, made by root."""
        name = f"key-{secrets.token_hex(4)}"
        client = self.stack.vault("root")
        made = {
            "derived": True,
            **{
                name: settings[name]
                for name in ("derived", "exportable", "allow_plaintext_backup")
                if name in settings
            },
        }
        client.secrets.transit.create_key(name=name, **made)
        later = {key: value for key, value in settings.items() if key not in made}
        if later:
            client.secrets.transit.update_key_configuration(name=name, **later)
        return name


@pytest.fixture
def world(contract_stack: Stack) -> World:
    return World(contract_stack)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def sealed(holder: Holder, binding: Binding = BINDING) -> SealedShare:
    (share,) = holder.seal([WORDS], binding)
    return share


# -- the contract ------------------------------------------------------------------------------


def test_what_the_writer_seals_the_driller_opens(world: World, kind: str) -> None:
    holder = world.holder(kind)
    share = sealed(holder)
    assert (share.index, share.label) == (1, holder.name)
    assert share.suffix == {"vault-transit": "transit", "aws-kms": "kms"}[kind]
    assert WORDS.reveal() not in share.data
    assert world.holder(kind, "driller").open(share, BINDING) == WORDS


def test_a_holder_says_what_it_is(world: World, kind: str) -> None:
    holder = world.holder(kind)
    assert (holder.kind, holder.unattended, holder.size) == (kind, True, 1)
    coordinates = json.loads(json.dumps(dict(holder.describe())))
    if kind == "vault-transit":
        assert coordinates == {
            "address": world.stack.endpoint("vault"),
            "namespace": None,
            "mount": "transit",
            "key": "orgkey-escrow",
            "key_version": 1,
            "ca_file": None,
            "proxy": None,
        }
    else:
        assert coordinates == {
            "key_arn": world.stack.state.kms_key,
            "region": "us-east-1",
            "endpoint_url": world.stack.endpoint("kms"),
            "ca_file": None,
            "proxy": None,
        }


@pytest.mark.parametrize(
    "other", [replace(BINDING, record_id="f" * 32), replace(BINDING, fingerprint="B" * 40)]
)
def test_a_share_of_another_record_does_not_open(world: World, kind: str, other: Binding) -> None:
    share = sealed(world.holder(kind))
    with pytest.raises(WrongShare, match="another record"):
        world.holder(kind, "driller").open(share, other)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-6],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:],
        lambda data: b"",
        lambda data: b"\n",
        lambda data: b"\xff\x00" * 40,
        lambda data: b"junk",
        lambda data: data * 100,
    ],
)
def test_a_damaged_share_is_called_wrong(world: World, kind: str, damage: Callable[[bytes], bytes]) -> None:
    share = sealed(world.holder(kind))
    with pytest.raises(WrongShare, match=r"holder (vault|aws)"):
        world.holder(kind, "driller").open(replace(share, data=damage(share.data)), BINDING)


def test_one_machine_takes_one_share(world: World, kind: str) -> None:
    for shares in ([], [WORDS, WORDS]):
        with pytest.raises(UsageProblem, match="one share"):
            world.holder(kind).seal(shares, BINDING)


def test_a_stopped_server_is_unreachable_and_serves_again(world: World, kind: str) -> None:
    share = sealed(world.holder(kind))
    world.stack.stop_member(MEMBER[kind])
    try:
        for role in ("writer", "driller"):
            holder = world.holder(kind, role)
            with pytest.raises(Unreachable):
                holder.open(share, BINDING)
            with pytest.raises(Unreachable):
                holder.describe()
            assert [item.level for item in holder.check()] == [Level.FAIL]
    finally:
        world.stack.start_member(MEMBER[kind])
    assert world.holder(kind, "driller").open(share, BINDING) == WORDS


def test_a_server_that_hangs_costs_a_time_out(world: World, kind: str) -> None:
    holder = world.holder(kind, call=3.0)
    holder.describe()
    world.stack.pause_member(MEMBER[kind])
    try:
        started = SystemClock().monotonic()
        with pytest.raises((Unreachable, DeadlinePassed)):
            holder.seal([WORDS], BINDING)
        assert SystemClock().monotonic() - started < 20
    finally:
        world.stack.resume_member(MEMBER[kind])


def test_retrying_waits_for_a_server_that_comes_back(world: World, kind: str) -> None:
    share = sealed(world.holder(kind))
    world.stack.stop_member(MEMBER[kind])
    waits: list[float] = []

    class Clock(SystemClock):
        def sleep(self, seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                world.stack.start_member(MEMBER[kind])

    retrier = Retrier(Deadline(60), clock=Clock())
    try:
        holder: Holder = retrying(world.holder(kind, "driller"), retrier, "holder", HOLDER_CALLS)
        assert holder.open(share, BINDING) == WORDS
    finally:
        world.stack.start_member(MEMBER[kind])
    assert len(waits) == 2
    assert (holder.name, holder.kind, holder.unattended, holder.size) == (
        world.holder(kind).name,
        kind,
        True,
        1,
    )
    holder = retrying(world.holder(kind), retrier, "holder", HOLDER_CALLS)
    assert holder.describe() == world.holder(kind).describe()
    assert sealed(holder).suffix == share.suffix
    with pytest.raises(WrongShare):
        retrying(world.holder(kind, "driller"), retrier, "holder", HOLDER_CALLS).open(
            replace(share, data=b"junk"), BINDING
        )
    assert len(waits) == 2


def test_what_is_set_up_well_is_found_well(world: World, kind: str) -> None:
    for role in ("writer", "driller"):
        found = world.holder(kind, role).check()
        assert found
        assert not [item for item in found if item.level is Level.FAIL]
        assert all(item.subject.startswith("holder ") for item in found)


# -- Transit -----------------------------------------------------------------------------------


def test_vault_sealed_is_unreachable(world: World) -> None:
    share = sealed(world.transit())
    world.stack.seal()
    try:
        with pytest.raises(Unreachable, match="sealed"):
            world.transit("driller").open(share, BINDING)
        with pytest.raises(Unreachable, match="sealed"):
            sealed(world.transit())
    finally:
        world.stack.unseal()
    assert world.transit("driller").open(share, BINDING) == WORDS


@pytest.mark.parametrize("role", ["root", "writer"])
def test_a_typo_in_the_key_creates_nothing(world: World, role: str) -> None:
    typo = "orgkey-escorw"
    with pytest.raises(UsageProblem if role == "root" else OrgkeyError, match="vault"):
        sealed(world.transit(role, key=typo))
    listed = world.stack.vault("root").secrets.transit.list_keys()["data"]["keys"]
    assert typo not in listed
    assert "orgkey-escrow" in listed


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ({"derived": False}, "not derived"),
        ({"exportable": True}, "exportable"),
        ({"allow_plaintext_backup": True}, "plaintext backup"),
        ({"deletion_allowed": True}, "deletion"),
    ],
)
def test_a_key_that_cannot_be_trusted_is_refused(world: World, setting: dict[str, bool], fault: str) -> None:
    holder = world.transit("root", key=world.key(**setting))
    with pytest.raises(UsageProblem, match=fault):
        holder.describe()
    with pytest.raises(UsageProblem, match=fault):
        sealed(holder)
    assert any(item.level is Level.FAIL and fault in item.message for item in holder.check())


def test_an_imported_key_is_refused(world: World) -> None:
    """Whoever imported it has it."""
    key = f"key-{secrets.token_hex(4)}"
    client = world.stack.vault("root")
    wrapping = client.adapter.get("/v1/transit/wrapping_key")["data"]["public_key"].encode()
    public = serialization.load_pem_public_key(wrapping)
    assert isinstance(public, rsa.RSAPublicKey)
    once = secrets.token_bytes(32)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    wrapped = public.encrypt(once, oaep) + keywrap.aes_key_wrap_with_padding(once, secrets.token_bytes(32))
    body = {"ciphertext": base64.b64encode(wrapped).decode(), "type": "aes256-gcm96", "derived": True}
    client.adapter.post(f"/v1/transit/keys/{key}/import", json=body)
    holder = world.transit("root", key=key)
    with pytest.raises(UsageProblem, match="imported"):
        sealed(holder)
    assert any(item.level is Level.FAIL and "imported" in item.message for item in holder.check())


def test_a_rotated_key_still_opens_until_its_old_version_is_shut(world: World) -> None:
    key = world.key()
    client = world.stack.vault("root")
    old = sealed(world.transit("root", key=key))
    client.secrets.transit.rotate_key(name=key)
    holder = world.transit("root", key=key)
    assert holder.describe()["key_version"] == 2
    new = sealed(holder)
    assert (old.data[:9], new.data[:9]) == (b"vault:v1:", b"vault:v2:")
    assert holder.open(old, BINDING) == WORDS
    client.secrets.transit.update_key_configuration(name=key, min_decryption_version=2)
    with pytest.raises(Denied, match="min_decryption_version"):
        holder.open(old, BINDING)
    assert holder.open(new, BINDING) == WORDS
    assert any(
        item.level is Level.WARN and "min_decryption_version" in item.message for item in holder.check()
    )


def test_a_key_that_can_be_restored_is_not_said_to_be_lost(world: World) -> None:
    key = world.key()
    client = world.stack.vault("root")
    share = sealed(world.transit("root", key=key))
    client.adapter.delete(f"/v1/transit/keys/{key}/soft-delete")
    address = world.stack.endpoint("vault")
    back = f"vault write -f -address={address} transit/keys/{key}/soft-delete-restore"
    for ask, kind in (
        (lambda: world.transit("root", key=key).open(share, BINDING), NotEnoughShares),
        (lambda: world.transit("root", key=key).describe(), UsageProblem),
    ):
        with pytest.raises(kind, match="deleted, but can be restored") as raised:
            ask()
        assert back in raised.value.hint.partition("make a new key")[0]
    (finding, *_) = world.transit("root", key=key).check()
    assert finding.level is Level.FAIL
    assert back in finding.hint.partition("make a new key")[0]
    client.adapter.post(f"/v1/transit/keys/{key}/soft-delete-restore", json={})
    assert world.transit("root", key=key).open(share, BINDING) == WORDS


def test_a_key_that_is_gone_is_looked_for_in_backups_before_a_new_one_is_made(world: World) -> None:
    key = world.key()
    client = world.stack.vault("root")
    share = sealed(world.transit("root", key=key))
    client.secrets.transit.update_key_configuration(name=key, deletion_allowed=True)
    client.secrets.transit.delete_key(name=key)
    for ask, kind in (
        (lambda: world.transit("root", key=key).open(share, BINDING), NotEnoughShares),
        (lambda: world.transit("root", key=key).describe(), UsageProblem),
    ):
        with pytest.raises(kind, match="no Transit key") as raised:
            ask()
        before, _, after = raised.value.hint.partition("restore it from a backup of vault or the key")
        assert "make" not in before
        assert after


def test_a_share_of_another_key_does_not_open(world: World) -> None:
    share = sealed(world.transit("root", key=world.key()))
    with pytest.raises(WrongShare):
        world.transit("driller").open(share, BINDING)


def test_writer_and_driller_are_told_apart(world: World) -> None:
    share = sealed(world.transit())
    with pytest.raises(Denied):
        world.transit("writer").open(share, BINDING)
    with pytest.raises(Denied):
        sealed(world.transit("driller"))


def test_too_many_rights_and_too_few_are_failures(world: World) -> None:
    assert any(item.level is Level.FAIL and "root" in item.message for item in world.transit("root").check())
    other = world.key()
    assert any(item.level is Level.FAIL for item in world.transit("writer", key=other).check())
    assert any(item.level is Level.FAIL for item in world.transit("driller", key=other).check())
    with pytest.raises(OrgkeyError):
        world.transit("root", mount="nowhere").describe()


# -- KMS ---------------------------------------------------------------------------------------


def test_a_missing_kms_key_is_named(world: World) -> None:
    for key in ("alias/none", str(world.stack.state.kms_key)[:-1] + "x"):
        with pytest.raises(UsageProblem, match="no KMS key"):
            sealed(world.kms(key=key))
        assert [item.level for item in world.kms(key=key).check()] == [Level.FAIL]
        with pytest.raises(NotEnoughShares, match=f"there is no KMS key {key}") as caught:
            world.kms("driller", key=key).open(SealedShare(1, "kms", b"a share", "aws"), BINDING)
        assert "take another path" in caught.value.hint


def test_each_role_is_held_to_its_rights_at_the_key(world: World) -> None:
    for role in ("auditor", "retention"):
        assert {item.level for item in world.kms(role).check()} <= {Level.OK, Level.WARN}
    for role, action in (
        ("writer", "kms:Decrypt"),
        ("driller", "kms:Encrypt"),
        ("auditor", "kms:Encrypt and kms:Decrypt"),
    ):
        holder = world.kms("root")
        holder._session.role = role
        (failure,) = [item for item in holder.check() if item.level is Level.FAIL]
        assert failure.message == f"the {role} may do more than it needs: {action}"
        holder._session.apart = False  # one login for both: it has to
        assert not [item for item in holder.check() if item.level is Level.FAIL]


def test_an_auditor_that_may_only_open_is_named(world: World) -> None:
    for sealer in (None, lambda: world.kms("writer")._session):
        holder = world.kms("driller")
        holder._session.role, holder._sealer = "auditor", sealer
        (failure,) = [item for item in holder.check() if item.level is Level.FAIL]
        assert failure.message == "the auditor may do more than it needs: kms:Decrypt"


def test_a_permitted_dry_run_counts_as_a_right(world: World) -> None:
    from botocore.stub import Stubber

    for code, failures in (("DryRunOperationException", 1), ("AccessDeniedException", 0)):
        holder = world.kms("driller")
        with Stubber(holder._session.client("kms")) as stub:
            stub.add_client_error("describe_key", "AccessDeniedException", http_status_code=400)
            stub.add_client_error("encrypt", code, http_status_code=400)
            assert len([item for item in holder.check() if item.level is Level.FAIL]) == failures


def test_an_alias_is_resolved_before_it_is_used(world: World) -> None:
    client = world.stack.kms("root")
    arn = client.create_key()["KeyMetadata"]["Arn"]
    client.create_alias(AliasName="alias/org", TargetKeyId=arn)
    holder = world.kms(key="alias/org")
    assert holder.describe()["key_arn"] == arn
    assert world.kms("driller", key=arn).open(sealed(holder), BINDING) == WORDS


@pytest.mark.parametrize("state", ["Disabled", "PendingDeletion"])
def test_a_kms_key_that_is_off_is_unreachable(world: World, state: str) -> None:
    client = world.stack.kms("root")
    made = client.create_key()["KeyMetadata"]
    arn, key = made["Arn"], made["KeyId"]  # moto takes only the id here
    share = sealed(world.kms(key=arn))
    if state == "Disabled":
        client.disable_key(KeyId=key)
        with pytest.raises(Unreachable, match="disabled"):
            world.kms("driller", key=arn).open(share, BINDING)
    else:
        client.schedule_key_deletion(KeyId=key)
    with pytest.raises(Unreachable, match=state) as caught:
        sealed(world.kms(key=arn))
    assert not caught.value.again
    assert "aws kms enable-key --region us-east-1 --endpoint-url http://" in caught.value.hint
    assert any(item.level is Level.FAIL and state in item.message for item in world.kms(key=arn).check())


@pytest.mark.parametrize(
    ("usage", "spec"), [("ENCRYPT_DECRYPT", "RSA_2048"), ("GENERATE_VERIFY_MAC", "HMAC_256")]
)
def test_a_kms_key_that_is_not_symmetric_is_refused(usage: str, spec: str) -> None:
    # The stack's KMS makes no such keys; this is the answer of DescribeKey as AWS documents it.
    arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd"
    facts = KmsKey.judge({"Arn": arn, "KeyUsage": usage, "KeySpec": spec, "KeyState": "Enabled"})
    assert facts.region == "eu-central-1"
    with pytest.raises(UsageProblem, match="symmetric"):
        KmsKeyHolder("aws", Any, Any)._accept(facts)  # type: ignore[arg-type]  # neither is asked


def test_rotation_is_looked_at(world: World) -> None:
    client = world.stack.kms("root")
    arn = client.create_key()["KeyMetadata"]["Arn"]
    assert any("not rotated" in item.message for item in world.kms(key=arn).check())
    client.enable_key_rotation(KeyId=arn)
    assert not any("not rotated" in item.message for item in world.kms(key=arn).check())


# -- all together ------------------------------------------------------------------------------


def _plan() -> tuple[paths.Path, ...]:
    return (paths.Path("unattended", (paths.PathNeed("vault", 1, 1), paths.PathNeed("aws", 1, 1))),)


def _both(world: World, role: str) -> dict[str, Holder]:
    return {"vault": world.transit(role), "aws": world.kms(role)}


def test_an_escrow_passphrase_goes_round(world: World) -> None:
    raw, binding = passphrase.draw(), Binding("C" * 40, secrets.token_hex(16))
    done = seal(raw, _plan(), _both(world, "writer"), _both(world, "driller"), binding)
    assert sorted(done.members) == ["custody/unattended/aws.kms", "custody/unattended/vault.transit"]
    for data in done.members.values():
        assert raw.reveal() not in data
    assert recover(done.section, done.members, "unattended", _both(world, "driller"), binding) == raw
    assert done.section.plan_digest() == paths.plan_digest(_plan(), _both(world, "writer"))

    other = seal(raw, _plan(), _both(world, "writer"), _both(world, "driller"), BINDING)
    swapped = {**done.members, "custody/unattended/aws.kms": other.members["custody/unattended/aws.kms"]}
    with pytest.raises(WrongShare, match="path unattended, holder aws, share 1"):
        recover(done.section, swapped, "unattended", _both(world, "driller"), binding)


def test_kms_off_stops_a_recovery_and_is_named(world: World) -> None:
    raw = passphrase.draw()
    done = seal(raw, _plan(), _both(world, "writer"), _both(world, "driller"), BINDING)
    world.stack.stop_member("kms")
    try:
        with pytest.raises(Unreachable, match="holder aws"):
            recover(done.section, done.members, "unattended", _both(world, "driller"), BINDING)
        with pytest.raises(Unreachable, match="holder aws"):
            seal(raw, _plan(), _both(world, "writer"), _both(world, "driller"), BINDING)
    finally:
        world.stack.start_member("kms")


def test_the_printed_commands_recover_the_passphrase(world: World, tmp_path: Path) -> None:
    from pipeline.devstack import build
    from pipeline.devstack.programs import OPENBAO
    from pipeline.devstack.progress import Progress

    raw = passphrase.draw()
    done = seal(raw, _plan(), _both(world, "writer"), _both(world, "driller"), BINDING)
    for name, data in done.members.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    text = recovery_guide.render(done.section, BINDING, BINDING.fingerprint)
    assert text.isascii()
    commands = re.findall(r"^    \$ (.+)$", text, re.MULTILINE)

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bao").symlink_to(build.ensure(OPENBAO, Progress()))
    scripts = Path(sys.executable).parent
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{scripts}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "VAULT_TOKEN": world.stack.vault("driller").token,
        "AWS_SHARED_CREDENTIALS_FILE": str(world.stack.layout.aws_credentials("driller")),
    }
    assert not {"PYTHONPATH", "VIRTUAL_ENV"} & set(environment)

    def run() -> subprocess.CompletedProcess[str]:
        script = "\n".join(["set -o pipefail", *commands, "printf '%s\\n' \"$PASSPHRASE\""])
        return subprocess.run(
            ["bash"],
            input=script,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    result = run()
    lines = result.stdout.splitlines()
    assert lines[-1] == passphrase.written(raw).text(), result.stderr
    assert lines[:2] == ["share 1 of holder vault is right", "share 1 of holder aws is right"]
    assert raw.reveal().hex() not in result.stderr

    # Another record's share: bound to something else, so the holder refuses it and nothing comes out.
    environment["VAULT_TOKEN"] = "nonsense"
    broken = run()
    assert "share 1 of holder vault is right" not in broken.stdout
    assert passphrase.written(raw).text() not in broken.stdout
    assert [item.name for item in (tmp_path / "custody").iterdir()] == ["unattended"]


# -- people beside a machine -------------------------------------------------------------------


@pytest.fixture
def custodians(tmp_path: Path) -> CustodianGroup:
    item = OpenpgpHolderConfig.model_validate(
        {
            "kind": "openpgp",
            "members": [people.FINGERPRINTS[name] for name in people.EVERYBODY],
            "certificates": str(people.folder(tmp_path / "certificates")),
        }
    )
    return CustodianGroup("custodians", item, deadline=Deadline(60), clock=SystemClock())


MIXED = (paths.Path("mixed", (paths.PathNeed("vault", 1, 1), paths.PathNeed("custodians", 2, 5))),)


def test_a_group_keeps_to_the_contract_except_that_it_never_opens(custodians: CustodianGroup) -> None:
    holder: Holder = custodians
    assert (holder.kind, holder.unattended, holder.size) == ("openpgp", False, 5)
    sealed = holder.seal([WORDS] * 5, BINDING)
    assert [share.index for share in sealed] == [1, 2, 3, 4, 5]
    assert not any(WORDS.reveal() in share.data for share in sealed)
    with pytest.raises(NotEnoughShares):
        holder.open(sealed[0], BINDING)
    assert [item.level for item in holder.check()] == [Level.OK]


def test_a_machine_and_two_custodians_recover_together_and_one_does_not(
    world: World, custodians: CustodianGroup
) -> None:
    raw, openers = passphrase.draw(), {"vault": world.transit("driller")}
    holders: dict[str, Holder] = {"vault": world.transit(), "custodians": custodians}
    done = seal(raw, MIXED, holders, dict(openers), BINDING)

    def words(name: str, index: int) -> Secret:
        message = done.members[f"custody/mixed/custodians-{index}.asc"]
        return Secret(people.decrypt(name, message).reveal().strip())

    alice, erin = words("alice", 1), words("erin", 5)
    assert recover(done.section, done.members, "mixed", dict(openers), BINDING, [erin, alice]) == raw
    with pytest.raises(NotEnoughShares, match="custodians"):
        recover(done.section, done.members, "mixed", dict(openers), BINDING, [alice])
    with pytest.raises(NotEnoughShares, match="vault"):
        recover(done.section, done.members, "mixed", {}, BINDING, [erin, alice])


def test_the_printed_commands_recover_with_those_who_are_here(
    world: World, custodians: CustodianGroup, tmp_path: Path
) -> None:
    """Real gpg with the keys of two of five custodians, real Transit, `shamir`, bash."""
    from pipeline.devstack import build
    from pipeline.devstack.programs import OPENBAO
    from pipeline.devstack.progress import Progress
    from pipeline.openpgp.gnupg.driver import GnuPG

    raw = passphrase.draw()
    holders: dict[str, Holder] = {"vault": world.transit(), "custodians": custodians}
    done = seal(raw, MIXED, holders, {"vault": world.transit("driller")}, BINDING)
    for name, data in done.members.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    text = recovery_guide.render(done.section, BINDING, BINDING.fingerprint)
    assert text.isascii()
    commands = re.findall(r"^    \$ (.+)$", text, re.MULTILINE)
    for number, name in enumerate(people.EVERYBODY, 1):
        told = f"  share {number}, SHARE_{number + 1}: {name.title()} Custodian (test) <{name}@"
        assert told in text
        assert people.FINGERPRINTS[name] in text
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bao").symlink_to(build.ensure(OPENBAO, Progress()))
    with GnuPG(Deadline(60)) as gpg:
        for name in ("bob", "dave"):
            gpg.import_keys(armor.dearmor(people.secret_key(name)), {people.FINGERPRINTS[name]: True})
        environment = {
            "PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "GNUPGHOME": str(gpg.home),
            "VAULT_TOKEN": world.stack.vault("driller").token,
        }
        result = subprocess.run(
            ["bash"],
            input="\n".join(["set -o pipefail", *commands, "printf '%s\\n' \"$PASSPHRASE\""]),
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    lines = result.stdout.splitlines()
    assert lines[-1] == passphrase.written(raw).text(), result.stderr
    assert lines[:3] == [
        "share 1 of holder vault is right",
        "share 2 of holder custodians is right",
        "share 4 of holder custodians is right",
    ]
    assert passphrase.written(raw).text() not in result.stderr
