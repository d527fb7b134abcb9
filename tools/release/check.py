"""Try a release on each Python: what ``docs/install.md`` says, typed, with a key made for it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.runbooks.runner import RunbookFailed, Typist, execute
from tools.interpreters import interpreters
from tools.make_sbom import NAME, PYTHONS, locked
from tools.packages.build import ROOT, digest, run
from tools.release import make
from tools.transcript import Transcript

PAGE = ROOT / "docs" / "install.md"
BUILDERS = {
    "pip",
    "hatchling",
    "pathspec",
    "pluggy",
    "setuptools",
    "trove-classifiers",
    "tomlkit",
    "packaging",
}
"""What the build lock brings, and pip; two of these the program needs, too."""
INSTALLED = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
SECONDS = 600.0


def check() -> int:
    """Make the release, signed by a throwaway key, and install it as the page says; the exit code."""
    said = Transcript()
    with tempfile.TemporaryDirectory(prefix="orgkey-release.") as work:
        home = Path(work) / "gnupg"
        home.mkdir(mode=0o700)
        os.environ["GNUPGHOME"] = str(home)
        try:
            run(
                "gpg",
                "--batch",
                "--passphrase",
                "",
                "--quick-generate-key",
                "Release of a test",
                "ed25519",
                "sign",
            )
            listed = run("gpg", "--batch", "--list-keys", "--with-colons")
            os.environ["RELEASE_KEY"] = re.findall(r"^fpr:+(\w+):", listed, re.MULTILINE)[0]
            said.step("make release")
            folder = make.release()
            _again(said, folder, Path(work))
            for version in PYTHONS:
                said.step(f"docs/install.md, typed with Python {version}")
                try:
                    _typed(said, folder, Path(work) / version, interpreters(version)[0])
                except (RunbookFailed, IndexError) as error:
                    said.check(f"it works with Python {version}", holds=False, seen=error)
        finally:
            run("gpgconf", "--kill", "all")
    return said.end()


def _again(said: Transcript, folder: Path, work: Path) -> None:
    """What is published, built again from what is published."""
    (source,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    (work / "source").mkdir()
    run("tar", "-xf", source, "-C", work / "source")
    (tree,) = (work / "source").iterdir()
    when = run("git", "log", "-1", "--format=%ct").strip()
    words = ("-m", "build", "--no-isolation", "--wheel", "--outdir", work / "again", tree)
    run(sys.executable, *words, SOURCE_DATE_EPOCH=when)
    said.check(
        "the published source gives the published wheel",
        digest(next((work / "again").iterdir())) == digest(wheel),
    )
    shown = run("unzip", "-p", wheel, "*.dist-info/sboms/sbom.cdx.json")
    said.check("the wheel has the same SBOM inside", shown == (folder / "sbom.cdx.json").read_text())
    broken = work / "broken"
    shutil.copytree(folder, broken)
    with (broken / wheel.name).open("ab") as file:
        file.write(b"\0")
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", make.SUMS], cwd=broken, capture_output=True, check=False
    )
    said.check("sha256sum finds an altered wheel", done.returncode == 1, done)
    with (broken / make.SUMS).open("a") as sums:
        sums.write("\n")
    done = subprocess.run(
        ["gpg", "--verify", f"{make.SUMS}.asc"], cwd=broken, capture_output=True, check=False
    )
    said.check("gpg finds altered sums", done.returncode == 1, done)


def _typed(said: Transcript, folder: Path, work: Path, python: Path) -> None:
    here = work / "release"
    shutil.copytree(folder, here)
    tools = work / "bin"
    tools.mkdir()
    # Not a link: a Python finds its home by where it lies.
    (tools / "python3").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    (tools / "python3").chmod(0o755)
    (tools / "uv").symlink_to(Path(sys.executable).parent / "uv")
    kept = {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "GNUPGHOME", "SSL_"))
    }
    env = kept | {
        "PATH": f"{tools}:/usr/bin:/bin",
        "HOME": str(work),
        "LANG": "C.UTF-8",
        "UV_PYTHON": str(python),
        "UV_TOOL_DIR": str(work / "tools"),
        "UV_TOOL_BIN_DIR": str(tools),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    typed = execute(PAGE, here, env, typist=Typist({}, {"/opt/orgkey": str(work / "opt")}), seconds=SECONDS)
    for command in typed:
        said.output(f"$ {command.text}")
    said.check("each of its commands does what the page says", holds=True)
    _used(said, work, work / "opt" / "bin" / "orgkey", env)
    _used(said, work, tools / "orgkey", env)
    _complete(said, work / "opt" / "bin" / "python")
    _sizes(said, work)


def _used(said: Transcript, work: Path, program: Path, env: dict[str, str]) -> None:
    """It is whole without the checkout."""
    for words in (["--version"], ["explain", "23"], ["doctor", "--help"]):
        done = subprocess.run(
            [program, *words], cwd=work, env=env, capture_output=True, text=True, check=False
        )
        said.command([program.name, *words])
        said.check(
            f"… ends with 0 and says something, {program.parent.parent.name}",
            done.returncode == 0 and len(done.stdout) > 5,
            done,
        )


def _complete(said: Transcript, python: Path) -> None:
    """The SBOM names each package that is there, and nothing else."""
    there = dict(line.split() for line in run(python, "-I", "-c", INSTALLED).splitlines())
    there = {canonicalize_name(name): version for name, version in there.items()}
    pins = locked()
    document = json.loads((ROOT / "sbom.cdx.json").read_text())
    named = {part["name"]: part["version"] for part in document["components"]}
    strange = (
        {name for name, version in there.items() if named.get(name) != version}
        - {NAME}
        - (BUILDERS - set(pins))
    )
    said.check(
        f"the SBOM names all {len(there)} packages of the environment, in their versions",
        not strange,
        strange,
    )
    missing = set(named) - set(there) - {"standard-imghdr"}
    said.check("the SBOM names nothing that is not there", not missing, missing)


def _sizes(said: Transcript, work: Path) -> None:
    (site,) = (work / "opt").glob("lib/python*/site-packages")
    whole = _megabytes(site)
    tools = sum(_megabytes(site / name) for name in ("pip", "setuptools") if (site / name).exists())
    typst, apprise = _megabytes(site / "typst"), _megabytes(site / "apprise")
    said.output(
        f"{whole} MB of packages: pip and setuptools {tools}, typst {typst}, apprise {apprise}; "
        f"without these {whole - tools - typst - apprise}"
    )


def _megabytes(path: Path) -> int:
    return int(run("du", "--summarize", "--block-size=1000000", path).split()[0])
