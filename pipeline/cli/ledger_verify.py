"""`orgkey ledger verify`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.command import Invocation, command
from pipeline.cli.help import WHERE
from pipeline.cli.options import opt
from pipeline.cli.output import Output, spaced
from pipeline.core.errors import Code, OrgkeyError, UsageProblem, first_of
from pipeline.core.isolation import isolated
from pipeline.core.retry import Retrier

if TYPE_CHECKING:
    from pipeline.archive.run import KeyScope
    from pipeline.evidence.ledger.verify import Claim, Verified
    from pipeline.storage.ledger_mirror import Mirror


@dataclass
class _Given:
    """What is to be verified, and by what."""

    folder: Path
    fingerprint: str | None
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    silent: list[OrgkeyError] = field(default_factory=list)


@command("orgkey ledger verify", (Code.INTEGRITY, Code.LEDGER_BROKEN))
def verify(
    call: Invocation,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="A copy of a ledger; without it, this host's own."),
    ] = None,
    head: Annotated[
        list[str] | None,
        opt("--head", "A head that you noted elsewhere; repeatable.", "N:SHA256"),
    ] = None,
    certificate: Annotated[
        list[Path] | None,
        opt("--certificate", "A drill certificate, which has a head; repeatable.", "FILE"),
    ] = None,
    public: Annotated[
        Path | None,
        opt("--public", "The Org Key's public part: checks FILE.asc, too.", "FILE", WHERE),
    ] = None,
    mirror: Annotated[
        list[str] | None,
        opt("--mirror", "A mirror of the configuration; repeatable.", "TARGET"),
    ] = None,
) -> Code:
    """Check that the ledger is one whole chain, and say what vouches for it.

    With FOLDER it needs neither configuration nor servers. The first entry that is missing, changed or out
    of order is named, with exit code 41.

    The folder alone does not show whether its end was cut off, or all of it written anew: a head, a
    certificate or a mirror does.
    """
    out = call.out
    from pipeline.evidence import anchors
    from pipeline.evidence.ledger import verify as story

    claims = [anchors.head(text) for text in head or ()]
    given = _subject(call, out, folder, mirror or [])
    given.claims += claims
    if given.silent and len(given.silent) == len(mirror or ()) and not (head or certificate):
        raise given.silent[0]
    for path in certificate or ():
        _certificate(given, path, public)
    if public is not None and not certificate:
        raise UsageProblem("--public checks certificates", hint="name one with --certificate")
    found = story.verify(given.folder, given.claims, given.fingerprint, absent=folder is None)
    codes = [error.code for error in given.silent]
    code = first_of(codes if found.ok else [*codes, Code.LEDGER_BROKEN])
    out.emit(_document(found, given, code), _lines(found, given))
    return code


def _subject(call: Invocation, out: Output, folder: Path | None, mirrors: list[str]) -> _Given:
    """The folder, whose ledger it should be, and what the named mirrors say of it."""
    from pipeline.wiring import factory as wiring

    if folder is not None and not mirrors:
        pin = call.fingerprint and wiring.pinned(None, call.fingerprint)
        return _Given(folder, pin or None)
    context = call.context()
    estate = context.backends("auditor")
    whole, heads = estate.mirrors(context.fingerprint), estate.heads(context.fingerprint)
    given = _Given(folder or context.ledger.directory, context.fingerprint)
    for name in mirrors:
        if name not in whole and name not in heads:
            raise UsageProblem(
                f"{name} is not a mirror of the ledger",
                hint=f"[ledger] names {', '.join((*whole, *heads)) or 'none'}",
            )
        told = isolated(partial(_claims, context, whole.get(name), heads.get(name)), f"ledger mirror {name}")
        if isinstance(told, OrgkeyError):
            given.silent.append(told)
            given.notes.append(f"mirror {name} could not be asked: {told.message}; {told.hint}")
        else:
            given.claims += told
    return given


def _claims(context: KeyScope, whole: Mirror | None, heads: Mirror | None) -> list[Claim]:
    """What one place says of the ledger, as a mirror of entries, of heads, or both."""
    from pipeline.core.retry import retrying
    from pipeline.evidence import anchors
    from pipeline.storage.ledger_mirror import MIRROR_CALLS

    retrier = Retrier(context.deadline, clock=context.clock)
    claims: list[Claim] = []
    if whole is not None:
        claims += anchors.entries(retrying(whole, retrier, "target", MIRROR_CALLS), context.fingerprint)
    if heads is not None:
        claims += anchors.heads(retrying(heads, retrier, "target", MIRROR_CALLS))
    return claims


def _certificate(given: _Given, path: Path, public: Path | None) -> None:
    """Take the head that a certificate has, and check its signature where that can be done.

    Raises:
        UsageProblem: It is of another key.
        IntegrityProblem: Its signature is wrong.
    """
    from pipeline.evidence import anchors
    from pipeline.evidence.ledger.verify import Claim

    told = anchors.certificate(path)
    if given.fingerprint is None:
        given.fingerprint = told.fingerprint
    if told.fingerprint != given.fingerprint:
        raise UsageProblem(
            f"{path} is of another key: {told.fingerprint}", hint=f"the ledger is of {given.fingerprint}"
        )
    if public is None:
        given.notes.append(
            f"the signature of {path} was not checked: give --public, or run gpg --verify {path}.asc {path}"
        )
    else:
        from datetime import UTC, datetime

        from pipeline.core.clock import Deadline
        from pipeline.openpgp import signing

        signing.verify_detached(
            anchors.read_file(public), told.fingerprint, told.body,
            anchors.read_file(path.with_name(f"{path.name}.asc")),
            deadline=Deadline(60), now=datetime.now(UTC),
        )  # fmt: skip
        given.notes.append(f"the signature of {path} is the Org Key's, {spaced(told.fingerprint)}")
    if told.head.sequence == 0:
        given.notes.append(f"{path} was made before the ledger's first entry: it vouches for none")
    given.claims.append(
        Claim(told.head.sequence, frozenset({told.head.digest.hex}), f"certificate {path.name}")
    )


def _document(found: Verified, given: _Given, code: Code) -> dict[str, Any]:
    return {
        "schema": "orgkey.ledger-verify/1",
        "folder": str(found.folder),
        "fingerprint": found.fingerprint,
        "entries": found.entries,
        "head": {"sequence": found.head.sequence, "sha256": found.head.digest.hex},
        "anchored_to": found.anchored_to,
        "anchored_by": found.anchored_by,
        "unauthenticated": found.unauthenticated,
        "ok": found.ok,
        "first_bad": found.first_bad,
        "problem": found.problem,
        "notes": [*given.notes, *found.notes],
        "exit_code": int(code),
    }


def _lines(found: Verified, given: _Given) -> list[str]:
    shown = [
        f"ledger     {found.folder}",
        f"key        {spaced(found.fingerprint) if found.fingerprint else '-'}",
        f"chained    {found.entries} entries",
        f"head       {found.head.sequence}:{found.head.digest.hex}",
    ]
    if found.anchored_to:
        later = f"; later entries unauthenticated: {found.unauthenticated}" if found.unauthenticated else ""
        shown.append(f"anchored   to {found.anchored_to}, by {found.anchored_by}{later}")
    else:
        shown.append("anchored   to 0, nothing outside the folder vouches for it")
    if (found.ok and found.anchored_to < found.entries) or not found.anchored_to:
        shown += [
            "           Whether the end was cut off, or what is not anchored was written anew, does not",
            "           show here: give --head, --certificate or --mirror.",
        ]
    shown += [f"note       {note}" for note in (*given.notes, *found.notes)]
    if found.problem:
        return [*shown, f"BROKEN     at entry {found.first_bad}: {found.problem}"]
    return [*shown, "no entry up to the head contradicts another, or what was given"]
