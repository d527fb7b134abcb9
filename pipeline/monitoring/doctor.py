"""Check everything that an escrow, a drill and a restore will need, before they need it; writes if asked.

A check returns findings, or raises what keeps it from looking; then that is the finding.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Literal

from pipeline.archive.archive import AT_ONCE
from pipeline.archive.backends import TargetBackends
from pipeline.archive.run import KeyScope
from pipeline.config import Config
from pipeline.config.identities import IdentityName
from pipeline.config.places import AwsPlace
from pipeline.core import files, hardening, process
from pipeline.core.errors import Code, LocalFilesProblem, OrgkeyError, ProgramMissing, Stale, first_of
from pipeline.core.finding import Finding, Level
from pipeline.core.isolation import isolated
from pipeline.core.secret import Secret
from pipeline.evidence.ledger.store import BEFORE_HOSTS
from pipeline.monitoring import custody_findings, ledger_lag
from pipeline.monitoring.notify import channels
from pipeline.storage.interface import Stored, Target, Tried
from pipeline.workflows import provision
from pipeline.workflows.backups import crew_check

OLDEST_GPG: Final = (2, 2, 0)
_ROLES: Final[tuple[IdentityName, ...]] = ("writer", "driller", "auditor", "retention")
_NO_LOGIN: Final = ("directory", "openpgp", "paper")
"""Kinds of targets and holders that are on this host, or are people."""
_LEAST_FREE: Final = 64 * 1024 * 1024
_MIB: Final = 1024 * 1024
Check = Callable[[], list[Finding]]


def examine(context: KeyScope, *, try_writing: bool = False) -> list[Finding]:
    """Run every check; they overlap.

    Args:
        context: The run.
        try_writing: Whether to store a small object at each target whose server shows more only then.

    Returns:
        The findings: host first, then configuration, targets and holders.
    """
    config = context.config
    live_places = config.key.live_places if config.key else ()
    writer, driller = context.backends("writer"), context.backends("driller")
    tried = [it.try_writing for it in writer.targets().values() if try_writing and isinstance(it, Tried)]
    makes = not _only_proves(config)
    at_servers: list[Check] = [
        *(target.check for target in writer.targets().values() if makes),
        *(it.check for name, it in driller.targets().items() if not _shared(config, "driller", name)),
        *(holder.check for holder in writer.holders().values() if makes),
        # Custodians have no login here: they are looked at once.
        *(holder.check for holder in driller.holders().values() if holder.unattended or not makes),
        *_further(context, "auditor"),
        *_further(context, "retention"),
        writer.certificates,
    ]
    checks: list[tuple[str, Check]] = [
        *_on_this_host(context),
        *(("doctor", check) for check in at_servers),
        *(("live key", partial(_live_key, context, place)) for place in live_places),
        *((f"backups {name}", partial(_backups, context, name)) for name in config.backups),
        ("ledger", partial(ledger_lag.findings, context)),
        ("vault's side", partial(provision.findings, context)),
        ("replication", partial(_replication, context, driller)),
        ("proofs", partial(_implementations, context)),
    ]
    # Before the others, which see what was written.
    trials = [("doctor", check) for check in tried]
    found = (*_results(trials), *_results(checks))
    clock = _results([("clock", partial(_clock, context))])  # the servers have told their time by now
    return list(dict.fromkeys((*found, *clock)))  # what several logins see is listed once


def foretell(context: KeyScope) -> list[Finding]:
    """Run the checks of :func:`examine` that contact nothing; of logins, what this host lacks for them.

    Args:
        context: The run.

    Returns:
        The findings, in the same order.
    """
    config, writer = context.config, context.backends("writer")
    usual = ("driller",) if _only_proves(config) else ("writer", "driller")
    roles = [role for role in _ROLES if role in usual or role in config.identity]
    here: list[Check] = [
        *(context.backends(role).logins for role in roles),
        *(it.check for name, it in writer.targets().items() if config.target[name].kind in _NO_LOGIN),
        *(it.check for name, it in writer.holders().items() if config.holder[name].kind in _NO_LOGIN),
    ]
    found = _results([*_on_this_host(context), *(("doctor", check) for check in here)])
    return list(dict.fromkeys(found))


def _on_this_host(context: KeyScope) -> list[tuple[str, Check]]:
    config = context.config
    return [
        ("gpg", partial(_gnupg, context)),
        ("hardening", hardening.check),
        ("state", partial(_state, context.root)),
        ("state", partial(_journal, context)),
        ("custody", partial(custody_findings.parties, config)),
        ("custody", partial(custody_findings.losses, config)),
        ("custody", partial(custody_findings.disks, config)),
        ("configuration", partial(_configuration, config)),
        ("source", partial(_source, config)),
        ("upgrade", partial(_upgrade, context)),
        ("notify", partial(channels.findings, config)),
        ("readers", partial(crew_check.key, config.readers)),
        ("readers", partial(crew_check.folder, config.readers)),
    ]


def _results(checks: list[tuple[str, Check]]) -> list[Finding]:
    """Run checks at once; their findings in the order of the checks."""
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="doctor") as pool:
        results = [(subject, pool.submit(isolated, check, "one of the checks")) for subject, check in checks]
    return [item for subject, result in results for item in _findings(subject, result.result())]


def _findings(subject: str, result: list[Finding] | OrgkeyError) -> list[Finding]:
    if isinstance(result, OrgkeyError):
        return [Finding(Level.FAIL, subject, result.message, result.hint, result.code)]
    return result


def _further(context: KeyScope, role: Literal["auditor", "retention"]) -> list[Check]:
    """The checks of an identity that not every estate has, where it has a login."""
    known = context.config.identity.get(role)
    if known is None:
        return []

    def logs_in(name: str, kind: str) -> bool:
        service = {"vault": known.vault, "vault-transit": known.vault}.get(kind, known.aws)
        return kind not in _NO_LOGIN and bool(known.at.get(name, service))

    estate, config = context.backends(role), context.config
    targets = (
        it
        for name, it in estate.targets().items()
        if logs_in(name, config.target[name].kind) and not _shared(config, role, name)
    )
    holders = (it for name, it in estate.holders().items() if logs_in(name, config.holder[name].kind))
    # Whoever extends retentions has nothing to do with shares.
    return [it.check for it in (*targets, *(holders if role == "auditor" else ()))]


def _only_proves(config: Config) -> bool:
    """Whether nothing here makes or mirrors anything: drills have a login, and the writer has none."""
    writes = "writer" in config.identity or config.source or config.ledger.mirrors or config.ledger.heads
    return "driller" in config.identity and not writes


def _shared(config: Config, role: IdentityName, name: str) -> bool:
    """Whether a role has the login of one before it at a place of AWS's kind, which is looked at once."""
    return any(role in roles[1:] for roles in _one_login(config, name))


