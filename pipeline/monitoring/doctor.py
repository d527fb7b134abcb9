"""Check everything that an escrow, a drill and a restore will need, before they need it. Writes nothing."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

from pipeline.archive.archive import AT_ONCE
from pipeline.archive.backends import TargetBackends
from pipeline.archive.run import KeyScope
from pipeline.config import Config
from pipeline.core import files, hardening, process
from pipeline.core.errors import Code, OrgkeyError, ProgramMissing, first_of
from pipeline.core.finding import Finding, Level
from pipeline.core.isolation import isolated
from pipeline.core.secret import Secret
from pipeline.monitoring import ledger_lag as mirrored
from pipeline.monitoring.notify import channels
from pipeline.posture import model as posture
from pipeline.storage.interface import Stored, Target
from pipeline.workflows import provision as drift

OLDEST_GPG = (2, 2, 0)


def examine(context: KeyScope) -> list[Finding]:
    """Run every check; those that ask servers overlap.

    Args:
        context: The run.

    Returns:
        The findings: host first, then configuration, targets and holders.
    """
    writer, driller = context.backends("writer"), context.backends("driller")
    jobs: list[Callable[[], list[Finding]]] = [target.check for target in writer.targets().values()]
    jobs += [target.check for target in driller.targets().values()]
    jobs += [holder.check for holder in writer.holders().values()]
    # Custodians have no login here: they are looked at once.
    jobs += [holder.check for holder in driller.holders().values() if holder.unattended]
    for role in ("auditor", "retention"):
        jobs += _further(context, role)
    jobs.append(writer.certificates)
    jobs += [lambda: _live_key(context), lambda: _backups(context), lambda: mirrored.findings(context)]
    jobs += [lambda: drift.findings(context), lambda: _replication(context, driller)]
    jobs.append(lambda: _implementations(context))
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="doctor") as pool:
        asked = [pool.submit(isolated, job, "one of the checks") for job in jobs]
        findings = [
            *_gnupg(context),
            *hardening.check(),
            *_state(context.root),
            *_configuration(context.config),
        ]
        findings += channels.findings(context.config)
        for job in asked:
            told = job.result()
            if isinstance(told, OrgkeyError):
                told = [Finding(Level.FAIL, "doctor", told.message, told.hint, told.code)]
            findings += told
    return list(dict.fromkeys(findings))  # what several logins see of one key is said once


def _further(context: KeyScope, role: Literal["auditor", "retention"]) -> list[Callable[[], list[Finding]]]:
    """The checks of an identity that not every estate has, where it has a login."""
    known = context.config.identity.get(role)
    if known is None:
        return []

    def logs_in(name: str, kind: str) -> bool:
        service = {"vault": known.vault, "vault-transit": known.vault}.get(kind, known.aws)
        return kind not in ("directory", "openpgp", "paper") and bool(known.at.get(name, service))

    estate, config = context.backends(role), context.config
    jobs = [
        target.check for name, target in estate.targets().items() if logs_in(name, config.target[name].kind)
    ]
    if role == "auditor":  # whoever extends retentions has nothing to do with shares
        jobs += [
            holder.check
            for name, holder in estate.holders().items()
            if logs_in(name, config.holder[name].kind)
        ]
    return jobs


def verdict(findings: list[Finding]) -> Code:
    """The exit code that the findings stand for; warnings do not count."""
    return first_of(finding.code for finding in findings if finding.level is Level.FAIL)


def _implementations(context: KeyScope) -> list[Finding]:
    """Have each implementation of OpenPGP work with a known key: on this host, with what is installed now.

    Raises:
        LocalFilesProblem: The host has no room, memory or descriptors for a drill.
    """
    from pipeline.openpgp import proofs
    from pipeline.openpgp.proofs import known_answer

    found = proofs.prove(
        known_answer.SECRET,
        Secret(known_answer.PASSPHRASE),
        known_answer.PUBLIC,
        known_answer.FINGERPRINT,
        deadline=context.deadline,
        now=context.clock.now(),
    )
    names = found.results["sign"].by
    if found.code is Code.OK and not found.notes:
        return [Finding(Level.OK, "proofs", f"{', '.join(names)} prove a known key")]
    hint = "a drill needs two that work: install what is missing, or releases that are known to work"
    told = [*found.problems, *found.notes]
    return [Finding(Level.WARN, "proofs", problem, hint) for problem in told]


def _gnupg(context: KeyScope) -> list[Finding]:
    try:
        shown = process.run(["gpg", "--version"], timeout=context.deadline.limit(10)).stdout.decode()
    except ProgramMissing as error:
        return [Finding(Level.FAIL, "gpg", error.message, error.hint, error.code)]
    except OrgkeyError as error:
        return [Finding(Level.FAIL, "gpg", error.message, error.hint, error.code)]
    match = re.search(r"\(GnuPG\) (\d+)\.(\d+)\.(\d+)", shown)
    if not match or tuple(int(part) for part in match.groups()) < OLDEST_GPG:
        return [
            Finding(
                Level.FAIL,
                "gpg",
                f"gpg is {shown.splitlines()[0] if shown else 'silent'}",
                "install GnuPG 2.2 or later",
                Code.PROGRAM_MISSING,
            )
        ]
    return [Finding(Level.OK, "gpg", f"GnuPG {'.'.join(match.groups())}")]


def _state(root: Path) -> list[Finding]:
    try:
        place = _writable(root)
        free = shutil.disk_usage(place).free
    except OrgkeyError as error:
        return [Finding(Level.FAIL, "state", error.message, error.hint, error.code)]
    except OSError as error:
        return [_state_problem(f"cannot use {root}: {error.strerror or error}")]
    if free < 64 * 1024 * 1024:
        hint = "make room: evidence that cannot be written fails a run"
        message = f"only {free // 1024} KiB are free for {root}"
        return [Finding(Level.FAIL, "state", message, hint, Code.LOCAL_FILES)]
    made = "" if root.exists() else ", made by the first run"
    found = [Finding(Level.OK, "state", f"{root}{made}, {free // (1024 * 1024)} MiB free")]
    if files.memory_root() == Path(tempfile.gettempdir()):
        found.append(
            Finding(
                Level.WARN,
                "memory",
                "no memory-backed directory: private scratch files go to the disk for a moment",
                "mount a tmpfs on /dev/shm",
            )
        )
    return found


def _writable(root: Path) -> Path:
    """The state directory, or the nearest folder above in which the first run will make it.

    Raises:
        OSError: A run could not write there.
        LocalFilesProblem: Others could.
    """
    place = root
    while not place.exists():
        place = place.parent
    folders = [place]
    if place == root:
        files.private_directory(root)
        folders += [path for path in root.iterdir() if path.is_dir()]
    for folder in folders:
        # For the superuser, too, the kernel answers no where the file system is read-only.
        if not os.access(folder, os.W_OK | os.X_OK):
            read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
            number = errno.EROFS if read_only else errno.EACCES
            raise OSError(number, f"{folder}: {os.strerror(number)}")
    return place


def _state_problem(message: str) -> Finding:
    hint = "make it this user's own, or name another place with --state-dir: each run writes there"
    return Finding(Level.FAIL, "state", message, hint, Code.LOCAL_FILES)


def _replication(context: KeyScope, estate: TargetBackends) -> list[Finding]:
    """What the buckets that are said to be replicated say of the records' versions."""
    findings: list[Finding] = []
    for name, target in estate.targets().items():
        if not getattr(context.config.target[name], "replicated", False):
            continue
        about = f"replication of {name}"
        stored = isolated(partial(_newest, context, target), f"target {name}")
        if isinstance(stored, OrgkeyError):
            findings.append(Finding(Level.WARN, about, stored.message, stored.hint))
            continue
        told = [item for item in stored if item.replication]
        if stored and not told:
            message = "the bucket tells of no record that it is replicated, or how far"
            hint = "check that a replication rule covers the prefix, and that the driller may read objects"
            findings.append(Finding(Level.WARN, about, message, hint))
        findings += [
            Finding(
                Level.WARN, about, f"{item.location}: {problem}", "look at the rule, its role and its metrics"
            )
            for item in told
            if item.replication and (problem := item.replication.problem(context.clock.now()))
        ]
    return findings


