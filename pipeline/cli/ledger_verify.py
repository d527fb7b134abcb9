"""`orgkey ledger verify`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pipeline.archive.run import KeyScope
from pipeline.cli import completion
from pipeline.cli.command import WHERE, Invocation, arg, command, opt
from pipeline.cli.documents.evidence import LedgerVerifyDocument
from pipeline.cli.output import spaced
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, IntegrityProblem, OrgkeyError, UsageProblem, first_of
from pipeline.core.isolation import isolated
from pipeline.core.retry import Retrier, retrying
from pipeline.core.text import shell_word
from pipeline.evidence import anchors
from pipeline.evidence import verify as checking
from pipeline.evidence.ledger import verify as story
from pipeline.evidence.ledger.verify import Claim
from pipeline.storage.ledger_mirror import MIRROR_CALLS, Mirror
from pipeline.wiring import factory


@dataclass
class _Given:
    """What is to be verified, and by what."""

    folder: Path
    fingerprint: str | None
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    silent: list[OrgkeyError] = field(default_factory=list)


@command("orgkey ledger verify", (Code.NOT_A_KEY, Code.NOT_PINNED, Code.INTEGRITY, Code.LEDGER_BROKEN))
def verify(
    call: Invocation,
    folder: Path | None = arg("[FOLDER]", "A copy of a ledger; without it, this host's own."),
    head: list[str] | None = opt("--head", "A head that you noted elsewhere; repeatable.", "N:SHA256"),
    certificate: list[Path] | None = opt(
        "--certificate", "A drill certificate, which has a head; repeatable.", "FILE"
    ),
    public: Path | None = opt("--public", "The Org Key's public part: checks FILE.asc, too.", "FILE", WHERE),
    mirror: list[str] | None = opt(
        "--mirror", "A mirror of the configuration; repeatable.", "TARGET", autocompletion=completion.TARGETS
    ),
) -> Code:
    """Check that each host's chain is whole, and say what vouches for it.

    With FOLDER it needs neither configuration nor servers. The first entry that is missing, changed or out
    of order is named, with exit code 41.

    The folder alone does not show whether a chain's end was cut off, or all of it written anew: a head, a
    certificate or a mirror does.
    """
    claims = [anchors.head(text) for text in head or ()]
    given = _subject(call, folder, mirror or [])
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
    return call.answer(LedgerVerifyDocument.of(found, notes=(*given.notes, *found.notes), exit_code=code))


def _subject(call: Invocation, folder: Path | None, mirrors: list[str]) -> _Given:
    """The folder, whose ledger it should be, and what the named mirrors say of it."""
    if folder is not None and not mirrors:
        return _Given(folder, factory.pinned(None, call.fingerprint or None))
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
        NotAKey: ``--public`` is not a key.
        NotPinned: The key of ``--public`` did not sign it.
        IntegrityProblem: Its signature is wrong.
    """
    told = anchors.certificate(path)
    if given.fingerprint is None:
        given.fingerprint = told.fingerprint
    if told.fingerprint != given.fingerprint:
        raise UsageProblem(
            f"{path} is of another key: {told.fingerprint}", hint=f"the ledger is of {given.fingerprint}"
        )
    signature_path = path.with_name(f"{path.name}.asc")
    if public is None:
        given.notes.append(
            f"the signature of {path} was not checked: give --public, or run "
            f"gpg --verify {shell_word(signature_path)} {shell_word(path)}"
        )
    else:
        signature = anchors.read_file(signature_path)
        made_by = checking.signed(
            anchors.read_file(public), told.body, signature, Deadline(60), datetime.now(UTC)
        )
        if made_by != told.fingerprint:
            raise IntegrityProblem(
                f"{path} speaks of {told.fingerprint}, and was signed by {made_by}",
                hint="get it again from where it was issued",
            )
        given.notes.append(f"the signature of {path} is the Org Key's, {spaced(told.fingerprint)}")
    if told.head.sequence == 0:
        given.notes.append(f"{path} was made before its host's first entry: it vouches for none")
    digests = frozenset({told.head.digest.hex})
    given.claims.append(
        Claim(told.head.sequence, digests, f"certificate {path.name}", host=told.host, asked=True)
    )
