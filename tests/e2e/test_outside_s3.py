"""An outside S3 is tried at the start, and what it lacks is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.devstack import configfile, environment, processes, wire
from pipeline.devstack.features import CHECKSUM, FEATURES, LOCK
from pipeline.devstack.outside import Outside
from pipeline.devstack.state import IDENTITIES
from tests.support.commandline import orgkey
from tests.support.local_stack import Stack


@pytest.fixture
def one_key(tmp_path: Path) -> Path:
    """A credentials file with the same key for an administrator and every role."""
    path = tmp_path / "credentials"
    key = wire.write_credentials("one", "key").decode()
    path.write_text("".join(key.replace("default", name) for name in ("default", "writer", "driller")))
    return path


@pytest.fixture
def moto(tmp_path: Path) -> Iterator[str]:
    """moto's S3, which takes any checksum, and has trouble with retention."""
    port = processes.free_port()
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            ends = time.monotonic() + 60
            while wire.request(f"http://127.0.0.1:{port}", "GET", "/", seconds=2) is None:
                assert server.poll() is None
                assert time.monotonic() < ends
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGTERM)


def test_what_an_outside_server_lacks_is_named_at_the_start(
    moto: str, one_key: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from pipeline.devstack.progress import reporter

    outside = Outside(s3_endpoint=moto, s3_credentials_file=one_key)
    borrowing = Stack(tmp_path / "stack", outside=outside, report=reporter())
    try:
        for _ in range(2):  # what was found is said at each start
            borrowing.up()
            assert f"the outside S3 lacks {CHECKSUM}" in capfd.readouterr().err
        assert {member.name: member.ready for member in borrowing.status()}["s3"]
        callers = json.loads((borrowing.layout.member("kms") / "callers.json").read_bytes())
        assert set(callers["one"]) == {"root", "writer", "driller"}
    finally:
        borrowing.down(wipe=True)


def test_one_key_for_all_roles_is_told_in_one_line_and_serves_an_administrators_shell(
    stack: Stack, tmp_path: Path
) -> None:
    root = stack.layout.aws_credentials("root").read_text()
    key = tmp_path / "credentials"
    key.write_text("".join(root.replace("default", name) for name in ("default", *IDENTITIES[1:])))
    outside = Outside(s3_endpoint=stack.endpoint("s3"), s3_credentials_file=key)
    borrowing = Stack(tmp_path / "stack", outside=outside)
    try:
        borrowing.up()
        config = tmp_path / "orgkey.toml"
        config.write_text(configfile.render(borrowing, s3_prefix=f"orgkey/{tmp_path.name}"))
        state = ("--state-dir", str(tmp_path / "state"))
        told = orgkey(tmp_path, "doctor", "--json", "--config", str(config), *state).document["findings"]
        said = [item["message"] for item in told if item["level"] == "fail"]
        assert said[1:] == ["the writer may delete versions of records"]
        (one,) = (item["message"] for item in told if item["subject"] == "identities")
        assert one.startswith("one login at s3 and aws for writer, driller, auditor, retention: it may what ")
        shell = environment.shell_exports(borrowing, "root")
        assert f"AWS_SHARED_CREDENTIALS_FILE={borrowing.layout.aws_credentials('root')}" in shell
        assert borrowing.s3("root").get_bucket_versioning(Bucket="orgkey")["Status"] == "Enabled"
        assert borrowing.kms("root").describe_key(KeyId=borrowing.state.kms_key)["KeyMetadata"]["Enabled"]
    finally:
        borrowing.down(wipe=True)


def test_a_server_that_lacks_nothing_is_known_to(stack: Stack, tmp_path: Path) -> None:
    from pipeline.devstack import s3
    from pipeline.devstack.features import S3Trial

    root = stack.layout.aws_credentials("root")
    known = S3Trial(stack.s3("root"), stack.state.bucket).known()
    assert list(known) == list(FEATURES)
    assert all(known.values()), known
    assert s3.lacks(stack.state.bucket, stack.endpoint("s3"), root) == ()


def test_a_bucket_without_object_lock_lacks_it(stack: Stack) -> None:
    from pipeline.devstack import s3

    root = stack.layout.aws_credentials("root")
    stack.s3("root").create_bucket(Bucket="no-lock-here")
    assert LOCK in s3.lacks("no-lock-here", stack.endpoint("s3"), root)