def _newest(context: KeyScope, target: Target) -> list[Stored]:
    """What a target stores of the newest epochs, and of those that this host knows."""
    listed, order = context.archive("driller").listed(target)
    return [item for name in order[:AT_ONCE] for item in listed[name]()]


def _configuration(config: Config) -> list[Finding]:
    findings: list[Finding] = []
    try:
        posture.require_no_single_party(config)
        alone = posture.single_parties(config)
        findings.append(
            Finding(
                Level.WARN,
                "custody",
                f"{', '.join(alone)} can reconstruct the key alone; policy.accept_single_party is set",
                "add a holder that somebody else controls",
            )
            if alone
            else Finding(Level.OK, "custody", "no one party can reconstruct the key alone")
        )
    except OrgkeyError as error:
        findings.append(Finding(Level.FAIL, "custody", error.message, error.hint, error.code))
    losses = posture.single_losses(config)
    if losses:
        accepted = config.policy.accept_single_loss
        accepting = (
            "; policy.accept_single_loss accepts it" if accepted else ", or set policy.accept_single_loss"
        )
        findings.append(
            Finding(
                Level.WARN if accepted else Level.FAIL,
                "custody",
                f"any one of these losses makes every restore impossible: {'; '.join(losses)}",
                f"{posture.against_losses(config, losses)}{accepting}",
                Code.OK if accepted else Code.USAGE,
            )
        )
    if "driller" not in config.identity:
        findings.append(
            Finding(
                Level.WARN,
                "identities",
                "there is no [identity.driller]: drills log in as the writer",
                "give drills a login that can read and open, but not write",
            )
        )
    if config.key is None:
        findings.append(
            Finding(Level.WARN, "key", "no key is pinned", "write it with `orgkey init --from EXPORT`")
        )
    return findings


