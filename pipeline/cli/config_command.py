"""`orgkey config`."""

from __future__ import annotations

import json as jsonlib

import typer

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.errors import Code

app = typer.Typer(help="Check the configuration, or print its schema.", no_args_is_help=True)


@app.command("validate")
def validate(
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Read the configuration and say whether it is valid. Contacts nothing."""
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    from pipeline.config import locate
    from pipeline.custody import posture

    path = locate(common.config)
    loaded = common.load(out)
    posture.require_no_single_party(loaded)
    out.emit(
        {
            "schema": "orgkey.config-validate/1",
            "path": str(path),
            "valid": True,
            "fingerprint": loaded.key.fingerprint if loaded.key else None,
            "targets": sorted(loaded.target),
            "holders": sorted(loaded.holder),
            "paths": sorted(loaded.path),
        },
        [f"{path} is valid" + ("" if loaded.key else "; no key is pinned yet")],
    )
    return Code.OK


@app.command("schema")
def schema(json: options.Json = False) -> Code:  # noqa: ARG001, RUF100 - the schema is JSON either way
    """Print the configuration's JSON schema."""
    from pipeline.config import Config

    typer.echo(jsonlib.dumps(Config.model_json_schema(), indent=2))
    return Code.OK
