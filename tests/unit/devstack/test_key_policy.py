"""What the stack's KMS makes of a key policy."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.devstack.key_policy import Call, Word, judge

WRITER = "arn:aws:iam::123456789012:role/orgkey-writer"
OTHER = "arn:aws:iam::123456789012:role/other"


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statement(effect: str = "Allow", **more: Any) -> dict[str, Any]:
    made = {"Effect": effect, "Principal": {"AWS": WRITER}, "Action": "kms:Encrypt", "Resource": "*"}
    return made | more


def call(principal: str = WRITER, action: str = "kms:Encrypt", **context: str) -> Call:
    return Call(principal, action, context)


def test_who_is_named_is_allowed_what_is_named() -> None:
    document = policy(statement())
    assert judge(document, call()) is Word.ALLOWED
    assert judge(document, call(OTHER)) is Word.SILENT
    assert judge(document, call(action="kms:Decrypt")) is Word.SILENT
    assert judge(policy(statement(Action=["kms:En*"])), call()) is Word.ALLOWED


def test_the_account_is_told_to_decide_for_itself() -> None:
    account = statement(Principal={"AWS": "arn:aws:iam::123456789012:root"}, Action="kms:*")
    assert judge(policy(account), call(OTHER)) is Word.DELEGATED
    assert judge(policy(account, statement()), call()) is Word.ALLOWED


def test_a_refusal_goes_before_in_any_order() -> None:
    refusal = statement("Deny", Principal={"AWS": "*"})
    assert judge(policy(refusal, statement()), call()) is Word.DENIED
    assert judge(policy(statement(), refusal), call()) is Word.DENIED
    spared = {**refusal, "Condition": {"ArnNotEquals": {"aws:PrincipalArn": [WRITER]}}}
    assert judge(policy(statement(), spared), call()) is Word.ALLOWED
    assert judge(policy(statement(), spared), call(OTHER)) is Word.DENIED


@pytest.mark.parametrize(
    ("context", "word"),
    [
        ({"fingerprint": "F", "record_id": "R"}, Word.ALLOWED),
        ({"fingerprint": "F"}, Word.SILENT),
        ({}, Word.SILENT),
        ({"fingerprint": "F", "record_id": "R", "more": "M"}, Word.SILENT),
    ],
)
def test_a_context_has_exactly_the_names(context: dict[str, str], word: Word) -> None:
    condition = {
        "Null": {
            "kms:EncryptionContext:fingerprint": "false",
            "kms:EncryptionContext:record_id": "false",
        },
        "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["fingerprint", "record_id"]},
    }
    assert judge(policy(statement(Condition=condition)), call(**context)) is word


def test_what_is_not_understood_allows_nothing() -> None:
    odd = statement(Condition={"StringLike": {"kms:ViaService": "s3.*"}})
    assert judge(policy(statement(), odd), call()) is Word.DENIED
    assert judge(policy(statement(), statement(NotAction="kms:Decrypt")), call()) is Word.DENIED
    assert judge(policy(odd), call(OTHER)) is Word.SILENT
