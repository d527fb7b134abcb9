"""`orgkey fleet`: the commands of one key, for many configurations."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.cli import fleet_run, fleet_text
from pipeline.cli.command import COPY_CODES, SHARE_CODES, WHERE, Invocation, arg, command, opt
from pipeline.cli.documents.fleet import (
    FleetChallengeDocument,
    FleetChallengeItem,
    FleetConfirmDocument,
    FleetDocument,
    FleetMemberItem,
    FleetPostureDocument,
    PartyItem,
)
from pipeline.cli.fleet_members import FleetMember
from pipeline.cli.fleet_members import members as members_of
from pipeline.cli.output import table
from pipeline.core import files
from pipeline.core.errors import Code, UsageProblem, first_of
from pipeline.core.text import some
from pipeline.custody.custodians import challenge as protocol
from pipeline.custody.custodians import many_keys

_SHARED: Final = ("state_dir", "json", "quiet", "verbose")
_CODES: Final = (*COPY_CODES, *SHARE_CODES, Code.STALE, Code.PROOF_FAILED)
_LISTED: Final = 15
"""So many keys are named on a screen; all are in the document and on the page."""

CONFIGS: Final[Any] = opt(
    "--configs", "A configuration, or a quoted pattern of several; repeatable.", "GLOB", WHERE
)
JOBS: Final[Any] = opt("--jobs", "How many at once; twice the cores by default.", "N", WHERE, default=0)


@command("orgkey fleet status --configs '/etc/orgkey/*.toml'", _CODES, shared=_SHARED)
def status(
    call: Invocation,
    configs: list[str] = CONFIGS,
    jobs: int = JOBS,
    metrics: Path | None = opt("--metrics", "Also write all keys' metrics for Prometheus.", "FILE", WHERE),
    page: Path | None = opt("--page", "Also write one HTML page over all keys; a new file.", "FILE", WHERE),
) -> Code:
    """Say of each key how fresh and how proven its escrow is.

    Each configuration is judged in a process of its own, with the variables of NAME.env beside it and no
    login of another.
    """
    if page is not None:
        files.check_new(page)
    members = members_of(configs)
    with fleet_text.metrics_of(metrics, [member.name for member in members]) as more:
        results = _run(call, ["status"], members, jobs, more)
    if page is not None:
        files.write_new(page, fleet_text.page(results, {}), mode=0o644)
    return _answer(call, "status", results)


@command("orgkey fleet doctor --configs '/etc/orgkey/*.toml'", _CODES, shared=_SHARED)
def doctor(call: Invocation, configs: list[str] = CONFIGS, jobs: int = JOBS) -> Code:
    """Check everything that each key's runs will need."""
    return _answer(call, "doctor", _run(call, ["doctor"], members_of(configs), jobs))


@command("orgkey fleet drill --configs '/etc/orgkey/*.toml'", _CODES, shared=_SHARED)
def drill(call: Invocation, configs: list[str] = CONFIGS, jobs: int = JOBS) -> Code:
    """Hold a drill of each key, by the paths that need nobody."""
    return _answer(call, "drill", _run(call, ["drill"], members_of(configs), jobs))


@command("orgkey fleet backups --configs '/etc/orgkey/*.toml' --newest 1", _CODES, shared=_SHARED)
def backups(
    call: Invocation,
    configs: list[str] = CONFIGS,
    jobs: int = JOBS,
    newest: int | None = opt("--newest", "Only so many of each place, by date.", "N"),
    part: str | None = opt("--part", "Only one of N parts, as for `orgkey backups verify`.", "K/N"),
    unread_for: float | None = opt("--unread-for", "Only what nobody has read for so many days.", "DAYS"),
) -> Code:
    """Read backups of each key to their end, as `orgkey backups verify` does; one at a time for each key."""
    words = ["backups", "verify", "--jobs", "1"]
    for option, value in (("--newest", newest), ("--part", part), ("--unread-for", unread_for)):
        words += [] if value is None else [option, str(value)]
    return _answer(call, "backups verify", _run(call, words, members_of(configs), jobs))


