"""Decisions at their exact limits: each of these fails when the condition is turned, widened or left out."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from pipeline.core.clock import Deadline
from pipeline.core.digest import sha256
from pipeline.core.errors import IntegrityProblem, LedgerBroken, LocalFilesProblem, NotPinned
from pipeline.core.secret import Secret
from pipeline.custody.shares import witness
from pipeline.evidence import verify as checking
from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger.store import Ledger
from pipeline.monitoring import rules as gate
from pipeline.monitoring.status import status
from pipeline.openpgp.format import armor
from pipeline.openpgp.key.compare import compare_public
from pipeline.record import create, tar
from pipeline.record.verify import Record
from pipeline.unseal.unseal import recover_passphrase
from pipeline.workflows.drill import DrillRequest, drill
from pipeline.workflows.restore import RestoreRequest, find
from tests.support.inmemory import ATTACKER, ORG, World, signed, slot_of, unlocked

KEY = "A" * 40
NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)


# -- an entry of the ledger --------------------------------------------------------------------------


@pytest.fixture
def entry(tmp_path: Path) -> dict[str, Any]:
    ledger = Ledger(tmp_path, KEY)
    ledger.append("noted", {}, now=NOW, run="r")
    return chain.parse((ledger.own().folder / "000000001.json").read_bytes(), 1, KEY)


def parsed(entry: dict[str, Any], of: str | None = KEY, **changes: Any) -> dict[str, Any]:
    return chain.parse(rfc8785.dumps(entry | changes), 1, of)


def test_an_entry_about_another_key_is_in_no_chain_of_this_one(entry: dict[str, Any], tmp_path: Path) -> None:
    assert parsed(entry) == parsed(entry, None) == entry
    with pytest.raises(chain.Malformed, match="another key"):
        parsed(entry, "B" * 40)
    with pytest.raises(chain.Malformed, match="another key"):
        parsed(entry, fingerprint="B" * 40)
    # The same on the disk: a ledger whose newest entry was copied from another key's.
    ledger = Ledger(tmp_path, KEY)
    file = ledger.own().folder / "000000001.json"
    file.write_bytes(rfc8785.dumps(entry | {"fingerprint": "B" * 40}))
    with pytest.raises(LedgerBroken, match="another key"):
        Ledger(tmp_path, KEY).entries()


@pytest.mark.parametrize(
    "wrong", ["a" * 40, "A" * 39, "A" * 41, "G" * 40, "A" * 40 + "\n", ""], ids=repr
)  # fmt: skip
def test_the_fingerprint_of_an_entry_has_one_form(entry: dict[str, Any], wrong: str) -> None:
    with pytest.raises(chain.Malformed, match="another key"):
        parsed(entry, None, fingerprint=wrong)


@pytest.mark.parametrize("wrong", ["a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", ""], ids=repr)
def test_the_digest_of_the_entry_before_has_one_form(entry: dict[str, Any], wrong: str) -> None:
    with pytest.raises(chain.Malformed, match="previous"):
        parsed(entry, previous=wrong)


def test_an_entry_has_a_largest_size(entry: dict[str, Any]) -> None:
    room = chain.LARGEST - len(rfc8785.dumps(entry | {"details": {"text": ""}}))
    whole = parsed(entry, details={"text": "x" * room})
    assert len(rfc8785.dumps(whole)) == chain.LARGEST
    with pytest.raises(chain.Malformed, match="larger"):
        parsed(entry, details={"text": "x" * (room + 1)})


def test_a_number_has_a_longest_form(entry: dict[str, Any]) -> None:
    """Beyond it Python has an error of its own, whose text is not one of ours."""
    body = rfc8785.dumps(entry | {"details": {"number": 0}})
    for digits, words in ((40, "canonical"), (41, "JSON")):
        with pytest.raises(chain.Malformed, match=words):
            chain.parse(body.replace(b'"number":0', b'"number":' + b"9" * digits), 1, KEY)


# -- a certificate -----------------------------------------------------------------------------------


class Issued:
    """A certificate of one key, whose every part can be made anew by who has its secrets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made = world.store(world.mint())
        self.raw: Secret = recover_passphrase(self.made, "unattended", dict(world.holders))
        self.path = Path(drill(world.context, DrillRequest(nonce="n")).certificate or "")
        self.public = self.made.public

    def check(self) -> checking.Checked:
        return checking.check(
            self.path, self.public, deadline=Deadline(60), now=datetime.now(UTC),
        )  # fmt: skip

    def rewrite(self, change: Callable[[dict[str, Any]], None], *, key: str = ORG, fits: bool = True) -> None:
        """Change what it says, and have it signed again by its witness and a key."""
        statement = json.loads(self.path.read_bytes())
        (item,) = statement["predicate"]["configuration"]
        details = json.loads(base64.b64decode(item["content"]))
        change(details)
        content = rfc8785.dumps(details)
        item["content"] = base64.b64encode(content).decode()
        if fits:
            item["digest"]["sha256"] = sha256(content).hex
        body = rfc8785.dumps(statement)
        self.path.write_bytes(body)
        Path(f"{self.path}.asc").write_bytes(signed(key, body))
        Path(f"{self.path}.sig").write_bytes(witness.sign(self.raw, self.made.manifest.record_id, body))


@pytest.fixture
def issued(world: World) -> Issued:
    return Issued(world)


