"""A third party's view: a clean account runs the commands of the bundle's own page, with four tools.

The commands are parsed out of ``VERIFY.txt`` and run as they stand there. Then something is altered, and they
have to find it: also when whoever altered it wrote ``SHA256SUMS`` anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.evidence.ledger import entry as entries
from pipeline.evidence.ledger.store import Ledger
from pipeline.report import verify_page
from tests.support import authority as authorities
from tests.support.bundles import Made, blocks, bundle_of, made_once, unpack
from tests.support.commandline import KEYS, Desk, export_of

if TYPE_CHECKING:
    from tests.conftest import Place

TOOLS = ("gpg", "openssl", "sha256sum", "jq")
BASE = ("sh", "base64", "cat", "chmod", "cmp", "cut", "grep", "mktemp", "paste", "rm", "sort")
NOBODY = 65534


def demand_tools() -> None:
    """Skip the test where a third party's program is missing; in continuous integration that is a failure."""
    if missing := [name for name in TOOLS if shutil.which(name) is None]:
        pytest.skip(f"{', '.join(missing)} is not on this machine")


@pytest.fixture
def made(place: Place, tmp_path: Path) -> Made:
    demand_tools()
    return made_once(place, tmp_path)


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty directory that another account can read; the tests' own ones are private."""
    path = Path(tempfile.mkdtemp(prefix="orgkey-auditor-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def unpacked(made: Made, folder: Path) -> Path:
    return unpack(made.data, folder / "bundle")


def run(path: Path, *, more: tuple[str, ...] = (), **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the page's commands as a clean account: nobody's, where the tests may change accounts."""
    tools = path.parent / "bin"
    shutil.rmtree(tools, ignore_errors=True)
    tools.mkdir()
    for name in (*TOOLS, *BASE, *more):
        found = shutil.which(name)
        assert found is not None, name
        (tools / name).symlink_to(Path(found).resolve() if name != "sh" else found)
    home = path.parent / "home"
    home.mkdir(exist_ok=True)
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        os.chown(home, NOBODY, NOBODY)
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [tools / "sh", "-e"],
        input="\n".join(blocks(path / "VERIFY.txt")),
        cwd=path,
        env={"PATH": str(tools), "HOME": str(home)} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **account,
    )
    assert "not found" not in done.stderr, done.stderr
    return done


def oks(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("OK")]


def sum_anew(path: Path) -> None:
    """What a forger does last."""
    names = sorted(
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.is_file() and file.name != "SHA256SUMS"
    )
    lines = [f"{hashlib.sha256((path / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (path / "SHA256SUMS").write_text("".join(lines))


def flip(file: Path) -> None:
    """Change one byte so that a text stays a text."""
    data = bytearray(file.read_bytes())
    at = len(data) // 2
    data[at] = ord("0") if data[at] != ord("0") else ord("1")
    file.write_bytes(data)


def test_a_clean_account_verifies_everything_with_the_pages_own_commands(made: Made, unpacked: Path) -> None:
    done = run(unpacked)
    assert done.returncode == 0, done
    (chain,) = (unpacked / "ledger").iterdir()
    entries = len(list(chain.iterdir()))
    assert [line.partition(":")[0] for line in oks(done)] == ["OK"] * 3 + ["OK, BUT NOT DONE"] + ["OK"] * 4
    assert f"OK: every certificate is signed by {made.fingerprint}" in done.stdout
    assert f"OK: {entries} entries in ledger/{chain.name} are one chain" in done.stdout
    # The drill's own entry comes behind the head that its certificate names.
    assert f"vouches for ledger/{chain.name}/{entries - 1:09d}.json and for every entry before" in done.stdout
    assert '"auditor-4711"]' in done.stdout
    assert '"PASSED"' in done.stdout


def test_the_bundle_holds_what_it_should_and_nothing_else(made: Made, unpacked: Path) -> None:
    names = {file.relative_to(unpacked).as_posix() for file in unpacked.rglob("*") if file.is_file()}
    top = {name for name in names if "/" not in name}
    assert top == {
        "SHA256SUMS", "VERIFY.txt", "posture.json", "public.asc", "report.html", "report.json",
        "report.oscal.json", "report.pdf", "verify.html",
    }  # fmt: skip
    assert {name.split("/")[0] for name in names - top} == {"certificates", "csv", "ledger"}
    certificates = [name for name in names if name.startswith("certificates/")]
    assert len(certificates) == 2 * 4
    report = json.loads((unpacked / "report.json").read_bytes())
    for item in report["evidence"]:
        if item["file"]:
            assert hashlib.sha256((unpacked / item["file"]).read_bytes()).hexdigest() == item["sha256"]
    oscal = json.loads((unpacked / "report.oscal.json").read_bytes())
    for resource in oscal["assessment-results"]["back-matter"]["resources"]:
        for link in resource.get("rlinks", ()):
            assert link["href"] in names


def test_a_record_from_elsewhere_proves_the_witness(made: Made, unpacked: Path) -> None:
    record = unpacked.parent / "record.tar"
    record.write_bytes(made.record)
    done = run(unpacked, more=("tar",), RECORD=str(record))
    assert done.returncode == 0, done
    assert "OK: 2 certificates are of this record, and by its witness" in done.stdout

    data = bytearray(made.record)
    data[data.index(b"BEGIN PUBLIC KEY") + 40] ^= 1
    record.write_bytes(data)
    forged = run(unpacked, more=("tar",), RECORD=str(record))
    assert forged.returncode != 0
    assert "FAILED: the witness is not the record's" in forged.stdout


def first(path: Path, pattern: str) -> Path:
    return min(path.glob(pattern))


def _certificate(path: Path) -> None:
    flip(first(path, "certificates/*.json"))


def _key_signature(path: Path) -> None:
    flip(first(path, "certificates/*.json.asc"))


def _witness_signature(path: Path) -> None:
    flip(first(path, "certificates/*.json.sig"))


def _entry(path: Path) -> None:
    flip(first(path, "ledger/*/*.json"))


def _last_entry(path: Path) -> None:
    """Its own digest is in no entry and no certificate; that it is evidence of the report shows it."""
    flip(max(path.glob("ledger/*/*.json")))


def _removed_entry(path: Path) -> None:
    first(path, "ledger/*/*.json").unlink()


def _swapped_entries(path: Path) -> None:
    one, other = sorted(path.glob("ledger/*/*.json"))[:2]
    one.rename(path / "x")
    other.rename(one)
    (path / "x").rename(other)


def _added_entry(path: Path) -> None:
    files = sorted(path.glob("ledger/*/*.json"))
    shutil.copy(files[-1], files[-1].with_name(f"{len(files) + 1:09d}.json"))


def _anothers_key(path: Path) -> None:
    text = export_of("rsa2048").read_text()
    (path / "public.asc").write_text(text[text.index("-----BEGIN PGP PUBLIC KEY BLOCK") :])


def _revoked_key(path: Path) -> None:
    from pgpy import PGPKey

    key, _ = PGPKey.from_file(str(KEYS / "ed25519-unprotected.asc"))
    key |= key.revoke(key)
    (path / "public.asc").write_text(str(key.pubkey))


def _posture(path: Path) -> None:
    flip(path / "posture.json")


def _chained_anew(path: Path) -> None:
    """The first entry changed, and everything after it chained to that: only a certificate can tell."""
    before = hashlib.sha256(b"").hexdigest()
    for number, file in enumerate(sorted(path.glob("ledger/*/*.json"))):
        entry = json.loads(file.read_bytes()) | {"previous": before}
        if number == 0:
            entry["run"] = "never"
        file.write_text(json.dumps(entry, sort_keys=True, separators=(",", ":")))
        before = hashlib.sha256(file.read_bytes()).hexdigest()


ALTERED = (
    (_certificate, "FAILED: a certificate is not signed by"),
    (_key_signature, "FAILED: a certificate is not signed by"),
    (_witness_signature, "FAILED: a witness's signature does not fit"),
    (_entry, "FAILED: a chain of the ledger is broken"),
    (_removed_entry, "FAILED: a chain of the ledger is broken"),
    (_swapped_entries, "FAILED: a chain of the ledger is broken"),
    (_added_entry, "FAILED: a chain of the ledger is broken"),
    (_chained_anew, "FAILED: a certificate names another ledger than this one"),
    (_anothers_key, "FAILED: a certificate is not signed by"),
    (_revoked_key, "This key has been revoked"),
    (_posture, "FAILED: the report's evidence is not what lies here"),
    (_last_entry, "FAILED:"),
)


@pytest.mark.parametrize(("alter", "said"), ALTERED, ids=[alter.__name__ for alter, _ in ALTERED])
def test_what_was_altered_is_found(unpacked: Path, alter: Callable[[Path], None], said: str) -> None:
    alter(unpacked)
    plain = run(unpacked)
    assert plain.returncode != 0
    assert "FAILED: files were changed, added or removed" in plain.stdout
    assert oks(plain) == []

    sum_anew(unpacked)
    forged = run(unpacked)
    assert forged.returncode != 0
    assert said in forged.stdout, forged
    assert "OK: the files are those of SHA256SUMS" in forged.stdout


@pytest.mark.parametrize("name", ["report.html", "report.pdf", "report.json", "csv/claims.csv", "VERIFY.txt"])
def test_a_changed_or_added_file_of_the_report_is_found(unpacked: Path, name: str) -> None:
    before = blocks(unpacked / "VERIFY.txt")
    file = unpacked / name
    file.write_bytes(file.read_bytes() + b"\n")
    assert blocks(unpacked / "VERIFY.txt") == before
    assert run(unpacked).returncode != 0
    file.write_bytes(file.read_bytes()[:-1])
    assert run(unpacked).returncode == 0
    (unpacked / "csv" / "more.csv").write_text("x\n")
    assert run(unpacked).returncode != 0


def test_a_forged_bundle_of_another_key_is_found_by_the_fingerprint_from_elsewhere(unpacked: Path) -> None:
    done = run(unpacked, FINGERPRINT="0" * 40)
    assert done.returncode != 0
    assert f"FAILED: a certificate is not signed by {'0' * 40}" in done.stdout


def test_a_tail_that_was_cut_is_not_seen_and_the_page_says_so(unpacked: Path) -> None:
    """Only a newer certificate, a mirror or the operator's word on SHA256SUMS shows that."""
    last = max(unpacked.glob("ledger/*/*.json"))
    last.unlink()
    report = json.loads((unpacked / "report.json").read_bytes())
    name = str(last.relative_to(unpacked))
    report["evidence"] = [item for item in report["evidence"] if item["file"] != name]
    (unpacked / "report.json").write_text(json.dumps(report))
    assert run(unpacked).returncode != 0
    sum_anew(unpacked)
    assert run(unpacked).returncode == 0
    page = " ".join((unpacked / "VERIFY.txt").read_text().split())
    assert "or about entries that were cut off behind the last one" in page
    assert "words, charts and tables of the report are not signed" in page


TSA = """\
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
[ca]
basicConstraints = critical, CA:true
[signer]
extendedKeyUsage = critical, timeStamping
"""


def stamp_with_openssl(folder: Path, file: Path) -> Path:
    """Have an authority of this test's own time-stamp a file; its root is returned."""
    config = folder / "tsa.cnf"
    config.write_text(TSA.format(folder=folder))
    (folder / "serial").write_text("01\n")
    made = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    by_root = ("-CA", "root.pem", "-CAkey", "root.key")
    for words in (
        ("req", "-x509", *made, "-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=Root"),
        ("req", *made[:3], "-keyout", "signer.key", "-out", "signer.csr", "-subj", "/CN=Signer"),
        (
            "x509", "-req", "-in", "signer.csr", *by_root, "-set_serial", "7", "-days", "2", "-extfile",
            config, "-extensions", "signer", "-out", "signer.pem",
        ),
        ("ts", "-query", "-data", file, "-sha256", "-cert", "-out", f"{file}.tsq"),
        (
            "ts", "-reply", "-config", config, "-queryfile", f"{file}.tsq", "-signer", "signer.pem",
            "-inkey", "signer.key", "-out", f"{file}.tsr",
        ),
    ):  # fmt: skip
        subprocess.run(["openssl", *words], cwd=folder, capture_output=True, timeout=60, check=True)
    return folder / "root.pem"


def test_a_time_stamp_is_checked_with_the_authoritys_root(made: Made, folder: Path, tmp_path: Path) -> None:
    plain = unpack(made.data, folder / "bundle")
    one, other = sorted((plain / "certificates").glob("*.json"))
    root = stamp_with_openssl(tmp_path, one)
    public_root = folder / "root.pem"
    shutil.copy(root, public_root)
    names = [file.relative_to(plain).as_posix() for file in plain.rglob("*")]
    (plain / "VERIFY.txt").write_bytes(verify_page.render(made.report, names))
    sum_anew(plain)

    unproven = run(plain)
    assert unproven.returncode == 0, unproven
    assert "OK, BUT NOT DONE: no ROOT" in unproven.stdout
    done = run(plain, ROOT=str(public_root))
    assert done.returncode == 0, done
    assert "OK: every time-stamp fits its certificate" in done.stdout
    assert f"GMT  certificates/{one.name}" in done.stdout

    one.with_name(f"{one.name}.tsr").rename(other.with_name(f"{other.name}.tsr"))
    sum_anew(plain)
    moved = run(plain, ROOT=str(public_root))
    assert moved.returncode != 0
    assert "FAILED: a time-stamp does not fit" in moved.stdout


def test_a_time_stamp_without_its_chain_is_completed(made: Made, folder: Path, tmp_path: Path) -> None:
    plain = unpack(made.data, folder / "bundle")
    one = min((plain / "certificates").glob("*.json"))
    authority = authorities.make(tmp_path / "tsa")
    authorities.between(authority, send=False)
    query = authorities.openssl("ts", "-query", "-data", one, "-sha256", "-cert")
    one.with_name(f"{one.name}.tsr").write_bytes(authority.reply(query))
    beside = one.with_name(f"{one.stem}.tsa.pem")
    shutil.copy(authority.folder / "between.pem", beside)
    public_root = folder / "root.pem"
    shutil.copy(authority.ca, public_root)
    names = [file.relative_to(plain).as_posix() for file in plain.rglob("*")]
    (plain / "VERIFY.txt").write_bytes(verify_page.render(made.report, names))
    sum_anew(plain)
    assert "OK: every time-stamp fits its certificate" in run(plain, ROOT=str(public_root)).stdout
    beside.unlink()
    sum_anew(plain)
    assert "FAILED: a time-stamp does not fit" in run(plain, ROOT=str(public_root)).stdout


# -- several hosts ---------------------------------------------------------------------------------


def test_the_chains_of_other_hosts_and_of_0_1_are_checked_as_well(
    place: Place, tmp_path: Path, folder: Path
) -> None:
    demand_tools()
    desk = Desk(place, tmp_path)
    desk.escrow()
    ledger = Ledger(desk.state / desk.fingerprint, desk.fingerprint)
    other, old = ledger.copy_of("f" * 16), ledger.directory
    data = entries.write(entries.START, desk.fingerprint, "check-in", {}, now=datetime.now(UTC), run="r")
    assert other.add(1, data)
    later = entries.write(other.head(), desk.fingerprint, "check-in", {}, now=datetime.now(UTC), run="r")
    assert other.add(2, later)
    (old / "000000001.json").write_bytes(data.replace(b'"run":"r"', b'"run":"s"'))
    made, report = bundle_of(desk)
    assert report.ledger.ok, report.ledger
    unpacked = unpack(made, folder / "bundle")
    done = run(unpacked)
    assert done.returncode == 0, done
    for name in ("ledger", f"ledger/{'f' * 16}", f"ledger/{ledger.host}"):
        assert f"entries in {name} are one chain" in done.stdout
    flip(unpacked / "ledger" / ("f" * 16) / "000000001.json")
    sum_anew(unpacked)
    assert "FAILED: a chain of the ledger is broken" in run(unpacked).stdout
