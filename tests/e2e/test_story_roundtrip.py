"""The main story on real servers: escrow, drill, restore, and what GnuPG makes of the restored file."""

from __future__ import annotations

import base64
import configparser
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import pytest

from tests.e2e.leaks import BY_HAND
from tests.support import commandline, leftovers
from tests.support import openpgp_writer as writer
from tests.support.commandline import NEW_PASSPHRASE, ORGKEY, Desk, Run, copies, environment, gpg, orgkey

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    return Desk(place, tmp_path)


@pytest.fixture
def gnupg_home() -> Iterator[Path]:
    home = leftovers.directory("gpg-")
    yield home
    commandline.end_gpg(home)
    shutil.rmtree(home, ignore_errors=True)


def imports_and_signs(home: Path, file: Path, fingerprint: str) -> None:
    """One pass of ``gpg --import`` must be enough for a key that signs and decrypts."""
    told = gpg(
        home, "--passphrase-fd", "0", "--status-fd", "1", "--import", str(file), stdin=NEW_PASSPHRASE + b"\n"
    )
    assert f"IMPORT_OK 17 {fingerprint}".encode() in told.stdout
    listed = gpg(home, "--with-colons", "--list-secret-keys", fingerprint).stdout.decode().splitlines()
    secret = [line.split(":") for line in listed if line.startswith(("sec", "ssb"))]
    assert [line[0] for line in secret] == ["sec", "ssb"]
    # Field 15: "#" for a missing secret, ">" for a card; "+" says that the secret is there.
    assert [line[14] for line in secret] == ["+", "+"]
    signature = gpg(
        home,
        *("--passphrase-fd", "0", "--local-user", fingerprint, "--detach-sign", "--output", "-", __file__),
        stdin=NEW_PASSPHRASE + b"\n",
    ).stdout
    (home / "sig").write_bytes(signature)
    checked = gpg(home, "--status-fd", "1", "--verify", str(home / "sig"), __file__).stdout
    assert f"VALIDSIG {fingerprint}".encode() in checked
    sealed = gpg(
        home, "--trust-model", "always", "--recipient", fingerprint, "--encrypt", stdin=b"a backup"
    ).stdout
    (home / "sealed").write_bytes(sealed)
    opened = gpg(home, "--passphrase-fd", "0", "--decrypt", str(home / "sealed"), stdin=NEW_PASSPHRASE)
    assert opened.stdout == b"a backup"


@pytest.mark.parametrize("key", ["rsa4096", "ed25519"])
def test_a_two_block_export_comes_back_ready_for_gnupg(
    key: str, place: Place, tmp_path: Path, gnupg_home: Path
) -> None:
    desk = Desk(place, tmp_path, key=key)
    made = desk.escrow()
    assert (made["fingerprint"], made["proven"], made["exit_code"]) == (desk.fingerprint, True, 0)
    assert [(copy["target"], copy["verified"], copy["sha256"]) for copy in made["copies"]] == [
        ("vault", True, made["record_sha256"]),
        ("s3", True, made["record_sha256"]),
    ]
    assert made["copies"][0]["version"] == "1"
    assert made["copies"][1]["retain_until"]

    drilled = desk.ask("drill")
    assert drilled["passed"] is True
    assert {result["copy"] for result in drilled["results"]} == {"vault", "s3"}
    for result in drilled["results"]:
        assert result["epoch"] == made["epoch"]
        for name in ("unlock", "fingerprint", "sign", "certify", "decrypt", "negative"):
            proof = result["proofs"][name]
            assert proof["ok"], proof
            assert {"gnupg", "pgpy", "sequoia"} <= set(proof["by"]), (name, proof)
    assert drilled["rto_seconds"] > 0
    assert Path(drilled["certificate"]).is_file()

    restored = desk.restore(executed=True)  # a forked one would hardly stretch the passphrase
    assert (restored["epoch"], restored["fingerprint"]) == (made["epoch"], desk.fingerprint)
    file = tmp_path / "restored.asc"
    assert b"count: 65011712 (255)" in gpg(gnupg_home, "--list-packets", str(file)).stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    imports_and_signs(gnupg_home, file, desk.fingerprint)

    told = desk.restore("--original", name="original.asc")
    assert told["original"] is True
    assert (tmp_path / "original.asc").read_bytes() == desk.export.read_bytes()


