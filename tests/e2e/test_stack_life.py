"""A stack from its first start to its wipe, with real servers."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from pipeline.cli.stack import app
from pipeline.core.errors import LocalFilesProblem, ProgramMissing, UsageProblem
from pipeline.devstack import processes, programs
from pipeline.devstack.outside import Outside
from pipeline.devstack.state import MEMBERS

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

CONTEXT = {"fingerprint": "F", "record_id": "1"}


def pids(stack: Stack) -> dict[str, int | None]:
    return {member.name: member.pid for member in stack.status()}


def listening(endpoint: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(endpoint.rpartition(":")[2]))) == 0


def test_data_survives_a_restart_and_a_wipe_removes_it(own_stack: Stack) -> None:
    kv = own_stack.vault("writer").secrets.kv.v2
    kv.create_or_update_secret("records/F/e", {"record": "bytes"}, cas=0, mount_point="orgkey")
    s3 = own_stack.s3("writer")
    first = s3.put_object(Bucket="orgkey", Key="orgkey/F/e.tar", Body=b"one")["VersionId"]
    second = s3.put_object(Bucket="orgkey", Key="orgkey/F/e.tar", Body=b"two")["VersionId"]
    own_stack.s3("root").delete_object(Bucket="orgkey", Key="orgkey/F/e.tar")
    key = own_stack.state.kms_key
    blob = own_stack.kms("writer").encrypt(KeyId=key, Plaintext=b"share", EncryptionContext=CONTEXT)
    before, state = pids(own_stack), own_stack.state
    endpoints = {name: own_stack.endpoint(name) for name in MEMBERS}

    own_stack.down()
    assert not any(listening(endpoint) for endpoint in endpoints.values())
    assert [(member.running, member.ready) for member in own_stack.status()] == [(False, False)] * 3
    own_stack.up()

    assert {name: own_stack.endpoint(name) for name in MEMBERS} == endpoints
    assert not set(before.values()) & set(pids(own_stack).values())
    assert all(member.ready for member in own_stack.status())  # unsealed again, too
    assert own_stack.state.kms_key == state.kms_key
    read = own_stack.vault("driller").secrets.kv.v2.read_secret_version(
        "records/F/e", mount_point="orgkey", raise_on_deleted_version=True
    )
    assert read["data"]["data"] == {"record": "bytes"}
    for version, body in ((first, b"one"), (second, b"two")):
        got = own_stack.s3("driller").get_object(Bucket="orgkey", Key="orgkey/F/e.tar", VersionId=version)
        assert got["Body"].read() == body
    opened = own_stack.kms("driller").decrypt(
        CiphertextBlob=blob["CiphertextBlob"], KeyId=key, EncryptionContext=CONTEXT
    )
    assert opened["Plaintext"] == b"share"

    own_stack.down(wipe=True)
    assert not own_stack.layout.root.exists()
    assert own_stack.status() == []
    with pytest.raises(UsageProblem, match="no stack"):
        own_stack.endpoint("vault")


def test_up_again_changes_nothing(stack: Stack) -> None:
    before = pids(stack), stack.layout.state.read_bytes()
    stack.up()
    assert (pids(stack), stack.layout.state.read_bytes()) == before


@pytest.mark.parametrize("name", MEMBERS)
def test_a_dead_member_is_started_again_and_the_others_are_left(own_stack: Stack, name: str) -> None:
    before = pids(own_stack)
    os.kill(before[name] or 0, signal.SIGKILL)
    own_stack.up()
    after = pids(own_stack)
    assert [other for other in MEMBERS if before[other] != after[other]] == [name]
    assert all(member.ready for member in own_stack.status())


def test_up_unseals_and_wakes(own_stack: Stack) -> None:
    before = pids(own_stack)
    own_stack.seal()
    own_stack.pause_member("s3")
    seen = {member.name: (member.running, member.ready) for member in own_stack.status()}
    assert seen == {"vault": (True, False), "s3": (True, False), "kms": (True, True)}
    own_stack.up()
    assert pids(own_stack) == before
    assert all(member.ready for member in own_stack.status())


def test_one_member_stops_and_starts(own_stack: Stack) -> None:
    before = pids(own_stack)
    own_stack.stop_member("kms")
    assert pids(own_stack) == {**before, "kms": None}
    own_stack.start_member("kms")
    assert all(member.ready for member in own_stack.status())


def test_exactly_its_own_processes_are_stopped(own_stack: Stack, make_stack: Callable[[], Stack]) -> None:
    other = make_stack()
    stranger = processes.spawn(["/bin/sleep", "60"], log=own_stack.layout.root / "log", env={})
    # The state names the stranger's process id, as if S3's had been reused after a crash.
    document = json.loads(own_stack.layout.state.read_bytes())
    real = document["members"]["s3"]["process"]
    document["members"]["s3"]["process"] = {**real, "pid": stranger.pid}
    own_stack.layout.state.write_text(json.dumps(document))
    try:
        own_stack.down()
        assert processes.alive(stranger)
        assert all(member.ready for member in other.status())
        assert processes.alive(processes.Process(**real))
    finally:
        processes.stop(stranger)
        processes.stop(processes.Process(**real))


def test_a_taken_port_is_avoided(own_stack: Stack) -> None:
    taken = own_stack.endpoint("s3")
    own_stack.stop_member("s3")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(taken.rpartition(":")[2])))
        other.listen()
        own_stack.up()
    assert own_stack.endpoint("s3") != taken
    assert all(member.ready for member in own_stack.status())


def test_a_server_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.local_stack import Stack

    broken = tmp_path / "bin" / "versitygw"
    broken.parent.mkdir()
    broken.write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo Version: v1.8.0 && exit\n"
        "echo flag provided but not defined >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    stack = Stack(tmp_path / "stack")
    try:
        with pytest.raises(LocalFilesProblem, match="S3 does not start: flag provided but not defined"):
            stack.up()
    finally:
        stack.down(wipe=True)
    assert not stack.layout.root.exists()


def _openbaos() -> list[Path]:
    """The servers on this host: the package's, and the one built from source where somebody has built it."""
    found = [
        programs.packaged(*programs.OPENBAO.wheel or ("", "")),
        programs.cached_path(programs.OPENBAO, programs.cache_root()),
    ]
    return [path for path in found if path is not None and path.exists()]


