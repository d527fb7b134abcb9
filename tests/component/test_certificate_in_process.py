"""A certificate's files, byte by byte; and authorities that are nearly good."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.config.sections import Certificates
from pipeline.core.clock import Deadline
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, IntegrityProblem, NotPinned
from pipeline.core.secret import Secret
from pipeline.custody.shares import witness
from pipeline.evidence import timestamp
from pipeline.evidence import verify as checking
from pipeline.evidence.timestamp import Stamped
from pipeline.evidence.verify import Checked
from pipeline.workflows.drill import DrillRequest, drill
from tests.support import authority as authorities
from tests.support.authority import Authority
from tests.support.inmemory import ATTACKER, ORG, World, signed, unlocked
from tests.support.provers import use_quick

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

FILES = (".json", ".json.asc", ".json.sig", ".json.tsr", ".witness.pem")


@dataclass
class Issued:
    """A stamped certificate.

    Attributes:
        path: The statement.
        public: The Org Key's public part.
        trusted: The authority's CA.
    """

    path: Path
    public: bytes
    trusted: list[Certificate]

    def file(self, ending: str) -> Path:
        return self.path.with_name(self.path.stem + ending)

    def check(self, public: bytes | None = None) -> Checked:
        return checking.check(
            self.path, public or self.public, trusted=self.trusted,
            deadline=Deadline(60), now=datetime.now(UTC),
        )  # fmt: skip

    def refused(self, ending: str) -> bool:
        """Whether it is refused, in the field's own words: anything else is a defect."""
        try:
            if ending == ".json.tsr":  # the rest was not changed, and takes longer
                timestamp.state(self.path, self.trusted)
            else:
                self.check()
        except (IntegrityProblem, NotPinned):
            return True
        return False


def ask(path: Path, authority: Authority, *, seconds: float = 5.0) -> Stamped:
    settings = Certificates(timestamp=authority.url, timestamp_ca_file=str(authority.ca))
    return timestamp.ask(path, settings, seconds=seconds)


@pytest.fixture(scope="module", params=["ec", "rsa", "chain"])
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    folder = tmp_path_factory.mktemp("tsa")
    kind = "rsa" if request.param == "rsa" else "ec"
    made = authorities.make(folder / "it", kind=kind)
    if request.param == "chain":
        authorities.between(made, send=True)
    with authorities.serve(made) as authority:
        yield authority


@pytest.fixture(scope="module")
def issued(serving: Authority, tmp_path_factory: pytest.TempPathFactory) -> Issued:
    world = World(tmp_path_factory.mktemp("world"))
    made = world.store(world.mint())
    with pytest.MonkeyPatch.context() as patch:
        use_quick(patch)
        done = drill(world.context, DrillRequest(nonce="auditor-4711"))
    assert done.certificate is not None
    path = Path(done.certificate)
    assert ask(path, serving).state == "stamped"
    found = Issued(path, made.public, timestamp.roots(serving.ca))
    for ending in FILES:
        found.file(ending).chmod(0o600)
    return found


@pytest.mark.parametrize("ending", FILES)
def test_every_byte_counts(issued: Issued, ending: str) -> None:
    """Not a sample: each byte of each file, of the statement every 31st."""
    assert issued.check().stamped.at is not None
    file = issued.file(ending)
    before = file.read_bytes()
    step = 31 if ending == ".json" else 1
    passed = []
    for at in range(0, len(before), step):
        for bit in (0, 5):
            file.write_bytes(before[:at] + bytes([before[at] ^ 1 << bit]) + before[at + 1 :])
            if not issued.refused(ending):
                passed.append((at, bit))
    file.write_bytes(before)
    assert passed == []
    assert not issued.refused(ending)


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("change", [lambda data: data + b"\n", lambda data: data[:-1], lambda data: b""])
def test_nothing_may_be_added_or_cut(issued: Issued, ending: str, change: Callable[[bytes], bytes]) -> None:
    file = issued.file(ending)
    before = file.read_bytes()
    file.write_bytes(change(before))
    refused = issued.refused(ending)
    file.write_bytes(before)
    assert refused


