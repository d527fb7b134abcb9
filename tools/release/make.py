"""Build the wheel and the source twice, and lay out, describe and sign what is published."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.evidence import statement
from tools.packages.build import DIST, ROOT, Failed, digest, run

LOCKS = ("requirements-build.lock", "requirements-production.lock")
SUMS = "SHA256SUMS"
PROVENANCE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:orgkey-escrow:make-release:1"
BY_HAND = "urn:orgkey-escrow:by-hand"
SIGNED = (SUMS, "provenance.json")


def release() -> Path:
    """Make the folder of a release below ``dist``.

    Returns:
        The folder.

    Raises:
        Failed: Something cannot be built or signed, or the two builds differ.
    """
    commit = run("git", "rev-parse", "HEAD").strip()
    when = run("git", "log", "-1", "--format=%ct").strip()
    if run("git", "status", "--porcelain", "--untracked-files=no"):
        print("what is not committed is not in the release", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="release-of-orgkey.") as work:
        # Nothing of either place may show: another depth, another umask, another time zone.
        one = built(Path(work) / "one", when, umask=0o022, zone="UTC")
        two = built(Path(work) / "two" / "deeper", when, umask=0o077, zone="Asia/Kathmandu")
        for first, second in zip(one, two, strict=True):
            if (first.name, digest(first)) != (second.name, digest(second)):
                raise Failed(f"two clones give other bytes: {first.name} and {second.name}")
        print("two clones give the same bytes")
        clone = Path(work) / "one" / "clone"
        version = one[0].name.split("-")[1]
        folder = DIST / f"orgkey-escrow-{version}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in (*one, clone / "sbom.cdx.json", *(clone / name for name in LOCKS)):
            shutil.copyfile(path, folder / path.name)
    describe(folder, predicate(commit, when))
    sign(folder, os.environ.get("RELEASE_KEY", ""))
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>9}  {path.relative_to(ROOT)}")
    return folder


def built(place: Path, when: str, *, umask: int, zone: str) -> list[Path]:
    """Clone the last commit and build from the clone.

    Args:
        place: A new folder.
        when: What ``SOURCE_DATE_EPOCH`` is.
        umask: What the clone's files are made with.
        zone: Of the clock.

    Returns:
        The wheel and the source.
    """
    before = os.umask(umask)
    try:
        place.mkdir(parents=True)
        run("git", "clone", "--quiet", "--no-local", ROOT, place / "clone")
        words = (
            "-m",
            "build",
            "--no-isolation",
            "--wheel",
            "--sdist",
            "--outdir",
            place / "out",
            place / "clone",
        )
        run(sys.executable, *words, SOURCE_DATE_EPOCH=when, TZ=zone)
    finally:
        os.umask(before)
    return [next((place / "out").glob(pattern)) for pattern in ("*.whl", "*.tar.gz")]


def predicate(commit: str, when: str) -> dict[str, Any]:
    """How it was built, in SLSA's words; no time and no host, so that it can be written again.

    Args:
        commit: What was built.
        when: ``SOURCE_DATE_EPOCH``.
    """
    tools = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / LOCKS[0]).read_text(), re.MULTILINE)
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"target": "release", "commit": commit},
            "internalParameters": {
                "SOURCE_DATE_EPOCH": when,
                "python": platform.python_version(),
            },
            "resolvedDependencies": [
                {"name": "source", "digest": {"gitCommit": commit}},
                *({"uri": f"pkg:pypi/{name}@{version}"} for name, version in tools),
            ],
        },
        "runDetails": {"builder": {"id": os.environ.get("RELEASE_BUILDER", BY_HAND)}},
    }


def describe(folder: Path, how: Mapping[str, Any]) -> None:
    """Write the statement of provenance, and the sums of all files.

    Args:
        folder: Everything else that is published.
        how: The statement's predicate.
    """
    subjects = {path.name: digest(path) for path in sorted(folder.iterdir())}
    (folder / "provenance.json").write_bytes(statement.written(subjects, PROVENANCE, how))
    listed: Sequence[Path] = sorted(folder.iterdir())
    (folder / SUMS).write_text("".join(f"{digest(path)}  {path.name}\n" for path in listed))


def sign(folder: Path, key: str) -> None:
    """Sign the sums, which stand for everything, and the statement, which is passed on alone.

    Args:
        folder: What is published.
        key: Fingerprint of the key that gpg signs with; where it is empty, nothing is signed.
    """
    if not key:
        print("not signed: RELEASE_KEY=FINGERPRINT names the key that signs", file=sys.stderr)
        return
    for name in SIGNED:
        run("gpg", "--batch", "--yes", "--armor", "--local-user", f"{key}!", "--detach-sign", folder / name)