def _one_login(config: Config, name: str) -> list[tuple[IdentityName, ...]]:
    """The roles that have one login at a place of AWS's kind, for each login that several have."""
    place = config.target.get(name) or config.holder[name]
    logins: dict[object, tuple[IdentityName, ...]] = {}
    for role in _ROLES if isinstance(place, AwsPlace) else ():
        known = config.identity.get(role)
        if known and (login := known.at.get(name, known.aws)):
            logins[login] = (*logins.get(login, ()), role)
    return [roles for roles in logins.values() if len(roles) > 1]


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
    if found.code is Code.OK and not found.notes:
        names = ", ".join(found.results["sign"].by)
        return [Finding(Level.OK, "proofs", f"{names} prove a known key")]
    hint = "a drill needs two that work: install what is missing, or releases that are known to work"
    return [Finding(Level.WARN, "proofs", text, hint) for text in (*found.problems, *found.notes)]


def _gnupg(context: KeyScope) -> list[Finding]:
    shown = process.run(["gpg", "--version"], timeout=context.deadline.limit(10)).stdout.decode()
    match = re.search(r"\(GnuPG\) (\d+)\.(\d+)\.(\d+)", shown)
    if not match or tuple(int(part) for part in match.groups()) < OLDEST_GPG:
        found = shown.splitlines()[0] if shown else "silent"
        raise ProgramMissing(f"gpg is {found}", hint="install GnuPG 2.2 or later")
    return [Finding(Level.OK, "gpg", f"GnuPG {'.'.join(match.groups())}")]


def _state(root: Path) -> list[Finding]:
    own = "make it this user's own, or name another place with --state-dir: each run writes there"
    with files.os_errors(f"cannot use {root}", hint=own):
        free = shutil.disk_usage(_writable(root)).free
    if free < _LEAST_FREE:
        hint = "make room: evidence that cannot be written fails a run"
        raise LocalFilesProblem(f"only {free // 1024} KiB are free for {root}", hint=hint)
    new = "" if root.exists() else ", made by the first run"
    found = [Finding(Level.OK, "state", f"{root}{new}, {free // _MIB} MiB free")]
    if files.memory_root() == Path(tempfile.gettempdir()):
        message = "no memory-backed directory: private scratch files go to the disk for a moment"
        found.append(Finding(Level.WARN, "memory", message, "mount a tmpfs on /dev/shm"))
    return found


def _journal(context: KeyScope) -> list[Finding]:
    return [
        Finding(Level.FAIL, "state", error.message, error.hint, error.code)
        for error in context.journal.damaged().values()
    ]


def _clock(context: KeyScope) -> list[Finding]:
    """Whether this host's clock is right by the servers that were asked."""
    context.deadline.require_clock()
    seen = context.deadline.dates.seen
    return [Finding(Level.OK, "clock", "as the servers' clocks have it")] if seen else []


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


