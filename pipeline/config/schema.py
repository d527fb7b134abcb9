"""The configuration's JSON Schema, with words about every setting for people and their editors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pipeline.config import Config
from pipeline.core.templates import table

ID: Final = "urn:orgkey-escrow:config:1"


@dataclass(frozen=True)
class Section:
    """Words about a table of the configuration.

    Attributes:
        title: How it is written, for example ``[key]`` in backticks.
        about: What it is for.
        settings: What each of its settings is for, by name.
    """

    title: str
    about: str
    settings: dict[str, str]


@cache
def sections() -> dict[str, Section]:
    """The words about each model of the configuration, in the order of the reference's page."""
    words = table(__package__, "settings.toml")
    shared = words.pop("shared")
    return {
        model: Section(
            one["title"],
            one["about"],
            {name: text for use in one.get("uses", ()) for name, text in shared[use].items()}
            | one["settings"],
        )
        for model, one in words.items()
    }


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``orgkey.toml``."""
    document = Config.model_json_schema()
    for model, section in sections().items():
        definition = document if model == "Config" else document["$defs"][model]
        definition["description"] = f"{section.title}: {section.about}"
        # Some may be one text in place of a table.
        forms = (definition, *definition.get("anyOf", ()))
        properties = next(form["properties"] for form in forms if "properties" in form)
        for name, text in section.settings.items():
            properties[name]["description"] = text
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": ID}
    return head | document
