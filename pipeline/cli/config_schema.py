"""`orgkey config schema`."""

from __future__ import annotations

import json

import typer

from pipeline.cli.command import Invocation, command
from pipeline.core.errors import Code


@command("orgkey config schema > schema.json", shared=("json",))
def schema(call: Invocation) -> Code:  # noqa: ARG001, RUF100 - the schema is JSON either way
    """Print the configuration's JSON schema.

    Editors complete and explain the settings of a file with the line ``#:schema schema.json``.
    """
    from pipeline.config.schema import schema as described

    typer.echo(json.dumps(described(), indent=2, ensure_ascii=False))
    return Code.OK