@command("orgkey fleet report --configs '/etc/orgkey/*.toml' --out reports", _CODES, shared=_SHARED)
def report(
    call: Invocation,
    configs: list[str] = CONFIGS,
    jobs: int = JOBS,
    out: Path = opt("--out", "A new folder: a report for each key, and index.html over all.", "DIR", WHERE),
) -> Code:
    """Write a report of each key, and one page over all of them."""
    members = members_of(configs)
    if any(member.name == "index" for member in members):
        raise UsageProblem(
            "a configuration is called index, as the page over all keys", hint="give its file another name"
        )
    files.check_new(out)
    with files.os_errors(f"cannot make the folder {out}"):
        out.mkdir(mode=0o700)
    paths = {member.name: out / f"{member.name}.html" for member in members}
    judged = _run(call, ["status"], members, jobs)
    written = _run(call, ["report"], members, jobs, lambda name: ("--out", str(paths[name])))
    links = {name: path.name for name, path in paths.items() if path.exists()}
    page = fleet_text.page(judged, links)
    files.write_new(out / "index.html", page, mode=0o600)
    call.out.progress(f"written to {out}: {len(links)} reports and index.html")
    lost = [item.code for item in written if item.member.name not in links]
    return _answer(call, "report", judged, lost)


@command("orgkey fleet posture --configs '/etc/orgkey/*.toml'", COPY_CODES, shared=_SHARED)
def posture(call: Invocation, configs: list[str] = CONFIGS, jobs: int = JOBS) -> Code:
    """Who can reconstruct how many keys, and whose loss is fatal to how many.

    Parties, people and domains of the same name in several configurations are taken for the same.
    """
    results = _run(call, ["custody", "posture"], members_of(configs), jobs)
    known = {item.member.name: item.document for item in results if item.document and not item.problem}
    document = FleetPostureDocument(
        reconstruct=PartyItem.of_keys(known, "reconstruct"),
        fatal_losses=PartyItem.of_keys(known, "fatal_losses"),
        unknown={item.member.name: item.problem for item in results if item.problem},
        exit_code=first_of([item.code for item in results]),
    )
    lines = []
    for title, items in (
        ("who can reconstruct keys (each line is enough):", document.reconstruct),
        ("losses that make every restore of keys impossible:", document.fatal_losses),
    ):
        rows = [(str(len(item.keys)), " and ".join(item.parties), some(item.keys)) for item in items]
        lines += [title, *(f"  {line}" for line in table(("keys", "who", "which"), rows)), ""]
    lines += [f"  - {name}: not known: {why}" for name, why in document.unknown.items()]
    return call.answer(document, lines)


@command("orgkey fleet challenge --configs '/etc/orgkey/*.toml' --out mail", COPY_CODES, shared=_SHARED)
def challenge(
    call: Invocation,
    configs: list[str] = CONFIGS,
    jobs: int = JOBS,
    out_dir: Path = opt("--out", "Folder for one file for each custodian.", "DIR", WHERE, default=Path()),
    custodian: list[str] | None = opt("--custodian", "Only this custodian; repeatable.", "FPR|NAME"),
    new: bool = opt("--new", "Ask for other codes where a challenge is still open."),
) -> Code:
    """Ask custodians to prove their shares of all keys, with one file each.

    They answer it once, with `orgkey custody check`, and `orgkey fleet confirm` enters the answer. A
    custodian is a certificate: who has several gets a file for each.
    """
    files.check_folder(out_dir)
    members = members_of(configs)
    words = ["custody", "challenge", "--if-any", *(["--new"] if new else [])]
    words += [word for name in custodian or () for word in ("--custodian", name)]
    asked: dict[str, dict[str, protocol.Challenge]] = {}
    with tempfile.TemporaryDirectory(prefix="orgkey-challenges-") as folder:
        for member in members:
            (Path(folder) / member.name).mkdir()
        results = _run(call, words, members, jobs, lambda name: ("--out", f"{folder}/{name}"))
        for item in results:
            for path in sorted((Path(folder) / item.member.name).iterdir() if not item.problem else ()):
                read = protocol.read(path.read_bytes())
                asked.setdefault(read.custodian, {})[item.member.name] = read
    problems = {item.member.name: item.problem for item in results if item.problem}
    people = [one for keys in asked.values() for one in keys.values()]
    known = {protocol.plain(text) for one in people for text in (one.custodian, one.name)}
    missing = [name for name in custodian or () if protocol.plain(name) not in known]
    if (missing or not asked) and not problems:
        raise UsageProblem(
            "no key has a custodian " + (" or ".join(missing) if custodian else "to be asked"),
            hint="`orgkey custody posture --config FILE` says who holds what",
        )
    items = []
    for certificate, keys in asked.items():
        path = out_dir / f"challenges-{re.sub(r'[^0-9A-Za-z]', '', certificate)[-16:]}.json"
        files.replace(path, many_keys.together(keys), mode=0o644)
        name = next(iter(keys.values())).name
        items.append(FleetChallengeItem(custodian=certificate, name=name, file=path, keys=tuple(keys)))
    document = FleetChallengeDocument(
        challenges=tuple(items), problems=problems, exit_code=first_of([item.code for item in results])
    )
    return call.answer(document)


