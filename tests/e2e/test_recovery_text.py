"""Recovery without this program: the commands of a stored RECOVERY.txt, run where it cannot be imported."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.custody.holders.interface import Binding
from pipeline.devstack import programs
from pipeline.record import manifest, tar
from pipeline.record.recovery_guide import recovery_text
from tests.support import commandline, leftovers
from tests.support.commandline import Desk, orgkey

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

COMMAND = re.compile(r"^ +\$ (.+)$", re.MULTILINE)
BASICS = ("bash", "base64", "cat", "env", "gpg", "gpg-agent", "gpgconf", "grep", "mkdir", "sha256sum", "tar")


@pytest.fixture
def programs_of_others(tmp_path: Path) -> Path:
    """A PATH with exactly the programs that a stranger has; none of them can import the pipeline."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in BASICS:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    bao = programs.find(programs.OPENBAO)
    assert bao is not None
    (folder / bao.name).symlink_to(bao)
    beside = Path(sys.executable).parent
    for name in ("shamir", "aws"):
        # Scripts of this environment, in which the pipeline is installed: it is taken away from them.
        blocked = "import runpy, sys; sys.modules['pipeline'] = None; sys.argv[0] = {0!r}; "
        start = blocked.format(name) + f"runpy.run_path({str(beside / name)!r}, run_name='__main__')"
        write_script(folder / name, f'exec {sys.executable} -I -c {shlex.quote(start)} "$@"')
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    write_script(folder / "python3", f'exec {shlex.quote(str(base))} -I "$@"')
    return folder


def write_script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o700)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """An empty directory with a short name, as the text asks for."""
    folder = leftovers.directory("ok-rec-", memory=True)
    yield folder
    commandline.end_gpg(folder / "gnupg")
    shutil.rmtree(folder, ignore_errors=True)


def bash(
    folder: Path, path: Path, exports: str, lines: list[str], **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run lines in one shell that stops at the first one that fails."""
    script = "\n".join([exports, f"export PATH={shlex.quote(str(path))}", "set -e -o pipefail", *lines])
    return subprocess.run(
        [str(path / "bash"), "--norc", "--noprofile", "-c", script],
        cwd=folder,
        env={"PATH": str(path), "HOME": str(folder), "LC_ALL": "C.UTF-8", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def exports_of(stack: Stack, folder: Path) -> str:
    """What somebody who opens the shares has evaluated: the driller's logins."""
    return orgkey(folder, "stack", "env", "--dir", str(stack.layout.root), expect=0).out


def fetch(kind: str, desk: Desk, epoch: str, record: Path) -> str:
    """How a stored copy is had with the target's own tool."""
    slot = desk.slot(epoch)
    if kind == "vault":
        entry = f"{desk.place.kv_prefix}/{desk.fingerprint}/{epoch}"
        return f"bao kv get -mount=orgkey -field=record {entry} | base64 -d > {record}"
    if kind == "s3":
        return f"aws s3api get-object --bucket {desk.at_s3.bucket} --key {desk.at_s3.key(slot)} {record}"
    return f"cat {shlex.quote(str(desk.at_disk.file(slot)))} > {record}"


@pytest.mark.parametrize(("kind", "key"), [("s3", "rsa4096"), ("vault", "ed25519"), ("disk", "rsa2048")])
def test_the_stored_commands_bring_the_key_back(
    kind: str, key: str, place: Place, tmp_path: Path, programs_of_others: Path, scratch: Path
) -> None:
    (tmp_path / "desk").mkdir()
    desk = Desk(place, tmp_path / "desk", key=key, disk=True)
    epoch = desk.escrow("--no-drill")["epoch"]
    exports = exports_of(desk.stack, tmp_path)
    file = tmp_path / "record.tar"
    got = bash(tmp_path, programs_of_others, exports, [fetch(kind, desk, epoch, file)])
    assert got.returncode == 0, got.stderr

    with tarfile.open(file) as archive:
        member = archive.extractfile("RECOVERY.txt")
        assert member is not None
        text = member.read().decode("ascii")
    commands = COMMAND.findall(text)
    assert len(commands) >= 12, text
    assert not any("orgkey" in command.split()[0] for command in commands)
    absent = bash(scratch, programs_of_others, "", ["python3 -c 'import pipeline'"])
    assert "ModuleNotFoundError" in absent.stderr
    assert bash(scratch, programs_of_others, "", ["shamir --help"]).returncode == 0

    done = bash(scratch, programs_of_others, exports, commands, RECORD=str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"AUTHENTIC: signed by {desk.fingerprint}" in done.stdout
    assert re.search(r"^sec:.*:\+:", done.stdout, re.MULTILINE)
    assert (scratch / "record" / "original.asc").read_bytes() == desk.export.read_bytes()
    # The escrow passphrase is 64 such digits; no digest is printed either.
    assert not re.search(r"\b[0-9a-f]{64}\b", done.stdout + done.stderr)


def test_the_commands_stop_at_a_false_record(
    stack: Stack,
    fresh_place: Callable[[Stack], Place],
    tmp_path: Path,
    programs_of_others: Path,
    scratch: Path,
) -> None:
    """Whoever knows the fingerprint and follows the true text is not led by a record of another key."""
    _, true = commandline.record_of(stack, fresh_place, "ed25519")
    _, false = commandline.record_of(stack, fresh_place, "nistp256")
    file, stranger = tmp_path / "record.tar", tmp_path / "false.tar"
    file.write_bytes(true)
    stranger.write_bytes(false)
    with tarfile.open(file) as archive:
        member = archive.extractfile("RECOVERY.txt")
        assert member is not None
        commands = COMMAND.findall(member.read().decode())
    done = bash(scratch, programs_of_others, exports_of(stack, tmp_path), commands, RECORD=str(stranger))
    assert done.returncode != 0
    assert "FALSE" in done.stdout
    assert not [*scratch.rglob("original.asc")]
    assert "sec:" not in done.stdout


def test_a_user_id_makes_no_commands(
    stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path
) -> None:
    """A user id is foreign text; it must not become a line that somebody runs."""
    epoch, data = commandline.record_of(stack, fresh_place, "ed25519")
    members = tar.unpack(data)
    found = manifest.parse_manifest(members[tar.MANIFEST])
    text = recovery_text(
        found.custody,
        Binding(found.fingerprint, found.record_id),
        epoch=epoch,
        user_ids=["Org\n    $ touch /tmp/owned <org@example.com>", "a\r\n\t$ b", "\x85    $ c\u2028    $ d"],
    )
    assert COMMAND.findall(text) == COMMAND.findall(members[tar.RECOVERY].decode())
    assert len(text.splitlines()) == len(members[tar.RECOVERY].decode().splitlines())
