"""`orgkey certificate stamp`."""

from __future__ import annotations

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.core.errors import Code, UsageProblem


def stamp(
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Ask the time-stamp authority again for every certificate of this host that waits for it.

    A drill does it, too. Exit code 20 when one still waits.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    context = common.context(out)
    from pipeline.evidence import statement as certificate
    from pipeline.evidence import timestamp

    settings = context.config.certificate
    if settings.timestamp is None:
        raise UsageProblem(
            "no time-stamp authority is configured", hint="set certificate.timestamp and timestamp_ca_file"
        )
    folder = context.root / certificate.FOLDER
    tried = timestamp.ask_all(folder, settings, limit=context.deadline.limit, most=1000)
    left = timestamp.pending(folder)
    code = Code.UNREACHABLE if left else Code.OK
    reasons = [one.reason for one in tried.values() if one.reason]
    document = {
        "schema": "orgkey.certificate-stamp/1",
        "stamped": [path for path, one in tried.items() if one.state == "stamped"],
        "pending": [str(path) for path in left],
        "problem": reasons[0] if reasons else None,
        "exit_code": int(code),
    }
    lines = [f"stamped {path}" for path, one in tried.items() if one.state == "stamped"]
    lines += [f"pending {path}" for path in left]
    out.emit(document, [*lines, *reasons] or ["no certificate waits for a time-stamp"])
    return code
