"""How the house is kept: rooms, names with one meaning, plain English, and what the suites may import.

A number in :data:`MOST` says how many exceptions there are today. It may only fall: who takes some away
lowers it.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "pipeline"
ROOMS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
SUITES = {"unit", "component", "contract", "e2e", "faults", "golden", "runbooks", "bench"}

MOST = {
    "public class names with several meanings": 0,
    "classes named by a participle": 0,
    "private modules imported across rooms": 0,
    "what a suite takes from another test's file": 51,
    "English: the program": 0,
    "English: docs": 0,
    "English: infra": 0,
    "English: tests": 0,
}

# What plain English says in another way. "There is no …" and "is no longer" are plain.
PATTERNS = {
    "is not a …": r"(?<![Tt]here )\b(?:is|are|was|were|be) no (?!longer|more|less|later|other)[a-z]",
    "that is not, does not": r"\b(?:which|as|than) no [a-z]+ (?:\w+ )?(?:is|are|has|does|can|gives|takes)\b",
    "does not know of": r"\b(?:knows?|tells?) of no\b",
    "is attached to": r"\bhangs? on\b",
    "is malformed": r"\b(?:has|have|of|in) another form\b",
    "is available": r"\bto be had\b",
    "not yet …": r"\bwaits? for it\b(?! to )",
    "not running in a terminal": r"\bterminal to ask at\b",
}
PARTICIPLES = {"Told", "Said", "Asked", "Lived", "Found", "Gathered", "Seen", "Given", "Known", "Written"}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _modules(*folders: str) -> list[Path]:
    return sorted(chain.from_iterable((ROOT / folder).rglob("*.py") for folder in folders))


def _imports(path: Path) -> Iterator[str]:
    """The full names of what a file imports, wherever it does."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _held(what: str, found: list[str]) -> None:
    listed = "\n".join(found)
    assert len(found) <= MOST[what], f"{what}: {len(found)}, at most {MOST[what]}\n{listed}"


# -- rooms ---------------------------------------------------------------------------------------


def test_there_are_at_most_twenty_rooms_and_no_flat_module() -> None:
    assert 10 < len(ROOMS) <= 20
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]


def test_no_room_imports_what_is_private_to_another() -> None:
    crossing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in _modules("pipeline")
        for name in _imports(path)
        if name.startswith("pipeline.")
        and name.split(".")[1] != path.relative_to(PACKAGE).parts[0]
        and re.search(r"\._(?!_)", name)
    ]
    _held("private modules imported across rooms", crossing)


def test_the_layers_name_rooms() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert sorted(name for layer in layers for name in layer.split(" | ")) == sorted(ROOMS)


def test_each_public_class_name_has_one_meaning() -> None:
    homes = defaultdict(list)
    for path in _modules("pipeline"):
        for node in _tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(PACKAGE)))
    several = [f"{name}: {', '.join(places)}" for name, places in sorted(homes.items()) if len(places) > 1]
    _held("public class names with several meanings", several)


# -- suites --------------------------------------------------------------------------------------


def test_the_suites_are_those_of_the_layout() -> None:
    found = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert found == SUITES | {"assets", "support"}
    rooms = {path.name for path in (ROOT / "tests" / "unit").iterdir() if path.is_dir()} - {"__pycache__"}
    assert rooms <= ROOMS | {"project"}


def test_no_two_test_files_have_one_name() -> None:
    names = [path.name for path in _modules("tests") if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_suites_import_only_support() -> None:
    """Or what lies beside them and is not a test; never another suite, never another test's file."""
    taken = []
    for path in _modules("tests"):
        folder = path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for name in {".".join(name.split(".")[:4]) for name in _imports(path)}:
            parts = name.split(".")
            if parts[0] != "tests" or parts[1] in ("support", "assets", "conftest"):
                continue
            beside = name.startswith(folder + ".") and not any(part.startswith("test_") for part in parts)
            if not beside and name != f"tests.{parts[1]}":
                taken.append(f"{path.relative_to(ROOT)}: {name}")
    _held("what a suite takes from another test's file", sorted(taken))


# -- plain English -------------------------------------------------------------------------------


def _words(path: Path) -> Iterator[tuple[int, str]]:
    """What people read of a file: of Python its texts and comments, of the rest everything."""
    text = path.read_text(encoding="utf-8", errors="ignore")
    if path.suffix != ".py":
        yield 1, text
        return
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for number, line in enumerate(text.splitlines(), 1):
        if (at := line.find("# ")) >= 0:
            yield number, line[at:]


def _complaints(paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{first + words.count(chr(10), 0, match.start())}: "
        f"{' '.join(match[0].split())!r}; say {better}"
        for path in paths
        if path != Path(__file__)
        for first, words in _words(path)
        for better, pattern in PATTERNS.items()
        for match in re.finditer(pattern, " ".join(words.split("\n")))
    ]


def _pages() -> list[Path]:
    """Not the reference: its words are the program's."""
    pages = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in pages if path.name != "CHANGELOG.md" and path.parent.name != "reference"]


@pytest.mark.parametrize(
    ("area", "paths"),
    [
        ("the program", _modules("pipeline")),
        ("docs", _pages()),
        ("infra", sorted(path for path in (ROOT / "infra").rglob("*") if path.is_file())),
        ("tests", _modules("tests", "tools")),
    ],
    ids=["program", "docs", "infra", "tests"],
)
def test_the_words_are_plain(area: str, paths: list[Path]) -> None:
    assert paths
    _held(f"English: {area}", _complaints(paths))


def test_paths_in_commands_of_hints_are_quoted() -> None:
    pattern = re.compile(
        r"\b(?:chmod \S+|mkdir|orgkey inspect|gpg --verify|vault (?:write|kv|secrets)[^{\"']*|--share) ?"
        r"\{(?!shell_word|where\}|version\})"
    )
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _modules("pipeline")
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1)
        if pattern.search(line)
    ]
    assert bare == [], "write {shell_word(path)}"


def test_no_class_is_named_by_a_participle() -> None:
    named = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in _modules("pipeline")
        for node in _tree(path).body
        if isinstance(node, ast.ClassDef) and node.name in PARTICIPLES
    ]
    _held("classes named by a participle", named)


# -- tools ---------------------------------------------------------------------------------------


def test_the_modules_that_are_mutated_and_the_tests_that_judge_exist() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    ignored = [
        word.partition("=")[2] for word in settings["pytest_add_cli_args"] if word.startswith("--ignore=")
    ]
    for name in [*settings["only_mutate"], *settings["pytest_add_cli_args_test_selection"], *ignored]:
        assert list(ROOT.glob(name)), name
