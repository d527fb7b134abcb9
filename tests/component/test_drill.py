from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rfc8785

from pipeline.archive import journal
from pipeline.archive.catalog import EpochState
from pipeline.core.clock import Deadline, parse_stamp
from pipeline.core.digest import sha256 as sha256_of
from pipeline.core.errors import (
    Code,
    DeadlinePassed,
    Denied,
    IntegrityProblem,
    Interrupted,
    LocalFilesProblem,
    Locked,
    OrgkeyError,
    Unreachable,
    UsageProblem,
)
from pipeline.core.host_limits import no_room
from pipeline.core.proof import Proof
from pipeline.custody.shares import passphrase, witness
from pipeline.evidence import statement as certificate
from pipeline.evidence import timestamp
from pipeline.evidence.ledger.drill_results import PROOFS, ProvedItem, Result
from pipeline.openpgp import proofs, signing
from pipeline.openpgp.format import armor
from pipeline.openpgp.key import sealing
from pipeline.record import tar
from pipeline.record.verify import Record
from pipeline.sources.backups import prove
from pipeline.unseal.ceremony import UnsealRequest
from pipeline.unseal.unseal import UnsealedEpoch, recover_passphrase
from pipeline.workflows.drill import Drill, DrillRequest, drill, within
from tests.support.inmemory import (
    ATTACKER,
    ORG,
    World,
    attackers,
    forged,
    slot_of,
    unlocked,
    unreachable,
)


def by_copy(done: Drill) -> dict[str, Result]:
    return {result.copy: result for result in done.results}


def wrong(made: Record, world: World, name: str = ATTACKER) -> bytes:
    """An authentic record of the Org Key that holds another key's secret."""
    raw = recover_passphrase(made, "unattended", dict(world.holders))
    keypair = unlocked(name).protect(passphrase.written(raw), s2k_count_octet=0)
    return forged(made, by=ORG, members={tar.KEYPAIR: armor.armor(keypair, "PRIVATE KEY BLOCK")})


@pytest.mark.usefixtures("real_provers")
def test_every_copy_is_proven_and_the_epoch_marked(world: World) -> None:
    made = world.store(world.mint())
    done = drill(world.context, DrillRequest())
    assert done.passed
    assert done.code is Code.OK
    assert set(by_copy(done)) == {"a", "b", "c"}
    for result in done.results:
        assert set(result.proofs) == {*PROOFS, "original"}
        assert all(proof.ok for proof in result.proofs.values())
        for name in ("unlock", "fingerprint", "sign", "certify", "decrypt"):
            assert len(result.proofs[name].by) >= 2, name
        assert result.proofs["recover"].by == ("vault", "aws")
    entry = world.context.journal.entry(made.epoch)
    assert entry is not None
    mark = entry.proven()
    assert mark is not None
    assert mark["record_sha256"] == made.sha256.hex
    assert mark["copies"] == ["a", "b", "c"]
    assert mark["paths"] == ["unattended"]
    assert mark["certificate"] == done.certificate
    assert done.rto_seconds == pytest.approx(mark["rto_seconds"], abs=0.01)
    assert world.events() == ["drill"]


def resealed(made: Record, world: World, content: bytes) -> bytes:
    """An authentic record of the Org Key whose export is another one."""
    raw = recover_passphrase(made, "unattended", dict(world.holders))
    return forged(made, by=ORG, members={tar.ORIGINAL: sealing.seal(content, passphrase.written(raw))})


@pytest.mark.parametrize("content", [b"other bytes", b""])
def test_another_export_than_was_escrowed_fails_its_proof(content: bytes, world: World) -> None:
    made = world.mint()
    for target in world.targets.values():
        target.plant(slot_of(made), resealed(made, world, content))
    done = drill(world.context, DrillRequest())
    assert done.code is Code.PROOF_FAILED
    assert {result.proofs["original"].ok for result in done.results} == {False}
    assert world.events() == ["drill-failed"]