def test_a_restored_file_is_one_that_would_be_accepted_again(desk: Desk) -> None:
    desk.escrow("--no-drill")
    desk.restore()
    seen = orgkey(
        desk.folder,
        *("inspect", "restored.asc", "--export-passphrase-file", str(desk.new_passphrase_file), "--json"),
        expect=0,
    ).document
    assert (seen["verdict"], seen["fingerprint"], seen["layout"]) == ("ok", desk.fingerprint, "single")
    old = orgkey(
        desk.folder, "inspect", "restored.asc", "--export-passphrase-file", str(desk.passphrase_file)
    )
    assert old.code == 12


def test_every_copy_path_epoch_and_version_restores(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path, disk=True)
    epoch = desk.escrow()["epoch"]
    stored = copies(desk.ask("list"), epoch)
    for target in ("vault", "s3", "disk"):
        told = desk.restore("--from", target, name=f"from-{target}.asc")
        assert (told["from"], told["via"]) == (target, "unattended")
    assert desk.restore("--via", "unattended", name="via.asc")["via"] == "unattended"
    assert desk.restore("--epoch", epoch, name="epoch.asc")["epoch"] == epoch
    for target in ("vault", "s3"):
        version = stored[target]["version"]
        told = desk.restore(
            *("--from", target, "--epoch", epoch, "--version-id", version), name=f"version-{target}.asc"
        )
        assert (told["from"], told["epoch"]) == (target, epoch)


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("--from", "nowhere"), 2, "nowhere"),
        (("--via", "custodians"), 2, "custodians"),
        (("--epoch", "20200101T000000Z-00000000"), 2, "20200101T000000Z-00000000"),
        (("--version-id", "1"), 2, "--version-id"),
        (("--from", "vault", "--epoch", "EPOCH", "--version-id", "7"), 23, "version 7"),
        (("--from", "s3", "--epoch", "EPOCH", "--version-id", "nonsense"), 23, "nonsense"),
    ],
)
def test_what_is_not_there_cannot_be_restored(
    words: tuple[str, ...],
    code: int,
    named: str,
    desk: Desk,
    record_of: Callable[[str], tuple[str, bytes]],
) -> None:
    epoch, data = record_of("ed25519")
    desk.plant(epoch, data, "vault", "s3")
    told = desk.restore(*(epoch if word == "EPOCH" else word for word in words), expect=code)
    assert named in told["error"]["message"]
    assert not (desk.folder / "restored.asc").exists()


def test_the_drill_works_on_a_host_that_knows_nothing(desk: Desk, tmp_path: Path) -> None:
    epoch = desk.escrow("--no-drill")["epoch"]
    assert desk.ask("list")["epochs"][0]["state"] == "complete"
    elsewhere = tmp_path / "elsewhere"
    drilled = orgkey(
        desk.folder, "drill", "--config", str(desk.config), "--state-dir", str(elsewhere), "--json", expect=0
    ).document
    assert (drilled["passed"], drilled["results"][0]["epoch"]) == (True, epoch)
    assert not (desk.journal / epoch / "proven.json").exists()
    assert desk.ask("drill", "--epoch", epoch, "--from", "s3", "--via", "unattended")["passed"]
    assert desk.ask("list")["epochs"][0]["state"] == "proven"


