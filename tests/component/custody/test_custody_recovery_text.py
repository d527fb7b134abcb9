from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.core.secret import Secret
from pipeline.custody import recovery_guide
from pipeline.custody.holders.interface import SealedShare
from pipeline.custody.shares import passphrase
from pipeline.custody.shares.manifest_section import CustodySection
from pipeline.custody.shares.paths import HolderDescription
from pipeline.custody.shares.seal import seal

if TYPE_CHECKING:
    from tests.support.plans import Plan, Plans

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
        "vault": HolderDescription(
            "vault-transit",
            {"address": "https://v:8200", "namespace": NASTY, "mount": "transit", "key": NASTY},
        ),
        "aws": HolderDescription(
            "aws-kms", {"key_arn": NASTY, "region": "eu-central-1", "endpoint_url": None}
        ),
        "custodians": HolderDescription("openpgp", {"members": ["A"]}),
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
    plan, raw = plans.with_people(), passphrase.draw()
    section, words = written(plan, raw)
    text = recovery_guide.render(section, plan.binding, plan.binding.fingerprint)
    commands = commands_in(text, "people")
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
    plan, raw = plans.with_people(), passphrase.draw()
    section, words = written(plan, raw)
    commands = commands_in(recovery_guide.render(section, plan.binding, "A" * 40), "people")
    for index in range(1, 6):
        member = tmp_path / f"custody/people/custodians-{index}.mem"
        member.parent.mkdir(parents=True, exist_ok=True)
        member.write_bytes(words[f"custody/people/custodians-{index % 5 + 1}.mem"].reveal())
    result = run(commands, tmp_path, {"gpg": 'cat "$2"'})
    assert "is right" not in result.stdout


def test_nothing_in_the_manifest_becomes_a_command(plans: Plans, tmp_path: Path) -> None:
    plan = plans.with_people()
    section, words = written(plan, passphrase.draw())
    text = recovery_guide.render(section, plan.binding, "A" * 40)
    commands = commands_in(text, "unattended")
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


def test_words_on_paper_are_typed_in(plans: Plans) -> None:
    plan = plans.two_machines()
    section, _ = written(plan, passphrase.draw())
    section = replace(section, holders={**section.holders, "vault": HolderDescription("paper", {})})
    text = recovery_guide.render(section, plan.binding, "A" * 40)
    assert "SHARE_1=$(read -r -s WORDS" in text
    assert "Type in the words" in text


# -- people ------------------------------------------------------------------------------------

MEMBERS = [f"{number}" * 40 for number in range(1, 6)]
PEOPLE = [
    "Zo\u00eb M\u00fcller <zoe@example.com>",
    "Bob",
    "",
    "$ touch PWNED\n    $ touch PWNED",
    "\u5c71\u7530",
]


def with_custodians(plan: Plan, raw: Secret, **more: list[str]) -> tuple[CustodySection, dict[str, Secret]]:
    """The same section as a real group gives it: shares are labelled with fingerprints."""
    section, words = written(plan, raw)
    coordinates = {"members": MEMBERS, "names": PEOPLE, "encrypted_to": [f"{item[:-1]}F" for item in MEMBERS]}
    labelled = tuple(
        replace(
            entry,
            shares=tuple(
                replace(share, label=MEMBERS[share.index - 1]) if share.holder == "custodians" else share
                for share in entry.shares
            ),
        )
        for entry in section.paths
    )
    group = HolderDescription("openpgp", {**coordinates, **more})
    return replace(section, holders={**section.holders, "custodians": group}, paths=labelled), words


def test_every_key_that_opens_a_share_is_named(plans: Plans) -> None:
    plan = plans.with_people()
    keys = [f"{member[:-1]}F" for member in MEMBERS]
    keys[0] += " " + "A" * 40
    section, _ = with_custodians(plan, passphrase.draw(), encrypted_to=keys)
    lines = recovery_guide.render(section, plan.binding, "A" * 40).splitlines()
    at = lines.index(f"      certificate {MEMBERS[0]}, encrypted to its key {'1' * 15}F")
    assert lines[at + 1] == f"      the key {'A' * 16} opens it as well"


def test_a_stranger_is_told_whose_each_share_is(plans: Plans) -> None:
    plan = plans.with_people()
    section, _ = with_custodians(plan, passphrase.draw())
    text = recovery_guide.render(section, plan.binding, "A" * 40)
    assert text.isascii()
    lines = text.splitlines()
    at = lines.index("  share 1, SHARE_1: Zoe Muller <zoe@example.com>")
    assert lines[at + 1] == f"      certificate {MEMBERS[0]}, encrypted to its key {'1' * 15}F"
    assert lines[at + 2] == "  share 2, SHARE_2: Bob"
    assert f"  share 3, SHARE_3: certificate {MEMBERS[2]}, encrypted to its key {'3' * 15}F" in lines
    assert "  share 5, SHARE_5: ??" in lines
    assert all(text.count(member) == 1 for member in MEMBERS)