def test_another_key_is_told_from_a_changed_file(issued: Issued) -> None:
    stranger = unlocked(ATTACKER).key.public()
    with pytest.raises(NotPinned) as raised:
        issued.check(stranger)
    assert raised.value.code is Code.NOT_PINNED
    before = issued.path.read_bytes()
    issued.path.write_bytes(before.replace(b"PASSED", b"FAILED"))
    with pytest.raises(IntegrityProblem):
        issued.check(stranger)
    issued.path.write_bytes(before)


RAW, RECORD_ID = Secret(bytes(32)), "0" * 32


def write(folder: Path, details: object, *, signer: str = ORG, digest: str | None = None) -> Path:
    """A certificate whose signatures hold, with other contents than a drill's."""
    content = json.dumps(details).encode()
    item = {
        "digest": {"sha256": digest or sha256(content).hex},
        "content": base64.b64encode(content).decode(),
    }
    predicate = {"result": "PASSED", "failedTests": [], "warnedTests": [], "configuration": [item]}
    statement = {"subject": [{"digest": {"sha256": "0" * 64}}], "predicate": predicate}
    body, path = json.dumps(statement).encode(), folder / "c.json"
    path.write_bytes(body)
    folder.joinpath("c.json.asc").write_bytes(signed(signer, body))
    folder.joinpath("c.json.sig").write_bytes(witness.sign(RAW, RECORD_ID, body))
    folder.joinpath("c.witness.pem").write_text(witness.public_pem(RAW, RECORD_ID))
    return path


def told(**more: object) -> dict[str, object]:
    return {
        "at": "2026-01-31T08:00:00Z", "epoch": "E", "record_id": RECORD_ID, "nonce": "n",
        "ledger_head": {"sequence": 1, "sha256": "0" * 64}, "fingerprint": unlocked().fingerprint, **more,
    }  # fmt: skip


def look(path: Path) -> Checked:
    public = unlocked().public
    return checking.check(path, public, deadline=Deadline(60), now=datetime.now(UTC))


def test_a_certificate_speaks_of_the_key_that_signed_it(tmp_path: Path) -> None:
    assert look(write(tmp_path, told())).fingerprint == unlocked().fingerprint
    with pytest.raises(IntegrityProblem, match="it speaks of the key " + "B" * 40):
        look(write(tmp_path, told(fingerprint="B" * 40)))


def test_whose_signature_it_is_is_told_rightly(tmp_path: Path) -> None:
    path = write(tmp_path, told(), signer=ATTACKER)
    key_id = unlocked(ATTACKER).fingerprint[-16:]
    with pytest.raises(NotPinned, match=f"signed by the key {key_id}, not by {unlocked().fingerprint}"):
        look(path)
    write(tmp_path, told())
    (tmp_path / "c.json.asc").write_bytes(signed(ORG, b"something else"))
    with pytest.raises(IntegrityProblem):
        look(path)


@pytest.mark.parametrize(("details", "digest"), [(told(), "0" * 64), ([told()], None), ("x", None)])
def test_what_a_certificate_carries_fits_its_digest(
    tmp_path: Path, details: object, digest: str | None
) -> None:
    with pytest.raises(IntegrityProblem, match="does not fit its digest"):
        look(write(tmp_path, details, digest=digest))


@pytest.mark.parametrize("head", ["x", [1], 7, {"sequence": float("inf"), "sha256": "0" * 64}, {"host": 3}])
def test_a_head_of_another_form_is_malformed_and_no_defect(tmp_path: Path, head: object) -> None:
    with pytest.raises(IntegrityProblem, match="it is malformed: not a certificate"):
        look(write(tmp_path, told(ledger_head=head)))


def test_a_certificate_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, told())
    size = path.stat().st_size
    monkeypatch.setattr(checking, "_LARGEST", size)
    assert look(path)
    monkeypatch.setattr(checking, "_LARGEST", size - 1)
    with pytest.raises(IntegrityProblem, match="too large for a certificate"):
        look(path)


