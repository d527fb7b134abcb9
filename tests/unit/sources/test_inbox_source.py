from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import (
    DeadlinePassed,
    LocalFilesProblem,
    NotAKey,
    NotPinned,
    OrgkeyError,
    PublicOnly,
    SeveralKeys,
)
from pipeline.openpgp.key.inspection import inspect
from pipeline.sources.inbox import InboxSource
from pipeline.sources.interface import Export, NoExport

ASSETS = Path(__file__).parents[2] / "assets" / "keys"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

RSA = (ASSETS / "rsa2048-two-block.asc").read_bytes()
OTHER = (ASSETS / "ed25519-two-block.asc").read_bytes()
OLD = (ASSETS / "expired-two-block.asc").read_bytes()
RENEWED = (ASSETS / "renewed-two-block.asc").read_bytes()
PUBLIC = RSA[RSA.index(b"-----BEGIN PGP PUBLIC") :]


def pin_of(data: bytes) -> str:
    found = inspect(data, now=NOW).fingerprint
    assert found
    return found


class SteppedClock:
    """Time that passes only by sleeping; something may happen meanwhile."""

    def __init__(self, meanwhile: Callable[[int], None] = lambda _: None) -> None:
        self.naps: list[float] = []
        self._meanwhile = meanwhile

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return sum(self.naps)

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self._meanwhile(len(self.naps))


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def source(
    inbox: Path, pin: str | None = None, clock: SteppedClock | None = None, settle: float = 2.0
) -> tuple[InboxSource, Deadline]:
    clock = clock or SteppedClock()
    return InboxSource(inbox, pin=pin, settle_seconds=settle, clock=clock), Deadline(60, clock)


def fetch(inbox: Path, pin: str | None = None, clock: SteppedClock | None = None) -> Export:
    chosen, deadline = source(inbox, pin, clock)
    return chosen.fetch(deadline)


def test_the_export_is_found_by_content_whatever_it_is_called(inbox: Path) -> None:
    (inbox / "holiday.jpg").write_bytes(RSA)
    export = fetch(inbox, pin_of(RSA))
    assert export.data == RSA
    assert export.origin == str(inbox / "holiday.jpg")
    assert b"PRIVATE" not in repr(export).encode()


def test_a_file_that_is_still_written_is_waited_for(inbox: Path) -> None:
    path = inbox / "0x1A2B3C4D.asc"
    path.write_bytes(RSA[:1000])

    def grow(nap: int) -> None:
        if nap < 3:
            path.write_bytes(RSA if nap == 2 else RSA[: 1000 + nap])

    clock = SteppedClock(grow)
    assert fetch(inbox, clock=clock).data == RSA
    assert clock.naps == [2.0, 2.0, 2.0]


def test_a_rewrite_of_the_same_length_counts_as_a_change(inbox: Path) -> None:
    path = inbox / "key.asc"
    path.write_bytes(b"x" * len(RSA))

    def rewrite(nap: int) -> None:
        if nap == 1:
            path.write_bytes(RSA)
            os.utime(path, ns=(1, 1))

    assert fetch(inbox, clock=SteppedClock(rewrite)).data == RSA


def test_a_file_that_never_settles_ends_at_the_deadline_and_is_named(inbox: Path) -> None:
    path = inbox / "key.asc"
    path.write_bytes(b"x")

    def grow(nap: int) -> None:
        path.write_bytes(b"x" * (nap + 1))

    with pytest.raises(DeadlinePassed, match=r"key\.asc"):
        fetch(inbox, clock=SteppedClock(grow))
    assert path.exists()


def test_unfinished_hidden_and_other_files_are_ignored_and_named(inbox: Path) -> None:
    (inbox / "key.asc").write_bytes(RSA)
    ignored = ["key.asc.part", "key.filepart", ".key.asc.swp", "Thumbs.db", "key.asc~", "notes.txt", "empty"]
    for name in ignored:
        (inbox / name).write_bytes(b"" if name == "empty" else b"not a key")
    (inbox / "huge.pgp").write_bytes(b"\xc1" + bytes(5 * 1024 * 1024))
    (inbox / "folder").mkdir()
    (inbox / "link.asc").symlink_to(inbox / "key.asc")
    os.mkfifo(inbox / "pipe")
    (inbox / "done").mkdir()

    export = fetch(inbox)

    assert export.data == RSA
    notes = "\n".join(export.notes)
    for name in [*ignored, "huge.pgp", "folder", "link.asc", "pipe"]:
        assert f"{name} is ignored" in notes
    assert "done is" not in notes


def test_the_pin_chooses_among_several_keys(inbox: Path) -> None:
    (inbox / "a.asc").write_bytes(OTHER)
    (inbox / "b.asc").write_bytes(RSA)
    export = fetch(inbox, pin_of(RSA))
    assert export.data == RSA
    assert [taken.path.name for taken in export.files] == ["b.asc"]
    assert any("a.asc is ignored" in note and pin_of(OTHER) in note for note in export.notes)


def test_without_a_pin_several_keys_are_an_error_that_names_them(inbox: Path) -> None:
    (inbox / "a.asc").write_bytes(OTHER)
    (inbox / "b.asc").write_bytes(RSA)
    with pytest.raises(SeveralKeys) as caught:
        fetch(inbox)
    for name in ("a.asc", "b.asc", pin_of(OTHER), pin_of(RSA)):
        assert name in caught.value.message


def test_only_another_key_is_not_the_pinned_one(inbox: Path) -> None:
    (inbox / "a.asc").write_bytes(OTHER)
    with pytest.raises(NotPinned, match=r"a\.asc"):
        fetch(inbox, pin_of(RSA))


