"""Whatever the bytes: a classification, no traceback, and no long work."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.secret import Secret
from pipeline.openpgp.key.inspection import inspect
from pipeline.openpgp.key.rewrap import load
from tests.support import openpgp_writer as writer

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WORD = Secret(writer.PASSPHRASE)
KEYS = Path(__file__).parents[2] / "assets" / "keys"
CHEAP = writer.Protection(count=0)


def cheap(name: str) -> bytes:
    """A committed key in two binary blocks with a string-to-key that costs nothing."""
    found = writer.split(writer.dearmor((KEYS / f"{name}-unprotected.asc").read_text()))
    private = writer.protect_all(writer.without_signatures(found), how=CHEAP)
    return writer.join(private) + writer.join(writer.public_of(found))


NAMES = ["rsa2048", "ed25519", "dsa2048", "nistp256", "brainpoolp256"]
GOOD = {name: cheap(name) for name in NAMES}


def classified(data: bytes) -> Code:
    """Inspect with a passphrase, and check that load agrees."""
    found = inspect(data, passphrase=WORD, now=NOW)
    assert found.code is Code.OK or Code.PUBLIC_ONLY <= found.code <= Code.UNSUPPORTED
    assert found.document["exit_code"] == found.code
    if not found.ok:
        with pytest.raises(OrgkeyError) as caught:
            load(data, WORD, pin=None, now=NOW)
        assert caught.value.code is found.code
        assert caught.value.message
        assert caught.value.hint
        return found.code
    key = load(data, WORD, pin=None, now=NOW)
    assert key.fingerprint == found.fingerprint
    assert key.summary()
    assert key.key_state
    return found.code


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_random_bytes(data: bytes) -> None:
    classified(data)


@given(
    st.lists(
        st.tuples(st.sampled_from([2, 5, 6, 7, 12, 13, 14, 17, 61]), st.binary(max_size=120)), max_size=8
    )
)
@settings(max_examples=200, deadline=None)
def test_random_packets(packets: list[writer.Packet]) -> None:
    classified(writer.join(packets))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([5, 6, 7, 14]), st.sampled_from([1, 16, 17, 18, 19, 22]), st.binary(max_size=90)
        ),
        max_size=4,
    )
)
@settings(max_examples=200, deadline=None)
def test_random_key_packets(found: list[tuple[int, int, bytes]]) -> None:
    classified(
        writer.join((tag, bytes([4, 0x60, 0, 0, 0, algorithm]) + body) for tag, algorithm, body in found)
    )


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_mutations_of_good_keys(name: str, data: st.DataObject) -> None:
    mutated = bytearray(GOOD[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(mutated) - 1)))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "remove", "copy"]))
        if kind == "flip" and mutated:
            mutated[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del mutated[at:]
        elif kind == "insert":
            mutated[at:at] = data.draw(st.binary(max_size=8))
        elif kind == "remove":
            del mutated[at : at + data.draw(st.integers(1, 40))]
        else:
            mutated += mutated[at : at + data.draw(st.integers(1, 400))]
    classified(bytes(mutated))


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=150, deadline=None)
def test_mutations_of_packets(name: str, data: st.DataObject) -> None:
    """Headers stay right, so that the mutation reaches what is inside."""
    packets = writer.split(GOOD[name])
    at = data.draw(st.integers(0, len(packets) - 1))
    tag, body = packets[at]
    where = data.draw(st.integers(0, max(0, len(body) - 1)))
    changed = body[:where] + data.draw(st.binary(max_size=4)) + body[where + data.draw(st.integers(0, 4)) :]
    packets[at] = (tag, changed)
    order = (
        data.draw(st.permutations(range(len(packets)))) if data.draw(st.booleans()) else range(len(packets))
    )
    classified(writer.join(packets[index] for index in order))


@given(st.text(alphabet="-=BEGINPGPKEYAZ+/ \n\r:\ufeff", max_size=300))
@settings(max_examples=100, deadline=None)
def test_random_text(text: str) -> None:
    block = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n" + text + "\n-----END PGP PRIVATE KEY BLOCK-----\n"
    classified(text.encode())
    classified(block.encode())


def test_every_cut_of_a_key() -> None:
    whole = GOOD["ed25519"]
    assert classified(whole) is Code.OK
    for size in range(0, len(whole), 7):
        # A cut between packets can leave a smaller, well-formed key.
        assert classified(whole[:size]) in (Code.NOT_A_KEY, Code.INCOMPLETE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n" * 100_000,
        lambda: b"\n" * (4 << 20),
        lambda: b" " * (4 << 20),
        lambda: b"\xcd\x00" * (2 << 20),
        lambda: GOOD["rsa2048"] * 400,
        lambda: GOOD["rsa2048"] + b"\xc2\x0a\x04\x13\x01\x08\x00\x00\x00\x00\x00\x00" * 9_000,
        lambda: writer.join(
            [
                (6, bytes([4, 0, 0, 0, index & 255, 22, 9]) + bytes.fromhex("2b06010401da470f01") + b"\0\1\1")
                for index in range(256)
            ]
            * 30
        ),
    ],
)
def test_hostile_sizes(make: Callable[[], bytes]) -> None:
    data = make()
    before = time.process_time()
    inspect(data, passphrase=WORD, now=NOW)
    assert time.process_time() - before < 10
