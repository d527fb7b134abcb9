"""The documentation against the program: generated pages, commands, links, documents, decision records."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from pipeline import config
from pipeline.config import schema
from pipeline.config.identities import IdentityName
from pipeline.config.sections import Job
from tools import make_documents, make_permissions, make_reference, make_transcript

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("infra/**/*.md")],
    key=lambda path: path.as_posix(),
)
IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]
_CODE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[(?:[^\]\n]|\n(?!\n))+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _without_code(text: str) -> str:
    return _INLINE.sub("", _CODE.sub("", text))


def _blocks(path: Path) -> Iterator[tuple[str, str]]:
    for match in _CODE.finditer(_text(path)):
        indent = match[1]
        yield match[2], "\n".join(line.removeprefix(indent) for line in match[3].splitlines())


# -- generated pages -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(make_reference.PAGES))
def test_committed_reference_is_what_the_program_says(name: str) -> None:
    committed = _text(make_reference.REFERENCE / name)
    assert committed == make_reference.PAGES[name](), (
        "run .venv/bin/python -m tools.make_reference and commit what it writes"
    )


def test_the_committed_permissions_are_those_that_the_tests_run() -> None:
    page = make_permissions.page()
    assert _text(make_permissions.PAGE) == page, (
        "run .venv/bin/python -m tools.make_permissions and commit what it writes"
    )
    heads = re.findall(r"^## (\w+).*\n\n(\| operation .*)$", page, re.MULTILINE)
    assert [(where, "| planner |" in head) for where, head in heads] == [
        ("Vault", True), ("Vault", True), ("Vault", True), ("S3", False), ("KMS", False),
    ]  # fmt: skip


def test_every_setting_of_the_configuration_has_words() -> None:
    """The generator raises for a setting without words; here for a model that it leaves out."""
    assert {"Config", *config.Config.model_json_schema()["$defs"]} == set(schema.sections())


# -- commands ------------------------------------------------------------------------------------


@cache
def _known() -> dict[str, make_reference.Command]:
    return {command.words: command for command in make_reference.commands()}


def _command_lines(path: Path) -> Iterator[str]:
    """Everything on a page that reads as a call of the program."""
    for language, code in _blocks(path):
        if language in ("console", "text", "ini", "sh", ""):
            for line in code.replace("\\\n", " ").splitlines():
                yield from _calls(line)
    for code in _INLINE.findall(_CODE.sub("", _text(path))):
        if re.match(r"(?:\S*/)?orgkey(?: |$)", code):
            yield code


def _calls(line: str) -> Iterator[str]:
    # A call begins a command: after a prompt, a unit's ExecStart=, $( or a pipe; never inside prose.
    for match in re.finditer(
        r"(?:^\$ |^> +|ExecStart=|\$\(|\| *)((?:[\w./-]*/)?orgkey(?![\w./-])[^|)\n]*)", line
    ):
        yield match[1]


def complaint(call: str) -> str | None:
    """What is wrong with a call of the program, if anything."""
    words = shlex.split(call)
    found, rest = "orgkey", words[1:]
    while rest and f"{found} {rest[0]}" in _known():
        found, rest = f"{found} {rest[0]}", rest[1:]
    command = _known()[found]
    if command.children and rest and not rest[0].startswith("-"):
        return f"`{found}` has no command {rest[0]}"
    for word in rest:
        name = word.split("=")[0]
        if re.match(r"--?[a-z]", name) and name not in command.names and not re.fullmatch(r"-v+", name):
            return f"`{found}` has no option {name}"
    return None


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_commands_and_options_exist(path: Path) -> None:
    complaints = [f"{call}: {told}" for call in _command_lines(path) if (told := complaint(call))]
    assert complaints == []


def test_what_the_program_advises_exists() -> None:
    """Hints and messages name commands in backticks; formatted parts are left out."""
    named = {
        (path.name, call)
        for path in sorted((ROOT / "pipeline").rglob("*"))
        if path.suffix in (".py", ".toml", ".txt", ".j2")
        for call in re.findall(r"`(orgkey [^`\n]+)`", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 60
    # Not commands: the labels that HMACs begin with.
    apart = {"orgkey check code 1:<number>", "orgkey witness 1"}
    complaints = [
        f"{name}: {call}: {told}"
        for name, call in sorted(named)
        if call not in apart and (told := complaint(re.sub(r"[{<\[(…].*", "", call).strip()))
    ]
    assert complaints == []


def test_the_check_of_commands_finds_what_is_wrong() -> None:
    assert complaint("orgkey stack up --quiet") is None
    assert complaint("orgkey vanish now") == "`orgkey` has no command vanish"
    assert complaint("/opt/orgkey/bin/orgkey drill --bakup F") == "`orgkey drill` has no option --bakup"
    assert list(_calls("$ orgkey list | head")) == ["orgkey list "]
    found = [call for path in PAGES for call in _command_lines(path)]
    assert len(found) > 100
    used = {words for words in _known() if any(call.startswith(words) for call in found)}
    assert used == set(_known()), "some commands are documented nowhere"


# -- links ---------------------------------------------------------------------------------------


def _anchors(path: Path) -> set[str]:
    """The anchors that GitHub and its like make of headings."""
    made: set[str] = set()
    for heading in _HEADING.findall(_CODE.sub("", _text(path))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        made.add(next(name for name in _numbered(anchor) if name not in made))
    return made


def _numbered(anchor: str) -> Iterator[str]:
    yield anchor
    yield from (f"{anchor}-{number}" for number in range(1, 100))


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_internal_links_resolve(path: Path) -> None:
    broken = []
    for link in _LINK.findall(_CODE.sub("", _text(path))):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        known = target.exists() and target.is_relative_to(ROOT)
        if not known or (anchor and (target.suffix != ".md" or anchor not in _anchors(target))):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, open_ = set(), [ROOT / "README.md"]
    while open_:
        page = open_.pop()
        seen.add(page)
        for link in _LINK.findall(_CODE.sub("", _text(page))):
            target = (page.parent / link.split("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in seen:
                open_.append(target)
    assert {path for path in PAGES if path.is_relative_to(ROOT / "docs")} <= seen


def test_the_index_lists_every_decision_record() -> None:
    index = _text(ROOT / "docs/adr/README.md")
    rows = dict(re.findall(r"^\| \[\d+\]\((\S+)\) \| (.+) \|$", index, re.MULTILINE))
    records = {path.name: path for path in (ROOT / "docs/adr").glob("[0-9]*.md")}
    assert set(rows) == set(records)
    for name, path in records.items():
        title = re.match(r"# (\d+)\. (.+)\n", _text(path))
        assert title is not None
        assert rows[name] == title[2]
        assert int(title[1]) == int(name[:4])


def test_the_design_names_every_module() -> None:
    page = _text(ROOT / "docs/design.md")
    table = page[page.index("## Modules") : page.index("## Threat model")]
    named = {
        name
        for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)/?`", row)
    }
    package = ROOT / "pipeline"
    assert named == {path.parent.name for path in package.glob("*/__init__.py")}
    assert len(named) <= 20
    assert [path.name for path in package.glob("*.py")] == ["__init__.py"]


# -- documents and examples ----------------------------------------------------------------------


def test_committed_schemas_are_what_the_documents_say() -> None:
    folder = make_reference.REFERENCE / "schemas"
    assert {path.name: _text(path) for path in folder.glob("*.json")} == make_documents.schemas()


def test_examples_of_configuration_hold_known_settings() -> None:
    models = config.Config.model_json_schema()["$defs"]
    everything = {name for model in models.values() for name in model.get("properties", {})}
    given = {
        "safe",
        "us",
        "vault-us",
        "aws-us",
        "vault-eu",
        "s3",
        "s3-eu",
        "s3-replica",
        "custodians",
        "mixed",
    }
    known = set(config.Config.model_fields) | everything | given | {"nightly"}
    known |= set(get_args(IdentityName)) | set(get_args(Job))
    examples = [code for path in PAGES for language, code in _blocks(path) if language == "toml"]
    assert len(examples) >= 8

    def names(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield name
                yield from names(inner)

    for example in examples:
        assert set(names(tomllib.loads(example))) <= known, example


def test_the_page_shows_the_demo_as_it_is() -> None:
    demo, shown = _text(ROOT / "infra/demo/demo.sh"), make_transcript.committed()
    assert re.findall(r"^== (.+)$", shown, re.MULTILINE) == re.findall(r'^step "(.+)"$', demo, re.MULTILINE)
    called = re.findall(r"^run (orgkey \w+)", demo, re.MULTILINE)
    assert re.findall(r"^\$ (orgkey \w+)", shown, re.MULTILINE) == called
    for heading in ("make demo", "make test"):
        assert f"$ {heading}" in _text(ROOT / "README.md")


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len(_text(ROOT / "README.md").split()) <= 900


def test_shell_code_is_marked_as_a_session() -> None:
    """Only blocks of these kinds are looked at for commands."""
    kinds = {language for path in PAGES for language, _ in _blocks(path)}
    assert kinds <= {"console", "text", "toml", "json", "yaml", "ini", "hcl", ""}


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_pages_name_no_file_of_the_project_that_is_missing(path: Path) -> None:
    named = re.findall(
        r"(?:^|[\s(])((?:pipeline|infra|tests|docs)/[\w./-]*\w\.(?:py|md|hcl|json|sh|toml))",
        _INLINE.sub(r" \1 ", _CODE.sub("", _text(path))),
    )
    assert [name for name in named if not (ROOT / name).exists()] == []
