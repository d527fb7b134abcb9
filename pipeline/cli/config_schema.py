"""`orgkey config schema`."""

from __future__ import annotations

import json

import typer

from pipeline.cli.command import Invocation, command
from pipeline.core.errors import Code


@command("orgkey config schema > schema.json", shared=("json",))
def schema(call: Invocation) -> Code:  # noqa: ARG001, RUF100 - the schema is JSON either way
    """Print the configuration's JSON schema."""
    from pipeline.config import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=2))
    return Code.OK
