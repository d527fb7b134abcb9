"""A query changes nothing on the disk, and needs no disk that can be changed."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.clock import stamp
from pipeline.core.errors import Code
from pipeline.evidence.ledger.events import EscrowEvent
from tests.support import people
from tests.support.inmemory import World
from tests.support.started import Started
from tests.support.worlds import genuine as genuine

QUERIES = [
    ("list",),
    ("status",),
    ("verify",),
    ("report",),
    ("doctor",),
    ("custody", "posture"),
    ("backups", "map"),
    ("ledger", "verify"),
    ("ledger", "show"),
    ("config", "validate"),
]
ENTERED = {("verify",), ("backups", "map")}
"""Queries that are evidence, too: where that cannot be kept, the answer is given with a warning."""
WRITES = {
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.link",
    "os.rmdir",
    "os.symlink",
    "os.chmod",
    "os.truncate",
    "os.utime",
}


def refuse_writes(below: Path, number: int) -> None:
    """Have the system refuse each change below a folder, as a read-only or full file system does."""
    top = os.fspath(below)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            changes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        elif event in WRITES:
            path, changes = arguments[0], True
        else:
            return
        if changes and isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(top):
            raise OSError(number, os.strerror(number), path)

    sys.addaudithook(hook)


@pytest.fixture(scope="module")
def host(genuine: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host that has escrowed and drilled, whose present run was killed or is at work."""
    folder = tmp_path_factory.mktemp("host")
    world = World(folder / "state")
    place = folder / "copies" / world.fingerprint
    place.mkdir(parents=True, mode=0o700)
    (place / f"{genuine.epoch}.tar").write_bytes(genuine.data)
    context = world.context
    entry = context.journal.begin(genuine.epoch, genuine.data)
    entry.mark_proven(
        {"record_sha256": genuine.sha256.hex, "at": stamp(context.clock.now()), "paths": ["unattended"]}
    )
    context.record_event(EscrowEvent(epoch=genuine.epoch))
    draft = entry.path.parent / ".20990101T000000Z-00000000.1"
    (draft / "receipts").mkdir(parents=True)
    (draft / "record.tar").write_bytes(b"half")
    backups = folder / "backups"
    backups.mkdir()
    (backups / "b.pgp").write_bytes(b"no backup")
    (folder / "orgkey.toml").write_text(
        f"""
[key]
fingerprint = "{world.fingerprint}"
[target.disk]
kind = "directory"
path = "{folder / "copies"}"
controlled_by = ["storage"]
[backups.here]
location = "{backups}"
[policy]
copies = 1
accept_single_loss = true
"""
        + people.tables(people.CERTIFICATES)
    )
    (folder / "orgkey.toml").chmod(0o600)
    return folder


def tree(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        data = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        yield f"{path} {facts.st_mode:o} {facts.st_mtime_ns}", data


@pytest.mark.parametrize("words", QUERIES, ids=" ".join)
def test_a_query_neither_writes_nor_needs_to(words: tuple[str, ...], host: Path, tmp_path: Path) -> None:
    given = [*words, "--config", str(host / "orgkey.toml"), "--state-dir", str(host / "state"), "--json"]
    started = Started(tmp_path)
    before = list(tree(host))
    refused = started.run(*given, before=partial(refuse_writes, host, errno.EROFS))
    assert list(tree(host)) == before
    usual = started.run(*given)
    assert refused == usual, started.out
    assert usual in {Code.OK, Code.STALE, Code.INTEGRITY}, started.out
    if words not in ENTERED:
        assert list(tree(host)) == before


def test_a_draft_of_a_run_at_work_is_left_alone(host: Path, tmp_path: Path) -> None:
    world = World(host / "state")
    draft = world.context.journal.root / "journal" / ".20990101T000000Z-00000000.1" / "record.tar"
    Started(tmp_path).run("status", "--config", str(host / "orgkey.toml"), "--state-dir", str(host / "state"))
    assert draft.read_bytes() == b"half"


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_what_must_write_ends_with_3(number: int, host: Path, tmp_path: Path) -> None:
    started = Started(tmp_path)
    given = ["--config", str(host / "orgkey.toml"), "--state-dir", str(host / "state" / "new")]
    assert started.run("repair", *given, before=partial(refuse_writes, host, number)) == Code.LOCAL_FILES
    assert os.strerror(number).encode() in started.err
