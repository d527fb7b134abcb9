"""From 0.1 to this version: its configuration and its ledger are read, and doctor says what is new."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline import config
from pipeline.archive.journal import Journal
from pipeline.config.setup import template
from pipeline.config.setup.answers import Setup
from pipeline.config.setup.questions import complete
from pipeline.core.finding import Finding, Level
from pipeline.evidence.ledger.mirror_state import Confirmed, MirrorState
from pipeline.evidence.ledger.store import BEFORE_HOSTS
from pipeline.monitoring import doctor
from tests.support.inmemory import World

GOLDEN = Path(__file__).parents[1] / "golden"
TEXT = (GOLDEN / "orgkey-0.1.toml").read_bytes()


@pytest.fixture
def old(world: World) -> World:
    """A host on which 0.1 has run."""
    folder = world.context.root / "ledger"
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(GOLDEN / "ledger-0.1", folder, dirs_exist_ok=True)
    return world


def said(world: World) -> list[Finding]:
    return [item for item in doctor.foretell(world.context) if item.subject == "upgrade"]


def test_a_configuration_of_0_1_means_what_one_of_this_version_means() -> None:
    before = config.parse(TEXT, Path("orgkey.toml"))
    people = tuple(f"{number}" * 40 for number in (1, 2, 3))
    setup = Setup(
        fingerprint="A" * 40, vault_address="https://vault.example.com:8200",
        vault_ca_file="/etc/orgkey/vault-ca.pem", s3_bucket="example-orgkey", s3_owner="111122223333",
        s3_lock_mode="GOVERNANCE", s3_lock_days=30, transit_key="orgkey-escrow",
        kms_key="arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        inbox="/srv/orgkey/inbox", custodians=people,
    )  # fmt: skip
    now = template.render(complete(setup, None, "/etc/orgkey/custodians"), Path("/etc/orgkey/credentials"))
    assert config.parse(now.encode(), Path("orgkey.toml")) == before


def test_doctor_says_once_what_is_new_since_0_1(old: World) -> None:
    (found,) = said(old)
    assert found.level is Level.WARN
    assert "the ledger is of 0.1" in found.message
    assert "[ledger] names no place" in found.message
    assert "orgkey status" in found.hint
    assert found in doctor.examine(old.context)

    entries = {path.name: path.read_bytes() for path in (old.context.root / "ledger").glob("*.json")}
    ledger = old.context.ledger
    ledger.append("drill-refused", {"message": "x"}, now=old.clock.now(), run="r")
    assert said(old) == []
    assert [chain.host for chain in ledger.chains()] == [ledger.host, BEFORE_HOSTS]
    left = {path.name: path.read_bytes() for path in (old.context.root / "ledger").glob("*.json")}
    assert left == entries
    assert json.loads(entries["000000001.json"])["schema"] == "orgkey.ledger/1"


def test_the_state_that_0_1_kept_is_read(tmp_path: Path) -> None:
    root = tmp_path / "state"
    shutil.copytree(GOLDEN / "state-0.1", root)
    (entry,) = Journal(root).entries()
    receipts = entry.receipts()
    assert {name: receipt.version for name, receipt in receipts.items()} == {"s3": "v1", "vault": "1"}
    assert receipts["s3"].retain_until == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert receipts["vault"].slot == "x"
    proven = entry.proven()
    assert proven is not None
    assert (proven["copies"], proven["paths"]) == (["s3", "vault"], ["unattended"])
    assert MirrorState(root).of("s3", "0123456789abcdef") == Confirmed()  # another chain: it is asked again


def test_a_new_host_is_not_told_of_0_1(world: World) -> None:
    assert said(world) == []
