"""Own copies of infra/vault that cannot work are refused while they are read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.errors import UsageProblem
from pipeline.core.resources import infra_path
from pipeline.provision.files import Files, plain


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return Path(shutil.copytree(infra_path("vault"), tmp_path / "own"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", ["settings.toml", "policies/token.hcl", "policies/writer/share.hcl"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (pipe, "not a regular file"),
        (zeros, "not a regular file"),
        (lambda path: path.write_bytes(b"#" * (1 << 20) + b"\n"), "larger than 1 MiB"),
        (lambda path: path.write_bytes(b"\xff"), "not text"),
    ],
)
def test_only_regular_files_of_some_size_are_read(
    own: Path, name: str, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(own / name)
    with pytest.raises(UsageProblem, match=said):
        Files(own)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("token_num_uses = 0", "token_num_uses = -1", "below zero"),
        ("token_num_uses = 0", "token_num_uses = 99999999999999999999", "too large"),
        ('token_ttl = "20m"', 'token_ttl = "2h"', "longer than its token_max_ttl"),
        ("# [identity.writer]", '[identity.writer]\ntoken_ttl = "2h"', "the writer's token_ttl is longer"),
        ("token_bound_cidrs = []", 'token_bound_cidrs = ["here"]', "token_bound_cidrs|here"),
        ('token_type = "service"', 'token_type = "batch"', "cannot be revoked"),
        ('mount = "approle"', 'mount = "a/role/b"', "no segment role"),
        ('mount = "approle"', 'mount = ""', r"\[login\] mount"),
        ('mount = "approle"', 'mount = "a/../b"', r"\[login\] mount"),
        ('path = "orgkey"', 'path = "../orgkey"', r"\[audit\] path"),
    ],
)
def test_settings_that_cannot_work_are_refused(own: Path, old: str, new: str, said: str) -> None:
    settings = own / "settings.toml"
    text = settings.read_text()
    assert old in text
    settings.write_text(text.replace(old, new))
    with pytest.raises(UsageProblem, match=said):
        Files(own)


def test_copies_from_before_token_type_still_do(own: Path) -> None:
    settings = own / "settings.toml"
    settings.write_text(settings.read_text().replace('token_type = "service"\n', ""))
    assert Files(own).settings.role.token_type == "service"


def test_addresses_have_one_spelling(own: Path) -> None:
    settings = own / "settings.toml"
    given = 'token_bound_cidrs = ["2001:DB8::1", "10.0.0.1/32"]'
    settings.write_text(settings.read_text().replace("\ntoken_bound_cidrs = []", f"\n{given}"))
    assert Files(own).settings.role.token_bound_cidrs == ["10.0.0.1", "2001:db8::1"]


@pytest.mark.parametrize("empty", [True, False])
def test_each_identity_has_policies(own: Path, empty: bool) -> None:
    shutil.rmtree(own / "policies/driller")
    if empty:
        (own / "policies/driller").mkdir()
    with pytest.raises(UsageProblem, match="policies/driller has no policies"):
        Files(own)


@pytest.mark.parametrize("value", ["", "/", "..", "a/../b", "a/./b", "a//b", "a/+", "a*", 'a"b'])
def test_names_that_lead_elsewhere_stand_in_no_policy(value: str) -> None:
    with pytest.raises(UsageProblem, match="cannot stand in a policy"):
        plain("mount", value)


def test_only_a_prefix_may_be_empty() -> None:
    plain("prefix", "")
    plain("prefix", "a/b/")
    plain("mount", "a.b/c..d")
