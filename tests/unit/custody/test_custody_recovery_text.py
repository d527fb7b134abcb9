from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.custody import passphrase, recovery_text
from pipeline.custody.interface import SealedShare
from pipeline.custody.paths import Description
from pipeline.custody.seal import seal
from pipeline.custody.section import CustodySection
from pipeline.errors import UsageProblem
from pipeline.secret import Secret

if TYPE_CHECKING:
    from tests.unit.custody.conftest import Plan, Plans

NASTY = "x'; touch PWNED; '"


def written(plan: Plan, raw: Secret) -> tuple[CustodySection, dict[str, Secret]]:
    """A section whose holders pass for real ones, and the words of every member."""
    sealed = seal(raw, plan.paths, plan.everybody, plan.everybody, plan.binding)
    words = {
        share.member: plan.holders[share.holder].open(
            SealedShare(share.index, "mem", sealed.members[share.member], ""), plan.binding
        )
        for path in sealed.section.paths
        for share in path.shares
    }
    holders = {
        "vault": Description(
            "vault-transit",
            {"address": "https://v:8200", "namespace": NASTY, "mount": "transit", "key": NASTY},
        ),
        "aws": Description("aws-kms", {"key_arn": NASTY, "region": "eu-central-1", "endpoint_url": None}),
        "custodians": Description("openpgp", {"members": ["A"]}),
    }
    return replace(sealed.section, holders=holders), words


def commands_in(text: str, path: str) -> list[str]:
    part = text.split(f"\nPath {path}\n")[1].split("\nPath ")[0]
    return re.findall(r"^    \$ (.+)$", part, re.MULTILINE)


def run(commands: list[str], where: Path, stubs: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run commands in bash, with the holders' own tools replaced by scripts."""
    tools = where / "tools"
    tools.mkdir(exist_ok=True)
    for name, body in stubs.items():
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(0o700)
    return subprocess.run(
        ["bash"],
        input="\n".join([*commands, 'printf "%s\\n" "$PASSPHRASE"']),
        env={"PATH": f"{tools}:{Path(sys.executable).parent}:{os.defpath}", "HOME": str(where)},
        cwd=where,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_any_sufficient_custodians_get_the_passphrase(plans: Plans, tmp_path: Path) -> None:
    plan, raw = plans.with_people(), passphrase.mint()
    section, words = written(plan, raw)
    text = recovery_text.render(section, plan.binding, plan.binding.fingerprint)
    commands = commands_in(text, "people")
    assert commands == recovery_text.commands_for(section, "people", plan.binding)
    assert "any 3 of 5" in text
    for member, share in words.items():
        (tmp_path / member).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / member).write_bytes(share.reveal())
    gpg = {"gpg": 'case "$2" in *-2.mem|*-4.mem) exit 2;; esac; cat "$2"'}
    result = run(commands, tmp_path, gpg)
    assert result.stdout.splitlines()[-1] == passphrase.written(raw).text(), result.stderr
    assert "share 3 of holder custodians is right" in result.stdout
    assert "share 4 of holder custodians is right" not in result.stdout

    gpg = {"gpg": 'case "$2" in *-2.mem|*-4.mem|*-5.mem) exit 2;; esac; cat "$2"'}
    short = run(commands, tmp_path, gpg)
    assert "the escrow passphrase is in the variable" not in short.stdout
    assert short.stdout.splitlines()[-1] == ""


def test_another_share_is_not_called_right(plans: Plans, tmp_path: Path) -> None:
    plan, raw = plans.with_people(), passphrase.mint()
    section, words = written(plan, raw)
    commands = commands_in(recovery_text.render(section, plan.binding, "A" * 40), "people")
    for index in range(1, 6):
        member = tmp_path / f"custody/people/custodians-{index}.mem"
        member.parent.mkdir(parents=True, exist_ok=True)
        member.write_bytes(words[f"custody/people/custodians-{index % 5 + 1}.mem"].reveal())
    result = run(commands, tmp_path, {"gpg": 'cat "$2"'})
    assert "is right" not in result.stdout


def test_nothing_in_the_manifest_becomes_a_command(plans: Plans, tmp_path: Path) -> None:
    plan = plans.with_people()
    section, words = written(plan, passphrase.mint())
    commands = recovery_text.commands_for(section, "unattended", plan.binding)
    (tmp_path / "custody/unattended").mkdir(parents=True)
    for member in words:
        if "unattended" in member:
            (tmp_path / member).write_text("sealed")
    record = 'printf "<%s>" "$@" >> calls; echo >> calls'
    result = run(commands, tmp_path, {"vault": record, "aws": record})
    assert not (tmp_path / "PWNED").exists(), result.stderr
    calls = (tmp_path / "calls").read_text()
    assert f"<-namespace={NASTY}>" in calls
    assert f"<transit/decrypt/{NASTY}><ciphertext=sealed>" in calls
    assert f"<--key-id><{NASTY}><--ciphertext-blob><fileb://custody/unattended/aws.mem>" in calls


def test_an_unknown_path_is_named(plans: Plans) -> None:
    plan = plans.two_machines()
    section, _ = written(plan, passphrase.mint())
    with pytest.raises(UsageProblem, match="nobody"):
        recovery_text.commands_for(section, "nobody", plan.binding)


def test_words_on_paper_are_typed_in(plans: Plans) -> None:
    plan = plans.two_machines()
    section, _ = written(plan, passphrase.mint())
    section = replace(section, holders={**section.holders, "vault": Description("paper", {})})
    text = recovery_text.render(section, plan.binding, "A" * 40)
    assert "SHARE_1=$(read -r -s WORDS" in text
    assert "Type in the words" in text