def test_the_certificate_can_be_verified_by_others(desk: Desk, gnupg_home: Path, tmp_path: Path) -> None:
    """With gpg and openssl, the record's public key and the manifest's witness key."""
    import tarfile

    made = desk.escrow()
    certificate = Path(desk.ask("drill", "--nonce", "asked by the auditor")["certificate"])
    statement = json.loads(certificate.read_bytes())
    assert statement["subject"][0]["digest"] == {"sha256": made["record_sha256"]}
    details = json.loads(base64.b64decode(statement["predicate"]["configuration"][0]["content"]))
    assert (details["nonce"], details["epoch"]) == ("asked by the auditor", made["epoch"])
    assert details["requests"]["vault"]
    assert details["requests"]["aws"]
    key = desk.at_s3.client.get_object(
        Bucket=desk.at_s3.bucket, Key=desk.at_s3.key(desk.slot(made["epoch"]))
    )["Body"].read()
    (tmp_path / "record.tar").write_bytes(key)
    with tarfile.open(tmp_path / "record.tar") as record:
        public, manifest_file = record.extractfile("public.asc"), record.extractfile("manifest.json")
        assert public
        assert manifest_file
        gpg(gnupg_home, "--import", stdin=public.read())
        manifest = json.load(manifest_file)
    checked = gpg(
        gnupg_home, "--status-fd", "1", "--verify", f"{certificate}.asc", str(certificate)
    ).stdout  # a notation in it may be binary
    assert f"VALIDSIG {desk.fingerprint}".encode() in checked
    (tmp_path / "witness.pem").write_text(manifest["custody"]["witness"])
    subprocess.run(
        [
            *("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(tmp_path / "witness.pem"), "-rawin"),
            *("-in", str(certificate), "-sigfile", f"{certificate}.sig"),
        ],
        check=True,
        timeout=30,
        capture_output=True,
    )


# -- with neither configuration nor state ----------------------------------------------------------------


def shell_of_the_driller(desk: Desk, folder: Path) -> tuple[str, dict[str, str]]:
    """Somebody who evaluated `orgkey stack env`, and has nothing else at hand."""
    return orgkey(folder, "stack", "env", "--dir", str(desk.stack.layout.root), expect=0).out, {}


def variables_of_the_driller(desk: Desk, folder: Path) -> tuple[str, dict[str, str]]:
    """Somebody who has a token and keys, and sets the usual variables."""
    keys = configparser.ConfigParser()
    keys.read(desk.stack.layout.aws_credentials("driller"))
    return "", {
        "VAULT_TOKEN": desk.stack.vault("driller").token,
        "AWS_ACCESS_KEY_ID": keys["default"]["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": keys["default"]["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": desk.stack.endpoint("s3"),
        "AWS_ENDPOINT_URL_KMS": desk.stack.endpoint("kms"),
        "VAULT_ADDR": desk.stack.endpoint("vault"),
        BY_HAND: "yes",
    }


def run_bare(folder: Path, exports: str, variables: dict[str, str], *words: str) -> Run:
    """Run a command with an empty home; it must stay so."""
    home = folder / "empty-home"
    home.mkdir()
    done = subprocess.run(
        ["bash", "-c", f'{exports}\nexec "$@"', "bash", *ORGKEY, *words],
        cwd=folder,
        env=environment(home) | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    leftovers = [str(path) for path in home.rglob("*") if path.is_file()]
    assert leftovers == [], "neither configuration nor state means: none is made"
    return Run(words, done.returncode, done.stdout, done.stderr)


def place_of_record(desk: Desk, epoch: str, kind: str) -> str:
    slot = desk.slot(epoch)
    if kind == "file":
        shutil.copy(desk.at_disk.file(slot), desk.folder / "copied.tar")
        return str(desk.folder / "copied.tar")
    if kind == "s3":
        return f"s3://{desk.at_s3.bucket}/{desk.at_s3.key(slot)}"
    address = desk.stack.endpoint("vault").removeprefix("http://")
    place = f"vault://{address}/orgkey/{desk.at_vault.path(slot)}"
    return place + "?version=1" if kind == "vault-version" else place


@pytest.mark.parametrize(
    ("kind", "logins"),
    [
        ("file", shell_of_the_driller),
        ("s3", variables_of_the_driller),
        ("vault", shell_of_the_driller),
        ("vault-version", variables_of_the_driller),
    ],
)
def test_a_record_alone_and_logins_in_the_environment_are_enough(
    kind: str,
    logins: Callable[[Desk, Path], tuple[str, dict[str, str]]],
    desk: Desk,
    record_of: Callable[[str], tuple[str, bytes]],
) -> None:
    epoch, data = record_of("ed25519")
    desk.plant(epoch, data)
    away = desk.folder / "away"
    away.mkdir()
    done = run_bare(
        away,
        *logins(desk, away),
        *("restore", "--record", place_of_record(desk, epoch, kind), "--json", "--out", "back.asc"),
        *("--fingerprint", desk.fingerprint.lower()),
        *("--new-passphrase-file", str(desk.new_passphrase_file)),
    )
    assert done.code == 0, done
    assert (done.document["epoch"], done.document["via"]) == (epoch, "unattended")
    packets = writer.split(writer.dearmor((away / "back.asc").read_text()))
    assert writer.fingerprint(packets[0][1]) == desk.fingerprint
    assert packets[0][0] == writer.SECRET_KEY


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("no-fingerprint", 2),
        ("other-fingerprint", 23),
        ("damaged", 23),
        ("none", 3),
        ("folder", 3),
        ("not-a-place", 2),
    ],
)
def test_a_record_alone_is_still_judged(
    change: str, code: int, stack: Stack, tmp_path: Path, record_of: Callable[[str], tuple[str, bytes]]
) -> None:
    _, data = record_of("ed25519")
    pin = commandline.fingerprint_of("ed25519")
    file = tmp_path / "record.tar"
    if change == "folder":
        file.mkdir()
    elif change != "none":
        file.write_bytes(data[:-1024] + b"x" * 1024 if change == "damaged" else data)
    words = ["restore", "--out", "back.asc", "--record", "s3://b" if change == "not-a-place" else str(file)]
    if change != "no-fingerprint":
        words += ["--fingerprint", "AB" * 20 if change == "other-fingerprint" else pin]
    (tmp_path / "new").write_bytes(NEW_PASSPHRASE)
    done = orgkey(tmp_path, *words, "--new-passphrase-file", "new", "--json", expect=code)
    assert done.document["error"]["code"] == code
    assert done.error[0] == done.document["error"]["message"]
    assert not (tmp_path / "back.asc").exists()
    assert ("name a stored record" in done.error[1]) == (change in ("other-fingerprint", "damaged", "folder"))
    assert "orgkey verify" not in done.error[1], "without a configuration there is nothing to verify"


@pytest.fixture
def record_of(stack: Stack, fresh_place: Callable[[Stack], Place]) -> Callable[[str], tuple[str, bytes]]:
    return lambda key: commandline.record_of(stack, fresh_place, key)


# -- retention ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_not_even_root_deletes_a_locked_copy(mode: str, desk: Desk) -> None:
    desk.edit('lock_mode = "GOVERNANCE"', f'lock_mode = "{mode}"')
    made = desk.escrow("--no-drill")
    copy = next(item for item in made["copies"] if item["target"] == "s3")
    assert copy["retain_until"]
    root, named = desk.at_s3.client, {"Bucket": desk.at_s3.bucket, "Key": desk.stored_in_s3()[0]}
    request: dict[str, Any] = named | {"VersionId": copy["version"]}
    with pytest.raises(botocore.exceptions.ClientError) as denied:
        root.delete_object(**request, BypassGovernanceRetention=mode == "COMPLIANCE")
    assert denied.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    held = root.get_object_retention(**request)["Retention"]
    assert held["Mode"] == mode
    if mode == "COMPLIANCE":
        with pytest.raises(botocore.exceptions.ClientError):
            root.put_object_retention(
                **request,
                Retention={"Mode": mode, "RetainUntilDate": held["RetainUntilDate"].replace(year=2020)},
            )
    assert desk.ask("verify")["exit_code"] == 0
    assert desk.restore("--from", "s3", "--epoch", made["epoch"])["from"] == "s3"


def test_proofs_are_agreed_by_those_that_are_there(desk: Desk, tmp_path: Path) -> None:
    """Without gpg on PATH, GnuPG has no say; the two others still agree."""
    empty = tmp_path / "bin"
    empty.mkdir()
    env = environment(tmp_path) | {"PATH": str(empty)}
    assert shutil.which("gpg", path=str(empty)) is None
    made = desk.escrow(env=env)
    for result in made["drill"]["results"]:
        for name in ("unlock", "fingerprint", "sign", "certify", "decrypt", "negative"):
            assert result["proofs"][name]["ok"]
            assert set(result["proofs"][name]["by"]) == {"pgpy", "sequoia"}, name
        assert any("gpg" in note.lower() for note in result["notes"])
    assert made["proven"] is True
    seen = orgkey(tmp_path, "inspect", str(desk.export), "--json", env=env, expect=0)
    assert seen.document["verdict"] == "ok"
    assert os.environ["PATH"] != env["PATH"]
    with_all = desk.ask("drill")["results"][0]["proofs"]["sign"]["by"]
    assert "gnupg" in with_all
