"""`orgkey verify`."""

from __future__ import annotations

from pipeline.cli import options
from pipeline.cli.list_command import document, lines
from pipeline.cli.options import Common
from pipeline.errors import Code, first_of


def verify(
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Read every copy whole and check that it is authentic.

    Every epoch, every target. Needs no passphrase.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    context = common.context(out)
    from pipeline import overview

    surveys = overview.all_keys(context)
    code = first_of(code for item in surveys for code in overview.verdict(item, context.config.policy.copies))
    if code is Code.OK and not any(item.epochs for item in surveys):
        code = Code.STALE
        out.warn("nothing is stored for this key")
    context.record_event("verify", overview.event(surveys, code))
    out.emit(
        document(surveys, "orgkey.verify/1") | {"exit_code": int(code)},
        [*lines(surveys), f"exit code {int(code)}: {code.meaning}"],
    )
    return code
