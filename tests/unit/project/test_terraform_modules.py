"""The modules of `infra/terraform` say what CloudFormation's templates and Vault's files say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pipeline.provision.files import PURPOSES, Files
from tools import make_terraform
from tools.make_terraform import MODULES
from tools.terraform import aws, try_vault
from tools.terraform.__main__ import APPLIED

VAULT = (MODULES / "vault" / "main.tf").read_text()


def test_the_modules_are_those_of_the_templates() -> None:
    wanted = make_terraform.files()
    there = {
        path.relative_to(MODULES).as_posix(): path.read_text()
        for path in (*MODULES.glob("aws/**/*.tf"), MODULES / "vault" / "settings.json")
    }
    assert there == wanted, "run make generate"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Templates that a test may change."""
    shutil.copytree(aws.TEMPLATES, tmp_path / "aws")
    monkeypatch.setattr(aws, "TEMPLATES", tmp_path / "aws")
    return tmp_path / "aws" / "escrow.yaml"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Action: [s3:PutObject, s3:PutObjectRetention]", "Action: [s3:PutObject]"),
        (
            'Condition: {"Null": {s3:if-none-match: "true"}}',
            'Condition: {"Null": {s3:if-none-match: "false"}}',
        ),
        ("Action: [kms:Decrypt, kms:DescribeKey, kms:GetKeyRotationStatus]", "Action: [kms:Decrypt]"),
        (
            'NumericLessThan: {aws:MultiFactorAuthAge: "900"}',
            'NumericLessThan: {aws:MultiFactorAuthAge: "3600"}',
        ),
        ("BlockPublicPolicy: true", "BlockPublicPolicy: false"),
        ("Default: GOVERNANCE", "Default: COMPLIANCE"),
        ("PendingWindowInDays: 30", "PendingWindowInDays: 7"),
    ],
)
def test_a_changed_template_is_another_module(copy: Path, before: str, after: str) -> None:
    text = copy.read_text()
    assert before in text
    copy.write_text(text.replace(before, after, 1))
    made = aws.module(copy)
    there = {name: (MODULES / "aws" / "escrow" / f"{name}.tf").read_text() for name in made}
    assert made != there


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("      ObjectLockEnabled: true\n", "      ObjectLockEnabled: true\n      AccessControl: Private\n"),
        ("    DependsOn: LogBucketPolicy\n", "    Metadata: {}\n"),
        ("            Status: Enabled\n", "            Status: Enabled\n            Prefix: x\n"),
        ("!Equals [!Ref OidcProviderArn, ", "!Equals [!Select [0, !Ref OidcProviderArn], "),
        ("Type: AWS::IAM::Role", "Type: AWS::IAM::User"),
    ],
)
def test_what_is_not_understood_of_a_template_is_refused(copy: Path, before: str, after: str) -> None:
    text = copy.read_text()
    assert before in text
    copy.write_text(text.replace(before, after, 1))
    with pytest.raises((ValueError, KeyError)):
        aws.module(copy)


def test_the_vault_module_says_no_right_of_its_own() -> None:
    assert "capabilities" not in VAULT
    assert 'file("${local.files}/token.hcl")' in VAULT
    # The parts in the order of the program, so that `orgkey infra plan` finds the same text.
    assert tuple(re.findall(r'\{ name = "(\w+)", values', VAULT)) == PURPOSES[1:]


def test_the_vault_module_is_the_one_that_was_applied_and_compared() -> None:
    """What it makes is seen by OpenTofu alone, which is not there when tests run."""
    assert APPLIED.read_text() == try_vault.digests(), "run make terraform, and commit what it writes"


def test_nothing_that_holds_records_or_shares_is_removed_by_a_plan() -> None:
    blocks = re.findall(r'^resource "(\w+)" .*?^}$', VAULT, re.MULTILINE | re.DOTALL)
    kept = re.findall(
        r'^resource "(\w+)" [^\n]*\n(?:(?!^}$).)*prevent_destroy = true', VAULT, re.MULTILINE | re.DOTALL
    )
    assert sorted(set(blocks) - set(kept)) == [
        "vault_approle_auth_backend_role", "vault_audit", "vault_kv_secret_backend_v2", "vault_policy"
    ]  # fmt: skip
    assert len(kept) == VAULT.count("prevent_destroy")


def test_the_vault_module_takes_each_setting_from_the_file() -> None:
    settings = Files().settings
    resources = {
        "vault_kv_secret_backend_v2": ("local.settings.kv", set(settings.kv.model_dump())),
        "vault_transit_secret_backend_key": ("local.settings.transit", set(settings.transit.model_dump())),
        "vault_approle_auth_backend_role": ("each.value", set(settings.role_of("writer"))),
        "vault_audit": ("local.settings.audit", set(settings.audit.model_dump()) - {"required"}),
    }
    for kind, (source, names) in resources.items():
        (block,) = re.findall(rf'^resource "{kind}" .*?^}}$', VAULT, re.MULTILINE | re.DOTALL)
        given = dict(re.findall(r"^  (\w+) += (.+)$", block, re.MULTILINE))
        assert {name: given.get(name) for name in names} == {name: f"{source}.{name}" for name in names}


def test_the_vault_module_has_the_targets_and_holders_of_the_configuration() -> None:
    from pipeline.config.holders import TransitHolderConfig
    from pipeline.config.places import VaultTargetConfig

    variables = (MODULES / "vault" / "variables.tf").read_text()
    given = dict(re.findall(r'^    (\w+) +=? ?= optional\(string, "([^"]+)"\)$', variables, re.MULTILINE))
    fields = VaultTargetConfig.model_fields
    assert f'optional(string, "{fields["mount"].default}")' in variables
    assert given["prefix"] == fields["prefix"].default
    assert given["key"] == TransitHolderConfig.model_fields["key"].default
    assert f'optional(string, "{TransitHolderConfig.model_fields["mount"].default}")' in variables
