"""Documents of commands against their committed schemas."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "schemas"


@cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types

    path = FOLDER / f"{name.replace('/', '-')}.json"
    return Draft202012Validator(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def require_valid(document: dict[str, Any]) -> None:
    """See that a document is as its schema says; some documents of trying and testing have none.

    Args:
        document: What a command printed with ``--json``.
    """
    validator = _validator(document["schema"])
    if validator is None:
        assert document["schema"].startswith(WITHOUT), document["schema"]
        return
    errors = [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(document)]
    assert not errors, errors


WITHOUT = ("orgkey.lab-", "orgkey.stack", "orgkey.report/")
