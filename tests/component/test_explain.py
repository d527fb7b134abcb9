"""`orgkey explain`: what an installed program says of its exit codes and of its pages."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.core.errors import Code
from tests.support.commandline import ROOT, orgkey


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.label)
def test_each_exit_code_says_what_to_do(tmp_path: Path, code: Code) -> None:
    said = orgkey(tmp_path, "explain", str(int(code)), expect=0).out.splitlines()
    assert said[0] == f"{int(code)} {code.label}"
    assert said[1] == code.meaning
    assert re.fullmatch(r"what to do: .{7,}[^.]", said[2])
    assert ("later" in said[3]) is code.retry


def test_the_list_names_every_page_once(tmp_path: Path) -> None:
    said = orgkey(tmp_path, "explain", expect=0).out
    names = re.findall(r"^  (\S+) +\S", said, re.MULTILINE)
    pages = {path.stem for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "adr"} - {"README"}
    assert sorted(names) == sorted(pages | {"runbooks", "adr"})


@pytest.mark.parametrize("name", ["lost-vault", "runbooks", "0039-a-crew-gets-tickets"])
def test_a_page_is_shown_whole(tmp_path: Path, name: str) -> None:
    (page,) = [*ROOT.glob(f"docs/**/{name}.md"), *ROOT.glob(f"docs/{name}/README.md")]
    assert orgkey(tmp_path, "explain", name, expect=0).out == page.read_text().rstrip() + "\n"
    if page.stem == name:
        linked = f"../{page.parent.name}/{page.name}"
        assert orgkey(tmp_path, "explain", linked, expect=0).out == page.read_text().rstrip() + "\n"


def test_a_section_is_found_by_words_of_its_heading(tmp_path: Path) -> None:
    said = orgkey(tmp_path, "explain", "how-to", "Pin", "key", expect=0).out
    assert re.findall(r"^#+ .+$", said, re.MULTILINE)[0] == "### Pin the encryption key, too"
    whole = orgkey(tmp_path, "explain", "how-to", "custodians", "holders", expect=0).out
    assert said.strip() in whole, "a section has its own sections"
    assert whole.count("### Pin the encryption key, too") == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["99"], "99 is not an exit code"),
        (["9" * 5000], "999"),
        (["lost-vaul"], "there is no page 'lost-vaul'"),
        (["how-to", "nowhere"], "no heading of this page has 'nowhere'"),
        (["../README"], "there is no page '../README'"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, words: list[str], named: str) -> None:
    assert f"orgkey: error: {named}" in orgkey(tmp_path, "explain", *words, expect=2).err


def test_every_hint_to_a_page_finds_it(tmp_path: Path) -> None:
    texts = [path.read_text() for path in (ROOT / "pipeline").rglob("*.py")]
    hints = set(re.findall(r"orgkey explain ([a-z][\w-]*(?: [\w-]+)*)`", "\n".join(texts)))
    assert len(hints) > 4
    for hint in sorted(hints):
        orgkey(tmp_path, "explain", *hint.split(), expect=0)


def test_the_wheel_has_the_pages(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    assert {f"pipeline/_docs/{page.as_posix()}" for page in pages} <= inside
