"""The stack's smaller parts that need no server."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.assets import infra_path
from pipeline.devstack import state, wire
from pipeline.devstack.environment import drop_ambient
from pipeline.devstack.processes import Process
from pipeline.devstack.state import Layout, Member, State
from pipeline.errors import LocalFilesProblem


def test_state_is_read_back_as_written(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert state.load(layout) is None
    member = Member("vault", "http://127.0.0.1:8200", "2.4.0", Process(1, 2, "boot"))
    written = (
        State(setup="x", kms_key="arn")
        .with_member(member)
        .with_member(Member("s3", "http://h:1", outside=True))
    )
    state.save(layout, written)
    assert state.load(layout) == written
    assert written.members["vault"].port == 8200


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema": "orgkey.stack-state/2"}', '{"schema": 1, "x": 2}']
)
def test_a_damaged_state_is_a_clear_error(tmp_path: Path, text: str) -> None:
    layout = Layout(tmp_path)
    layout.state.write_text(text)
    with pytest.raises(LocalFilesProblem, match=r"stack\.json cannot be read"):
        state.load(layout)


def test_ambient_settings_are_dropped() -> None:
    env = {"VAULT_ADDR": "x", "BAO_TOKEN": "x", "AWS_PROFILE": "x", "AWS_CONFIG_FILE": "x", "PATH": "p"}
    drop_ambient(env)
    assert env == {
        "PATH": "p",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def test_credentials_are_read_back_and_a_missing_profile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_bytes(wire.write_credentials("access", "se%cret"))
    assert wire.read_credentials(path) == ("access", "se%cret")
    with pytest.raises(LocalFilesProblem, match="profile writer"):
        wire.read_credentials(path, "writer")
    with pytest.raises(LocalFilesProblem, match="profile default"):
        wire.read_credentials(tmp_path / "none")


def test_policies_give_no_right_to_remove() -> None:
    document = json.loads(infra_path("stack", "policies", "s3-bucket.json").read_text())
    actions = {action for statement in document["Statement"] for action in statement["Action"]}
    assert not [action for action in actions if "Delete" in action or "Bypass" in action or "*" in action]


def test_data_files_are_named_when_they_are_missing() -> None:
    with pytest.raises(LocalFilesProblem, match="infra/stack/none is missing"):
        infra_path("stack", "none")
