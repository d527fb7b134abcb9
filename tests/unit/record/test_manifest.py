from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import IntegrityProblem, UsageProblem
from pipeline.record import tar
from pipeline.record.manifest import SCHEMA, Reference, epoch_name, parse_manifest
from pipeline.record.verify import Record

Document = dict[str, Any]


@pytest.fixture(scope="session")
def body(genuine: Record) -> bytes:
    return genuine.members[tar.MANIFEST]


def changed(body: bytes, change: Callable[[Document], object]) -> bytes:
    document = json.loads(body)
    change(document)
    return json.dumps(document).encode()


def test_it_is_canonical_json_and_reads_back(body: bytes) -> None:
    assert rfc8785.dumps(json.loads(body)) == body
    assert parse_manifest(body).to_bytes() == body


def test_references_survive(body: bytes) -> None:
    reference = Reference("20260131T080000Z-0a1b2c3d", "ab" * 32)
    made = replace(parse_manifest(body), previous=reference, supersedes=reference)
    assert parse_manifest(made.to_bytes()) == made


def test_it_says_what_a_reader_without_this_program_needs(genuine: Record, body: bytes) -> None:
    document = json.loads(body)
    assert document["schema"] == SCHEMA == "orgkey.record/1"
    assert document["fingerprint"] == genuine.fingerprint
    assert document["key"]["algorithm"] == "Ed25519"
    assert set(document["members"]) == set(genuine.members) - {"manifest.json", "manifest.json.asc"}
    assert document["program"].startswith("orgkey-escrow ")


def test_an_epoch_is_named_after_its_time_and_record() -> None:
    moment = datetime(2026, 1, 31, 8, 0, 0, tzinfo=UTC)
    assert epoch_name(moment, "0a1b2c3d" + "e" * 24) == "20260131T080000Z-0a1b2c3d"


FIELDS = (
    "schema", "record_id", "created", "fingerprint", "key_state", "key", "members", "custody", "plan",
    "previous", "supersedes", "program",
)  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_a_missing_field_is_damage(body: bytes, name: str) -> None:
    with pytest.raises(IntegrityProblem):
        parse_manifest(changed(body, lambda document: document.pop(name)))


def test_an_unknown_field_is_damage(body: bytes) -> None:
    with pytest.raises(IntegrityProblem):
        parse_manifest(changed(body, lambda document: document.update(extra=1)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("record_id", "0a1b2c3d"),
        ("record_id", "A" * 32),
        ("record_id", "a" * 32 + "\n"),
        ("created", "2026-01-31 08:00:00"),
        ("created", "2026-01-31T08:00:00+01:00"),
        ("created", 1769846400),
        ("fingerprint", "a" * 40),
        ("fingerprint", "A" * 16),
        ("fingerprint", None),
        ("key_state", "ab"),
        ("key", 7),
        ("members", []),
        ("members", {"a": "no digest"}),
        ("members", {"a": 1}),
        ("custody", {}),
        ("custody", None),
        ("plan", "x" * 64),
        ("previous", {}),
        ("previous", "20260131T080000Z-0a1b2c3d"),
        ("previous", {"epoch": "latest", "sha256": "ab" * 32}),
        ("supersedes", {"epoch": "20260131T080000Z-0a1b2c3d", "sha256": "AB" * 32}),
        ("program", ""),
        ("program", "x" * 81),
        ("program", "line\nbreak"),
        ("original", None),
        ("original", "x" * 64),
        ("schema", "orgkey.record/0"),
        ("schema", "orgkey.record/01"),
        ("schema", "orgkey.ledger/1"),
        ("schema", "orgkey.record/2x"),
        ("schema", "orgkey.record/2\n"),
        ("schema", 1),
        ("schema", None),
    ],
)
def test_a_field_of_another_form_is_damage(body: bytes, name: str, value: object) -> None:
    with pytest.raises(IntegrityProblem) as caught:
        parse_manifest(changed(body, lambda document: document.update({name: value})))
    assert caught.value.hint


@pytest.mark.parametrize("number", [2, 17, 999_999])
def test_a_newer_schema_is_no_damage_but_asks_for_an_upgrade(body: bytes, number: int) -> None:
    newer = changed(body, lambda document: document.update(schema=f"orgkey.record/{number}", more=[1]))
    with pytest.raises(UsageProblem, match="newer schema") as caught:
        parse_manifest(newer)
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"7", b'"x"', b"{", b"\xff\xfe", b"[" * 200_000, b'{"schema": 1e999}', b"1" * 5000],
)
def test_what_is_no_manifest_at_all_is_damage(data: bytes) -> None:
    with pytest.raises(IntegrityProblem):
        parse_manifest(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_order(data: bytes) -> None:
    with pytest.raises((IntegrityProblem, UsageProblem)):
        parse_manifest(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(FIELDS), JSON)
def test_any_value_in_any_field_is_read_or_refused_in_order(
    genuine: Record, name: str, value: object
) -> None:
    body = genuine.members[tar.MANIFEST]
    with contextlib.suppress(IntegrityProblem, UsageProblem):
        parse_manifest(changed(body, lambda document: document.update({name: value})))


@given(st.data())
def test_damaged_bytes_are_read_or_refused_in_order(genuine: Record, data: st.DataObject) -> None:
    body = bytearray(genuine.members[tar.MANIFEST])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(IntegrityProblem, UsageProblem):
        parse_manifest(bytes(body))