@pytest.mark.parametrize("program", _openbaos(), ids=lambda path: path.parent.parent.name)
def test_a_known_openbao_on_path_serves_and_keeps_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from pipeline.devstack.progress import Plain
    from tests.support.local_stack import Stack

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bao").symlink_to(program)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    stack = Stack(tmp_path / "stack", report=Plain())
    try:
        stack.up()
        assert f"{tmp_path}/bin/bao is used: OpenBao 2." in capfd.readouterr().err
        stack.vault("writer").secrets.kv.v2.create_or_update_secret("records/x", {"a": "b"}, 0, "orgkey")
        stack.down()
        stack.up()
        read = stack.vault("driller").secrets.kv.v2.read_secret("records/x", "orgkey", True)
        assert read["data"]["data"] == {"a": "b"}
    finally:
        stack.down(wipe=True)
    assert not stack.layout.root.exists()


def test_a_stack_with_file_storage_is_refused(tmp_path: Path) -> None:
    from tests.support.local_stack import Stack

    stack = Stack(tmp_path)
    data = stack.layout.member("vault") / "data" / "core"
    data.mkdir(parents=True)
    with pytest.raises(LocalFilesProblem, match=f"the stack in {tmp_path} has file storage") as caught:
        stack.up()
    assert "down --wipe" in caught.value.hint
    assert not stack.status()  # nothing was started
    assert data.exists()


def test_what_is_missing_is_told_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.devstack import build, stack

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    for name in ("ensure", "check"):
        monkeypatch.setattr(build, name, lambda *_: pytest.fail("a server was looked for"))
    with pytest.raises(ProgramMissing, match="moto") as caught:
        stack.Stack(tmp_path / "stack").up()
    assert "orgkey-escrow[lab]" in caught.value.hint
    done = CliRunner().invoke(app, ["build"])
    assert isinstance(done.exception, ProgramMissing)


def test_a_lost_unseal_key_is_named(own_stack: Stack) -> None:
    own_stack.down()
    own_stack.layout.vault_init.unlink()
    with pytest.raises(LocalFilesProblem, match="unseal key") as caught:
        own_stack.up()
    assert "--wipe" in caught.value.hint


def test_only_the_owner_reads_its_files(stack: Stack) -> None:
    assert stat.S_IMODE(stack.layout.root.stat().st_mode) == 0o700
    layout = stack.layout
    secret = [layout.vault_init, layout.root_token, layout.member("kms") / "keys.json", layout.audit]
    for identity in ("root", "writer", "driller"):
        secret.append(layout.aws_credentials(identity))
    for identity in ("writer", "driller"):
        secret += [layout.role_id(identity), layout.secret_id(identity)]
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_no_secret_in_arguments_or_in_the_audit_log(stack: Stack) -> None:
    layout = stack.layout
    init = json.loads(layout.vault_init.read_bytes())
    secrets = [*init.values(), *(layout.secret_id(name).read_text() for name in ("writer", "driller"))]
    secrets += [
        layout.aws_credentials(name).read_text().split()[-1] for name in ("root", "writer", "driller")
    ]
    stack.vault("writer")
    audit = layout.audit.read_text()
    assert "auth/approle/login" in audit
    arguments = "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids(stack).values())
    for secret in secrets:
        assert secret not in arguments
        assert secret not in audit