def test_a_certificate_about_another_key_is_not_accepted(issued: Issued) -> None:
    """Signed by this key and its witness, it speaks of another one."""
    issued.rewrite(lambda details: None)
    assert issued.check().nonce == "n"
    issued.rewrite(lambda details: details.update(fingerprint=unlocked(ATTACKER).fingerprint))
    with pytest.raises(IntegrityProblem, match="speaks of the key"):
        issued.check()


def test_what_a_certificate_carries_must_fit_its_digest(issued: Issued) -> None:
    issued.rewrite(lambda details: details.update(nonce="m"), fits=False)
    with pytest.raises(IntegrityProblem, match="does not fit its digest"):
        issued.check()
    with pytest.raises(IntegrityProblem, match="does not fit its digest"):
        checking.contents(issued.path.read_bytes())


def test_what_a_certificate_carries_is_an_object(issued: Issued) -> None:
    statement = json.loads(issued.path.read_bytes())
    (item,) = statement["predicate"]["configuration"]
    item["content"], item["digest"]["sha256"] = base64.b64encode(b"[]").decode(), sha256(b"[]").hex
    with pytest.raises(IntegrityProblem):
        checking.contents(rfc8785.dumps(statement))


def test_whose_signature_it_is_is_told(issued: Issued) -> None:
    """Another key's is named; this key's own over other bytes is a changed certificate, not another key."""
    own = Path(f"{issued.path}.asc").read_bytes()
    issued.rewrite(lambda details: details.update(nonce="m"), key=ATTACKER)
    with pytest.raises(NotPinned, match=unlocked(ATTACKER).key_id):
        issued.check()
    Path(f"{issued.path}.asc").write_bytes(own)
    with pytest.raises(IntegrityProblem, match="not authentic"):
        issued.check()


def test_a_file_of_a_certificate_has_a_largest_size(issued: Issued) -> None:
    body = issued.path.read_bytes()
    for size, words in ((checking._LARGEST, "signature"), (checking._LARGEST + 1, "too large")):
        issued.path.write_bytes(body.ljust(size))
        with pytest.raises(IntegrityProblem, match=words):
            issued.check()
    issued.path.unlink()
    issued.path.mkdir()
    with pytest.raises((IntegrityProblem, LocalFilesProblem)):
        issued.check()


def test_each_record_of_one_drill_is_witnessed_by_its_own_passphrase(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two records of the same epoch: what opens the one signs no certificate of the other."""
    now = datetime.now(UTC)
    with monkeypatch.context() as patch:
        patch.setattr(secrets, "token_hex", lambda size: "ab" * size)
        one, two = (
            create.create_record(unlocked(), world.plan(), now=now, deadline=Deadline(60)) for _ in range(2)
        )  # fmt: skip
    assert one.epoch == two.epoch
    assert one.manifest.custody.witness != two.manifest.custody.witness
    world.store(one, "a", "c")
    world.store(two, "b")
    found = drill(world.context, DrillRequest())
    certificates = {result.record_sha256: result.certificate for result in found.results}
    for made in (one, two):
        checked = checking.check(
            Path(certificates[made.sha256] or ""), made.public, deadline=Deadline(60), now=world.clock.now()
        )
        assert checked.witness == made.manifest.custody.witness
        assert checked.digest == made.sha256.hex or checked.details["record_id"] == made.manifest.record_id


# -- the gate ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "ok"), [(0, True), (-1, False), (1, True)])
def test_a_retention_of_exactly_the_limit_is_enough(world: World, seconds: int, ok: bool) -> None:
    made = world.store(world.mint(), "a")
    world.policy = "min_retention_days = 30"
    (version,) = world.targets["a"].places[slot_of(made)]
    version.retain_until = NOW + timedelta(days=30, seconds=seconds)
    found = status(world.context).epoch
    assert found is not None
    (copy,) = (one for one in found.copies if one.target == "a")
    (rule,) = gate.retention(world.config.policy, (copy,), frozenset({"a"}), NOW)
    assert rule.ok is ok
    assert ("orgkey retain" in rule.text) is not ok


# -- a restore ---------------------------------------------------------------------------------------


def found_in(world: World, tmp_path: Path) -> tuple[Record, tuple[bytes, ...]]:
    found = find(world.context, RestoreRequest(tmp_path / "out.asc"))
    return found.record, found.newer_public


def test_a_restore_without_anything_odd_warns_of_nothing(world: World, tmp_path: Path) -> None:
    world.store(world.mint())
    drill(world.context, DrillRequest())
    world.lines.clear()
    found_in(world, tmp_path)
    assert [line for line in world.lines if line.startswith("warning")] == []


def test_the_public_part_of_the_live_key_is_used_where_there_is_one(world: World, tmp_path: Path) -> None:
    world.store(world.mint())
    assert found_in(world, tmp_path)[1] == ()
    live = tmp_path / "live.asc"
    live.write_bytes(armor.armor(unlocked().public, "PUBLIC KEY BLOCK"))
    world.key = f'live = "{live}"'
    (newer,) = found_in(world, tmp_path)[1]
    assert compare_public(newer, unlocked().public) == "same"


# -- a record ----------------------------------------------------------------------------------------


def test_a_member_s_name_has_a_longest_form() -> None:
    longest = f"{'a' * 60}/{'b' * 39}"
    assert tar.unpack(tar.pack({longest: b"x"})) == {longest: b"x"}
    with pytest.raises(ValueError, match="member"):
        tar.pack({longest + "b": b"x"})
