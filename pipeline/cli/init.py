"""`orgkey init`: asks, or takes options, and writes a commented `orgkey.toml` with the pin."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.cli.output import Output
from pipeline.core.errors import Code, LocalFilesProblem, NotAKey, NotPinned, SeveralKeys, UsageProblem

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.config.setup.answers import Setup

_VAULT, _S3, _PEOPLE, _OTHER = "Vault", "S3 and KMS", "Custodians", "Other"


def init(
    from_export: Annotated[
        Path | None,
        typer.Option("--from", metavar="EXPORT", help="Read the pin from this export, to compare it."),
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option(metavar="FPR", help="The pin: the Org Key's fingerprint.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "--config", metavar="FILE", help="The new file.")] = Path(
        "orgkey.toml"
    ),
    yes: Annotated[bool, typer.Option("--yes", help="Take the pin of --from without comparing.")] = False,
    no_input: Annotated[bool, typer.Option("--no-input", help="Ask nothing.")] = False,
    vault_address: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="For example https://vault.example.com:8200.", rich_help_panel=_VAULT
        ),
    ] = None,
    vault_namespace: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Namespace, where Vault has them.", rich_help_panel=_VAULT),
    ] = None,
    vault_ca_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="PEM file of the authority of Vault's certificate.", rich_help_panel=_VAULT
        ),
    ] = None,
    vault_mount: Annotated[str, typer.Option(help="KV v2 mount.", rich_help_panel=_VAULT)] = "orgkey",
    vault_prefix: Annotated[
        str, typer.Option(metavar="PATH", help="Path below the mount.", rich_help_panel=_VAULT)
    ] = "records",
    vault_controlled_by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PARTY", help="Who can read, write or wipe it; repeatable.", rich_help_panel=_VAULT
        ),
    ] = None,
    transit_key: Annotated[
        str | None, typer.Option(help="Transit key that opens a share.", rich_help_panel=_VAULT)
    ] = None,
    transit_mount: Annotated[
        str, typer.Option(metavar="MOUNT", help="Transit mount.", rich_help_panel=_VAULT)
    ] = "transit",
    s3_bucket: Annotated[str | None, typer.Option(help="Bucket.", rich_help_panel=_S3)] = None,
    s3_prefix: Annotated[
        str, typer.Option(metavar="PATH", help="Start of every object's key.", rich_help_panel=_S3)
    ] = "orgkey",
    s3_endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="URL of another S3 server than AWS.", rich_help_panel=_S3),
    ] = None,
    s3_owner: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Account that must own the bucket (12 digits).", rich_help_panel=_S3),
    ] = None,
    s3_lock_mode: Annotated[
        str | None, typer.Option(help="GOVERNANCE or COMPLIANCE.", rich_help_panel=_S3)
    ] = None,
    s3_lock_days: Annotated[
        int | None,
        typer.Option(metavar="N", help="Days of retention; with --s3-lock-mode.", rich_help_panel=_S3),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(help="Of the bucket and the KMS key, unless its ARN names it.", rich_help_panel=_S3),
    ] = None,
    kms_key: Annotated[
        str | None, typer.Option(help="KMS key that opens a share.", rich_help_panel=_S3)
    ] = None,
    kms_endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="URL of another KMS server than AWS.", rich_help_panel=_S3),
    ] = None,
    aws_controlled_by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PARTY", help="Who can read, write or wipe it; repeatable.", rich_help_panel=_S3
        ),
    ] = None,
    custodian: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FPR",
            help="A person who gets a share: the fingerprint of an OpenPGP certificate; repeatable.",
            rich_help_panel=_PEOPLE,
        ),
    ] = None,
    custodian_threshold: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How many of them suffice; default: more than half.",
            rich_help_panel=_PEOPLE,
        ),
    ] = None,
    custodian_certificates: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where their certificates lie; default: custodians beside the new file.",
            rich_help_panel=_PEOPLE,
        ),
    ] = None,
    directory: Annotated[
        str | None, typer.Option(help="Keep one more copy here.", rich_help_panel=_OTHER)
    ] = None,
    directory_controlled_by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PARTY", help="Who can read, write or wipe it; repeatable.", rich_help_panel=_OTHER
        ),
    ] = None,
    inbox: Annotated[
        str | None, typer.Option(help="Folder in which exports are dropped.", rich_help_panel=_OTHER)
    ] = None,
    credentials_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the AppRoles' files lie; default: credentials beside the new file.",
            rich_help_panel=_OTHER,
        ),
    ] = None,
    accept_single_party: Annotated[
        bool,
        typer.Option(
            "--accept-single-party",
            help="Allow a plan under which one party gets the key alone.",
            rich_help_panel=_OTHER,
        ),
    ] = False,
    accept_single_loss: Annotated[
        bool,
        typer.Option(
            "--accept-single-loss",
            help="Allow a plan under which one loss ends every restore.",
            rich_help_panel=_OTHER,
        ),
    ] = False,
    state_dir: options.StateDir = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Write a commented orgkey.toml with the pin.

    An older file is never overwritten.
    """
    from pipeline.config.setup.answers import Setup
    from pipeline.core import passphrases as inputs

    speak = Common(None, state_dir, fingerprint, json, quiet, verbose).output()
    defaults = Setup()
    beside = out.resolve().parent
    setup = Setup(
        fingerprint=fingerprint,
        vault_address=vault_address,
        vault_namespace=vault_namespace,
        vault_ca_file=vault_ca_file,
        vault_mount=vault_mount,
        vault_prefix=vault_prefix,
        vault_controlled_by=tuple(vault_controlled_by or defaults.vault_controlled_by),
        transit_key=transit_key,
        transit_mount=transit_mount,
        s3_bucket=s3_bucket,
        s3_prefix=s3_prefix,
        s3_endpoint=s3_endpoint,
        s3_owner=s3_owner,
        s3_lock_mode=s3_lock_mode,
        s3_lock_days=s3_lock_days,
        region=region,
        kms_key=kms_key,
        kms_endpoint=kms_endpoint,
        aws_controlled_by=tuple(aws_controlled_by or defaults.aws_controlled_by),
        directory=directory,
        directory_controlled_by=tuple(directory_controlled_by or defaults.directory_controlled_by),
        inbox=inbox,
        custodians=tuple(custodian or ()),
        custodian_threshold=custodian_threshold,
        custodian_certificates=str(custodian_certificates.absolute()) if custodian_certificates else None,
        accept_single_party=accept_single_party,
        accept_single_loss=accept_single_loss,
    )
    credentials = credentials_dir or beside / "credentials"
    asking = not no_input and inputs.interactive()
    written, config = create(
        speak, out, setup, credentials, from_export=from_export, trusted=yes, asking=asking
    )
    _report(speak, out, written, config)
    return Code.OK


