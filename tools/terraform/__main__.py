"""Format, lint, check and apply the modules of ``infra/terraform``: ``python -m tools.terraform [PROGRAM]``.

The program is OpenTofu, built from its Go module at the first run; with ``terraform`` it is the one on PATH.
Providers are those of the plugin directories of OpenTofu and Terraform, or below ``TF_PLUGINS``; what has
none is not applied, and that is said at the end, with exit code 1.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.devstack.build import ensure
from pipeline.devstack.programs import cache_root
from pipeline.devstack.progress import reporter
from tools.build import TOFU
from tools.terraform import try_aws, try_vault
from tools.terraform.programs import Failed, Tofu, provider

MODULES = Path(__file__).parents[2] / "infra" / "terraform"
APPLIED = Path(__file__).parent / "applied.sha256"
"""The Vault module's files as they were last applied: only that shows that they say what the program's do."""
# What checkov asks for and the modules do not do: the check, the resources, and why.
KNOWN = (
    (
        "CKV2_AWS_62",
        ("aws_s3_bucket.log_bucket", "aws_s3_bucket.record_bucket", "aws_s3_bucket.replica_bucket"),
        "nothing waits for an event; `orgkey verify` reads the bucket",
    ),
    (
        "CKV_AWS_144",
        ("aws_s3_bucket.log_bucket", "aws_s3_bucket.replica_bucket"),
        "a log and a replica are not replicated further",
    ),
    (
        "CKV_AWS_18",
        ("aws_s3_bucket.replica_bucket",),
        "the log's bucket would have to stand in the second region",
    ),
    (
        "CKV_AWS_145",
        ("aws_s3_bucket.log_bucket",),
        "S3's log delivery writes with S3's own key without grants",
    ),
)
TRIES: dict[str, Callable[[Path, Path, Path], Iterator[str]]] = {"vault": try_vault.run, "aws": try_aws.run}


def main() -> int:
    """Everything, one step after the other; the exit code."""
    program = (
        Path(shutil.which(sys.argv[1]) or sys.argv[1]) if len(sys.argv) > 1 else ensure(TOFU, reporter())
    )
    tofu = Tofu(program, MODULES, {})
    say(tofu("version").splitlines()[0])
    logging.disable(logging.WARNING)  # the emulation tells each request, and what it does not know
    missing = []
    try:
        tofu("fmt", "-check", "-diff", "-recursive")
        say("the modules are formatted")
        for line in lint():
            say(line)
        for name, run in TRIES.items():
            print(f"\n== {name}")
            if (place := provider(name)) is None:
                missing.append(name)
                say(f"not applied: the provider {name} is not below TF_PLUGINS nor in a plugin directory")
                continue
            say(f"provider {next(place.glob('terraform-provider-*'))}")
            with tempfile.TemporaryDirectory(prefix="orgkey-terraform.") as directory:
                for line in run(program, Path(directory), place):
                    say(line)
            if name == "vault":
                APPLIED.write_text(try_vault.digests())
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\nnot applied: {', '.join(missing)}" if missing else "\nall of it applied")
    return 1 if missing else 0


def lint() -> Iterator[str]:
    """Have checkov look at the modules, in an environment of its own.

    Raises:
        Failed: It finds something else than :data:`KNOWN`, or cannot be installed.
    """
    lock = Path(__file__).parent / "checkov.lock"
    home = cache_root() / f"checkov-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not (home / "ready").exists():
        _run(sys.executable, "-m", "venv", "--clear", str(home))
        pip = (str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(*pip, "--no-deps", "--require-hashes", "-r", str(lock))
        (home / "ready").touch()
    words = ("--framework", "terraform", "--skip-download", "--soft-fail", "--output", "json")
    answer = json.loads(_run(str(home / "bin" / "checkov"), "--directory", str(MODULES), *words))
    summary = answer["summary"]
    found = {(item["check_id"], item["resource"]) for item in answer["results"]["failed_checks"]}
    known = {(check, resource) for check, resources, _ in KNOWN for resource in resources}
    if found != known or summary["parsing_errors"]:
        raise Failed(f"checkov: new {sorted(found - known)}; gone {sorted(known - found)}; {summary}")
    yield f"checkov {summary['checkov_version']}: {summary['passed']} checks passed; not followed:"
    yield from (f"  {check} for {', '.join(resources)}: {why}" for check, resources, why in KNOWN)


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def say(text: str) -> None:
    """A line of the transcript."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
