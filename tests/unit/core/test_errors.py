from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline
from pipeline.core import errors
from pipeline.core.errors import Code, OrgkeyError, Unreachable, UsageProblem, first_of
from pipeline.core.exit_codes import INSPECT_PRECEDENCE, PRECEDENCE

ROOT = Path(pipeline.__file__).parent
FAMILY = {
    name
    for name, item in vars(errors).items()
    if isinstance(item, type) and issubclass(item, OrgkeyError) and item is not OrgkeyError
}


def modules() -> Iterator[str]:
    for found in pkgutil.walk_packages([str(ROOT)], "pipeline."):
        # moto patches what it can reach as soon as it is imported; the stack's own tests import it.
        if not found.name.endswith("__main__") and ".devstack.kms" not in found.name:
            yield found.name


def everybody(kind: type[OrgkeyError] = OrgkeyError) -> Iterator[type[OrgkeyError]]:
    for child in kind.__subclasses__():
        yield child
        yield from everybody(child)


def test_every_error_of_every_module_has_a_code_that_is_documented() -> None:
    for name in modules():
        importlib.import_module(name)
    found = {kind for kind in everybody() if kind.__module__.startswith("pipeline.")}
    assert len(found) >= 24
    for kind in found:
        assert isinstance(kind.code, Code), kind
        assert kind.code not in (Code.OK, Code.INTERNAL), f"{kind} is raised on purpose: it has a code"
        assert kind.code.meaning
        assert kind.__doc__, kind


def test_no_module_raises_an_error_outside_the_tree_by_a_class_of_its_own() -> None:
    """A name with an underscore, the class's or its module's, stays in its room."""
    for name in modules():
        module = importlib.import_module(name)
        for item in vars(module).values():
            own = isinstance(item, type) and issubclass(item, Exception) and item.__module__ == name
            if own and not issubclass(item, OrgkeyError):
                private = item.__name__.startswith("_") or name.rpartition(".")[2].startswith("_")
                raised = f"{name}.{item.__name__}"
                assert private or raised in INTERNAL, raised


INTERNAL = frozenset(
    f"pipeline.{name}"
    for name in (
        "evidence.ledger.events.MalformedEvent",
        "openpgp.proofs.interface.TakesNoPart",
        "openpgp.proofs.pgpy_child.Contradiction",
        "providers.vault.answers.UnsendableHeader",
        "providers.vault.answers.VaultRefusal",
        "providers.wire.NoAnswer",
        "providers.wire.Unusable",
    )
)
"""Exceptions that never leave the room that has them, or that all who call for them catch."""


def test_every_code_but_those_without_a_class_has_one() -> None:
    without = {Code.OK, Code.INTERNAL, Code.PENDING}
    ours = {kind.code for kind in everybody() if kind.__module__ == "pipeline.core.errors"}
    assert ours == set(Code) - without


def test_an_error_is_its_message_and_carries_a_hint() -> None:
    error = UsageProblem("what happened", hint="what to do")
    assert (str(error), error.message, error.hint, error.code) == (
        "what happened", "what happened", "what to do", Code.USAGE,
    )  # fmt: skip


def test_an_error_without_a_hint_is_not_made() -> None:
    with pytest.raises(TypeError):
        UsageProblem("what happened")  # type: ignore[call-arg]  # that is the point


def test_unreachable_says_whether_another_attempt_makes_sense() -> None:
    assert Unreachable("gone", hint="wait").again
    assert Unreachable("gone", hint="wait").retry_after is None
    assert Unreachable("busy", hint="wait", retry_after=2.5).retry_after == 2.5
    assert not Unreachable("sealed", hint="unseal", again=False).again


# -- what is written at the places that raise --------------------------------------------------------