def test_a_record_without_the_exports_digest_is_proven_without_it(world: World) -> None:
    """As version 0.1 made it."""
    made = world.mint()
    older = forged(made, by=ORG, describe=lambda document: document.pop("original"))
    for target in world.targets.values():
        target.plant(slot_of(made), older)
    done = drill(world.context, DrillRequest())
    assert done.passed
    assert all("original" not in result.proofs for result in done.results)


def test_it_is_given_the_drillers_logins_and_nothing_of_the_run_that_wrote(world: World) -> None:
    world.store(world.mint())
    world.roles.clear()
    drill(world.context, DrillRequest())
    assert set(world.roles) == {"driller"}


def test_copies_of_the_same_bytes_are_opened_once(world: World) -> None:
    world.store(world.mint())
    for holder in world.holders.values():
        holder.calls.clear()
    drill(world.context, DrillRequest())
    assert [holder.calls.count("open") for holder in world.holders.values()] == [1, 1]


def test_a_damaged_copy_fails_and_is_named_and_the_others_prove_the_epoch(world: World) -> None:
    made = world.store(world.mint())
    world.targets["b"].damage(slot_of(made))
    done = drill(world.context, DrillRequest())
    assert done.code is Code.INTEGRITY
    assert not done.passed
    bad = by_copy(done)["b"]
    assert (bad.path, bad.record_sha256, bad.code) == ("-", None, Code.INTEGRITY)
    assert bad.proofs["digest"].ok
    assert not bad.proofs["authentic"].ok
    assert by_copy(done)["a"].passed
    assert done.proved(made.sha256)
    assert world.events() == ["drill-failed"]


def test_an_attackers_record_is_not_drilled(world: World) -> None:
    made = world.store(world.mint(), "a", "b")
    world.targets["c"].plant(slot_of(made), attackers(made))
    bad = by_copy(drill(world.context, DrillRequest()))["c"]
    assert (bad.path, bad.code) == ("-", Code.INTEGRITY)
    assert ATTACKER not in str(bad.proofs["authentic"].by)


@pytest.mark.usefixtures("real_provers")
def test_an_authentic_record_of_a_wrong_key_fails_the_real_proofs(world: World) -> None:
    test_an_authentic_record_of_a_wrong_key_fails_its_proofs(world)


def test_an_authentic_record_of_a_wrong_key_fails_its_proofs(world: World) -> None:
    made = world.mint()
    for target in world.targets.values():
        target.plant(slot_of(made), wrong(made, world))
    done = drill(world.context, DrillRequest())
    assert done.code is Code.PROOF_FAILED
    assert not done.passed
    assert done.certificate is None, "a key that is not the Org Key certifies nothing"
    entry = world.context.journal.entry(made.epoch)
    assert entry is None or entry.proven() is None
    assert world.events() == ["drill-failed"]


def test_a_missing_copy_is_degraded(world: World) -> None:
    world.store(world.mint(), "a", "b")
    done = drill(world.context, DrillRequest())
    assert done.code is Code.DEGRADED
    missing = by_copy(done)["c"]
    assert not missing.proofs["digest"].ok


def test_a_holder_that_does_not_answer_is_the_result_and_named(world: World) -> None:
    made = world.store(world.mint())
    world.holders["aws"].failures["open"] = unreachable("holder aws")
    done = drill(world.context, DrillRequest())
    assert done.code is Code.UNREACHABLE
    recover = done.results[0].proofs["recover"]
    assert not recover.ok
    assert "aws" in str(recover.problem)
    assert done.results[0].proofs["sign"].problem == "not reached"
    assert done.certificate is None
    assert not done.proved(made.sha256)


