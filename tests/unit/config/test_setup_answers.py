"""What `orgkey init` asks, and what the file says then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import config
from pipeline.config.places import S3TargetConfig
from pipeline.config.setup import answers as setup_answers
from pipeline.config.setup import questions as setup_questions
from pipeline.config.setup import template as setup_file
from pipeline.config.setup.answers import Setup
from pipeline.core.errors import UsageProblem

PIN = "70FBA2750FD7F47DF6FB080908E6316C03A0DB7D"
ARN = "arn:aws:kms:eu-central-1:444455556666:key/2cb3a1a0-0000-4000-8000-000000000000"
BASE = Setup(
    fingerprint=PIN,
    vault_address="https://vault:8200",
    s3_bucket="b",
    transit_key="k",
    kms_key=ARN,
    directory="",
)
PEOPLE = (PIN, PIN[::-1], PIN.replace("7", "1"))


class Person:
    """Answers by a part of the question; what is not scripted takes the default."""

    def __init__(self, answers: Mapping[str, list[str]]) -> None:
        self._answers = {part: list(given) for part, given in answers.items()}
        self.asked: list[str] = []

    def __call__(self, question: str, default: str) -> str:
        self.asked.append(question)
        for part, given in self._answers.items():
            if part in question and given:
                return given.pop(0)
        return default


def written(setup: Setup, ask: Person | None = None) -> config.Config:
    complete = setup_questions.complete(setup, ask, "/etc/orgkey/custodians")
    return config.parse(
        setup_file.render(complete, Path("/etc/orgkey/credentials")).encode(), Path("orgkey.toml")
    )


def test_the_systems_authorities_are_not_a_path_that_was_typed_here() -> None:
    assert replace(BASE, vault_ca_file="system").with_whole_paths().vault_ca_file == "system"


def test_everything_that_decides_is_asked() -> None:
    person = Person(
        {
            "Fingerprint of the Org Key": [PIN],
            "Address of Vault": ["127.0.0.1:8200", "https://vault:8200"],
            "S3 bucket": ["s3://records", "records"],
            "Account that owns": ["1234", "111122223333"],
            "Object Lock": ["governanc", "governance"],
            "Days for which": ["soon", "30"],
            "AWS KMS key": ["alias/orgkey"],
            "Region": ["Frankfurt", "eu-central-1"],
            "Custodians": [PIN, ", ".join(PEOPLE)],
        }
    )
    made = written(Setup(), person)
    s3 = made.target["s3"]
    assert isinstance(s3, S3TargetConfig)
    assert (s3.region, s3.lock_mode, s3.lock_days, s3.expected_bucket_owner) == (
        "eu-central-1",
        "GOVERNANCE",
        30,
        "111122223333",
    )
    assert set(made.path) == {"unattended", "custodians"}
    assert made.path["custodians"].needs[0].threshold == 2
    again = [question for question in person.asked if not question.startswith("\n")]
    assert [question.splitlines()[1][:8] for question in again] == [
        "Address ", "S3 bucke", "Account ", "Object L", "Days for", "Region o", "Custodia",
    ]  # fmt: skip
    assert "an address looks like https://vault.example.com:8200" in again[0]


def test_the_region_is_the_keys_or_must_be_given() -> None:
    made = written(BASE)
    assert getattr(made.target["s3"], "region") == "eu-central-1"  # noqa: B009 - one of a union
    assert getattr(made.holder["aws"], "region") == "eu-central-1"  # noqa: B009
    elsewhere = written(replace(BASE, region="eu-west-1"))
    assert getattr(elsewhere.target["s3"], "region") == "eu-west-1"  # noqa: B009
    assert getattr(elsewhere.holder["aws"], "region") == "eu-central-1"  # noqa: B009
    with pytest.raises(UsageProblem) as caught:
        written(replace(BASE, kms_key="alias/orgkey"))
    assert "--region" in caught.value.hint


def questions(given: Setup, answers: Mapping[str, list[str]]) -> list[str]:
    person = Person(answers)
    written(given, person)
    return person.asked


def test_each_question_says_why_and_has_what_an_empty_line_means() -> None:
    most = {
        "Fingerprint of": [PIN],
        "Address of Vault": ["https://vault:8200"],
        "S3 bucket": ["records"],
        "AWS KMS key": ["alias/orgkey"],
        "Region": ["eu-central-1"],
        "Custodians": [", ".join(PEOPLE)],
    }
    asked = questions(Setup(), most)
    assert len(asked) == 11
    for text in asked:
        _, why, question = text.split("\n")
        assert why.endswith("."), text
        assert why[0].isupper() or why[0] == "`", text
        assert question
    assert len(questions(Setup(), most | {"AWS KMS key": [ARN], "Region": []})) == 10
    only = questions(Setup(), {"Fingerprint of": [PIN], "Address of Vault": ["https://vault:8200"]})
    assert sum("Directory for one more copy" in text for text in only) == 1


def test_the_defaults_of_a_terminal_are_what_is_written() -> None:
    person = Person({"Fingerprint": [PIN], "Vault": ["https://vault:8200"], "S3 bucket": ["b"], "KMS": [ARN]})
    made = written(Setup(), person)
    s3 = made.target["s3"]
    assert isinstance(s3, S3TargetConfig)
    assert (s3.lock_mode, s3.lock_days, made.policy.max_drill_age_days) == ("GOVERNANCE", 30, 8)
    assert getattr(made.holder["vault"], "key") == "orgkey-escrow"  # noqa: B009 - one of a union
    given = written(replace(BASE, transit_key=None, fingerprint=None), Person({"Fingerprint": [PIN]}))
    assert set(given.holder) == {"vault", "aws"}


def test_the_limits_of_the_gate_can_be_chosen() -> None:
    chosen = replace(BASE, custodians=PEOPLE, max_drill_age_days=31.0, max_path_drill_age_days=100.0)
    policy = written(replace(chosen, max_check_in_age_days=365.5)).policy
    assert (policy.max_drill_age_days, policy.max_path_drill_age_days, policy.max_check_in_age_days) == (
        31,
        100,
        365.5,
    )
    person = Person({"too old": ["never", "0", "15"]})
    assert written(BASE, person).policy.max_drill_age_days == 15
    assert sum("is not a number" in text for text in person.asked) == 2


def test_the_gate_goes_stale_without_drills() -> None:
    machines = written(BASE).policy
    assert machines.max_drill_age_days == 8
    assert (machines.max_path_drill_age_days, machines.max_check_in_age_days) == (None, None)
    people = written(replace(BASE, custodians=PEOPLE)).policy
    assert people.max_drill_age_days == 8
    assert people.max_path_drill_age_days == people.max_check_in_age_days == 190
    only = written(replace(BASE, custodians=PEOPLE, transit_key=None, kms_key=None, s3_bucket=None)).policy
    assert only.max_drill_age_days == 190


def test_a_bucket_without_a_lock_is_pointed_out() -> None:
    assert any("not locked" in note for note in setup_answers.advice(BASE))
    locked = replace(BASE, s3_lock_mode="GOVERNANCE", s3_lock_days=2)
    assert not any("not locked" in note for note in setup_answers.advice(locked))