def test_servers_see_nothing_of_the_users_environment(
    make_stack: Callable[[], Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    ambient = {
        "VAULT_ADDR": "http://127.0.0.1:1",
        "VAULT_TOKEN": "ambient",
        "VAULT_NAMESPACE": "ambient",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "ambient",
        "AWS_SECRET_ACCESS_KEY": "ambient",
        "AWS_SESSION_TOKEN": "ambient",
        "AWS_REGION": "eu-west-3",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }
    for name, value in ambient.items():
        monkeypatch.setenv(name, value)
    stack = make_stack()
    assert all(member.ready for member in stack.status())
    for pid in pids(stack).values():
        environ = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        assert not [item for item in environ if item.partition("=")[0] in ambient]
    stack.s3("writer").put_object(Bucket="orgkey", Key="orgkey/x", Body=b"x")
    assert stack.kms("writer").describe_key(KeyId=stack.state.kms_key)


def test_kms_keeps_what_it_was_told_and_refuses_a_disabled_key(own_stack: Stack) -> None:
    from botocore.exceptions import ClientError

    name, root = own_stack.state.kms_key, own_stack.kms("root")
    blob = own_stack.kms("writer").encrypt(KeyId=name, Plaintext=b"share", EncryptionContext=CONTEXT)[
        "CiphertextBlob"
    ]
    root.disable_key(KeyId=name)
    own_stack.stop_member("kms")
    own_stack.start_member("kms")
    with pytest.raises(ClientError) as opening:
        own_stack.kms("driller").decrypt(CiphertextBlob=blob, KeyId=name, EncryptionContext=CONTEXT)
    with pytest.raises(ClientError) as sealing:
        own_stack.kms("writer").encrypt(KeyId=name, Plaintext=b"share", EncryptionContext=CONTEXT)
    for caught in (opening, sealing):
        assert caught.value.response["Error"]["Code"] == "DisabledException"
    own_stack.kms("root").enable_key(KeyId=name)
    assert (
        own_stack.kms("driller").decrypt(CiphertextBlob=blob, KeyId=name, EncryptionContext=CONTEXT)[
            "Plaintext"
        ]
        == b"share"
    )


def test_kms_key_is_on_the_disk_before_its_creation_is_answered(own_stack: Stack) -> None:
    made = own_stack.kms("root").create_key(Description="another")["KeyMetadata"]["KeyId"]
    blob = own_stack.kms("root").encrypt(KeyId=made, Plaintext=b"share")["CiphertextBlob"]
    os.kill(pids(own_stack)["kms"] or 0, signal.SIGKILL)
    own_stack.up()
    assert own_stack.kms("root").decrypt(CiphertextBlob=blob)["Plaintext"] == b"share"


def test_kms_has_no_back_door(stack: Stack) -> None:
    import urllib.error
    import urllib.request

    call = urllib.request.Request(f"{stack.endpoint('kms')}/moto-api/reset", method="POST")  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(call, timeout=5)  # noqa: S310 - a loopback URL
    caught.value.close()
    assert caught.value.code == 400


def test_outside_servers_are_used_and_never_touched(
    stack: Stack, tmp_path: Path, make_stack: Callable[[], Stack]
) -> None:
    from tests.support.local_stack import Stack

    credentials = tmp_path / "credentials"
    credentials.write_text(
        "".join(
            stack.layout.aws_credentials(identity).read_text().replace("default", profile)
            for identity, profile in (("root", "default"), ("writer", "writer"), ("driller", "driller"))
        )
    )
    outside = Outside.from_environment(
        {
            "ORGKEY_STACK_VAULT_ADDR": stack.endpoint("vault"),
            "ORGKEY_STACK_VAULT_TOKEN_FILE": str(stack.layout.root_token),
            "ORGKEY_STACK_S3_ENDPOINT": stack.endpoint("s3"),
            "ORGKEY_STACK_S3_CREDENTIALS_FILE": str(credentials),
        }
    )
    borrowing = Stack(tmp_path / "stack", outside=outside)
    try:
        borrowing.up()
        members = {member.name: (member.ready, member.outside) for member in borrowing.status()}
        assert members == {"vault": (True, True), "s3": (True, True), "kms": (True, False)}
        assert borrowing.vault("driller").is_authenticated()
        assert borrowing.s3("driller").get_bucket_versioning(Bucket="orgkey")["Status"] == "Enabled"
        with pytest.raises(UsageProblem, match="outside server"):
            Stack(tmp_path / "stack").up()
    finally:
        borrowing.down(wipe=True)
    assert all(member.ready for member in stack.status())
    assert stack.vault("driller").is_authenticated()


def test_an_outside_server_without_its_file_is_refused() -> None:
    with pytest.raises(UsageProblem, match="ORGKEY_STACK_VAULT_TOKEN_FILE"):
        Outside.from_environment({"ORGKEY_STACK_VAULT_ADDR": "http://127.0.0.1:8200"})


def test_a_wipe_leaves_what_is_not_the_stacks(tmp_path: Path) -> None:
    from tests.support.local_stack import Stack

    (tmp_path / "precious").write_text("x")
    Stack(tmp_path).down(wipe=True)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_it_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    from tests.support.local_stack import Stack

    code = """
import pathlib, sys
from tests.support.local_stack import Stack
Stack(pathlib.Path(sys.argv[1])).up()
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], check=True, timeout=60, env=env)
    stack = Stack(tmp_path / "s")
    try:
        assert all(member.ready for member in stack.status())
    finally:
        stack.down(wipe=True)
