"""`orgkey doctor`."""

from __future__ import annotations

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.cli.output import counted
from pipeline.core.errors import Code

_MARKS = {"ok": "ok  ", "unseen": "--  ", "warn": "WARN", "fail": "FAIL"}


def doctor(
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Check everything that a run will need. Writes nothing.

    The host, the configuration, each target and holder under both logins: reachable, permitted, not
    over-privileged, not in one party's hand.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    loaded = common.load(out)
    pin = common.fingerprint or (loaded.key.fingerprint if loaded.key else "0" * 40)
    context = common.context(out, loaded, pin)
    from pipeline.monitoring import doctor as story

    findings = story.examine(context)
    code = story.verdict(findings)
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.level]}  {finding.subject}: {finding.message}")
        if finding.hint and finding.level != "ok":
            lines.append(f"      {finding.hint}")
    failed = sum(finding.level == "fail" for finding in findings)
    warned = sum(finding.level == "warn" for finding in findings)
    lines += ["", f"{counted(failed, 'failure')}, {counted(warned, 'warning')}"]
    out.emit(
        {
            "schema": "orgkey.doctor/1",
            "findings": [
                {
                    "level": str(finding.level),
                    "subject": finding.subject,
                    "message": finding.message,
                    "hint": finding.hint,
                    "code": int(finding.code),
                }
                for finding in findings
            ],
            "exit_code": int(code),
        },
        lines,
    )
    return code
