"""What one copy, target, holder, mirror or key server raises is a verdict about it; the others go on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.archive.catalog import CopyState
from pipeline.archive.overview import verdict
from pipeline.archive.run import KeyScope
from pipeline.core import isolation
from pipeline.core.errors import (
    Code,
    Denied,
    IntegrityProblem,
    Interrupted,
    LocalFilesProblem,
    OrgkeyError,
    ProgramMissing,
    Unreachable,
    first_of,
)
from pipeline.core.isolation import isolated
from pipeline.core.secret import Secret
from pipeline.core.signals import Signalled
from pipeline.monitoring import doctor, status
from pipeline.record import tar
from pipeline.record.verify import Record
from pipeline.workflows import drill, escrow, repair, restore
from tests.support.inmemory import (
    EXPORT_PASSPHRASE,
    MemoryEstate,
    MemoryMirror,
    World,
    export,
    repacked,
    slot_of,
)


class PanicException(BaseException):
    """What pyo3 raises of a panic of Rust's: no Exception."""


UNFORESEEN = [
    KeyError("Plaintext"), RecursionError(), ValueError("invalid literal"),
    UnicodeDecodeError("x", b"", 0, 1, "y"), AssertionError(), StopIteration(),
    PanicException("index out of bounds"),
]  # fmt: skip


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        raise error

    return call


# -- the mechanism ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", UNFORESEEN, ids=lambda error: type(error).__name__)
def test_what_nobody_foresaw_is_an_error_of_that_one(error: BaseException) -> None:
    found = isolated(raising(error), "target a", IntegrityProblem)
    assert isinstance(found, IntegrityProblem)
    assert found.message.startswith("target a cannot be read: this is a defect of the program")
    assert type(error).__name__ in found.message
    assert str(error) not in found.message or not str(error), "its text may hold anything"
    assert "report it" in found.hint


def test_what_was_foreseen_comes_back_as_it_is() -> None:
    error = Denied("no", hint="ask")
    assert isolated(raising(error), "it") is error
    assert isolated(lambda: 7, "it") == 7


@pytest.mark.parametrize(
    "error",
    [Signalled(), KeyboardInterrupt(), SystemExit(2), GeneratorExit(), Interrupted("stop", hint="again")],
)
def test_what_is_about_the_run_ends_it(error: BaseException) -> None:
    with pytest.raises(type(error)):
        isolated(raising(error), "it")


def test_what_this_host_lacks_is_no_defect_and_no_verdict() -> None:
    assert isinstance(isolated(raising(MemoryError()), "it", IntegrityProblem), LocalFilesProblem)


def test_an_installation_that_is_not_whole_says_nothing_of_a_copy() -> None:
    found = isolated(raising(ImportError("cannot import name", name="pysequoia")), "it", IntegrityProblem)
    assert isinstance(found, ProgramMissing)
    assert "pysequoia" in found.message


def test_a_defect_names_the_line_of_the_program() -> None:
    found = isolated(lambda: tar.pack({"../x": b""}), "it")
    assert isinstance(found, Unreachable)
    assert "(ValueError, line " in found.message
    assert "of record/tar.py)" in found.message
    assert isolation.__file__ not in found.message


