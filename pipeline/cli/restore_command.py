"""`orgkey restore`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import ceremony_prompt, options, shares
from pipeline.cli.options import Common
from pipeline.cli.output import Output, printable, spaced
from pipeline.core.errors import Code, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.core.clock import Clock, Deadline
    from pipeline.core.secret import SecretSource
    from pipeline.workflows.restore import Request, Restored


def restore(
    out_file: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The new file; never an existing one.")
    ],
    source: Annotated[
        str | None, typer.Option("--from", metavar="TARGET", help="Only this target's copy.")
    ] = None,
    via: Annotated[str | None, typer.Option("--via", metavar="PATH", help="Only this custody path.")] = None,
    epoch: Annotated[
        str,
        typer.Option("--epoch", metavar="latest|ID", help="An epoch's name from `orgkey list`, or latest."),
    ] = "latest",
    version_id: Annotated[
        str | None,
        typer.Option(
            "--version-id", metavar="ID", help="Only this version of that copy; needs --from and --epoch."
        ),
    ] = None,
    share: shares.ShareFiles = None,
    share_fd: shares.ShareFds = None,
    original: Annotated[
        bool,
        typer.Option("--original", help="The export as it came in, under its own old passphrase."),
    ] = False,
    record: Annotated[
        str | None,
        typer.Option(
            "--record",
            metavar="FILE|s3://…|vault://…",
            help="A record anywhere; needs --fingerprint, and neither configuration nor state.",
        ),
    ] = None,
    allow_address: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-address",
            metavar="ADDRESS",
            help="With --record and no configuration: send logins to this address that the record names. "
            "Repeat for more.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="The present time, like 2027-12-31T12:00:00Z, where this host's clock is wrong and no "
            "server tells it.",
        ),
    ] = None,
    new_passphrase_file: options.NewPassphraseFile = None,
    new_passphrase_fd: options.NewPassphraseFd = None,
    new_passphrase_command: options.NewPassphraseCommand = None,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Get the keypair back under a passphrase that you choose.

    The new file is ready for the server and for `gpg --import`. Nothing about the key's expiry or
    certificates ever blocks a restore.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    from pipeline.core import files
    from pipeline.core import passphrases as inputs
    from pipeline.core.clock import Deadline
    from pipeline.openpgp.gnupg import user as own_gpg
    from pipeline.workflows import restore as story

    story.check_output(out_file)
    new_passphrase = options.passphrase_source(
        "new",
        "new passphrase for the restored key",
        new_passphrase_file,
        new_passphrase_fd,
        new_passphrase_command,
        confirm=True,
    )
    if not original:
        new_passphrase = inputs.early(new_passphrase)
    request = story.Request(
        out=out_file,
        epoch=epoch,
        source=source,
        version=version_id,
        path=via,
        shares=shares.read(share, Deadline(own_gpg.SECONDS), share_fd),
        original=original,
    )
    if record is not None:
        restored = _from_record(common, out, record, request, new_passphrase, allow_address or [], _clock(at))
    elif allow_address:
        raise UsageProblem("--allow-address goes with --record", hint="the configuration names the addresses")
    else:
        restored = _from_targets(common, out, request, new_passphrase, _clock(at))
    if files.in_memory(out_file) is False:
        out.warn(
            f"{printable(str(out_file))} is on a disk, where a removed file can be found again: "
            "next time restore to /dev/shm"
        )
    out.emit(_document(restored, original), _lines(restored, original))
    return Code.OK


def _clock(given: str | None) -> Clock:
    """This host's clock, or one that goes by the time that is given.

    Raises:
        UsageProblem: It is not a time with its zone.
    """
    from datetime import datetime

    from pipeline.core.clock import GivenClock, SystemClock

    if given is None:
        return SystemClock()
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageProblem(
            f"--at {given!r} is not a time with its zone", hint="give a time like 2027-12-31T12:00:00Z"
        )
    return GivenClock(moment)


def _from_targets(
    common: Common, out: Output, request: Request, new_passphrase: SecretSource, clock: Clock
) -> Restored:
    from pipeline.core.errors import NotHeld, OrgkeyError
    from pipeline.workflows import restore as story

    context = common.context(out, clock=clock)
    estate = context.estate("driller")
    request = replace(request, ask=ceremony_prompt.at_terminal(out, context.deadline))
    try:
        found = story.find(context, estate, request)
        restored = story.restore(
            found, request, estate, new_passphrase, deadline=context.deadline, now=context.clock.now()
        )
    except NotHeld as error:
        context.note_event("restore-not-held", {"message": error.message})
        raise
    except OrgkeyError as error:
        context.note_event("restore-failed", {"code": int(error.code), "message": error.message})
        raise
    # A disaster's restore is not held up by a disk that keeps no log.
    context.note_event(
        "restore",
        {
            "epoch": restored.epoch,
            "from": restored.origin,
            "via": restored.path,
            "participants": list(restored.participants),
            "original": request.original,
            "out": str(restored.out),
        },
    )
    return restored


def _from_record(
    common: Common,
    out: Output,
    place: str,
    request: Request,
    new_passphrase: SecretSource,
    allowed: list[str],
    clock: Clock,
) -> Restored:
    from pipeline.config import Policy
    from pipeline.core.clock import Deadline
    from pipeline.record import verify as authentic
    from pipeline.wiring import factory as wiring
    from pipeline.wiring import record_locations as locations
    from pipeline.wiring.holder_addresses import Consent
    from pipeline.workflows import restore as story

    if not common.fingerprint:
        raise UsageProblem(
            "--record needs --fingerprint",
            hint="give the Org Key's 40 digits from a source that you trust: they tell true from false",
        )
    if request.source or request.version or request.epoch != "latest":
        raise UsageProblem("--record names one record", hint="leave out --from, --epoch and --version-id")
    pin = wiring.pinned(None, common.fingerprint)
    assert pin is not None, "one was given"
    deadline = Deadline(Policy().deadline_seconds, clock)
    loaded = common.load(out) if common.config else None
    if loaded and allowed:
        raise UsageProblem(
            "--allow-address and --config exclude each other", hint="the configuration names the addresses"
        )
    consent = Consent([*_addresses(allowed), *locations.addresses(place)], _asks(deadline))
    estate = wiring.Estate(loaded, "driller", deadline, clock, consent=consent)
    data = locations.read_record(place, estate)
    found = story.Found(authentic.open_record(data, pin, deadline=deadline, now=deadline.time()), place)
    out.progress(f"record of epoch {found.record.epoch} is authentic")
    request = replace(request, ask=ceremony_prompt.at_terminal(out, deadline))
    return story.restore(found, request, estate, new_passphrase, deadline=deadline, now=clock.now())


def _addresses(allowed: list[str]) -> list[str]:
    from pipeline.wiring import holder_addresses as reaching

    for address in allowed:
        try:
            reaching.canonical(address)
        except ValueError as error:
            raise UsageProblem(f"--allow-address {address!r} is not an address", hint=str(error)) from None
    return allowed


def _asks(deadline: Deadline) -> Callable[[str, str], bool] | None:
    """How a person is asked whether a login may go to an address; ``None`` without a terminal."""
    from pipeline.core import passphrases as inputs

    if not inputs.interactive():
        return None

    one_at_a_time = Lock()  # holders are asked side by side, a person is not

    @cache
    def ask(holder: str, address: str) -> bool:
        with one_at_a_time, deadline.paused():
            answer = ceremony_prompt.question(
                f"Holder {holder} of the record is at {address}, which nothing on this host confirms. "
                "Send your login there? [y/N]"
            )
        deadline.renew()
        return answer.lower() in ("y", "yes")

    return ask


def _document(restored: Restored, original: bool) -> dict[str, Any]:
    return {
        "schema": "orgkey.restore/1",
        "epoch": restored.epoch,
        "fingerprint": restored.fingerprint,
        "from": restored.origin,
        "via": restored.path,
        "participants": list(restored.participants),
        "out": str(restored.out),
        "original": original,
    }


def _lines(restored: Restored, original: bool) -> list[str]:
    what = (
        "the export as it came in, under its own old passphrase" if original else "under your new passphrase"
    )
    return [
        f"restored: {spaced(restored.fingerprint)}",
        f"from {restored.origin}, epoch {restored.epoch}, opened by path {restored.path}",
        f"to {restored.out} (0600), {what}",
        "this file is the Org Key: hand it to the server, then destroy it",
    ]
