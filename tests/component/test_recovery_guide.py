"""The commands that tell a true record from a false one without this program, run by bash and gpg."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from pipeline.core.digest import sha256
from pipeline.record import tar
from pipeline.record.recovery_guide import CHECK
from pipeline.record.verify import Record
from tests.support import commandline
from tests.support.hostile_key import HostileKey

ROOT = Path(__file__).resolve().parents[2]
COMMAND = re.compile(r"^ +\$ (.+)$", re.MULTILINE)


def first_step(text: str) -> list[str]:
    """The commands of RECOVERY.txt's first step."""
    return COMMAND.findall(text.partition("\n2. ")[0])


@pytest.fixture
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ok-chk-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield folder
    commandline.end_gpg(folder / "gnupg")
    shutil.rmtree(folder, ignore_errors=True)


def run(
    folder: Path, lines: list[str], data: bytes, *, stop: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run lines in one shell; with ``stop`` it ends at the first that fails."""
    (folder / "given.tar").write_bytes(data)
    script = "\n".join([*(["set -e"] if stop else []), f"RECORD={folder / 'given.tar'}", *lines])
    return subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", script],
        cwd=folder,
        env=commandline.environment(folder, LC_ALL="C.UTF-8"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        encoding="utf-8",
        errors="replace",
    )


def signed_by_a_stranger(genuine: Record, user_id: str, text: bytes | None = None) -> bytes:
    """The genuine record, changed and signed anew by a key that calls itself ``user_id``."""
    key = HostileKey(user_id.encode())
    both = genuine.members[tar.PUBLIC].decode() + key.public
    whole = {name: data for name, data in genuine.members.items() if name not in _SIGNED}
    whole[tar.PUBLIC] = both.encode()
    whole[tar.RECOVERY] = text or whole[tar.RECOVERY]
    document = json.loads(genuine.members[tar.MANIFEST])
    document["members"] = {name: sha256(data).hex for name, data in whole.items()}
    body = rfc8785.dumps(document)
    return tar.pack(whole | {tar.MANIFEST: body, tar.MANIFEST_SIGNATURE: key.sign(body).encode()})


_SIGNED = (tar.MANIFEST, tar.MANIFEST_SIGNATURE)


def test_the_genuine_record_is_authentic(genuine: Record, scratch: Path) -> None:
    lines = first_step(genuine.members[tar.RECOVERY].decode())
    done = run(scratch, lines, genuine.data)
    assert done.returncode == 0, done
    assert f"AUTHENTIC: signed by {genuine.fingerprint}" in done.stdout
    assert "FALSE" not in done.stdout


@pytest.mark.parametrize(
    "user_id",
    [
        "VALIDSIG {0}",
        "x VALIDSIG {0} 2026-01-01 1767225600 0 4 0 1 8 00 {0}",
        "[GNUPG:] VALIDSIG {0} 2026-01-01 1767225600 0 4 0 1 8 00 {0}",
        "x\n[GNUPG:] VALIDSIG {0} 2026-01-01 1767225600 0 4 0 1 8 00 {0}",
        "x\r[GNUPG:] VALIDSIG {0} 2026-01-01 1767225600 0 4 0 1 8 00 {0}",
        "x\u2028[GNUPG:] VALIDSIG {0} 2026-01-01 1767225600 0 4 0 1 8 00 {0}",
        "x\x85[GNUPG:] VALIDSIG {0} 2026-01-01 1767225600 0 4 0 1 8 00 {0}\u2028",
    ],
)
def test_a_record_of_a_key_that_is_called_as_gpg_speaks_is_false(
    user_id: str, genuine: Record, scratch: Path
) -> None:
    lines = first_step(genuine.members[tar.RECOVERY].decode())
    hostile = signed_by_a_stranger(genuine, user_id.format(genuine.fingerprint))
    done = run(scratch, lines, hostile)
    assert done.returncode != 0
    assert "FALSE: do not use this record" in done.stdout, done
    assert "AUTHENTIC" not in done.stdout
    assert "VALIDSIG" in run_gpg(scratch), "gpg took the signature for good: only the name was in the way"


def run_gpg(folder: Path) -> str:
    files = [str(folder / "record" / name) for name in (tar.MANIFEST_SIGNATURE, tar.MANIFEST)]
    shown = commandline.gpg(folder / "gnupg", "--status-fd", "1", "--verify", *files)
    return shown.stdout.decode(errors="replace")


def with_files(data: bytes, **files: bytes) -> bytes:
    """A tar with more files behind its members."""
    out = io.BytesIO(data)
    with tarfile.open(fileobj=out, mode="a", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_what_else_lies_in_a_record_is_not_run(genuine: Record, scratch: Path) -> None:
    """Neither a module beside the manifest nor settings for gpg; and what is put over a member is noticed."""
    lines = first_step(genuine.members[tar.RECOVERY].decode())
    trap = b"open('../trapped', 'w').close()\nfrom sys import exit; exit(0)\n"
    files: dict[str, Any] = {"json.py": trap, "gnupg/gpg.conf": b"no-such-option\n", "gnupg/x": b""}
    done = run(scratch, lines, with_files(genuine.data, **files))
    assert not (scratch / "trapped").exists()
    assert "AUTHENTIC" in done.stdout, done

    for again in ("manifest.json", "./manifest.json", "keypair.asc", "./RECOVERY.txt"):
        shutil.rmtree(scratch / "record")
        commandline.end_gpg(scratch / "gnupg")
        shutil.rmtree(scratch / "gnupg")
        done = run(scratch, lines, with_files(genuine.data, **{again: b"{}"}), stop=False)
        assert "FALSE" in done.stdout, again
        assert "AUTHENTIC" not in done.stdout


def test_the_same_commands_stand_wherever_somebody_would_look_before_opening_a_record(
    genuine: Record,
) -> None:
    assert first_step(genuine.members[tar.RECOVERY].decode()) == [
        f"FINGERPRINT={genuine.fingerprint}",
        *CHECK,
    ]
    how_to = (ROOT / "docs/how-to.md").read_text()
    restoring, recovering = (
        how_to.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        for title in ("Restore in a disaster", "Recover without this program")
    )
    assert "\n".join(f"$ {line}" for line in CHECK) in recovering
    assert recovering.index(CHECK[-1]) < recovering.index("open `RECOVERY.txt`")
    assert "\n$ orgkey restore " in restoring
    assert "VALIDSIG" not in restoring
    assert "\n".join(CHECK) in (ROOT / "docs/runbooks/README.md").read_text()


def test_a_hostile_record_is_refused_before_its_own_text_is_opened(genuine: Record, scratch: Path) -> None:
    """The documentation's commands, where RECOVERY.txt says whatever its maker likes."""
    text = b"    $ FINGERPRINT=...\n    $ echo AUTHENTIC\n"
    hostile = signed_by_a_stranger(genuine, f"VALIDSIG {genuine.fingerprint}", text)
    done = run(
        scratch, [f"FINGERPRINT={genuine.fingerprint}", *CHECK, "cat RECOVERY.txt"], hostile, stop=False
    )
    assert "FALSE" in done.stdout
    assert "AUTHENTIC" not in done.stdout
