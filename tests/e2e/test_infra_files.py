"""Own copies of infra/vault, and the form of the policies."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.teams import LOGINS, POLICY, ROLE, Team, bao, told
from tests.support.commandline import ROOT, Run

if TYPE_CHECKING:
    pass


# -- one's own files -----------------------------------------------------------------------------


@pytest.fixture
def own_files(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "infra" / "vault", tmp_path / "own"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_own_files_are_compared_with_and_set(team: Team, own_files: Path) -> None:
    team.apply()
    edit(own_files / "settings.toml", 'token_ttl = "20m"', 'token_ttl = "15m"')
    edit(
        own_files / "settings.toml",
        "# [identity.writer]\n",
        '[identity.writer]\nsecret_id_bound_cidrs = ["127.0.0.0/8"]\ntoken_bound_cidrs = ["127.0.0.1/32"]\n',
    )
    words = ("--files", str(own_files))
    changed = told(team.plan(42, *words))
    assert [item for item in changed if item[1] != "token_ttl"] == [
        (f"{ROLE}writer", "token_bound_cidrs", [], ["127.0.0.1"]),
        (f"{ROLE}writer", "secret_id_bound_cidrs", [], ["127.0.0.0/8"]),
    ]
    assert len([item for item in changed if item[1:] == ("token_ttl", 1200, 900)]) == 4
    team.apply(0, *words)
    assert team.plan(0, *words)["changes"] == []


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "none": (lambda own: shutil.rmtree(own), "cannot read"),
    "placeholder": (
        lambda own: edit(own / "policies/writer/share.hcl", "${key}", "${kye}"),
        "'kye' is not a placeholder",
    ),
    "purpose": (lambda own: (own / "policies/writer/more.hcl").touch(), "no known purpose"),
    "token": (lambda own: (own / "policies/token.hcl").unlink(), "policies/token.hcl: No such file"),
    "toml": (lambda own: edit(own / "settings.toml", "[kv]", "[kv"), "not TOML"),
    "exportable": (
        lambda own: edit(own / "settings.toml", "exportable = false", "exportable = true"),
        "[transit] exportable can only be false",
    ),
    "expiry": (
        lambda own: edit(own / "settings.toml", 'delete_version_after = "0s"', 'delete_version_after = "1h"'),
        "records do not expire",
    ),
    "unknown": (
        lambda own: edit(own / "settings.toml", "token_num_uses = 0", "token_num_uses = 0\nttl = 1"),
        "[role] has no setting ttl: there are",
    ),
    "unbound": (
        lambda own: edit(own / "settings.toml", "bind_secret_id = true", "bind_secret_id = false"),
        "[role] bind_secret_id can only be true",
    ),
    "length": (
        lambda own: edit(own / "settings.toml", 'token_ttl = "20m"', 'token_ttl = "20 minutes"'),
        "looks like 90s",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_files_that_do_not_fit_are_named_before_a_server_is_asked(
    made: Team, own_files: Path, case: str
) -> None:
    spoil, said = BROKEN[case]
    spoil(own_files)
    run: Run = made.desk.run("infra", "plan", "--files", str(own_files), expect=2)
    assert said in run.error[0], run


def test_a_name_that_is_a_pattern_gets_no_policy(team: Team) -> None:
    team.desk.edit('prefix = "records"', 'prefix = "records/+"')
    assert "cannot stand in a policy" in team.desk.run("infra", "plan", expect=2).error[0]


def test_policies_are_formatted_and_taken_as_they_are(made: Team, tmp_path: Path) -> None:
    env = bao(made, tmp_path)
    for name in LOGINS:
        file = tmp_path / f"{name}.hcl"
        policy = made.call("get", POLICY + name)["policy"]
        file.write_text(policy)
        subprocess.run(["bao", "policy", "fmt", str(file)], env=env, check=True, timeout=60)
        assert file.read_text() == policy
    for template in sorted((ROOT / "infra/vault/policies").rglob("*.hcl")):
        file = tmp_path / "template.hcl"
        shutil.copy(template, file)
        subprocess.run(["bao", "policy", "fmt", str(file)], env=env, check=True, timeout=60)
        assert file.read_text() == template.read_text(), template
