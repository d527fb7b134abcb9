"""`orgkey config`."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING

import typer

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.core.errors import Code, ProgramMissing, UsageProblem

if TYPE_CHECKING:
    from pipeline.cli.output import Output
    from pipeline.config import Config

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
    """Read the configuration and the custodians' certificates, and say whether they are valid.

    Contacts nothing.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    from pipeline.config import locate
    from pipeline.posture import model as posture

    path = locate(common.config)
    loaded = common.load(out)
    posture.require_no_single_party(loaded)
    _judge_certificates(out, loaded)
    _judge_alarms(loaded)
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


def _judge_certificates(out: Output, loaded: Config) -> None:
    """Look at the certificates of every group of custodians as a split of this moment would.

    Raises:
        UsageProblem: Nothing can be encrypted to somebody, or a secret key lies among them; all are named.
    """
    from datetime import timedelta

    from pipeline.config import OpenpgpHolder
    from pipeline.core.clock import SystemClock
    from pipeline.core.finding import Level
    from pipeline.custody.custodians import check as certificate_check

    warning = timedelta(days=loaded.policy.certificate_warning_days)
    now = SystemClock().now()
    failed = []
    for name, item in sorted(loaded.holder.items()):
        if not isinstance(item, OpenpgpHolder):
            continue
        for finding in certificate_check.findings(name, item, now, warning):
            if finding.level is Level.WARN:
                out.warn(f"{finding.subject}: {finding.message}")
            elif finding.level is Level.FAIL:
                failed.append(finding)
    if failed:
        raise UsageProblem(
            "; ".join(f"{finding.subject}: {finding.message}" for finding in failed),
            hint=failed[0].hint if len(failed) == 1 else "`orgkey doctor` says what to do about each",
        )


def _judge_alarms(loaded: Config) -> None:
    """See that [notify] and [ping.*] can be used; nothing is sent.

    Raises:
        UsageProblem: An address cannot be read, or is none.
        ProgramMissing: What one of them needs is not installed.
    """
    from pipeline.core.finding import Level
    from pipeline.monitoring.notify import channels

    for finding in channels.findings(loaded):
        if finding.level is Level.FAIL:
            kind = ProgramMissing if finding.code is Code.PROGRAM_MISSING else UsageProblem
            raise kind(f"{finding.subject}: {finding.message}", hint=finding.hint)


@app.command("schema")
def schema(json: options.Json = False) -> Code:  # noqa: ARG001, RUF100 - the schema is JSON either way
    """Print the configuration's JSON schema."""
    from pipeline.config import Config

    typer.echo(jsonlib.dumps(Config.model_json_schema(), indent=2))
    return Code.OK