def create(
    speak: Output,
    out: Path,
    setup: Setup,
    credentials: Path,
    *,
    from_export: Path | None,
    trusted: bool,
    asking: bool,
) -> tuple[Setup, Config]:
    """Find out what is missing and write the file.

    Args:
        speak: Where what is found is shown.
        out: The new file.
        setup: What the options say.
        credentials: The directory in which the logins' files are expected.
        from_export: An export to read the pin from.
        trusted: Whether its fingerprint is taken without comparing.
        asking: Whether a person can be asked.

    Returns:
        What was answered, and the configuration that was written.

    Raises:
        LocalFilesProblem: Something is there already.
        UsageProblem: An answer is missing, or not valid.
        NotPinned: The export holds another key than ``--fingerprint`` says.
    """
    from pipeline.config.setup import answers as setup_answers
    from pipeline.config.setup import template as setup_file

    if os.path.lexists(out):
        raise LocalFilesProblem(
            f"{out} exists already", hint="edit it, or name another file with --out; nothing is overwritten"
        )
    if from_export is not None:
        pin = _pin_of(speak, from_export, setup.fingerprint, trusted=trusted, asking=asking)
        setup = replace(setup, fingerprint=pin)
    certificates = str(out.resolve().parent / "custodians")
    complete = setup_answers.complete(setup, _ask if asking else None, certificates)
    return complete, setup_file.write(out, complete, credentials)


def _pin_of(speak: Output, export: Path, given: str | None, *, trusted: bool, asking: bool) -> str:
    """Show whose export this is, and have it compared."""
    from pipeline import openpgp as keys
    from pipeline.config.setup import answers as setup_answers
    from pipeline.core.clock import SystemClock
    from pipeline.sources.file import read_export
    from pipeline.sources.interface import LARGEST

    pin = None if given is None else setup_answers.normal_fingerprint(given)
    data, _ = read_export(export, LARGEST)
    seen = keys.inspect(data, pin=pin, now=SystemClock().now())
    if seen.fingerprint is None:
        kind = SeveralKeys if seen.code is SeveralKeys.code else NotAKey
        raise kind(f"no pin can be read from {export}", hint=f"`orgkey inspect {export}` says what is in it")
    if pin is not None and seen.fingerprint != pin:
        raise NotPinned(
            f"{export} holds the key {seen.fingerprint}, not {pin}", hint="find out which one is right"
        )
    if seen.problems:
        speak.warn(f"{export} cannot be escrowed as it is: {seen.problems[0]['message']}")
    if pin is not None:
        return pin
    speak.progress(f"key in {export}: {', '.join(seen.document['user_ids']) or '(no user id)'}")
    speak.progress(f"fingerprint: {spaced(seen.fingerprint)}")
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


def spaced(fingerprint: str) -> str:
    """A fingerprint in groups of four, which people compare more easily."""
    return " ".join(fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4))


def _ask(question: str, default: str) -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default), err=True)).strip()


def _report(speak: Output, out: Path, setup: Setup, config: Config) -> None:
    from pipeline.config.setup import answers as setup_answers
    from pipeline.posture import model as posture

    notes = list(setup_answers.advice(setup))
    if (losses := posture.single_losses(config)) and not setup.accept_single_loss:
        notes.append(
            f"`orgkey doctor` will refuse this plan (2), since any one of these losses ends every restore: "
            f"{'; '.join(losses)}. To mend it, {posture.against_losses(config, losses)}; or "
            "set policy.accept_single_loss (--accept-single-loss)"
        )
    document = {
        "schema": "orgkey.init/1",
        "config": str(out),
        "fingerprint": setup.fingerprint,
        "targets": list(setup.targets()),
        "holders": list(setup.holders()),
        "notes": notes,
    }
    lines = [
        f"{out} is written, for the key {spaced(setup.fingerprint or '')}",
        *(f"note: {note}" for note in notes),
        *(
            ["next: `orgkey infra plan` and `orgkey infra apply` set Vault's side up"]
            if setup.vault_address
            else []
        ),
        "next: put the logins where the file says, then run `orgkey doctor`",
    ]
    speak.emit(document, lines)
