"""Whether a policy gives more than another: what `doctor` fails on."""

from __future__ import annotations

import pytest

from pipeline.provision.policy import rights, surplus

BASE = 'path "kv/data/records/*" { capabilities = ["create", "read"] }\n'


def rule(path: str, *granted: str) -> str:
    words = ", ".join(f'"{name}"' for name in granted)
    return f'path "{path}" {{\n  capabilities = [{words}]\n}}\n'


@pytest.mark.parametrize(
    ("have", "more"),
    [
        (BASE, []),
        ("", []),
        ("# only a comment\n" + BASE, []),
        ("/* path */ // x\n" + BASE, []),
        (rule("kv/data/records/*", "read"), []),
        (rule("kv/data/records/*", "deny"), []),
        (rule("kv/data/records/*", "create", "read", "delete"), ["delete on kv/data/records/*"]),
        (BASE + rule("kv/data/records/*", "update"), ["update on kv/data/records/*"]),
        (BASE + rule("kv/data/records/x", "read"), []),
        (BASE + rule("kv/data/records/+/y", "create"), []),
        (BASE + rule("kv/data/records/x", "update"), ["update on kv/data/records/x"]),
        (BASE + rule("kv/data/*", "read"), ["read on kv/data/*"]),
        (BASE + rule("kv/data/+/x", "read"), ["read on kv/data/+/x"]),
        (BASE + rule("kv/data/recordings", "read"), ["read on kv/data/recordings"]),
        (BASE + rule("transit/decrypt/k", "update"), ["update on transit/decrypt/k"]),
        (BASE + rule("*", "sudo"), ["sudo on *"]),
    ],
)
def test_each_right_beyond_is_named(have: str, more: list[str]) -> None:
    assert surplus(have, BASE) == more


@pytest.mark.parametrize(
    "text",
    [
        'path "x" { policy = "write" }',
        'path "x" { capabilities = ["read"] allowed_parameters = { "*" = [] } }',
        'path "x" { capabilities = ["read" }',
        '{"path": {"x": {"capabilities": ["read"]}}}',
        "path x",
    ],
)
def test_what_cannot_be_read_is_not_called_harmless(text: str) -> None:
    assert rights(text) is None
    assert surplus(text, BASE) is None
    assert surplus(BASE, text) is None


def test_the_rule_that_says_most_counts() -> None:
    want = rule("kv/*", "read", "update") + rule("kv/a/*", "read")
    assert surplus(want + rule("kv/a/b", "update"), want) == ["update on kv/a/b"]
    assert surplus(want + rule("kv/b/b", "update"), want) == []
    assert surplus(rule("kv/+/b", "read"), rule("kv/+/+", "read")) == []
    assert surplus(rule("kv/+/*", "read"), rule("kv/+/+", "read")) == ["read on kv/+/*"]


def test_a_denial_in_the_files_makes_it_undecidable() -> None:
    assert surplus(BASE, BASE + rule("kv/data/records/x", "deny")) is None
