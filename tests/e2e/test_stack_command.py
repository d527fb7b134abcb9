"""`orgkey stack` as a user types it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from pipeline import config
from pipeline.cli.stack import app

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

run = CliRunner().invoke


def test_status_is_one_document(stack: Stack) -> None:
    done = run(app, ["status", "--json", "--dir", str(stack.layout.root)])
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["schema"] == "orgkey.stack/1"
    assert document["ready"] is True
    assert [member["name"] for member in document["members"]] == ["vault", "s3", "kms"]
    assert document["members"][0]["version"].startswith("2.")
    assert all(member["pid"] and member["ready"] for member in document["members"])


def test_status_without_a_stack_is_20(tmp_path: Path) -> None:
    done = run(app, ["status", "--dir", str(tmp_path / "none")])
    assert done.exit_code == 20
    assert "no stack" in done.stdout
    assert not (tmp_path / "none").exists()


def test_build_says_where_the_servers_are_and_starts_nothing(stack: Stack, tmp_path: Path) -> None:
    done = run(app, ["build"])  # the shared stack runs, so there is nothing to build
    assert done.exit_code == 0, done.output
    found = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert len(found) == 2
    for path in found.values():
        assert os.access(path, os.X_OK)
    assert run(app, ["build", "--quiet"]).stdout == ""


def test_up_and_down_by_command(tmp_path: Path) -> None:
    directory = ["--dir", str(tmp_path / "stack")]
    try:
        up = run(app, ["up", *directory])
        assert up.exit_code == 0, up.output
        assert up.stdout.count(" ready ") == 3
        down = run(app, ["down", *directory])
        assert "its data stays" in down.stdout
        after = run(app, ["status", *directory])
        assert after.exit_code == 20
        assert after.stdout.count(" stopped ") == 3
    finally:
        run(app, ["down", "--wipe", *directory])
    assert not (tmp_path / "stack").exists()


def test_config_is_valid_and_private(stack: Stack, tmp_path: Path) -> None:
    out, pin = tmp_path / "orgkey.toml", "AB" * 20
    done = run(app, ["config", "--out", str(out), "--fingerprint", pin, "--dir", str(stack.layout.root)])
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    read = config.load(out)
    assert read.key is not None
    assert read.key.fingerprint == pin
    assert {name: target.kind for name, target in read.target.items()} == {"vault": "vault", "s3": "s3"}
    assert read.domains() == {"vault", "s3"}
    assert [need.holder for need in read.path["unattended"].needs] == ["vault", "aws"]
    assert set(read.identity) == {"writer", "driller", "auditor", "retention"}
    assert "root" not in out.read_text().replace("orgkeyroot", "")
    again = run(app, ["config", "--out", str(out), "--dir", str(stack.layout.root)])
    assert again.exit_code != 0
    assert tomllib.loads(out.read_text())["key"]["fingerprint"] == pin


def test_a_place_has_prefixes_of_its_own(place: Place, stack_config: Path) -> None:
    read = config.load(stack_config)
    assert read.key is None
    assert getattr(read.target["vault"], "prefix") == place.kv_prefix  # noqa: B009 - one of a union
    assert place.kv_prefix.startswith("records/")


@pytest.mark.parametrize("identity", ["driller", "writer", "root"])
def test_env_makes_bao_and_aws_work_and_shows_no_secret(stack: Stack, identity: str, tmp_path: Path) -> None:
    done = run(app, ["env", "--as", identity, "--dir", str(stack.layout.root)])
    assert done.exit_code == 0, done.output
    for path in stack.layout.identities.rglob("*"):
        if path.is_file() and "role-id" not in path.name:
            assert path.read_text().split()[-1] not in done.stdout
    aws = Path(os.sys.executable).parent / "aws"  # type: ignore[attr-defined]  # os imports sys
    script = f"""set -e
eval "$1"
bao token lookup -format=json
{aws} s3api get-bucket-versioning --bucket orgkey
{aws} kms describe-key --key-id {stack.state.kms_key}
"""
    shell = subprocess.run(
        [shutil.which("sh") or "/bin/sh", "-c", script, "sh", done.stdout],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "VAULT_TOKEN": "ambient",
            "BAO_ADDR": "http://127.0.0.1:1",
            "AWS_PROFILE": "ambient",
        },
    )
    assert shell.returncode == 0, shell.stderr
    assert (f"orgkey-{identity}" if identity != "root" else '"root"') in shell.stdout
    assert "Enabled" in shell.stdout


def test_ambient_settings_do_not_reach_the_stack(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(os.environ["HOME"])
    (home / ".aws").mkdir()
    (home / ".aws" / "config").write_text(
        "[profile prod]\nregion = eu-west-3\nendpoint_url = http://127.0.0.1:1\n"
    )
    (home / ".vault-token").write_text("ambient")
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_TOKEN", "ambient")
    directory = ["--dir", str(tmp_path / "stack")]
    try:
        assert run(app, ["up", *directory]).exit_code == 0
        document = json.loads(run(app, ["status", "--json", *directory]).stdout)
        endpoints = {member["endpoint"] for member in document["members"]}
        assert len(endpoints) == 3
        assert "http://127.0.0.1:1" not in endpoints
    finally:
        run(app, ["down", "--wipe", *directory])
