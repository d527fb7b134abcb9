"""`orgkey verify`."""

from __future__ import annotations

from pipeline.cli import jobs, options
from pipeline.cli.list_command import document, last_known, lines
from pipeline.cli.options import Common
from pipeline.core.errors import Code, OrgkeyError


@jobs.job("verify")
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
    from pipeline.archive import overview
    from pipeline.workflows import publish as store

    try:
        surveys = overview.all_keys(context)
    except OrgkeyError as error:
        store.remember_failure(context, "verify-failed", error)
        raise
    code = overview.judged(
        (code for item in surveys for code in overview.verdict(item, context.config.policy.copies)),
        context.deadline,
    )
    if problem := context.deadline.dates.problem():
        out.warn(f"{problem.message}; {problem.hint}")
    known = last_known(context, surveys)
    if code is Code.OK and not any(item.epochs for item in surveys):
        code = Code.STALE
        out.warn("nothing is stored for this key")
    for silence in overview.silences(surveys):
        out.warn(silence.text)
    for line in overview.replication_problems(surveys, context.deadline.time()):
        out.warn(line)
    context.note_event("verify", overview.event(surveys, code))
    out.emit(
        document(surveys, "orgkey.verify/1", known) | {"exit_code": int(code)},
        [*lines(context, surveys, known), f"exit code {int(code)}: {code.meaning}"],
    )
    return code