@command(
    "orgkey fleet confirm answer.json --configs '/etc/orgkey/*.toml'",
    (*COPY_CODES, Code.WRONG_SHARE),
    shared=_SHARED,
)
def confirm(
    call: Invocation,
    answer: Path = arg("FILE", "What a custodian answered."),
    configs: list[str] = CONFIGS,
    jobs: int = JOBS,
) -> Code:
    """Enter what a custodian answered to a challenge for many keys, each key's codes for that key alone.

    A code that was entered before is refused, as by `orgkey custody confirm`: to enter what failed once
    more, name those configurations alone.
    """
    given = many_keys.read_answer(files.read_named(answer, many_keys.LARGEST))
    known = [member for member in members_of(configs) if member.name in given]
    left = sorted(set(given) - {member.name for member in known})
    if not known:
        raise UsageProblem(
            "no key of this answer has a configuration here",
            hint=f"the answer is for {some(left)}: their configurations have these names",
        )

    def words(name: str) -> tuple[str, ...]:
        return *given[name].codes, "--fingerprint", given[name].fingerprint

    answered = [member for member in known if given[member.name].codes]
    results = _run(call, ["custody", "confirm"], answered, jobs, words)
    unanswered = {member.name: given[member.name].problems for member in known if given[member.name].problems}
    document = FleetConfirmDocument(
        confirmed={
            item.member.name: len(item.document["confirmed"])
            for item in results
            if item.document and not item.problem
        },
        refused={item.member.name: item.problem for item in results if item.problem},
        unanswered={name: "; ".join(problems) for name, problems in unanswered.items()},
        left=tuple(left),
        exit_code=first_of([*(item.code for item in results), *([Code.DEGRADED] if unanswered else [])]),
    )
    return call.answer(document)


def _run(
    call: Invocation,
    words: Sequence[str],
    members: Sequence[FleetMember],
    jobs: int,
    more: Callable[[str], Sequence[str]] = lambda _: (),
) -> list[fleet_run.MemberResult]:
    if jobs < 0:
        raise UsageProblem(f"--jobs {jobs} is too small", hint="give a positive number")
    line = [*words]
    if call.state_dir is not None:
        line += ["--state-dir", str(call.state_dir)]
    results = []
    for item in fleet_run.run(members, line, jobs or 2 * len(os.sched_getaffinity(0)), more):
        results.append(item)
        call.out.progress(f"{len(results)} of {len(members)}: {item.member.name}: {item.verdict}")
    return sorted(results, key=lambda item: item.member.name)


def _answer(
    call: Invocation, words: str, results: Sequence[fleet_run.MemberResult], codes: Sequence[Code] = ()
) -> Code:
    verdicts = Counter(item.verdict for item in results)
    code = first_of([*(item.code for item in results), *codes])
    document = FleetDocument(
        command=words,
        verdicts=dict(verdicts),
        members=tuple(FleetMemberItem.of(item, seconds=round(item.seconds, 3)) for item in results),
        exit_code=code,
    )

    return call.answer(document, fleet_text.lines(results, verdicts, code, _LISTED))