def test_only_a_public_key_says_so(inbox: Path) -> None:
    (inbox / "public.asc").write_bytes(PUBLIC)
    with pytest.raises(PublicOnly, match=r"public\.asc"):
        fetch(inbox, pin_of(RSA))


def test_a_public_key_beside_the_export_is_left_alone(inbox: Path) -> None:
    (inbox / "public.asc").write_bytes(PUBLIC)
    (inbox / "pair.asc").write_bytes(RSA)
    export = fetch(inbox)
    assert export.data == RSA
    assert "public.asc is ignored: a public key only" in export.notes


@pytest.mark.parametrize("names", [("a.asc", "b.asc"), ("b.asc", "a.asc")])
def test_of_two_exports_of_one_key_the_renewed_one_is_taken_and_both_go_to_done(
    inbox: Path, names: tuple[str, str]
) -> None:
    old, new = (inbox / name for name in names)
    new.write_bytes(RENEWED)
    old.write_bytes(OLD)
    os.utime(new, (1, 1))  # the time of a download says nothing about the age of a key

    chosen, deadline = source(inbox, pin_of(OLD))
    export = chosen.fetch(deadline)
    assert export.data == RENEWED
    assert any(f"{old.name} is passed over" in note for note in export.notes)

    chosen.finish(export, "20260301T120000Z-0011aabb")
    assert not old.exists()
    assert not new.exists()
    kept = {path.name: path for path in (inbox / "done").iterdir()}
    assert kept[f"20260301T120000Z-{old.name}"].read_bytes() == OLD
    assert "passed over" in kept[f"20260301T120000Z-{old.name}.note"].read_text()


def test_nothing_moves_before_finish_and_everything_is_kept_after_it(inbox: Path) -> None:
    (inbox / "key.asc").write_bytes(RSA)
    (inbox / "copy of key.asc").write_bytes(RSA)
    chosen, deadline = source(inbox, pin_of(RSA))
    export = chosen.fetch(deadline)
    assert sorted(path.name for path in inbox.iterdir()) == ["copy of key.asc", "key.asc"]

    told = chosen.finish(export, "20260301T120000Z-0011aabb")

    done = inbox / "done"
    assert [path.name for path in inbox.iterdir()] == ["done"]
    assert stat.S_IMODE(done.stat().st_mode) == 0o700
    moved = done / "20260301T120000Z-key.asc"
    assert moved.read_bytes() == RSA
    assert stat.S_IMODE(moved.stat().st_mode) == 0o400
    assert (done / "20260301T120000Z-copy of key.asc").read_bytes() == RSA
    note = (done / "20260301T120000Z-key.asc.note").read_text()
    assert "20260301T120000Z-0011aabb" in note
    assert "still a private key" in note
    assert all("still opens" in line for line in told)


def test_a_file_in_done_is_never_overwritten(inbox: Path) -> None:
    for content in (b"first", b"second"):
        (inbox / "key.asc").write_bytes(RSA + content)
        chosen, deadline = source(inbox)
        chosen.finish(chosen.fetch(deadline), "epoch")
    kept = sorted(path.read_bytes() for path in (inbox / "done").glob("*.asc"))
    assert kept == [RSA + b"first", RSA + b"second"]


def test_a_file_that_was_replaced_meanwhile_is_not_moved(inbox: Path) -> None:
    (inbox / "key.asc").write_bytes(RSA)
    chosen, deadline = source(inbox)
    export = chosen.fetch(deadline)
    (inbox / "key.asc").write_bytes(OTHER)
    (told,) = chosen.finish(export, "epoch")
    assert (inbox / "key.asc").read_bytes() == OTHER
    assert "not touched" in told


def test_finish_after_a_finish_that_was_cut_off_is_harmless(inbox: Path) -> None:
    (inbox / "key.asc").write_bytes(RSA)
    chosen, deadline = source(inbox)
    export = chosen.fetch(deadline)
    chosen.finish(export, "epoch")
    (told,) = chosen.finish(export, "epoch")
    assert "not touched" in told


def test_a_done_that_is_a_link_is_refused_and_the_export_stays(inbox: Path, tmp_path: Path) -> None:
    (inbox / "key.asc").write_bytes(RSA)
    (tmp_path / "elsewhere").mkdir()
    (inbox / "done").symlink_to(tmp_path / "elsewhere")
    chosen, deadline = source(inbox)
    with pytest.raises(LocalFilesProblem, match="done"):
        chosen.finish(chosen.fetch(deadline), "epoch")
    assert (inbox / "key.asc").read_bytes() == RSA
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_where_links_are_not_possible_the_file_is_renamed(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (inbox / "key.asc").write_bytes(RSA)
    chosen, deadline = source(inbox)
    export = chosen.fetch(deadline)
    monkeypatch.setattr(os, "link", refuse)
    chosen.finish(export, "epoch")
    assert (inbox / "done" / "20260301T120000Z-key.asc").read_bytes() == RSA
    assert not (inbox / "key.asc").exists()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, NoExport),
        (b"shopping list", NoExport),
        (RSA[:900], NotAKey),
        (b"\x95\x03\xff", NotAKey),
    ],
)
def test_an_inbox_without_an_export_says_what_it_has(
    inbox: Path, content: bytes | None, error: type[OrgkeyError]
) -> None:
    if content is not None:
        (inbox / "thing").write_bytes(content)
    with pytest.raises(error) as caught:
        fetch(inbox)
    assert content is None or "thing" in caught.value.message
    assert caught.value.hint


def test_an_inbox_that_does_not_exist_is_a_local_problem(tmp_path: Path) -> None:
    with pytest.raises(LocalFilesProblem, match="inbox"):
        fetch(tmp_path / "inbox")