def test_only_what_is_asked_for_is_drilled(world: World) -> None:
    one, two = world.store(world.mint()), world.store(world.mint(later=5), "a")
    done = drill(world.context, DrillRequest(epochs={one.epoch}, targets=("b",)))
    assert [(result.epoch, result.copy) for result in done.results] == [(one.epoch, "b")]
    latest = drill(world.context, DrillRequest(targets=("c",)))
    assert [(result.epoch, result.copy) for result in latest.results] == [(one.epoch, "c")]
    everything = drill(world.context, DrillRequest(epochs=None, targets=("a",)))
    assert {result.epoch for result in everything.results} == {one.epoch, two.epoch}


@pytest.mark.parametrize(
    "request_",
    [
        DrillRequest(targets=("nowhere",)),
        DrillRequest(unseal=UnsealRequest(path="nowhere")),
        DrillRequest(epochs={"nothing"}),
    ],
)
def test_what_is_asked_for_must_be_there(world: World, request_: DrillRequest) -> None:
    world.store(world.mint())
    with pytest.raises(UsageProblem):
        drill(world.context, request_)


def test_no_target_answers(world: World) -> None:
    for target in world.targets.values():
        target.failures["find"] = unreachable(target.name)
    with pytest.raises(Unreachable):
        drill(world.context, DrillRequest())


def test_one_implementation_alone_is_degraded_unless_the_policy_takes_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = proofs.prove

    def alone(*args: Any, single_ok: bool, **more: Any) -> proofs.KeyProofs:
        report = real(*args, single_ok=single_ok, **more)
        return replace(report, single=("sign",), single_ok=single_ok)

    made = world.store(world.mint())
    monkeypatch.setattr(proofs, "prove", alone)
    done = drill(world.context, DrillRequest())
    assert (done.code, done.passed, done.proved(made.sha256)) == (Code.DEGRADED, True, True)
    assert certified(done)["predicate"]["result"] == "WARNED"
    world.policy = "single_implementation = true"
    assert drill(world.context, DrillRequest()).code is Code.OK


def test_a_drill_that_tried_nothing_proves_nothing(genuine: Record) -> None:
    empty = Drill((), Code.OK)
    assert (empty.passed, empty.proved(genuine.sha256), empty.certificate, empty.rto_seconds) == (
        False, False, None, None,
    )  # fmt: skip
    other = Drill((a_result(genuine),), Code.OK)
    assert other.proved(genuine.sha256)
    assert not other.proved(sha256_of(b"other bytes"))


def test_evidence_that_cannot_be_kept_is_a_failure(world: World) -> None:
    made = world.store(world.mint())
    world.context.journal.begin(made.epoch, None)
    (world.context.root / "certificates").write_text("in the way")
    with pytest.raises(LocalFilesProblem):
        drill(world.context, DrillRequest())
    entry = world.context.journal.entry(made.epoch)
    assert entry is not None
    assert entry.proven() is None


def test_a_recovered_passphrase_is_not_in_representations(world: World) -> None:
    raw = recover_passphrase(world.mint(), "unattended", dict(world.holders))
    opened = UnsealedEpoch({}, {}, Code.OK, raw=raw)
    assert raw.reveal().hex() not in repr(opened)
    assert "secret" not in repr(opened)


# -- the certificate -------------------------------------------------------------------------------


def certified(done: Drill) -> dict[str, Any]:
    assert done.certificate is not None
    found: dict[str, Any] = json.loads(Path(done.certificate).read_bytes())
    return found


