"""A proof grows old: what `init` writes, a drill that passed, and then nobody for 900 days."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import Code
from pipeline.openpgp.format import protection
from pipeline.record import verify
from tests.support import people
from tests.support.commandline import export_of, fingerprint_of
from tests.support.openpgp_writer import PASSPHRASE
from tests.support.provers import use_quick
from tests.support.started import Started

KEY = "ed25519"


def _quick() -> None:
    patch = pytest.MonkeyPatch()
    use_quick(patch)
    patch.setattr(protection, "MAX_COUNT_OCTET", protection.ESCROW_COUNT_OCTET)


def _later() -> None:
    now = SystemClock.now
    pytest.MonkeyPatch().setattr(SystemClock, "now", lambda self: now(self) + timedelta(days=900))


def test_900_days_after_its_drill_the_gate_is_broken_and_the_report_does_not_say_yes(tmp_path: Path) -> None:
    orgkey, names = Started(tmp_path), ("alice", "bob", "carol")
    (tmp_path / "disk").mkdir()
    people.folder(tmp_path / "custodians", names)
    passphrase, words = tmp_path / "passphrase", tmp_path / "words"
    for file in (passphrase, words):
        file.touch(0o600)
    passphrase.write_bytes(PASSPHRASE)

    def run(*given: str, later: bool = False) -> int:
        return orgkey.run(*given, before=_later if later else _quick)

    custodians = [word for name in names for word in ("--custodian", people.FINGERPRINTS[name])]
    given = ("--from", str(export_of(KEY)), "--yes", "--no-input", "--directory", "disk", *custodians)
    assert run("init", *given, "--accept-single-loss") == 0, orgkey.err
    escrowed = ("escrow", str(export_of(KEY)), "--export-passphrase-file", "passphrase", "--no-drill")
    assert run(*escrowed) == 0, orgkey.err
    (stored,) = (tmp_path / "disk" / fingerprint_of(KEY)).glob("*.tar")
    record = verify.verify_record(
        stored.read_bytes(),
        fingerprint_of(KEY),
        deadline=Deadline(60),
        now=datetime.now(UTC),
        epoch=stored.stem,
    )
    words.write_bytes(b"\n".join(people.words(name, record).reveal() for name in names[:2]))
    assert run("drill", "--via", "custodians", "--share", "words") == 0, orgkey.err
    assert run("status") == 0, orgkey.out + orgkey.err
    assert run("report") == 0
    assert b"verdict    YES" in orgkey.out
    assert run("report", "--since", "2999-01-01") == Code.USAGE
    assert b"--since 2999-01-01 is in the future" in orgkey.err
    assert run("report", "--out", "nowhere/report.html") == Code.LOCAL_FILES
    assert b"hint: make the directory nowhere first" in orgkey.err

    assert run("status", later=True) == Code.STALE
    told = " ".join(orgkey.out.decode().split())
    assert "gate: BROKEN" in told
    assert "the last drill is 900.0 days old, policy.max_drill_age_days is 190" in told
    assert "max_path_drill_age_days" in told
    assert "max_check_in_age_days" in told
    assert run("report", "--json", later=True) == 0, orgkey.err
    report = json.loads(orgkey.out)
    assert report["verdict"]["answer"] == "yes, with gaps"
    assert "overdue" in report["verdict"]["sentence"]