def test_openssl_finds_the_stamp_good(issued: Issued, serving: Authority) -> None:
    done = subprocess.run(
        ["openssl", "ts", "-verify", "-in", issued.file(".json.tsr"), "-data", issued.path,
         "-CAfile", serving.ca],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "Verification: OK" in done.stdout, done.stderr
    done = subprocess.run(
        ["openssl", "ts", "-verify", "-in", issued.file(".json.tsr"),
         "-queryfile", issued.path.with_name(f"{issued.path.name}.tsq"), "-CAfile", serving.ca],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "Verification: OK" in done.stdout, f"the request that was kept is the answer's: {done.stderr}"


@pytest.mark.parametrize(
    ("how", "said"), [("other-nonce", "Nonce"), ("other-imprint", "messages"), ("refuses", "refused")]
)
def test_a_nearly_good_answer_is_not_kept(serving: Authority, tmp_path: Path, how: str, said: str) -> None:
    statement = tmp_path / "c.json"
    statement.write_bytes(b"{}")
    serving.how = how
    try:
        made = ask(statement, serving)
    finally:
        serving.how = "good"
    assert made.state == "pending"
    assert said in str(made.reason)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.json", "c.json.tsq"]


def test_an_answer_without_a_token_is_no_time_stamp(tmp_path: Path) -> None:
    statement = tmp_path / "c.json"
    statement.write_bytes(b"{}")
    (tmp_path / "c.json.tsr").write_bytes(bytes.fromhex("30053003020102"))  # a refusal
    with pytest.raises(IntegrityProblem):
        timestamp.state(statement)


def test_an_authority_that_has_expired_is_not_believed(tmp_path: Path) -> None:
    statement = tmp_path / "c.json"
    statement.write_bytes(b"{}")
    with authorities.serve(authorities.make(tmp_path / "tsa", days=-1)) as expired:
        made = ask(statement, expired)
    assert made.state == "pending"
    assert str(made.reason) == "the time-stamp is not good: certificate has expired"


def test_an_authority_that_is_dead_or_has_no_ca_leaves_it_pending(serving: Authority, tmp_path: Path) -> None:
    statement = tmp_path / "c.json"
    statement.write_bytes(b"{}")
    dead = Authority(serving.folder, "http://127.0.0.1:9/tsr")
    assert ask(statement, dead).state == "pending"
    nobody = Certificates(timestamp=serving.url, timestamp_ca_file=str(tmp_path / "none.pem"))
    made = timestamp.ask(statement, nobody, seconds=5.0)
    assert (made.state, "none.pem" in str(made.reason)) == ("pending", True)
    assert timestamp.pending(tmp_path) == [statement]


def test_an_authority_that_leaves_its_chain_out_is_completed(tmp_path: Path) -> None:
    statement = tmp_path / "c.json"
    statement.write_bytes(b"{}")
    made = authorities.make(tmp_path / "tsa")
    authorities.between(made, send=False)
    both = Certificates(timestamp="http://127.0.0.1", timestamp_ca_file=str(made.folder / "chain.pem"))
    with authorities.serve(made) as authority:
        settings = both.model_copy(update={"timestamp": authority.url})
        assert timestamp.ask(statement, settings, seconds=5.0).state == "stamped"
    beside = tmp_path / "c.tsa.pem"
    assert beside.read_text().count("BEGIN CERTIFICATE") == 1
    # Whoever trusts the root alone gets by with what lies beside; and so does openssl.
    assert timestamp.state(statement, timestamp.roots(made.ca)).at is not None
    done = subprocess.run(
        ["openssl", "ts", "-verify", "-in", f"{statement}.tsr", "-data", statement, "-CAfile", made.ca,
         "-untrusted", beside],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "Verification: OK" in done.stdout, done.stderr
    # What lies beside can only complete a chain, never begin one.
    other = authorities.make(tmp_path / "other", "somebody else")
    beside.write_bytes(made.ca.read_bytes() + (made.folder / "between.pem").read_bytes())
    with pytest.raises(IntegrityProblem):
        timestamp.state(statement, timestamp.roots(other.ca))
    beside.unlink()
    with pytest.raises(IntegrityProblem):
        timestamp.state(statement, timestamp.roots(made.ca))


def test_two_runs_that_ask_at_once_both_end_well(
    serving: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = tmp_path / "c.json"
    statement.write_bytes(b"{}")
    real = timestamp.verify
    inner: list[None] = []

    def meanwhile(*words: object, **more: object) -> datetime:
        if not inner:
            inner.append(None)
            assert ask(statement, serving).state == "stamped"
        return real(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(timestamp, "verify", meanwhile)
    assert ask(statement, serving).state == "stamped"
    assert timestamp.state(statement, timestamp.roots(serving.ca)).state == "stamped"