def test_the_certificate_names_every_copy_with_its_digest(world: World) -> None:
    made = world.store(world.mint())
    world.targets["b"].damage(slot_of(made))
    world.targets["c"].failures["find"] = unreachable("c")
    statement = certified(drill(world.context, DrillRequest()))
    assert statement["predicate"]["result"] == "FAILED"
    assert {"b/-/authentic", "c/-/digest"} <= set(statement["predicate"]["failedTests"])
    told = details(statement)
    digests = {copy["target"]: copy["sha256"] for copy in told["copies"]}
    assert digests["a"] == made.sha256.hex
    assert digests["b"] not in (None, made.sha256.hex), "what lies there now"
    assert digests["c"] is None
    assert all(set(copy) == {"target", "domain", "location", "version", "sha256"} for copy in told["copies"])
    page = (Path(__file__).parents[2] / "docs/reference/json.md").read_text()
    section = page.partition("`orgkey.drill-details/1`\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} | {"schema"} == set(told)
    assert set(told["implementations"]) == {"gnupg", "pgpy", "sequoia", "cryptography", "openssl"}
    assert all(number[:1].isdigit() for number in told["implementations"].values()), told["implementations"]


def test_a_false_version_beside_a_good_one_is_a_warning_in_the_certificate(world: World) -> None:
    made = world.store(world.mint())
    world.targets["c"].plant(slot_of(made), attackers(made))
    done = drill(world.context, DrillRequest())
    assert by_copy(done)["c"].passed
    assert done.code is Code.INTEGRITY
    said = certified(done)["predicate"]
    assert (said["result"], said["warnedTests"]) == ("WARNED", ["c/unattended"])


def details(statement: dict[str, Any]) -> dict[str, Any]:
    (configuration,) = statement["predicate"]["configuration"]
    found: dict[str, Any] = json.loads(base64.b64decode(configuration["content"]))
    return found


def test_the_certificate_says_what_was_proven_and_is_signed_twice(world: World, tmp_path: Path) -> None:
    made = world.store(world.mint())
    done = drill(world.context, DrillRequest(nonce="a verifier's nonce"))
    assert done.certificate is not None
    path = Path(done.certificate)
    body = path.read_bytes()
    statement = json.loads(body)
    assert rfc8785.dumps(statement) == body
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": f"{made.epoch}.tar", "digest": {"sha256": made.sha256.hex}}]
    assert statement["predicate"]["result"] == "PASSED"
    assert "a/unattended/sign" in statement["predicate"]["passedTests"]
    assert statement["predicate"]["failedTests"] == []
    told = details(statement)
    assert told["nonce"] == "a verifier's nonce"
    assert told["fingerprint"] == made.fingerprint
    assert told["record_id"] == made.manifest.record_id
    assert told["requests"] == {"memory": ["request-1"]}
    assert told["ledger_head"]["sequence"] == 0
    assert [item["copy"] for item in told["results"]] == ["a", "b", "c"]

    signature = Path(f"{path}.asc").read_bytes()
    now = world.clock.now()
    signing.verify_detached(made.public, made.fingerprint, body, signature, deadline=Deadline(60), now=now)
    witness.verify(made.manifest.custody.witness, body, Path(f"{path}.sig").read_bytes())
    pem = path.with_suffix(".witness.pem")
    assert pem.read_text() == made.manifest.custody.witness
    openssl = shutil.which("openssl")
    assert openssl, "openssl is part of every host that this runs on"
    checked = subprocess.run(
        [openssl, "pkeyutl", "-verify", "-pubin", "-inkey", pem, "-rawin", "-in", path,
         "-sigfile", f"{path}.sig"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert all(item.stat().st_mode & 0o077 == 0 for item in path.parent.iterdir())


def test_two_drills_certificates_differ_and_chain_to_the_ledger(world: World) -> None:
    world.store(world.mint())
    first = drill(world.context, DrillRequest(targets=("a",))).certificate
    head = world.context.ledger.head()
    second = drill(world.context, DrillRequest(targets=("a",))).certificate
    assert first is not None
    assert second is not None
    assert first != second
    one, two = (details(json.loads(Path(path).read_bytes())) for path in (first, second))
    assert one["nonce"] != two["nonce"]
    assert two["ledger_head"] == {
        "host": world.context.ledger.host, "sequence": head.sequence, "sha256": head.digest.hex
    }  # fmt: skip
    assert parse_stamp(two["at"])


def a_result(made: Record, *, code: Code = Code.OK, ok: bool = True) -> Result:
    return Result(
        made.epoch,
        "a",
        "unattended",
        made.sha256,
        {"sign": Proof(ok, ("sequoia",))},
        {"total": 1.23456},
        code,
    )


@pytest.mark.parametrize(
    ("code", "ok", "said"),
    [
        (Code.OK, True, "PASSED"),
        (Code.DEGRADED, True, "WARNED"),
        (Code.INTEGRITY, True, "WARNED"),
        (Code.PROOF_FAILED, False, "FAILED"),
    ],
)
def test_a_certificate_never_says_more_than_the_results(
    genuine: Record, world: World, code: Code, ok: bool, said: str
) -> None:
    results = [a_result(genuine, code=code, ok=ok)]
    body = certificate.build(genuine, results, at=world.clock.now(), told={"nonce": "n", "run": "r"})
    statement = json.loads(body)
    assert statement["predicate"]["result"] == said
    assert statement["predicate"]["passedTests"] == (["a/unattended/sign"] if ok else [])
    assert statement["predicate"]["warnedTests"] == (["a/unattended"] if said == "WARNED" else [])
    assert statement["predicate"]["failedTests"] == ([] if ok else ["a/unattended/sign"])
    (configuration,) = statement["predicate"]["configuration"]
    content = base64.b64decode(configuration["content"])
    assert configuration["digest"]["sha256"] == sha256(content).hexdigest()
    assert json.loads(content)["rto_seconds"] == (1.235 if ok else None), "nothing was proven in no time"
    assert Drill(tuple(results), code).rto_seconds == (1.23456 if ok else None)


def test_results_as_documents_have_them(genuine: Record) -> None:
    document = ProvedItem.of(a_result(genuine)).to_json()
    assert document["passed"] is True
    assert document["proofs"] == {"sign": {"ok": True, "by": ["sequoia"]}}
    assert document["seconds"] == {"total": 1.235}
    bad = Result("e", "a", "-", None, {"digest": Proof(False, (), "gone")}, {}, Code.INTEGRITY)
    assert ProvedItem.of(bad).to_json()["proofs"]["digest"] == {"ok": False, "by": [], "problem": "gone"}
    assert ProvedItem.of(bad).to_json()["record_sha256"] is None
    assert not Result("e", "a", "-", None, {}, {}, Code.OK).passed, "nothing proven is nothing passed"


def test_a_proven_epoch_is_the_latest(world: World) -> None:
    world.store(world.mint())
    drill(world.context, DrillRequest())
    context = world.context
    latest = context.archive("driller").catalog().latest()
    assert latest is not None
    assert latest.state is EpochState.PROVEN


def test_a_host_that_only_drills_proves_what_another_one_has_made_since(world: World) -> None:
    made = world.store(world.mint())
    assert drill(world.context, DrillRequest()).passed
    world.store(world.mint(later=20))
    newest = world.store(world.mint(later=40))
    for asked in (UnsealRequest(path="unattended"), UnsealRequest()):
        done = drill(world.context, DrillRequest(unseal=asked))
        assert done.passed
        assert {result.epoch for result in done.results} == (
            {made.epoch, newest.epoch} if asked.path else {newest.epoch}
        )
    assert not [line for line in world.lines if "take it with --epoch" in line and newest.epoch in line]


def test_two_drills_at_once_are_kept_apart(world: World) -> None:
    """On a fresh state both would begin the epoch in the journal, and one would lose its path."""
    made = world.store(world.mint())
    with journal.lock(world.context.root), pytest.raises(Locked):
        drill(world.context, DrillRequest())
    assert world.events() == []
    assert world.context.journal.entries() == []
    assert drill(world.context, DrillRequest()).passed
    with journal.lock(world.context.root):  # as the drill at the end of an escrow
        assert within(world.context, DrillRequest(epochs=frozenset({made.epoch}))).passed


def _full(*_: object, **__: object) -> None:
    raise no_room("prove the key", "/dev/shm has no room left")


def test_trouble_of_the_host_is_no_failed_drill(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in ledger or certificate speaks against the key, and the next drill starts afresh."""
    world.store(world.mint())
    with monkeypatch.context() as full:
        full.setattr(proofs, "prove", _full)
        with pytest.raises(LocalFilesProblem, match="no room left"):
            drill(world.context, DrillRequest())
    assert [item.event for item in world.context.ledger.entries()] == ["drill-refused"]
    assert list(world.context.root.rglob("*drilled*")) == []
    assert drill(world.context, DrillRequest()).code is Code.OK


@pytest.mark.parametrize(
    "error",
    [no_room("open a share", "no memory is left"), Interrupted("interrupted", hint="run it again")],
)
def test_trouble_of_the_host_while_shares_are_opened_is_no_failed_drill(
    world: World, error: OrgkeyError
) -> None:
    world.store(world.mint())
    world.holders["aws"].failures["open"] = error
    with pytest.raises(type(error)):
        drill(world.context, DrillRequest())
    assert [item.event for item in world.context.ledger.entries()] == ["drill-refused"]
    world.holders["aws"].failures.clear()
    assert drill(world.context, DrillRequest()).code is Code.OK


def test_a_slow_authority_of_time_stamps_takes_no_evidence_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stamps that wait from earlier drills may take longer than the run has."""

    def late(*_: object, **__: object) -> None:
        raise DeadlinePassed("the deadline has passed", hint="run it again")

    world.backups = '[certificate]\ntimestamp = "https://tsa.invalid/"\ntimestamp_ca_file = "/ca.pem"\n'
    made = world.store(world.mint())
    monkeypatch.setattr(timestamp, "ask", lambda *_, **__: timestamp.Stamped("stamped"))
    monkeypatch.setattr(timestamp, "ask_all", late)
    done = drill(world.context, DrillRequest())
    assert (done.code, done.proved(made.sha256)) == (Code.OK, True)
    assert world.events() == ["drill"]
    assert any("the deadline has passed" in line for line in world.lines)


def test_what_nobody_can_show_here_is_19_and_no_failed_proof(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store(world.mint())
    real = proofs.prove
    monkeypatch.setattr(proofs, "prove", lambda *args, **more: real(*args, **(more | {"provers": []})))
    done = drill(world.context, DrillRequest())
    assert (done.passed, done.code) == (False, Code.UNSUPPORTED)
    assert "no implementation on this host" in str(by_copy(done)["a"].proofs["sign"].problem)


def test_a_drill_of_the_latest_tells_of_a_newer_epoch_that_it_passed_over(world: World) -> None:
    made = world.store(world.mint())
    newer = world.store(world.mint(later=60), "a")
    assert {result.epoch for result in drill(world.context, DrillRequest()).results} == {made.epoch}
    assert f"warning: epoch {newer.epoch} is newer, written at a: take it with --epoch" in world.lines


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("it does not answer", hint="look at its network"), Code.UNREACHABLE),
        (Denied("it refuses", hint="look at its policy"), Code.DENIED),
        (IntegrityProblem("it is damaged", hint="take another one"), Code.PROOF_FAILED),
    ],
)
def test_a_backup_that_could_not_be_read_is_no_verdict_on_the_key(
    error: OrgkeyError, code: Code, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opens(*_: object) -> object:
        raise error

    world.store(world.mint())
    monkeypatch.setattr(prove, "opens", opens)
    found = drill(world.context, DrillRequest(backups=(SimpleNamespace(name="b.pgp"),)))
    assert found.code is code
    unread = code is not Code.PROOF_FAILED
    proof, notes = found.results[0].proofs.get("backup"), found.results[0].notes
    assert "b.pgp" in str(notes if unread else proof)
    assert (proof is None, found.passed, error.hint in found.hints) == (unread, unread, unread)