def _replication(context: KeyScope, estate: TargetBackends) -> list[Finding]:
    """What the buckets that are configured as replicated say of the records' versions."""
    return [
        Finding(Level.WARN, f"replication of {name}", message, hint)
        for name, target in estate.targets().items()
        if getattr(context.config.target[name], "replicated", False)
        for message, hint in _unreplicated(context, target)
    ]


def _unreplicated(context: KeyScope, target: Target) -> Iterator[tuple[str, str]]:
    """What is wrong with a bucket's replication, and what to do."""
    stored = isolated(partial(_newest, context, target), f"target {target.name}")
    if isinstance(stored, OrgkeyError):
        yield stored.message, stored.hint
        return
    if stored and not any(item.replication for item in stored):
        yield (
            "the bucket says of no record whether it is replicated, or how far",
            "check that a replication rule covers the prefix, and that the driller may read objects",
        )
    for item in stored:
        if item.replication and (problem := item.replication.problem(context.clock.now())):
            yield f"{item.location}: {problem}", "look at the rule, its role and its metrics"


def _newest(context: KeyScope, target: Target) -> list[Stored]:
    """What a target stores of the newest epochs, and of those that this host knows."""
    listed, order = context.archive("driller").listed(target)
    return [item for name in order[:AT_ONCE] for item in listed[name]()]


def _configuration(config: Config) -> list[Finding]:
    findings = []
    if "driller" not in config.identity:
        message = "there is no [identity.driller]: drills log in as the writer"
        hint = "give drills a login that can read and open, but not write"
        findings.append(Finding(Level.WARN, "identities", message, hint))
    if _only_proves(config):
        message = (
            "there is no [identity.writer]: this host only proves, and what makes records is not looked at"
        )
        findings.append(Finding(Level.UNSEEN, "identities", message))
    shared: dict[tuple[IdentityName, ...], list[str]] = {}
    for name in (*config.target, *config.holder):
        for roles in _one_login(config, name):
            shared.setdefault(roles, []).append(name)
    for roles, places in shared.items():
        message = f"one login at {' and '.join(places)} for {', '.join(roles)}: it may what any of them needs"
        hint = "give each role a login of its own there"
        findings.append(Finding(Level.FAIL, "identities", message, hint, Code.USAGE))
    if config.key is None:
        hint = "write it with `orgkey init --from EXPORT`"
        findings.append(Finding(Level.WARN, "key", "no key is pinned", hint))
    return findings


def _source(config: Config) -> list[Finding]:
    """Whether exports are looked for at a place that is there, and can be opened."""
    source = config.source
    if source is None:
        return []
    if source.kind == "command":
        process.find((source.command or ("",))[0])
    paths = {"path": source.path, "passphrase_file": source.passphrase_file}
    if source.kind == "file" and source.path and not os.path.lexists(source.path):
        del paths["path"]  # an export is taken away once it is escrowed
    return [
        Finding(Level.FAIL, "source", f"{name} of [source], {path}, {reason}", hint, Code.LOCAL_FILES)
        for name, path in paths.items()
        if path and not os.access(path, os.R_OK)
        for reason, hint in [
            ("cannot be read", "correct its owner and permissions")
            if os.path.lexists(path)
            else ("is not there", "make it, or name another")
        ]
    ]


def _upgrade(context: KeyScope) -> list[Finding]:
    """What is new for whoever comes from 0.1, until this version has written its first entry."""
    hosts = [chain.host for chain in context.ledger.chains()]
    if BEFORE_HOSTS not in hosts or context.ledger.host in hosts:
        return []
    section = context.config.ledger
    kept = "" if section.mirrors or section.heads else "; [ledger] names no place beside this host for it"
    message = (
        f"the ledger is of {BEFORE_HOSTS}: it is read as it is, and goes on in a chain for this host{kept}"
    )
    hint = (
        "run `orgkey status` before a job does: besides the ages, its gate now judges the locks of copies, "
        "records that the Org Key has not signed, and backups that changed: `orgkey explain versions`"
    )
    return [Finding(Level.WARN, "upgrade", message, hint)]


def _live_key(context: KeyScope, place: str) -> list[Finding]:
    """Whether a place of the live key gives the pinned key out."""
    from pipeline.archive import live_key
    from pipeline.openpgp.key import parsing

    served = parsing.read_all(live_key.fetch_from(context, place)).keys
    if all(key.fingerprint != context.fingerprint for key in served):
        raise Stale(
            f"{place} does not give the pinned key out",
            hint="`orgkey status` says more; was the Org Key regenerated?",
        )
    return [Finding(Level.OK, "live key", f"{place} gives the pinned key out")]


def _backups(context: KeyScope, name: str) -> list[Finding]:
    """Whether a place of backups can be listed, and has some."""
    count, subject = len(context.backends("driller").backups([name], whole=False)), f"backups {name}"
    if count:
        return [Finding(Level.OK, subject, f"{count} there")]
    return [Finding(Level.WARN, subject, "none has arrived", "check the server's schedule and the place")]
