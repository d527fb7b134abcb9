from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.errors import IntegrityProblem
from pipeline.record import tar
from pipeline.record.tar import pack, unpack

PART = st.text("abzAZ019._-", min_size=1, max_size=20).filter(lambda text: not text.startswith("."))
NAMES = st.lists(PART, min_size=1, max_size=3).map("/".join)
MEMBERS = st.dictionaries(NAMES, st.binary(max_size=1500), min_size=1, max_size=6)
SMALL = {"RECOVERY.txt": b"read me\n", "custody/unattended/aws.kms": b"\0" * 600, "manifest.json": b"{}"}


def ustar(
    *members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT
) -> bytes:
    """What the standard library writes of any members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def info(name: str, **changes: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.mode = 0o600
    for key, value in changes.items():
        setattr(made, key, value)
    return made


@given(MEMBERS)
def test_what_is_packed_is_unpacked(members: dict[str, bytes]) -> None:
    assert unpack(pack(members)) == members


@given(MEMBERS)
def test_the_same_members_give_the_same_bytes_in_any_order(members: dict[str, bytes]) -> None:
    assert pack(members) == pack(dict(reversed(members.items())))


def test_the_container_is_the_documented_one() -> None:
    data = pack(SMALL)
    assert len(data) % 10_240 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        listed = archive.getmembers()
    assert [item.name for item in listed] == sorted(SMALL)
    assert {(item.mode, item.mtime, item.uid, item.gid, item.uname, item.gname) for item in listed} == {
        (0o600, 0, 0, 0, "", "")
    }
    assert data[257:265] == b"ustar\x0000"


def test_every_changed_byte_of_header_and_padding_is_found() -> None:
    # Content is the manifest's to guard: here only what is not content may not change.
    data = pack(SMALL)
    contents = set()
    offset = 0
    for name in sorted(SMALL):
        contents |= set(range(offset + 512, offset + 512 + len(SMALL[name])))
        offset += 512 + -(-len(SMALL[name]) // 512) * 512
    end = max(contents) + 600  # from there on it is zeroes only: every 64th will do
    for position in (*range(end), *range(end, len(data), 64)):
        changed = bytearray(data)
        changed[position] ^= 1
        if position in contents:
            assert unpack(bytes(changed)) != SMALL
        else:
            with pytest.raises(IntegrityProblem):
                unpack(bytes(changed))


@given(MEMBERS, st.data())
def test_a_changed_byte_never_goes_unnoticed(members: dict[str, bytes], data: st.DataObject) -> None:
    whole = bytearray(pack(members))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(IntegrityProblem):
        assert unpack(bytes(whole)) != members


@pytest.mark.parametrize("kept", [0, 1, 511, 512, 513, 1024, 10_239])
def test_a_truncated_record_is_refused(kept: int) -> None:
    with pytest.raises(IntegrityProblem):
        unpack(pack(SMALL)[:kept])


@pytest.mark.parametrize("tail", [b"\0", b"x", b"\0" * 512, b"\0" * 10_240, pack(SMALL)])
def test_appended_bytes_are_refused(tail: bytes) -> None:
    with pytest.raises(IntegrityProblem):
        unpack(pack(SMALL) + tail)


ODD: dict[str, Callable[[], bytes]] = {
    "a duplicate": lambda: ustar((info("a"), b"1"), (info("a"), b"2")),
    "the same member twice": lambda: ustar((info("a"), b"1"), (info("a"), b"1")),
    "unsorted": lambda: ustar((info("b"), b""), (info("a"), b"")),
    "a symbolic link": lambda: ustar(info("a", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "a hard link": lambda: ustar((info("a"), b"1"), info("b", type=tarfile.LNKTYPE, linkname="a")),
    "a directory": lambda: ustar(info("a", type=tarfile.DIRTYPE)),
    "a device": lambda: ustar(info("a", type=tarfile.CHRTYPE)),
    "a pipe": lambda: ustar(info("a", type=tarfile.FIFOTYPE)),
    "an old regular type": lambda: ustar((info("a", type=tarfile.AREGTYPE), b"1")),
    "another mode": lambda: ustar((info("a", mode=0o644), b"1")),
    "a time": lambda: ustar((info("a", mtime=1), b"1")),
    "an owner": lambda: ustar((info("a", uid=1000), b"1")),
    "an owner's name": lambda: ustar((info("a", uname="root"), b"1")),
    "PAX": lambda: ustar((info("a", pax_headers={"comment": "hi"}), b"1"), form=tarfile.PAX_FORMAT),
    "a PAX long name": lambda: ustar((info("a" * 120), b"1"), form=tarfile.PAX_FORMAT),
    "GNU": lambda: ustar((info("a"), b"1"), form=tarfile.GNU_FORMAT),
    "a GNU long name": lambda: ustar((info("a" * 120), b"1"), form=tarfile.GNU_FORMAT),
    "a prefix": lambda: ustar((info("a" * 60 + "/" + "b" * 60), b"1")),
    "two archives": lambda: ustar((info("a"), b"1")) + ustar((info("b"), b"1")),
    "nothing": lambda: ustar(),
    "only zeroes": lambda: bytes(10_240),
    "one block": lambda: ustar((info("a"), b"1"))[:1024],
}


@pytest.mark.parametrize("what", ODD)
def test_what_another_program_would_accept_is_refused(what: str) -> None:
    with pytest.raises(IntegrityProblem) as caught:
        unpack(ODD[what]())
    assert caught.value.hint


def test_the_standard_library_writes_what_pack_writes() -> None:
    # So that the refusals above are for what they say, and not for how the test writes its tars.
    assert ustar((info("a"), b"1"), (info("b"), b"2")) == pack({"a": b"1", "b": b"2"})


HOSTILE = [
    "", "/", "/etc/passwd", "../x", "a/../b", "..", ".", "./a", ".hidden", "a/.hidden", "a//b", "a/", "a\\b",
    "a b", "a\0b", "a\n", "a/b\n", "ä", "a:b", "a" * 61, "a/b/c/d", "-" + "\t", "*", "$(id)", "`id`", "a;b",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_neither_written_nor_read(name: str) -> None:
    with pytest.raises(ValueError):
        pack({name: b""})
    if name and "\0" not in name:
        with pytest.raises(IntegrityProblem):
            unpack(ustar((info(name), b"1")))


def test_too_large_a_record_is_refused_before_it_is_read() -> None:
    data = pack({"a": bytes(tar.MAX_BYTES - 20_480)})
    assert unpack(data)
    with pytest.raises(IntegrityProblem, match="larger"):
        unpack(pack({"a": bytes(tar.MAX_BYTES)}))


@pytest.mark.parametrize("size", [b"77777777777", b"0000000000\0", b"-0000000001", b"\x80" + b"\xff" * 10])
def test_a_size_that_is_not_true_is_refused(size: bytes) -> None:
    data = bytearray(pack({"a": b"1"}))
    data[124:135] = size
    with pytest.raises(IntegrityProblem):
        unpack(bytes(data))


@given(st.one_of(st.binary(max_size=2000), st.binary(min_size=512, max_size=512).map(lambda b: b * 20)))
@example(b"\0")
@example(b"a" + b"\0" * 600)
def test_any_bytes_give_members_or_an_integrity_problem(data: bytes) -> None:
    with contextlib.suppress(IntegrityProblem):
        assert pack(unpack(data)) == data


@given(st.data())
def test_a_tar_with_noise_in_it_gives_members_or_an_integrity_problem(data: st.DataObject) -> None:
    whole = bytearray(pack(SMALL))
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, 2600))
        noise = data.draw(st.binary(min_size=1, max_size=40))
        whole[start : start + len(noise)] = noise
    with contextlib.suppress(IntegrityProblem):
        assert pack(unpack(bytes(whole))) == bytes(whole)