def _live_key(context: KeyScope) -> list[Finding]:
    """Whether the place of the live key gives the pinned key out."""
    place = context.config.key.live if context.config.key else None
    if place is None:
        return []
    from pipeline.archive import live_key as live
    from pipeline.openpgp.key import parsing

    served = isolated(lambda: parsing.read_all(live.fetch(context)).keys, f"the live key at {place}")
    if isinstance(served, OrgkeyError):
        return [Finding(Level.FAIL, "live key", served.message, served.hint, served.code)]
    if any(key.fingerprint == context.fingerprint for key in served):
        return [Finding(Level.OK, "live key", f"{place} gives the pinned key out")]
    return [
        Finding(
            Level.FAIL,
            "live key",
            f"{place} does not give the pinned key out",
            "`orgkey status` says more; was the Org Key regenerated?",
            Code.STALE,
        )
    ]


def _backups(context: KeyScope) -> list[Finding]:
    """Whether the places of backups can be listed, and have some."""
    findings = []
    for name in context.config.backups:
        subject = f"backups {name}"
        look = partial(context.backends("driller").backups, [name], whole=False)
        listed = isolated(look, subject)
        if isinstance(listed, OrgkeyError):
            findings.append(Finding(Level.FAIL, subject, listed.message, listed.hint, listed.code))
            continue
        count = len(listed)
        findings.append(
            Finding(Level.OK, subject, f"{count} there")
            if count
            else Finding(Level.WARN, subject, "none has arrived", "check the server's schedule and the place")
        )
    return findings
