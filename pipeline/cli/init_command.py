"""`orgkey init`: asks, or takes options, and writes a commented `orgkey.toml` with the pin."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import typer

from pipeline.cli.command import SPEAKING, WHERE, Invocation, command, opt, parameter
from pipeline.cli.documents.setup import InitDocument
from pipeline.cli.output import Output, spaced
from pipeline.config.setup import template
from pipeline.config.setup.answers import Setup, advice, normal_fingerprint, whole_path
from pipeline.config.setup.questions import complete
from pipeline.core import files, passphrases
from pipeline.core.clock import SystemClock
from pipeline.core.errors import Code, NotAKey, NotPinned, SeveralKeys, UsageProblem
from pipeline.core.finding import Level
from pipeline.core.text import shell_word
from pipeline.monitoring import doctor
from pipeline.openpgp.key import inspection
from pipeline.sources.file import read_export
from pipeline.sources.interface import LARGEST
from pipeline.wiring import factory


def _answers() -> Iterator[inspect.Parameter]:
    """An option for each answer that has one."""
    kinds = get_type_hints(Setup)
    for field in fields(Setup):
        if not field.metadata:
            continue
        several = isinstance(field.default, tuple)
        name = f"--{field.name.replace('_', '-')}"
        option = opt(**({"name": name} | field.metadata), default=None if several else field.default)
        yield parameter(field.name, list[str] | None if several else kinds[field.name], option)


@command(
    "orgkey init --from export.asc",
    (Code.NOT_A_KEY, Code.NOT_PINNED, Code.SEVERAL_KEYS),
    parameters=_answers(),
    shared=("state_dir", *SPEAKING),
)
def init(
    call: Invocation,
    from_export: Path | None = opt("--from", "Read the pin from this export, to compare it.", "EXPORT"),
    fingerprint: str | None = opt("--fingerprint", "The pin: the Org Key's fingerprint.", "FPR"),
    out: Path = opt("--out/--config", "The new file.", "FILE", WHERE, default=Path("orgkey.toml")),
    yes: bool = opt("--yes", "Take the pin of --from without comparing."),
    no_input: bool = opt("--no-input", "Ask nothing."),
    credentials_dir: Path | None = opt(
        "--credentials-dir",
        "Where the AppRoles' files lie; default: credentials beside the new file.",
        "DIR",
        WHERE,
    ),
    **answers: Any,
) -> Code:
    """Write a commented orgkey.toml with the pin.

    An older file is never overwritten.
    """
    if out.parent.is_dir():  # else it is made
        files.check_new(out)
    asking = not no_input and passphrases.answerable()
    if from_export is not None:
        fingerprint = _pin_of(call.out, from_export, fingerprint, trusted=yes, asking=asking)
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in answers.items()
        if value not in (None, [])
    }
    beside = out.resolve().parent
    setup = Setup(fingerprint=fingerprint, **given)
    setup = complete(setup, _ask if asking else None, str(beside / "custodians")).with_whole_paths()
    logins = Path(whole_path(str(credentials_dir or beside / "credentials")))
    config = template.write(out, setup, logins)
    foretold = doctor.foretell(
        factory.context(config, fingerprint=None, state_dir=call.state_dir, reporter=call.out)
    )
    missing = [item for item in foretold if item.level in (Level.WARN, Level.FAIL)]
    return call.answer(InitDocument.of(setup, config=out, notes=advice(setup), doctor=missing))


def _pin_of(out: Output, export: Path, given: str | None, *, trusted: bool, asking: bool) -> str:
    """Show whose export this is, and have it compared.

    Raises:
        NotPinned: The export holds another key than ``--fingerprint`` says.
        UsageProblem: Its fingerprint was not compared.
    """
    pin = None if given is None else normal_fingerprint(given)
    data, _ = read_export(export, LARGEST)
    seen = inspection.inspect(data, pin=pin, now=SystemClock().now())
    if seen.fingerprint is None:
        kind = SeveralKeys if seen.code is SeveralKeys.code else NotAKey
        raise kind(
            f"no pin can be read from {export}",
            hint=f"`orgkey inspect {shell_word(export)}` says what is in it",
        )
    if pin is not None and seen.fingerprint != pin:
        raise NotPinned(
            f"{export} holds the key {seen.fingerprint}, not {pin}", hint="find out which one is right"
        )
    if seen.problems:
        out.warn(f"{export} cannot be escrowed as it is: {seen.problems[0]['message']}")
    if pin is not None:
        return pin
    out.progress(f"key in {export}: {', '.join(seen.document['user_ids']) or '(no user id)'}")
    out.progress(f"fingerprint: {spaced(seen.fingerprint)}")
    if trusted:
        return seen.fingerprint
    if not asking:
        raise UsageProblem(
            f"the fingerprint of {export} was not compared",
            hint=f"compare it with the server's and give --fingerprint {seen.fingerprint}, or --yes",
        )
    question = f"Does the server show {spaced(seen.fingerprint)}, under Keys > Organization Keys?"
    if not typer.confirm(question, err=True):
        raise UsageProblem(
            "the fingerprint was not confirmed", hint="export the right key; nothing is written"
        )
    return seen.fingerprint


def _ask(question: str, default: str) -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default), err=True)).strip()