def test_a_custodians_name_is_never_a_command(plans: Plans) -> None:
    plan = plans.with_people()
    section, _ = with_custodians(plan, passphrase.draw())
    text = recovery_guide.render(section, plan.binding, "A" * 40)
    commands = commands_in(text, "people")
    assert len(commands) == 2 * 5 + 2
    assert all(re.match(r"SHARE_\d=\$\(gpg |printf |PASSPHRASE=|test ", line) for line in commands)
    assert not re.search(r"^\s*\$ touch", text, re.MULTILINE)
    assert "share 4, SHARE_4: $ touch PWNED?    $ touch PWNED" in text


def test_the_shares_numbers_go_on_behind_a_machine(plans: Plans) -> None:
    plan = plans.of({"vault": 1, "custodians": 3}, {"both": {"vault": 1, "custodians": 2}})
    sealed = seal(passphrase.draw(), plan.paths, plan.everybody, plan.everybody, plan.binding)
    holders = {
        "vault": HolderDescription("vault-transit", {"address": "https://v:8200", "mount": "t", "key": "k"}),
        "custodians": HolderDescription("openpgp", {"members": MEMBERS[:3], "names": PEOPLE[:3]}),
    }
    section = replace(sealed.section, holders=holders)
    text = recovery_guide.render(section, plan.binding, "A" * 40)
    assert "share 1, SHARE_2: " in text
    assert "SHARE_4=$(gpg --decrypt custody/both/custodians-3.mem)" in text
    assert "share 3, SHARE_4: " in text


def test_words_from_elsewhere_are_typed_in_place_of_a_command(plans: Plans, tmp_path: Path) -> None:
    """Custodian 2 decrypts elsewhere: the line that the text gives takes the words, in capitals too."""
    plan, raw = plans.with_people(), passphrase.draw()
    section, words = with_custodians(plan, raw)
    text = recovery_guide.render(section, plan.binding, "A" * 40)
    (instead,) = re.findall(r"^    (SHARE_N=.+)$", text, re.MULTILINE)
    commands = [
        instead.replace("SHARE_N", "SHARE_2") if line.startswith("SHARE_2=") else line
        for line in commands_in(text, "people")
    ]
    for member in ("custody/people/custodians-1.mem", "custody/people/custodians-5.mem"):
        (tmp_path / member).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / member).write_bytes(words[member].reveal())
    brought = words["custody/people/custodians-2.mem"].text().upper()
    at = next(number for number, line in enumerate(commands) if line.startswith("SHARE_2="))
    commands[at] += f"\n{brought}"  # the next line of what bash reads is what is typed
    result = run(commands, tmp_path, {"gpg": 'cat "$2"'})
    assert result.stdout.splitlines()[-1] == passphrase.written(raw).text(), result.stderr
    assert "share 2 of holder custodians is right" in result.stdout
    assert brought not in result.stdout + result.stderr


def test_sheets_of_paper_are_typed_and_absent_ones_left_out(plans: Plans, tmp_path: Path) -> None:
    plan, raw = plans.with_people(), passphrase.draw()
    section, words = written(plan, raw)
    keepers = ["Safe, floor 1", "Safe, floor 2", "Notary", "Bank", "Board"]
    paper = HolderDescription("paper", {"kept_by": keepers})
    section = replace(section, holders={**section.holders, "custodians": paper})
    text = recovery_guide.render(section, plan.binding, "A" * 40)
    for number, keeper in enumerate(keepers, 1):
        assert f"  share {number}, SHARE_{number}: the sheet kept by {keeper}\n" in text
    commands = commands_in(text, "people")
    typed = {1: words["custody/people/custodians-1.mem"].text(), 2: "", 4: ""}
    for number in (3, 5):
        typed[number] = words[f"custody/people/custodians-{number}.mem"].text().upper()
    lines = []
    for line in commands:
        lines.append(line)
        if match := re.match(r"SHARE_(\d)=", line):
            lines.append(typed[int(match[1])])
    result = run(lines, tmp_path, {})
    assert result.stdout.splitlines()[-1] == passphrase.written(raw).text(), result.stderr
    assert [number for number in range(1, 6) if f"share {number} of holder" in result.stdout] == [1, 3, 5]


@pytest.mark.parametrize("machine", [False, True])
def test_more_custodians_than_needed_do_no_harm(plans: Plans, tmp_path: Path, machine: bool) -> None:
    needs = {"custodians": 3} | ({"vault": 1} if machine else {})
    plan, raw = plans.of({"vault": 1, "custodians": 5}, {"people": needs}), passphrase.draw()
    sealed = seal(raw, plan.paths, plan.everybody, plan.everybody, plan.binding)
    group = HolderDescription("openpgp", {"members": MEMBERS})
    section = replace(sealed.section, holders=dict.fromkeys(sealed.section.holders, group))
    for share in section.path("people").shares:
        (tmp_path / share.member).parent.mkdir(parents=True, exist_ok=True)
        opened = plan.holders[share.holder].open(
            SealedShare(share.index, "mem", sealed.members[share.member], ""), plan.binding
        )
        (tmp_path / share.member).write_bytes(opened.reveal())
    commands = commands_in(recovery_guide.render(section, plan.binding, "A" * 40), "people")
    result = run(commands, tmp_path, {"gpg": 'cat "$2"'})
    assert result.stdout.splitlines()[-1] == passphrase.written(raw).text(), result.stderr
