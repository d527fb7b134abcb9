"""Servers that are gone, slow, or lose an answer."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Conflict, DeadlinePassed, Denied, Unreachable
from pipeline.core.retry import Retrier, retrying
from pipeline.storage.interface import TARGET_CALLS, Slot
from tests.support.target_places import S3Place, VaultPlace
from tests.support.wire_faults import CuttingProxy, dead_port, silent_server

RECORD = b"record" * 1000
ServerPlace = VaultPlace | S3Place


def at(place: ServerPlace, port: int) -> dict[str, Any]:
    return {"address" if place.kind == "vault" else "endpoint_url": f"http://127.0.0.1:{port}"}


def test_nobody_listens(server_place: ServerPlace, slot: Slot) -> None:
    port = dead_port()
    target = server_place.target(**at(server_place, port))
    for call in (
        lambda: target.put(slot, RECORD),
        lambda: target.get(slot),
        lambda: target.find(slot.fingerprint),
    ):
        with pytest.raises(Unreachable) as raised:
            call()
        assert str(port) in raised.value.message
        assert "place" in raised.value.message
        assert raised.value.again
    (finding,) = target.check()
    assert (finding.level, finding.code) == ("fail", 20)


def test_silence_is_bounded_by_the_call(server_place: ServerPlace, slot: Slot) -> None:
    with silent_server() as port:
        target = server_place.target(call_seconds=0.5, **at(server_place, port))
        started = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer in time"):
            target.put(slot, RECORD)
        assert time.monotonic() - started < 15


def test_silence_is_bounded_by_the_deadline(server_place: ServerPlace, slot: Slot) -> None:
    with silent_server() as port:
        target = server_place.target(seconds=5, call_seconds=30, **at(server_place, port))
        started = time.monotonic()
        with pytest.raises(DeadlinePassed, match="did not answer in time"):
            target.get(slot)
        with pytest.raises(DeadlinePassed):
            target.get(slot)
        assert time.monotonic() - started < 15


def test_a_frozen_server_is_bounded_too(server_place: ServerPlace, slot: Slot) -> None:
    stack, kind = server_place.stack, server_place.kind
    target = server_place.target(call_seconds=3)
    assert target.find(slot.fingerprint) == []
    stack.pause_member(kind)
    try:
        with pytest.raises(Unreachable):
            target.put(slot, RECORD)
    finally:
        stack.resume_member(kind)


def cutting(place: ServerPlace) -> CuttingProxy:
    endpoint = urlsplit(place.stack.endpoint(place.kind))
    # hvac writes with POST, botocore with PUT; logging in to Vault is a POST too and is let through.
    first = b"POST /v1/orgkey/data" if place.kind == "vault" else b"PUT "
    assert endpoint.port is not None
    return CuttingProxy(endpoint.port, first)


def test_a_lost_answer_leaves_the_record_to_be_found(server_place: ServerPlace, slot: Slot) -> None:
    with cutting(server_place) as proxy:
        target = server_place.target(**at(server_place, proxy.port))
        with pytest.raises(Unreachable) as raised:
            target.put(slot, RECORD)
        assert raised.value.again
        assert proxy.cuts == 1
        (stored,) = target.find(slot.fingerprint)
        assert target.get(slot, stored.version) == RECORD


def test_after_a_lost_answer_the_next_attempt_meets_our_own_bytes(
    server_place: ServerPlace, slot: Slot
) -> None:
    with cutting(server_place) as proxy:
        proxy.most = 1
        plain = server_place.target(**at(server_place, proxy.port))
        target = retrying(plain, Retrier(Deadline(30), base=0.01), "target", TARGET_CALLS)
        with pytest.raises(Conflict):
            target.put(slot, RECORD)
        assert proxy.cuts == 1
        assert target.get(slot) == RECORD


def test_retrying_ends_with_the_deadline(server_place: ServerPlace, slot: Slot) -> None:
    target = server_place.target(**at(server_place, dead_port()))
    retrier = Retrier(Deadline(0.5), attempts=1000, base=0.05, cap=0.2)
    patient = retrying(target, retrier, "target", TARGET_CALLS)
    started = time.monotonic()
    with pytest.raises((Unreachable, DeadlinePassed)):
        patient.find(slot.fingerprint)
    assert time.monotonic() - started < 20


def test_the_reader_may_not_write_and_the_writer_may(server_place: ServerPlace, slot: Slot) -> None:
    server_place.stack.demand_roles(server_place.kind)
    with pytest.raises(Denied) as raised:
        server_place.target("driller").put(slot, RECORD)
    assert "driller" in raised.value.message
    assert server_place.target("driller").find(slot.fingerprint) == []
    server_place.target("writer").put(slot, RECORD)
    assert server_place.target("driller").get(slot) == RECORD


def test_a_server_that_comes_back_is_used_again(server_place: ServerPlace, slot: Slot) -> None:
    stack, kind = server_place.stack, server_place.kind
    target = server_place.target()
    target.put(slot, RECORD)
    stack.stop_member(kind)
    try:
        with pytest.raises(Unreachable):
            target.get(slot)
    finally:
        stack.start_member(kind)
    assert target.get(slot) == RECORD