def raised() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text())
        here = {
            name.asname or name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "pipeline.core.errors"
            for name in node.names
            if name.name in FAMILY
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in here:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def literal(node: ast.expr | None) -> str | None:
    """A text as far as it stands in the source; what is filled in becomes one letter."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    if isinstance(node, ast.BinOp):
        left, right = literal(node.left), literal(node.right)
        return None if left is None else left + (right or "x")
    return None


@cache
def places() -> list[tuple[str, ast.Call]]:
    return list(raised())


NAMES = (
    "OpenPGP",
    "Organization",
    "Vault",
    "AWS",
    "Dask",
    "KMS",
    "S3",
    "Transit",
    "GnuPG",
    "PGPy",
    "Sequoia",
    "SLIP",
)


def test_there_are_places_to_look_at() -> None:
    assert len(places()) > 150


def test_every_error_that_is_raised_says_what_happened_and_what_to_do() -> None:
    wrong = []
    for where, call in places():
        hint = next((keyword.value for keyword in call.keywords if keyword.arg == "hint"), None)
        told = literal(hint)
        if hint is None or (told is not None and not told.strip()):
            wrong.append(f"{where}: no hint")
        message = literal(call.args[0]) if call.args else "x"
        if message is None:
            continue
        if not message.strip() or message.endswith("."):
            wrong.append(f"{where}: {message!r}: says nothing, or ends in a period")
        elif message[0].isupper() and not message.startswith(NAMES):
            wrong.append(f"{where}: {message!r}: begins in upper case")
    assert wrong == []


# -- one code out of several -----------------------------------------------------------------------

CODES = st.lists(st.sampled_from(list(Code)), max_size=8)


def test_codes_are_what_the_documentation_and_schedules_rely_on() -> None:
    assert {int(code): code.label for code in Code} == {
        0: "ok", 1: "internal", 2: "usage", 3: "local-files", 4: "program-missing", 10: "public-only",
        11: "unprotected", 12: "wrong-passphrase", 13: "not-a-key", 14: "not-pinned", 15: "expired",
        16: "incomplete", 17: "certificates", 18: "several-keys", 19: "unsupported", 20: "unreachable",
        21: "denied", 22: "conflict", 23: "integrity", 24: "degraded", 25: "deadline", 30: "proof-failed",
        31: "not-enough-shares", 32: "wrong-share", 40: "stale", 41: "ledger-broken", 42: "pending",
        50: "locked", 130: "interrupted",
    }  # fmt: skip
    assert {int(code) for code in Code if code.retry} == {20, 24, 25, 50, 130}
    assert all(code.meaning for code in Code)


def test_the_orders_of_precedence_are_the_documented_ones() -> None:
    assert [int(code) for code in PRECEDENCE] == [41, 23, 30, 22, 32, 31, 21, 20, 25, 40, 24]
    assert [int(code) for code in INSPECT_PRECEDENCE] == [13, 19, 18, 14, 10, 16, 12, 11, 15, 17]


def test_nothing_met_is_ok() -> None:
    assert first_of([]) is Code.OK
    assert first_of([Code.OK, Code.OK]) is Code.OK


@pytest.mark.parametrize(
    ("codes", "first"),
    [
        ([Code.DEGRADED, Code.INTEGRITY], Code.INTEGRITY),
        ([Code.DEGRADED, Code.UNREACHABLE, Code.OK], Code.UNREACHABLE),
        ([Code.STALE, Code.DEGRADED], Code.STALE),
        ([Code.UNREACHABLE, Code.DENIED], Code.DENIED),
        ([Code.USAGE, Code.LEDGER_BROKEN], Code.USAGE),
        ([Code.LOCAL_FILES, Code.USAGE], Code.USAGE),
    ],
)
def test_the_first_one_is_told(codes: list[Code], first: Code) -> None:
    assert first_of(codes) is first
    assert first_of(reversed(codes)) is first


@given(CODES)
def test_the_choice_is_one_of_those_met_whatever_their_order(codes: list[Code]) -> None:
    chosen = first_of(codes)
    assert chosen in codes or chosen is Code.OK
    assert chosen is first_of(sorted(codes, reverse=True)) is first_of([*codes, Code.OK])
    assert (chosen is Code.OK) == (set(codes) <= {Code.OK})


@given(CODES, st.sampled_from(list(INSPECT_PRECEDENCE)))
def test_the_inspections_order_is_another(codes: list[Code], more: Code) -> None:
    among = [code for code in codes if code in INSPECT_PRECEDENCE] + [more]
    chosen = first_of(among, INSPECT_PRECEDENCE)
    assert INSPECT_PRECEDENCE.index(chosen) == min(INSPECT_PRECEDENCE.index(code) for code in among)
