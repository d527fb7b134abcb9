"""What the program imports is what it says that it needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from pipeline import __version__

ROOT = Path(__file__).parents[3]
TYPES_ONLY = {"_typeshed"}  # comes with the type checker, and is imported for it alone


def test_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dask"], *extras["lab"], *extras["notify"], *extras["pdf"]]
    declared = {_normal(re.split(r"[^\w.-]", name)[0]) for name in wanted}
    brought = {
        file.parts[0].partition(".")[0]
        for distribution in metadata.distributions()
        if _normal(distribution.name) in declared
        for file in distribution.files or ()
    }
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "pipeline").rglob("*.py")
        for name in _imports(path) - sys.stdlib_module_names - TYPES_ONLY - {"pipeline"} - brought
    }
    assert not undeclared


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_the_version_is_the_same_wherever_it_stands() -> None:
    for name, times in {
        "README.md": 1,
        "docs/install.md": 6,
        "docs/tutorial.md": 1,
        "infra/ansible/roles/orgkey/defaults/main.yml": 1,
        "infra/container/Containerfile": 2,
        "infra/container/README.md": 2,
        "infra/container/compose.yaml": 1,
        "infra/crew/kubernetes.yaml": 1,
        "infra/schedule/kubernetes/overlays/example/kustomization.yaml": 1,
        "infra/terraform/README.md": 3,
    }.items():
        assert (ROOT / name).read_text().count(__version__) == times, name


def test_types_are_shipped() -> None:
    assert (ROOT / "pipeline" / "py.typed").exists()


def test_the_linter_sees_all_of_the_program_and_its_tests() -> None:
    excluded = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["extend-exclude"]
    assert all(name.startswith("/") for name in excluded), "a bare name excludes every folder of that name"
