"""Armor and packets: what is tolerated, what is refused."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import NotAKey
from pipeline.openpgp.format import armor, packets
from pipeline.openpgp.key import parsing
from tests.support import openpgp_writer as writer


@given(st.binary(min_size=1, max_size=300))
def test_round_trip(data: bytes) -> None:
    text = armor.armor(data, "MESSAGE")
    assert armor.dearmor(text) == data
    assert max(map(len, text.splitlines())) <= 64


@given(st.binary(max_size=300))
def test_checksum_is_that_of_the_test_writer(data: bytes) -> None:
    assert armor.crc24(data) == writer.crc24(data)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda text: "\ufeff" + text, "byte order mark"),
        (lambda text: text.replace("\n", "\r\n"), "CRLF"),
        (lambda text: text.replace("\n", "\r"), "CRLF"),
        (lambda text: "\ufeff" + text.replace("\n", "\r\n"), "byte order mark"),
    ],
)
def test_normalised_and_noted(change: Callable[[str], str], note: str) -> None:
    data, notes = armor.normalise(change(writer.armor(b"\x80data", "MESSAGE")).encode())
    assert any(note in one for one in notes)
    assert armor.blocks(data) == [b"\x80data"]


def test_utf16_is_read() -> None:
    for encoding in ("utf-16", "utf-16-be"):
        raw = ("\ufeff" if encoding == "utf-16-be" else "") + writer.armor(b"\x80data", "MESSAGE")
        assert armor.dearmor(raw.encode(encoding)) == b"\x80data"


@pytest.mark.parametrize(
    "text",
    [
        writer.armor(b"\x80data", "MESSAGE", crc=False),
        writer.armor(b"\x80data", "MESSAGE", headers=""),
        writer.armor(
            b"\x80data", "MESSAGE", headers="Version: any: text = at all\nComment: x\nCharset: utf-8\n"
        ),
        writer.armor(b"\x80data", "MESSAGE").replace("\n\n", "\n"),
        writer.armor(b"\x80data", "MESSAGE").replace("\n", "\n\n"),
        writer.armor(b"\x80data", "MESSAGE").replace("\n", "  \t\n"),
        "Dear colleague,\n=3D your key:\n" + writer.armor(b"\x80data", "MESSAGE") + "\nRegards\n--\nme",
    ],
)
def test_tolerated(text: str) -> None:
    assert armor.dearmor(text.encode()) == b"\x80data"


def test_wrong_checksum() -> None:
    good = writer.armor(bytes(range(128, 200)), "MESSAGE")
    for bad in (good.replace("gIGC", "gIGD"), good.replace("=SJdP", "=SJdQ")):
        assert bad != good
        with pytest.raises(NotAKey, match="checksum"):
            armor.dearmor(bad.encode())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (writer.armor(b"\x80data", "MESSAGE").split("-----END")[0], "no end"),
        (
            writer.armor(b"\x80data", "MESSAGE").replace("END PGP MESSAGE", "END PGP SIGNATURE"),
            "another kind",
        ),
        (writer.armor(b"\x80data" * 20, "MESSAGE").replace("\n\n", "\n\n!!!\n"), "not base64"),
        (writer.armor(b"\x80data", "MESSAGE").replace("\n-----END", "\nAAAA\n-----END"), "goes on"),
        ("nothing here", "not OpenPGP data"),
        ("", "not OpenPGP data"),
    ],
)
def test_refused(text: str, what: str) -> None:
    with pytest.raises(NotAKey, match=what):
        armor.dearmor(text.encode())


@given(st.integers(1, 63), st.sampled_from([0, 1, 191, 192, 255, 256, 8383, 8384, 65535, 65536, 70000]))
def test_packets_round_trip(tag: int, size: int) -> None:
    body = b"x" * size
    for new_format in (False, True):
        made = packets.build(tag, body, new_format=new_format)
        assert packets.parse(made.raw) == [made]
        assert made.new_format is (new_format or tag > 15)
        assert made.raw == writer.packet(tag, body, new=new_format)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x80\x00",  # tag 0
        b"\x97abc",  # old format, indeterminate
        b"\xc5\xe0abc",  # partial
        b"\xc5\x05abcd",
        b"\x94\x05abcd",
        b"\xc5",
        b"\xc5\xc0",
        b"\xc5\xff\x00\x00",
        b"\x96\x00\x00",
        b"\xc5\xff\xff\xff\xff\xff",
    ],
)
def test_bounds(data: bytes) -> None:
    with pytest.raises(NotAKey):
        packets.parse(data)


def test_number_of_packets_is_bounded() -> None:
    with pytest.raises(NotAKey, match="more than"):
        packets.parse(b"\xcd\x00" * (packets.MAX_PACKETS + 1))


@pytest.mark.parametrize(
    ("cut", "joined"),
    [
        (b"-----\n-----BEGIN", b"----------BEGIN"),
        (b"-----\n-----BEGIN", b"----- -----BEGIN"),
        (b"\n-----END", b"-----END"),
    ],
)
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_blocks_joined_without_a_line_break(cut: bytes, joined: bytes, ends: bytes) -> None:
    one, other = (
        packets.build(packets.Tag.USER_ID, b"one").raw,
        packets.build(packets.Tag.USER_ID, b"two").raw,
    )
    text = armor.armor(one, "PRIVATE KEY BLOCK") + armor.armor(other, "PUBLIC KEY BLOCK")
    assert cut in text
    data, notes = armor.normalise(text.replace(cut, joined).replace(b"\n", ends))
    assert armor.blocks(data) == [one, other]
    assert any("line break" in note for note in notes)


def test_a_block_that_is_quoted_in_a_comment_is_left_alone() -> None:
    text = b"see `-----END PGP PUBLIC KEY BLOCK-----` there\n" + armor.armor(b"\xb4\x01x", "PUBLIC KEY BLOCK")
    assert armor.normalise(text)[0] == text


def test_an_archive_is_named_and_no_part_of_it_taken_for_the_whole() -> None:
    block = writer.armor(b"\x80data", "PUBLIC KEY BLOCK").encode()
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("key.asc", b"x\n" + block)
    for data, told in ((inside.getvalue(), "a zip archive"), (gzip.compress(block), "a gzip archive")):
        (problem,) = parsing.read_all(data).problems
        assert told in problem.message
        assert "unpack it" in problem.hint
