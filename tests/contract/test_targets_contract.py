"""What every target promises, run over all kinds."""

from __future__ import annotations

import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.core.errors import Conflict, IntegrityProblem, OrgkeyError, Unreachable, UsageProblem
from pipeline.storage.interface import Listing, Presence, Receipt, Slot
from tests.support.target_places import Place, S3Place

RECORD = bytes(range(256)) * 200 + b"\r\n\0end"


def test_what_was_put_comes_back_byte_for_byte(place: Place, slot: Slot) -> None:
    receipt = place.target().put(slot, RECORD)
    assert place.target("driller").get(slot) == RECORD
    assert place.target("driller").get(slot, receipt.version) == RECORD
    assert receipt.target == "place"
    assert receipt.kind == place.kind
    assert receipt.domain == "place"
    assert slot.epoch in receipt.location
    assert receipt.sha256.hex == hashlib.sha256(RECORD).hexdigest()
    assert (receipt.version is None) == (place.kind == "directory")


def test_nothing_is_overwritten(place: Place, slot: Slot) -> None:
    place.target().put(slot, RECORD)
    with pytest.raises(Conflict) as raised:
        place.target().put(slot, b"another")
    assert slot.epoch in raised.value.message
    assert place.target().get(slot) == RECORD
    assert len(place.target("driller").find(slot.fingerprint)) == 1


def test_what_is_missing_is_said_to_be(place: Place, slot: Slot) -> None:
    with pytest.raises(IntegrityProblem, match=slot.epoch):
        place.target().get(slot)
    receipt = place.target().put(slot, RECORD)
    for version in ("99", "0", "-1", "no-such-version", "../x"):
        assert version != receipt.version
        with pytest.raises(IntegrityProblem):
            place.target().get(slot, version)


def test_listing(place: Place, slot: Slot) -> None:
    reader = place.target("driller")
    assert reader.find(slot.fingerprint) == []
    assert reader.find(slot.fingerprint, slot.epoch) == []
    epochs = [f"2026{month:02}01T000000Z-{secrets.token_hex(4)}" for month in (3, 1, 2)]
    receipts = {epoch: place.target().put(Slot(slot.fingerprint, epoch), RECORD) for epoch in epochs}
    other = Slot(secrets.token_hex(20).upper(), epochs[0])
    place.target().put(other, RECORD)

    found = reader.find(slot.fingerprint)
    assert [stored.slot for stored in found] == [Slot(slot.fingerprint, epoch) for epoch in sorted(epochs)]
    assert {stored.presence for stored in found} == {Presence.CURRENT}
    assert [stored.version for stored in found] == [receipts[epoch].version for epoch in sorted(epochs)]
    assert [stored.location for stored in found] == [receipts[epoch].location for epoch in sorted(epochs)]
    # Who lists it tells the same, and nothing else is told alike: two names for one place are noticed by it.
    again = place.target("driller").find(slot.fingerprint)
    assert [stored.identity for stored in again] == [stored.identity for stored in found]
    everything = [*found, *reader.find(other.fingerprint)]
    assert len({stored.identity for stored in everything} - {""}) == len(everything)
    if isinstance(reader, Listing):
        assert sorted(reader.slots(slot.fingerprint)) == [stored.slot.epoch for stored in found]
        assert reader.slots("F" * 40) == []
    (one,) = reader.find(slot.fingerprint, epochs[1])
    assert one.slot.epoch == epochs[1]
    assert one.readable
    assert [stored.slot for stored in reader.find(other.fingerprint)] == [other]


def test_what_is_not_ours_is_not_listed(place: Place, slot: Slot) -> None:
    place.litter(slot.fingerprint)
    assert place.target("driller").find(slot.fingerprint) == []
    place.target().put(slot, RECORD)
    assert [stored.slot for stored in place.target("driller").find(slot.fingerprint)] == [slot]


@pytest.mark.parametrize(
    ("fingerprint", "epoch"),
    [
        ("../" + "A" * 37, "20260131T080000Z-0a1b2c3d"),
        ("a" * 40, "20260131T080000Z-0a1b2c3d"),
        ("A" * 16, "20260131T080000Z-0a1b2c3d"),
        ("A" * 40 + "\n", "20260131T080000Z-0a1b2c3d"),
        ("A" * 40, "../../../etc/passwd"),
        ("A" * 40, "20260131T080000Z-0a1b2c3d/x"),
        ("A" * 40, "20260131T080000Z-0a1b2c3d\n"),
        ("A" * 40, "20260131T080000Z-0a1b2c3d?version=1"),
        ("A" * 40, ""),
    ],
)
def test_hostile_names_go_nowhere(place: Place, fingerprint: str, epoch: str) -> None:
    target, slot = place.target(), Slot(fingerprint, epoch)
    with pytest.raises(UsageProblem):
        target.put(slot, RECORD)
    with pytest.raises(UsageProblem):
        target.get(slot)
    with pytest.raises(UsageProblem):
        target.find(fingerprint, epoch)


def test_of_concurrent_writers_one_wins(place: Place, slot: Slot) -> None:
    bodies = [secrets.token_bytes(5000) for _ in range(6)]
    targets = [place.target() for _ in bodies]

    def write(number: int) -> Receipt | OrgkeyError:
        try:
            return targets[number].put(slot, bodies[number])
        except OrgkeyError as error:
            return error

    with ThreadPoolExecutor(len(bodies)) as pool:
        outcomes = list(pool.map(write, range(len(bodies))))
    won = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Receipt)]
    assert len(won) == 1, outcomes
    for outcome in outcomes:
        # S3 may answer 409 to one of two at once: worth another attempt, which then meets a conflict.
        assert isinstance(outcome, Receipt | Conflict) or (isinstance(outcome, Unreachable) and outcome.again)
    assert place.target().get(slot) == bodies[won[0]]
    assert len(place.target("driller").find(slot.fingerprint)) == 1


def test_a_record_that_was_removed_is_not_there(place: Place, slot: Slot) -> None:
    place.target().put(slot, RECORD)
    place.hide(slot)
    with pytest.raises(IntegrityProblem, match=slot.epoch):
        place.target().get(slot)


def test_nothing_that_leaves_a_target_is_foreign(place: Place, slot: Slot) -> None:
    """The hint and the message are always there, whatever was met."""
    target = place.target()
    for call in (lambda: target.get(slot), lambda: target.get(Slot("x", "y")), lambda: target.find("x")):
        with pytest.raises(OrgkeyError) as raised:
            call()
        assert raised.value.message
        assert raised.value.hint
        assert not raised.value.message.endswith(".")
        assert "\n" not in raised.value.message


def test_the_check_finds_nothing_wrong_with_a_good_place(place: Place) -> None:
    if isinstance(place, S3Place):
        place.stack.demand_roles(place.kind)
    for role in ("writer", "driller"):
        changes = {"lock_mode": "GOVERNANCE", "lock_days": 1} if place.kind == "s3" else {}
        findings = place.target(role, **changes).check()
        seen = [(one.level, one.subject) for one in findings if one.level != "unseen"]
        assert seen == [("ok", "target place")], findings