# -- one copy --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Whose holders open :func:`genuine`."""
    return World(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def genuine(first: World) -> Record:
    return first.mint()


@pytest.fixture
def three(world: World, first: World, genuine: Record) -> World:
    """A good copy at each target."""
    world.holders = {name: copy.copy(holder) for name, holder in first.holders.items()}
    for holder in world.holders.values():
        holder.failures = {}
    world.store(genuine)
    return world


@pytest.mark.parametrize("error", UNFORESEEN, ids=lambda error: type(error).__name__)
def test_a_copy_that_cannot_be_judged_is_named_and_the_others_are_used(
    three: World, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.openpgp.key import parsing

    real, bad = parsing.read_one, three.targets["a"].places
    (slot,) = bad
    bad[slot][0].data = repacked(tar.unpack(bad[slot][0].data), {tar.PUBLIC: b"bad"})

    def sole(data: bytes, what: str) -> Any:
        return raising(error)() if data == b"bad" else real(data, what)

    monkeypatch.setattr(parsing, "read_one", sole)
    (survey,) = three.context.catalogs()
    copies = {item.target: item for item in survey.epochs[0].copies}
    assert {name: item.standing for name, item in copies.items()} == {
        "a": CopyState.BAD, "b": CopyState.GOOD, "c": CopyState.GOOD,
    }  # fmt: skip
    assert "this is a defect of the program" in str(copies["a"].problem)
    assert first_of(verdict(survey, 2)) is Code.INTEGRITY


@pytest.mark.parametrize("call", ["find", "get"])
@pytest.mark.parametrize("error", UNFORESEEN[:3] + UNFORESEEN[-1:], ids=lambda error: type(error).__name__)
def test_a_target_that_answers_nonsense_is_unreachable_and_the_others_are_used(
    three: World, call: str, error: BaseException, tmp_path: Path
) -> None:
    three.targets["a"].failures[call] = error  # type: ignore[assignment]  # a library may raise anything
    (survey,) = three.context.catalogs()
    assert survey.epochs[0].copies[0].standing is CopyState.UNREACHABLE
    assert first_of(verdict(survey, 2)) is Code.UNREACHABLE
    found = restore.find(three.context, restore.RestoreRequest(tmp_path / "key.asc"))
    assert found.origin == "b"


# -- every command ---------------------------------------------------------------------------------


def restored(world: World, out: Path) -> str:
    context, estate = world.context, MemoryEstate(world)
    request = restore.RestoreRequest(out)
    return restore.restore(
        restore.find(context, request), request, estate, lambda: Secret("a new one"),
        context.deadline,
    ).origin  # fmt: skip


def test_a_write_that_raises_anything_fails_at_that_target_alone(world: World) -> None:
    world.targets["a"].failures["put"] = KeyError("ETag")  # type: ignore[assignment]
    done = escrow.escrow(world.context, export(), EXPORT_PASSPHRASE, escrow.EscrowOptions(with_drill=False))
    assert done.code is Code.DEGRADED
    assert set(done.written.receipts) == {"b", "c"}
    assert done.written.failures["a"].code is Code.UNREACHABLE
    assert repair.repair(world.context).code is Code.UNREACHABLE


def test_a_holder_that_raises_anything_leaves_the_other_paths(three: World) -> None:
    three.holders["vault"].failures["open"] = KeyError("Plaintext")  # type: ignore[assignment]
    done = drill.drill(three.context, drill.DrillRequest())
    assert done.code is Code.UNREACHABLE
    problems = {str(result.proofs["recover"].problem) for result in done.results}
    assert all("this is a defect of the program (KeyError" in problem for problem in problems)
    three.holders["vault"].failures = {"describe": KeyError("name")}  # type: ignore[dict-item]
    assert status.status(three.context).code is not Code.INTERNAL


def test_a_mirror_that_raises_anything_is_left_out(world: World) -> None:
    world.mirrors["a"] = MemoryMirror("a")
    world.mirrors["a"].failure = TypeError("object")  # type: ignore[assignment]
    world.enter("verify", {"code": 0})
    assert world.events() == ["verify"]
    assert any("ledger is not mirrored to a" in line for line in world.lines)


def test_a_check_of_the_doctor_that_raises_anything_is_a_finding(
    three: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(three.targets["a"], "check", raising(PanicException()))
    findings = [item for item in doctor.examine(three.context) if item.subject == "doctor"]
    assert [item.code for item in findings] == [Code.UNREACHABLE]


def test_a_live_key_that_raises_anything_is_not_known(
    three: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.archive import live_key as live

    three.key = 'live = "hkps://keys.example.com"'
    monkeypatch.setattr(live, "_served", raising(IndexError()))
    (survey,) = three.context.catalogs()
    seen = live.live(three.context, survey.latest())
    assert seen.state == "unknown"
    assert "defect" in str(seen.reason)
    assert restored(three, tmp_path / "key.asc") == "a"


# -- records that may hold anything ----------------------------------------------------------------

EMPTY_BLOCK = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n"
SPICES = st.sampled_from(
    [
        b"", b"\0", b"\n", EMPTY_BLOCK, EMPTY_BLOCK * 3,
        b"\x99", b"\x99\xff\xff", b"\xc6\xff\xff\xff\xff\xff",
        b"[" * 3000, b'{"a":' * 3000, b"\xff\xfe\x00", b"-----BEGIN PGP SIGNATURE-----\n", b"1e999999", b"{}",
        b'{"schema": "orgkey.record/1", "members": [], "created": 7}', b"\xef\xbb\xbf", b"\xd1\x00\xb4\x00",
    ]
)  # fmt: skip


@st.composite
def members(draw: st.DrawFn, whole: dict[str, bytes]) -> bytes:
    """A record's bytes: some members replaced, cut, doubled, spiced or left out; or no tar at all."""
    changed = dict(whole)
    for name in draw(st.lists(st.sampled_from(sorted(whole)), max_size=3)):
        body = changed[name]
        at = draw(st.integers(0, len(body)))
        spice = draw(SPICES | st.binary(max_size=40))
        changed[name] = draw(
            st.sampled_from(
                [spice, body[:at], body[:at] + spice + body[at:], spice + body, body + spice, body * 2]
            )
        )
    for name in draw(st.lists(st.sampled_from(sorted(whole)), max_size=1)):
        changed.pop(name, None)
    data = tar.pack(changed)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(SPICES | st.binary(max_size=40)) + data[at + draw(st.integers(0, 600)) :]
    return data


def judged(context: KeyScope, world: World, made: Record, data: bytes) -> None:
    """The whole path from bytes to verdict; then each command that reads, on a host without state."""
    world.targets["a"].places[slot_of(made)][0].data = data
    survey = replace(context.archive("driller"), journal=None).catalog()
    copies = {item.target: item for item in survey.epochs[0].copies}
    assert copies["b"].ok
    assert copies["c"].ok
    assert copies["a"].ok == (data == made.data)
    if not copies["a"].ok:
        assert copies["a"].code is Code.INTEGRITY, copies["a"].problem
        assert "defect" not in str(copies["a"].problem), "no reader raises what can be foreseen"
    assert repair.repair(context, dry_run=True).copies[1].action == "kept"
    assert restore.find(context, restore.RestoreRequest(Path("x"))).record == made


@settings(
    max_examples=40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(data=st.data())
def test_whatever_a_record_holds_the_other_copies_are_used(
    three: World, genuine: Record, data: st.DataObject
) -> None:
    judged(three.context, three, genuine, data.draw(members(dict(genuine.members))))


@pytest.mark.parametrize(
    "change",
    [
        {tar.PUBLIC: EMPTY_BLOCK},
        {tar.PUBLIC: EMPTY_BLOCK + b"x" * 20_000},
        {tar.MANIFEST: b"[" * 100_000},
        {tar.MANIFEST_SIGNATURE: EMPTY_BLOCK.replace(b"PUBLIC KEY BLOCK", b"SIGNATURE")},
        {"zz": bytes(tar.MAX_BYTES)},
    ],
    ids=["empty block", "20 KB", "deep", "empty signature", "too large"],
)
def test_every_command_goes_on_beside_a_hostile_record(
    three: World, genuine: Record, change: dict[str, bytes], tmp_path: Path
) -> None:
    data = repacked(genuine.members, change)
    judged(three.context, three, genuine, data)
    (survey,) = three.context.catalogs()
    assert first_of(verdict(survey, 2)) is Code.INTEGRITY
    assert status.status(three.context).code is Code.INTEGRITY
    assert drill.drill(three.context, drill.DrillRequest()).code is Code.INTEGRITY
    done = repair.repair(three.context)
    assert [item.action for item in done.copies] == ["copied", "kept", "kept"]
    assert restored(three, tmp_path / "key.asc") in ("a", "b")


def test_a_record_that_is_too_large_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "pack", raising(AssertionError("a byte of it was looked at")))
    with pytest.raises(OrgkeyError, match="larger than"):
        tar.unpack(bytes(tar.MAX_BYTES + 1))
