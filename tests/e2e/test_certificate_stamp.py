"""Time-stamps for certificates: authorities that answer well or not, and a third party's check."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.text import spaced
from pipeline.record.tar import unpack
from tests.conftest import Place
from tests.support import authority as authorities
from tests.support.authority import Authority
from tests.support.commandline import Desk, Run, orgkey

SECTION = """
[certificate]
timestamp = {url}
timestamp_ca_file = {ca}
timestamp_seconds = 5
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authorities.make(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture
def authority(made: Authority) -> Iterator[Authority]:
    with authorities.serve(Authority(made.folder)) as serving:
        yield serving


@pytest.fixture
def desk(place: Place, tmp_path: Path, authority: Authority) -> Desk:
    """An escrow whose certificates are stamped; its closing drill has made one."""
    more = SECTION.format(url=json.dumps(authority.url), ca=json.dumps(str(authority.ca)))
    return Desk(place, tmp_path, disk=True, more=more)


def public_of(desk: Desk) -> Path:
    epoch = desk.ask("list")["epochs"][-1]["epoch"]
    record = desk.at_vault.target("driller").get(desk.slot(epoch))
    desk.write("record.tar", record)
    return desk.write("public.asc", unpack(record)["public.asc"])


def verify(desk: Desk, certificate: str | Path, *words: str, expect: int | None = None) -> Run:
    given_public = ("--public", str(desk.folder / "public.asc"))
    return orgkey(
        desk.folder, "certificate", "verify", str(certificate), *given_public, *words, expect=expect
    )


def test_a_stamp_that_a_third_party_can_check(desk: Desk, authority: Authority) -> None:
    desk.escrow()
    drilled = desk.ask("drill", "--nonce", "audit-7")
    assert drilled["timestamp"] == "stamped"
    certificate = Path(drilled["certificate"])
    plain = subprocess.run(
        [
            "openssl",
            "ts",
            "-verify",
            "-in",
            f"{certificate}.tsr",
            "-data",
            certificate,
            "-CAfile",
            authority.ca,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Verification: OK" in plain.stdout, plain.stderr
    public_of(desk)
    told = verify(
        desk, certificate, "--json", "--nonce", "audit-7", "--fingerprint", desk.fingerprint,
        "--record", str(desk.folder / "record.tar"), "--timestamp-ca", str(authority.ca), expect=0,
    ).document  # fmt: skip
    assert (told["result"], told["witness"], told["fingerprint"]) == (
        "PASSED",
        "the record's",
        desk.fingerprint,
    )
    assert told["timestamp"]["checked"] is True
    text = verify(desk, certificate, expect=0).out
    assert "NOT checked" in text
    assert "compare it" in text


@pytest.mark.parametrize("how", ["gone", "slow", "endless", "garbage", "other-bytes", "refuses"])
def test_a_bad_authority_fails_nothing_and_is_asked_again(desk: Desk, authority: Authority, how: str) -> None:
    authority.how = how
    escrowed = desk.escrow(expect=0)
    drill = escrowed["drill"]
    assert drill["passed"] is True
    certificate = Path(drill["certificate"])
    assert certificate.with_name(f"{certificate.name}.tsq").exists()
    assert not certificate.with_name(f"{certificate.name}.tsr").exists()
    stamping = desk.ask("certificate", "stamp", expect=20)
    assert stamping["pending"] == [str(certificate)]
    assert stamping["problem"]
    run = desk.run("drill", expect=0)
    assert "warning: the certificate's time-stamp is pending: " in run.err
    assert "time-stamp pending" in run.out

    authority.how = "good"
    assert desk.ask("drill")["timestamp"] == "stamped"
    assert desk.ask("certificate", "stamp")["pending"] == []
    assert len(list(certificate.parent.glob("*.tsr"))) == 3, "those that had to wait were stamped, too"


def test_another_authority_is_not_believed(desk: Desk, tmp_path: Path) -> None:
    other = authorities.make(tmp_path / "other", "a CA of somebody else")
    desk.edit(json.dumps(str(desk_ca(desk))), json.dumps(str(other.ca)))
    assert desk.escrow()["drill"]["timestamp"] == "pending"


def desk_ca(desk: Desk) -> Path:
    line = next(line for line in desk.config.read_text().splitlines() if line.startswith("timestamp_ca_file"))
    return Path(json.loads(line.partition(" = ")[2]))


def test_what_does_not_belong_together_is_named(desk: Desk, authority: Authority, tmp_path: Path) -> None:
    first = desk.escrow()["drill"]["certificate"]
    public_of(desk)
    told = verify(desk, first, "--nonce", "other", expect=23).error
    assert "another nonce" in told[0]
    other = authorities.make(tmp_path / "elsewhere", "another CA")
    assert (
        "time-stamp is not good" in verify(desk, first, "--timestamp-ca", str(other.ca), expect=23).error[0]
    )
    verify(desk, first, "--config", str(desk.config), expect=0)
    pinned = desk.config.read_text()
    desk.edit(desk.fingerprint, "0" * 40)
    assert "not by 0" in verify(desk, first, "--config", str(desk.config), expect=14).error[0]
    desk.edit("[key]\n", f'[key]\nformer = ["{desk.fingerprint}"]\n')
    assert "compare it" not in verify(desk, first, "--config", str(desk.config), expect=0).out
    desk.config.write_text(pinned)
    wrong = "0" * 40
    assert verify(desk, first, "--fingerprint", wrong, expect=14).error[0].endswith(f"not by {spaced(wrong)}")
    Path(f"{first}.tsr").unlink()
    assert "has no time-stamp" in verify(desk, first, "--timestamp-ca", str(authority.ca), expect=23).error[0]
    witnessed = Path(f"{first}.sig").read_bytes()
    Path(f"{first}.sig").unlink()
    assert "is missing" in verify(desk, first, expect=23).error[0]
    assert verify(desk, desk.folder / "nothing.json", expect=23).error
    os.mkfifo(desk.folder / "pipe.json")
    assert "is not a file" in verify(desk, desk.folder / "pipe.json", expect=23).error[0]
    foreign = Path(__file__).parents[1] / "assets" / "keys" / "rsa2048-two-block.asc"
    (desk.folder / "public.asc").write_bytes(foreign.read_bytes())
    assert verify(desk, first, expect=23).error, "without the witness's signature nothing is known"
    Path(f"{first}.sig").write_bytes(witnessed)
    assert verify(desk, first, expect=14).error[0].startswith("it was signed by the key ")


def test_a_failed_and_a_warned_drill_say_so(desk: Desk) -> None:
    """The statement of a drill in which a proof failed is signed all the same: 30; with a warning: 24."""
    from pipeline.cli.certificate_verify import CODES
    from pipeline.core.errors import Code

    assert CODES == {"PASSED": Code.OK, "WARNED": Code.DEGRADED, "FAILED": Code.PROOF_FAILED}
    desk.escrow("--no-drill")
    epoch = desk.ask("list")["epochs"][-1]["epoch"]
    record = desk.at_vault.target("driller").get(desk.slot(epoch))
    desk.plant(epoch, record[:900] + bytes([record[900] ^ 1]) + record[901:], "disk")
    drilled = desk.ask("drill", expect=23)
    assert drilled["passed"] is False
    public_of_s3 = unpack(record)["public.asc"]
    desk.write("public.asc", public_of_s3)
    told = verify(desk, drilled["certificate"], "--json", expect=30).document
    assert told["result"] == "FAILED"
    assert "disk/-/authentic" in told["failed"]


def test_a_drill_with_a_warning_says_so(place: Place, tmp_path: Path) -> None:
    """A curve that GnuPG alone knows: everything is proven, by one implementation."""
    desk = Desk(place, tmp_path, key="brainpoolp256")
    desk.escrow(expect=24)
    drilled = desk.ask("drill", expect=24)
    assert (drilled["passed"], drilled["timestamp"]) == (True, "none")
    public_of(desk)
    told = verify(desk, drilled["certificate"], "--json", expect=24).document
    assert (told["result"], told["failed"]) == ("WARNED", [])
    assert told["warned"] == ["s3/unattended", "vault/unattended"]


def test_any_byte_that_changes_is_found(desk: Desk, authority: Authority) -> None:
    certificate = Path(desk.escrow()["drill"]["certificate"])
    public = public_of(desk).read_bytes()
    from datetime import UTC, datetime

    from pipeline.core.clock import Deadline
    from pipeline.core.errors import OrgkeyError
    from pipeline.evidence import timestamp
    from pipeline.evidence import verify as checking

    trusted = timestamp.roots(authority.ca)

    def good() -> bool:
        try:
            checking.check(certificate, public, trusted=trusted, deadline=Deadline(60), now=datetime.now(UTC))
        except OrgkeyError:
            return False
        return True

    assert good()
    names = ("", ".asc", ".sig", ".tsr")
    files = [certificate.with_name(f"{certificate.name}{ending}") for ending in names]

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def change(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(files))
        before = path.read_bytes()
        at = data.draw(st.integers(0, len(before) - 1))
        bit = 1 << data.draw(st.integers(0, 7))
        path.chmod(0o600)
        path.write_bytes(before[:at] + bytes([before[at] ^ bit]) + before[at + 1 :])
        try:
            assert not good(), (path.name, at, bit)
        finally:
            path.write_bytes(before)

    change()


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ('timestamp = "https://tsa.example.com"\n', "go together"),
        ('timestamp = "ftp://tsa.example.com"\ntimestamp_ca_file = "/ca.pem"\n', "is an address"),
        (
            'timestamp = "https://user:secret@tsa.example.com"\ntimestamp_ca_file = "/ca.pem"\n',
            "is an address",
        ),
    ],
)
def test_the_settings_are_checked(place: Place, tmp_path: Path, section: str, told: str) -> None:
    desk = Desk(place, tmp_path, more=f"\n[certificate]\n{section}")
    assert told in desk.run("status", expect=2).error[0]


def test_without_an_authority_nothing_waits(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path)
    assert desk.escrow()["drill"]["timestamp"] == "none"
    assert "no time-stamp authority" in desk.run("certificate", "stamp", expect=2).error[0]
