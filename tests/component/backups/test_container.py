"""The walk over archives agrees with the standard library's, in pieces of any size."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import IntegrityProblem
from pipeline.sources.backups.container import Contents, ContentSummary


def walk(data: bytes, size: int = 4096) -> ContentSummary:
    """What the walker says."""
    contents = Contents()
    for at in range(0, len(data), size):
        contents.feed(memoryview(data)[at : at + size])
    return contents.finish()


names = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=180)
entries = st.lists(
    st.tuples(
        names, st.integers(0, 3000), st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
    ),
    max_size=8,
)


def archive(items: list[tuple[str, int, bytes]], form: int) -> bytes:
    """A tar archive by the standard library."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, size, kind in items:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, size if kind == tarfile.REGTYPE else 0
            info.linkname = name * 2 if kind == tarfile.SYMTYPE else ""
            info.uname = "Ünser"
            tar.addfile(info, io.BytesIO(b"d" * info.size))
    return out.getvalue()


@settings(max_examples=120, deadline=None)
@given(
    items=entries, form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    step=st.sampled_from([1, 511, 512, 10_000]), packed=st.booleans(),
)  # fmt: skip
def test_it_counts_as_the_standard_library_does(
    items: list[tuple[str, int, bytes]], form: int, step: int, packed: bool
) -> None:
    data = archive(items, form)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        count = len(tar.getnames())
    written = gzip.compress(data) if packed else data
    found = walk(written, max(step, len(written) // 2000 + 1))
    assert found == ContentSummary("tar.gz" if packed else "tar", count, len(written))
    assert found.nothing == (not items)


@pytest.mark.parametrize(
    ("data", "container", "nothing"),
    [
        (b"", "bytes", True),
        (b"x", "bytes", False),
        (bytes(10_240), "tar", True),
        (bytes(10_240) + b"x", "bytes", False),
        (gzip.compress(b"", mtime=0), "gzip", True),
        (gzip.compress(bytes(700), mtime=0), "tar.gz", True),
        (gzip.compress(b"x", mtime=0), "gzip", False),
    ],
)
@pytest.mark.parametrize("step", [1000, 100_000])
def test_what_holds_nothing_is_told(data: bytes, container: str, nothing: bool, step: int) -> None:
    found = walk(data, step)
    assert (found.container, found.nothing) == (container, nothing)


def test_gnu_tar_sparse_incremental_and_large(tmp_path: Path) -> None:
    if subprocess.run(["tar", "--version"], capture_output=True, check=False).returncode:  # pragma: no cover
        pytest.fail("GNU tar is part of every Debian")
    hole = tmp_path / "hole"
    with hole.open("wb") as stream:
        for place in range(0, 40_000_000, 1_000_000):  # many islands: the map needs further blocks
            stream.seek(place)
            stream.write(b"island")
    (tmp_path / ("long" * 50)).write_bytes(b"x" * 5000)
    (tmp_path / "empty").touch()
    for options in (
        ["--sparse", "--format=gnu"],
        ["--sparse", "--format=posix"],
        ["--format=v7"],
        ["--format=oldgnu"],
    ):
        names = ["hole", "empty"] + (["long" * 50] if options[-1] != "--format=v7" else [])
        made = subprocess.run(
            ["tar", "-C", str(tmp_path), "-cf", "-", *options, *names], capture_output=True, check=True
        )
        found = walk(made.stdout, 10_000)
        assert (found.container, found.entries) == ("tar", len(names)), options


def test_a_member_above_8_gib_is_skipped_by_its_own_size() -> None:
    info = tarfile.TarInfo("large")
    info.size = 9 << 30
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        start = info.tobuf(form)
        contents = Contents()
        contents.feed(start)
        zeros = memoryview(bytes(1 << 24))
        for _ in range((9 << 30) // len(zeros)):
            contents.feed(zeros)
        with pytest.raises(IntegrityProblem, match="cut off"):
            contents.finish()
        contents.feed(bytes(1024))
        assert contents.finish().entries == 1


def test_bytes_gzip_members_and_padding() -> None:
    assert walk(b"") == ContentSummary("bytes", None, 0)
    assert walk(b"x" * 5000) == ContentSummary("bytes", None, 5000)
    two = gzip.compress(b"one") + gzip.compress(b"two")
    assert walk(two, 3) == ContentSummary("gzip", None, len(two))
    assert walk(two + bytes(512)).container == "gzip"
    for wrong in (two + b"more", two[:-1], two + bytes(512) + two):
        with pytest.raises(IntegrityProblem):
            walk(wrong, 7)


def test_one_layer_of_gzip_is_looked_into() -> None:
    data = archive([("a", 3000, tarfile.REGTYPE)], tarfile.PAX_FORMAT)
    once = gzip.compress(data)
    assert (walk(once).container, walk(once).entries) == ("tar.gz", 1)
    layers = gzip.compress(once)
    assert walk(layers) == ContentSummary("gzip", None, len(layers))
    for _ in range(600):
        layers = gzip.compress(layers)
    assert walk(layers) == ContentSummary("gzip", None, len(layers))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_damaged_and_cut_archives(form: int) -> None:
    data = archive([("a", 3000, tarfile.REGTYPE), ("b", 3000, tarfile.REGTYPE)], form)
    second = data.index(b"b\0", 3000)
    with pytest.raises(IntegrityProblem, match="damaged after 1 entries"):
        walk(data[:second] + b"X" + data[second + 1 :])
    for cut in (600, second + 100, second + 512, second + 512 + 3072):
        with pytest.raises(IntegrityProblem, match="cut off"):
            walk(data[:cut])


def crafted(kind: bytes, size: bytes, tail: bytes = b"") -> bytes:
    """An archive with one header whose length field is written by hand."""
    block = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    block[156:157], block[124:136] = kind, size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return tarfile.TarInfo("x").tobuf() * 3 + bytes(block) + tail + bytes(2048)


@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"S", b"7"])
@pytest.mark.parametrize("size", [-1, -1500, -(1 << 60)])
def test_a_negative_length_is_damage_and_no_endless_loop(kind: bytes, size: int) -> None:
    with pytest.raises(IntegrityProblem, match="negative"):
        walk(crafted(kind, b"\xff" + (256**11 + size).to_bytes(11, "big")))


def test_a_length_of_five_thousand_digits_is_damage() -> None:
    record = b"size=" + b"9" * 5000 + b"\n"
    record = b"%d %s" % (len(record) + 5, record)
    size = b"%011o\0" % len(record)
    with pytest.raises(IntegrityProblem, match="unlikely"):
        walk(crafted(b"x", size, record.ljust(5120, b"\0") + tarfile.TarInfo("y").tobuf()))
