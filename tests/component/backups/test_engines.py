"""Both engines read what GnuPG, Sequoia, PGPy and a writer of odd forms write, byte for byte alike."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable

import pgpy
import pysequoia
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import Code, DeadlinePassed, IntegrityProblem, OrgkeyError, Unsupported
from pipeline.core.secret import Secret
from pipeline.sources.backups import gpg_engine, message_header
from pipeline.sources.backups.byte_stream import PIECE, ByteStream
from pipeline.sources.backups.engine import SessionKey
from pipeline.sources.backups.message_header import HIDDEN
from tests.component.backups.conftest import KEYS, Gpg, fingerprint, pieces, read
from tests.support import message_writer as writer
from tests.support import openpgp_writer
from tests.support.message_writer import INDETERMINATE, OLD, Framing

MESSAGES = KEYS.with_name("messages")
GetKey = Callable[[bytes, str], SessionKey | None]
AES256 = SessionKey(9, Secret(bytes(range(32))))

# Random data does not compress, and text does; sizes around the engine's pieces and a cipher's blocks.
SIZES = (0, 1, 15, 16, 17, 511, 8191, 70_000, PIECE - 1, PIECE + 1, 3 * PIECE + 5)


def content(size: int, compressible: bool) -> bytes:
    """Reproducible data."""
    if compressible:
        return (b"user %d has a key\n" * (size // 10 + 1))[:size]
    return random.Random(size).randbytes(size)  # noqa: S311 - the same in every run


def both(data: bytes, message: bytes, key: SessionKey | None) -> None:
    """Both engines give these bytes."""
    assert key is not None
    ours, plain = read(message, key)
    assert ours.engine == "orgkey"
    assert plain == data
    theirs, plain = read(message, key, "gnupg")
    assert theirs.engine == "gnupg"
    assert plain == data
    assert ours.found == theirs.found
    assert ours.integrity == theirs.integrity


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("compressible", [False, True])
def test_gnupg_of_any_size(gpg: Gpg, session_key: GetKey, size: int, compressible: bool) -> None:
    data = content(size, compressible)
    message = gpg.encrypt(data)
    both(data, message, session_key(message, "rsa2048"))


@pytest.mark.parametrize("algorithm", ["none", "zip", "zlib", "bzip2"])
@pytest.mark.parametrize("to", ["rsa2048", "ed25519", "nistp256"])
def test_gnupg_with_any_compression_and_key(gpg: Gpg, session_key: GetKey, algorithm: str, to: str) -> None:
    data = content(300_000, True)
    message = gpg.encrypt(data, "--compress-algo", algorithm, to=(to,))
    key = session_key(message, to)
    both(data, message, key)
    assert key is not None
    assert read(message, key)[0].compression == algorithm


@pytest.mark.parametrize(
    ("cipher", "known"),
    [("AES", True), ("AES192", True), ("AES256", True), ("TWOFISH", False), ("3DES", False)],
)
def test_gnupg_with_any_cipher(gpg: Gpg, session_key: GetKey, cipher: str, known: bool) -> None:
    if cipher == "3DES":  # GnuPG 2.4 reads it, and writes it no more
        data, message = content(3000, False), (MESSAGES / "gpg22-3des.pgp").read_bytes()
    else:
        data = content(100_000, False)
        message = gpg.encrypt(data, "--cipher-algo", cipher)
    key = session_key(message, "rsa2048")
    if known:
        both(data, message, key)
        return
    assert key is not None
    assert read(message, key, "gnupg")[1] == data
    with pytest.raises(Unsupported):
        read(message, key)


def test_gnupg_armored_signed_to_several_and_hidden_recipients(gpg: Gpg, session_key: GetKey) -> None:
    data = content(200_000, False)
    several = gpg.encrypt(data, "--armor", to=("nistp256", "rsa2048"))
    assert len(message_header.read(pieces(gpg.run("--dearmor", stdin=several), 100)).key_ids) == 2
    for name in ("rsa2048", "nistp256"):
        both(data, several, session_key(several, name))
    assert session_key(several, "ed25519") is None
    hidden = gpg.encrypt(data, "--throw-keyids", to=("ed25519",))
    assert message_header.read(pieces(hidden, 100)).key_ids == (HIDDEN,)
    both(data, hidden, session_key(hidden, "ed25519"))
    signed = gpg.encrypt(data, "--sign", "--local-user", fingerprint("rsa2048"))
    both(data, signed, session_key(signed, "rsa2048"))


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("options", [("--emit-version",), ("--emit-version", "--comment", "nightly: no. 1")])
def test_armor_with_headers(gpg: Gpg, session_key: GetKey, options: tuple[str, ...], ending: bytes) -> None:
    data = content(70_000, False)
    message = gpg.encrypt(data, "--armor", *options).replace(b"\n", ending)
    assert b"\nVersion: " in message
    both(data, message, session_key(message, "rsa2048"))
    header = b"Version: " + message.partition(b"Version: ")[2].partition(ending)[0] + ending
    empty = message.replace(header, b"").replace(b"Comment: nightly: no. 1" + ending, b"")
    assert b": " not in empty
    both(data, empty, session_key(empty, "rsa2048"))


def test_what_is_for_a_passphrase_is_not_shown_to_who_knows_one(gpg: Gpg, session_key: GetKey) -> None:
    """Whoever writes a backup can put one before it, and have the escrow passphrase tried on it."""
    data = content(20_000, False)
    message = gpg.encrypt(data)
    planted = Framing().packet(3, b"\x04\x09\x03\x08" + bytes(8) + b"\xff")
    whole = planted + message
    stub = message_header.read(pieces(whole, 100)).stub
    assert [tag for tag, _ in openpgp_writer.split(stub)] == [1, 18]
    both(data, whole, session_key(whole, "rsa2048"))


@pytest.mark.parametrize("by", ["orgkey", "gnupg"])
@pytest.mark.parametrize("size", [100, 300_000])
def test_what_follows_an_armored_message(gpg: Gpg, session_key: GetKey, by: str, size: int) -> None:
    data = content(size, False)
    message = gpg.encrypt(data, "--armor")
    key = session_key(message, "rsa2048")
    assert key is not None
    for step in (1 << 20, 4096):
        for nothing in (b"", b"\r\n \t\n", b" " * 70_000):
            assert read(message.rstrip() + nothing, key, by, step)[1] == data
        for more in (message, b"more", b"\n" * 70_000 + b"."):
            with pytest.raises(IntegrityProblem, match="something follows the message"):
                read(message + more, key, by, step)
        for cut in (5, 15):
            with pytest.raises(IntegrityProblem, match="no end"):
                read(message.rstrip()[:-cut], key, by, step)
        with pytest.raises(IntegrityProblem, match="end of its armor"):
            read(message.replace(b"-END PGP MESSAGE-", b"-END PGP MESSAGES"), key, by, step)


@pytest.mark.parametrize("size", [0, 17, 70_000, PIECE + 1])
@pytest.mark.parametrize("to", ["rsa2048", "ed25519"])
@pytest.mark.parametrize("armor", [True, False])
def test_sequoia(session_key: GetKey, size: int, to: str, armor: bool) -> None:
    data = content(size, size % 2 == 0)
    cert = pysequoia.Cert.from_bytes((KEYS / f"{to}-unprotected.asc").read_bytes())
    message = bytes(pysequoia.encrypt(data, recipients=[cert], armor=armor))
    both(data, message, session_key(message, to))


@pytest.mark.parametrize("size", [1, 17, 70_000, PIECE + 1])
@pytest.mark.parametrize("to", ["rsa2048", "nistp256"])
@pytest.mark.parametrize("algorithm", ["Uncompressed", "ZIP", "ZLIB", "BZ2"])
def test_pgpy(session_key: GetKey, size: int, to: str, algorithm: str) -> None:
    data = content(size, True)
    key, _ = pgpy.PGPKey.from_blob((KEYS / f"{to}-unprotected.asc").read_bytes())
    chosen = getattr(pgpy.constants.CompressionAlgorithm, algorithm)
    plain = pgpy.PGPMessage.new(bytearray(data), compression=chosen, format="b")
    message = bytes(key.pubkey.encrypt(plain))
    both(data, message, session_key(message, to))


framings = st.one_of(
    st.builds(Framing, parts=st.lists(st.integers(9, 16), min_size=1, max_size=3).map(tuple)),
    st.sampled_from([Framing(), Framing(form=5), Framing(form=OLD)]),
)
# What the two outermost levels may have: there the end of the stream is the packet's own.
open_ended = st.one_of(framings, st.just(Framing(form=INDETERMINATE)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 90_000),
    compressible=st.booleans(),
    algorithm=st.sampled_from([writer.NONE, writer.ZIP, writer.ZLIB, writer.BZIP2]),
    outer=framings,
    middle=open_ended,
    inner=framings,
    step=st.sampled_from([1, 7, 512, 513, 4096, 1 << 20]),
    name=st.binary(max_size=40),
)
def test_any_framing(
    size: int, compressible: bool, algorithm: int, outer: Framing, middle: Framing, inner: Framing, step: int,
    name: bytes,
) -> None:  # fmt: skip
    data = content(size, compressible)
    # The integrity packet follows, so what it covers cannot go on to the end.
    if middle.form == INDETERMINATE and algorithm == writer.NONE:
        middle = Framing()
    inside = writer.compressed(writer.literal(data, inner, name), algorithm, middle)
    if middle.form == INDETERMINATE:
        return
    message = writer.message(writer.protected(inside, AES256.key.reveal(), framing=outer))
    if step < 512 and len(message) > 5000:
        step = 4096
    result, plain = read(message, AES256, size=step)
    assert plain == data
    assert result.integrity == "mdc"


@settings(max_examples=12, deadline=None)
@given(size=st.integers(0, 60_000), outer=framings, inner=framings, kind=st.integers(0, 3))
def test_the_engines_agree_on_any_framing(size: int, outer: Framing, inner: Framing, kind: int) -> None:
    data = content(size, True)
    inside = writer.compressed(writer.literal(data, inner), kind)
    both(data, writer.message(writer.protected(inside, AES256.key.reveal(), framing=outer)), AES256)


@pytest.mark.parametrize("outer", [Framing(), Framing(parts=(10,)), Framing(form=INDETERMINATE)])
@pytest.mark.parametrize("kind", [writer.NONE, writer.ZLIB])
def test_without_integrity_code(outer: Framing, kind: int) -> None:
    data = content(90_001, False)
    inside = writer.compressed(writer.literal(data), kind)
    message = writer.message(writer.unprotected(inside, AES256.key.reveal(), framing=outer))
    result, plain = read(message, AES256)
    assert (plain, result.integrity) == (data, "none")
    both(data, message, AES256)


def test_gnupg_without_integrity_code(gpg: Gpg, session_key: GetKey) -> None:
    data = content(100_000, False)
    message = gpg.encrypt(data, "--rfc2440", "--disable-mdc", "--cipher-algo", "AES256")
    if message[:1] == b"\xd2":  # pragma: no cover - newer gpg always protects
        pytest.fail("this gpg cannot write one")
    assert message_header.read(pieces(message, 999)).protection in ("none", "mdc")
    both(data, message, session_key(message, "rsa2048"))


def test_a_definite_length_just_below_4_gib_is_understood() -> None:
    size = (1 << 32) - 1
    start = (
        writer.recipient("0123456789ABCDEF") + b"\xd2\xff" + size.to_bytes(4, "big") + b"\x01" + bytes(5000)
    )
    assert message_header.read(pieces(start, 777)).protection == "mdc"
    with pytest.raises(IntegrityProblem, match=r"cut off|altered"):
        read(start, AES256)


# -- what is wrong is named, and never good ---------------------------------------------------------


def sample(kind: int = writer.ZLIB, size: int = 200_000) -> tuple[bytes, int]:
    """A message, and where its encrypted data begins."""
    inside = writer.compressed(writer.literal(content(size, False)), kind)
    encrypted = writer.protected(inside, AES256.key.reveal(), framing=Framing(form=5))
    whole = writer.message(encrypted)
    return whole, len(whole) - len(encrypted) + 6


def flipped(data: bytes, at: int, bit: int = 1) -> bytes:
    """With one bit changed."""
    changed = bytearray(data)
    changed[at] ^= bit
    return bytes(changed)


@pytest.mark.parametrize("by", ["orgkey", "gnupg"])
@pytest.mark.parametrize("kind", [writer.NONE, writer.ZIP, writer.ZLIB, writer.BZIP2])
@pytest.mark.parametrize(
    "place", ["prefix", "start", "middle", "last block", "integrity packet", "integrity code", "last byte"]
)
def test_a_flipped_bit_is_named(by: str, kind: int, place: str) -> None:
    message, start = sample(kind, 60_000)
    at = {
        "prefix": start + 3, "start": start + 25, "middle": (start + len(message)) // 2,
        "last block": len(message) - 30, "integrity packet": len(message) - 22,
        "integrity code": len(message) - 12, "last byte": len(message) - 1,
    }[place]  # fmt: skip
    with pytest.raises(IntegrityProblem) as caught:
        read(flipped(message, at), AES256, by)
    assert caught.value.code is Code.INTEGRITY
    assert re.search("altered|damaged", caught.value.message)
    assert caught.value.hint


@settings(max_examples=80, deadline=None)
@given(data=st.data(), kind=st.integers(0, 3))
def test_no_flipped_bit_is_ever_good(data: st.DataObject, kind: int) -> None:
    message, start = sample(kind, 3000)
    at = data.draw(st.integers(start + 1, len(message) - 1))
    with pytest.raises(IntegrityProblem):
        read(flipped(message, at, 1 << data.draw(st.integers(0, 7))), AES256)


@pytest.mark.parametrize("by", ["orgkey", "gnupg"])
@pytest.mark.parametrize("bit", [1, 2, 128])
def test_another_version_of_the_packet_is_not_understood(by: str, bit: int) -> None:
    message, start = sample()
    with pytest.raises(OrgkeyError) as caught:
        read(flipped(message, start, bit), AES256, by)
    assert caught.value.code in (Code.UNSUPPORTED, Code.INTEGRITY)


@pytest.mark.parametrize("by", ["orgkey", "gnupg"])
def test_no_error_shows_the_session_key(by: str) -> None:
    message, start = sample()
    key = AES256.key.reveal().hex()
    for wrong in (flipped(message, start), flipped(message, start + 40), message[:-5]):
        with pytest.raises(OrgkeyError) as caught:
            read(wrong, AES256, by)
        assert key[:16] not in f"{caught.value.message} {caught.value.hint}".lower()
        assert "seskey" not in caught.value.message


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.integers(0, 3), framing=framings)
def test_no_truncation_is_ever_good(data: st.DataObject, kind: int, framing: Framing) -> None:
    inside = writer.compressed(writer.literal(content(3000, False)), kind)
    message = writer.message(writer.protected(inside, AES256.key.reveal(), framing=framing))
    cut = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(IntegrityProblem):
        read(message[:cut], AES256)


@pytest.mark.parametrize("by", ["orgkey", "gnupg"])
def test_truncated_lengthened_or_another_key(by: str) -> None:
    message, _ = sample()
    for wrong in (message[:-1], message[:-23], message[: len(message) // 2]):
        with pytest.raises(IntegrityProblem):
            read(wrong, AES256, by)
    with pytest.raises(IntegrityProblem):
        read(message, SessionKey(9, Secret(bytes(32))), by)


def test_what_follows_the_message_is_not_ignored() -> None:
    message, _ = sample()
    with pytest.raises(IntegrityProblem, match="follows"):
        read(message + b"more", AES256)
    with pytest.raises(IntegrityProblem, match="follows"):
        read(message + message, AES256)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(OrgkeyError):
        read(data, AES256)


@settings(max_examples=80, deadline=None)
@given(inside=st.binary(max_size=200))
def test_garbage_inside_is_refused_by_name(inside: bytes) -> None:
    message = writer.message(writer.protected(inside, AES256.key.reveal()))
    try:
        read(message, AES256)
    except OrgkeyError:
        return
    assert inside[:1] >= b"\x80"  # by chance it was something


def test_a_bomb_of_layers_is_refused() -> None:
    inside = writer.literal(b"x")
    for _ in range(9):
        inside = writer.compressed(inside, writer.ZIP)
    with pytest.raises(IntegrityProblem, match="layers"):
        read(writer.message(writer.protected(inside, AES256.key.reveal())), AES256)


# -- time -------------------------------------------------------------------------------------------


class Ticking(SystemClock):
    """Each look at it takes a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 1.0
        return self.seconds


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("hidden", [False, True])
def test_the_deadline_counts_while_nothing_more_is_read(layers: int, hidden: bool) -> None:
    """Some hundred bytes that are at hand grow to ten million, none of which need be content."""
    signatures = Framing().packet(2, bytes(10_000_000)) if hidden else b""
    inside = signatures + writer.literal(b"x" if hidden else bytes(10_000_000))
    for _ in range(layers):
        inside = writer.compressed(inside, writer.ZLIB)
    message = writer.message(writer.protected(inside, AES256.key.reveal()))
    assert len(message) < 20_000
    with pytest.raises(DeadlinePassed):
        read(message, AES256, deadline=Deadline(20, Ticking()))
    assert read(message, AES256)[0].found.size in (1, 10_000_000)


def test_gpg_is_ended_when_its_time_is_over() -> None:
    message, _ = sample(writer.NONE, 1_000_000)
    parts = iter([message[at : at + 20_000] for at in range(0, len(message), 20_000)])

    def slow() -> bytes:
        time.sleep(0.5)  # 25 seconds in all
        return next(parts, b"")

    started = time.monotonic()
    with pytest.raises(DeadlinePassed, match="1 s"):
        gpg_engine.read(ByteStream(slow), message_header.read(pieces(message, 1 << 20)), AES256, Deadline(1))
    assert time.monotonic() - started < 15
