"""`orgkey restore`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from threading import Lock

from pipeline.cli import ceremony_prompt, completion, shares
from pipeline.cli.command import COPY_CODES, ONE_EPOCH, WHERE, Invocation, command, opt
from pipeline.cli.documents.escrow import RestoreDocument
from pipeline.cli.output import printable
from pipeline.config.sections import Policy
from pipeline.core import files, passphrases
from pipeline.core.clock import Clock, Deadline, GivenClock, SystemClock
from pipeline.core.errors import Code, IntegrityProblem, OrgkeyError, UsageProblem
from pipeline.core.secret import SecretSource
from pipeline.evidence.ledger.events import RestoreEvent
from pipeline.openpgp.gnupg import user
from pipeline.record.verify import verify_record
from pipeline.unseal.ceremony import UnsealRequest
from pipeline.wiring import factory, holder_addresses, record_locations
from pipeline.wiring.backends import ConfiguredBackends
from pipeline.wiring.holder_addresses import Consent
from pipeline.wiring.sessions import Sessions
from pipeline.workflows import restore as story
from pipeline.workflows.restore import Restored, RestoreRequest


@command("orgkey restore --out /dev/shm/orgkey.asc", COPY_CODES, takes=("unseal", "new_passphrase"))
def restore(
    call: Invocation,
    out_file: Path = opt("--out", "The new file; never an existing one.", "FILE", WHERE),
    source: str | None = opt(
        "--from", "Only this target's copy.", "TARGET", WHERE, autocompletion=completion.TARGETS
    ),
    epoch: str = ONE_EPOCH,
    version_id: str | None = opt(
        "--version-id", "Only this version of that copy; needs --from and --epoch.", "ID", WHERE
    ),
    original: bool = opt("--original", "The export as it came in, under its own old passphrase."),
    record: str | None = opt(
        "--record",
        "A record anywhere; needs --fingerprint, and neither configuration nor state.",
        "FILE|s3://…|vault://…",
        WHERE,
    ),
    allow_address: list[str] | None = opt(
        "--allow-address",
        "With --record and no configuration: send logins to this address that the record names. "
        "Repeat for more.",
        "ADDRESS",
        WHERE,
    ),
    at: str | None = opt(
        "--at",
        "The present time, like 2027-12-31T12:00:00Z, where this host's clock is wrong and no "
        "server gives it.",
        "TIME",
    ),
) -> Code:
    """Get the keypair back under a passphrase that you choose.

    The new file is ready for the server and for `gpg --import`. Nothing about the key's expiry or
    certificates ever blocks a restore.
    """
    files.check_new(out_file)
    passphrase = call.passphrase("new", "new passphrase for the restored key", confirm=True)
    if not original:
        passphrase = passphrases.early(passphrase)
    request = story.RestoreRequest(
        out=out_file,
        epoch=epoch,
        source=source,
        version=version_id,
        original=original,
        unseal=UnsealRequest(call.via, shares.read(call.share, Deadline(user.SECONDS), call.share_fd)),
    )
    clock = _clock(at)
    if record is not None:
        restored = _from_record(call, record, request, passphrase, allow_address or [], clock)
    elif allow_address:
        raise UsageProblem("--allow-address goes with --record", hint="the configuration names the addresses")
    else:
        restored = _from_targets(call, request, passphrase, clock)
    if files.in_memory(out_file) is False:
        call.out.warn(
            f"{printable(str(out_file))} is on a disk, where a removed file can be found again: "
            "next time restore to /dev/shm"
        )
    return call.answer(RestoreDocument.of(restored, original=original))


def _clock(given: str | None) -> Clock:
    """This host's clock, or one that goes by the time that is given.

    Raises:
        UsageProblem: It is not a time with its zone.
    """
    if given is None:
        return SystemClock()
    with suppress(ValueError):
        if (moment := datetime.fromisoformat(given)).tzinfo is not None:
            return GivenClock(moment)
    raise UsageProblem(
        f"--at {given!r} is not a time with its zone", hint="give a time like 2027-12-31T12:00:00Z"
    )


def _from_targets(
    call: Invocation, request: RestoreRequest, passphrase: SecretSource, clock: Clock
) -> Restored:
    context = call.context(clock=clock)
    estate = context.backends("driller")
    request = _asking(request, context.deadline)
    try:
        found = story.find(context, request)
        restored = story.restore(found, request, estate, passphrase, context.deadline)
    except OrgkeyError as error:
        context.note_failure("restore-failed", error)
        raise
    if restored.epoch != found.record.epoch:
        call.out.warn(f"what opened is the newer epoch {restored.epoch}, and not {found.record.epoch}")
    # A disaster's restore is not held up by a disk that keeps no log.
    context.note_event(
        RestoreEvent(
            epoch=restored.epoch,
            origin=restored.origin,
            via=restored.path,
            participants=restored.participants,
            original=request.original,
            out=str(restored.out),
        )
    )
    return restored


def _from_record(
    call: Invocation,
    place: str,
    request: RestoreRequest,
    passphrase: SecretSource,
    allowed: list[str],
    clock: Clock,
) -> Restored:
    if not call.fingerprint:
        raise UsageProblem(
            "--record needs --fingerprint",
            hint="give the Org Key's 40 digits from a source that you trust: they tell true from false",
        )
    if request.source or request.version or request.epoch != "latest":
        raise UsageProblem("--record names one record", hint="leave out --from, --epoch and --version-id")
    pin = factory.pinned(None, call.fingerprint)
    assert pin is not None, "one was given"
    deadline = Deadline(Policy().deadline_seconds, clock)
    config = call.loaded if call.config else None
    if config and allowed:
        raise UsageProblem(
            "--allow-address and --config exclude each other", hint="the configuration names the addresses"
        )
    consent = Consent([*_addresses(allowed), *record_locations.addresses(place)], _asks(deadline))
    sessions = Sessions(config, deadline, clock)
    estate = ConfiguredBackends(sessions, "driller", consent)
    data = record_locations.read_record(place, estate)
    try:
        verified = verify_record(data, pin, deadline=deadline, now=deadline.time())
    except IntegrityProblem as error:
        hint = f"{record_locations.RECORDS}; if it is one, another copy may be good"
        raise IntegrityProblem(f"{place}: {error.message}", hint=hint) from error
    found = story.FoundRecord(verified, place)
    call.out.progress(f"record of epoch {found.record.epoch} is authentic")
    request = _asking(request, deadline)
    return story.restore(found, request, estate, passphrase, deadline)


def _addresses(allowed: list[str]) -> list[str]:
    for address in allowed:
        try:
            holder_addresses.canonical(address)
        except ValueError as error:
            raise UsageProblem(f"--allow-address {address!r} is not an address", hint=str(error)) from None
    return allowed


def _asks(deadline: Deadline) -> Callable[[str, str], bool] | None:
    """How a person is asked whether a login may go to an address; ``None`` without a terminal."""
    if not passphrases.interactive():
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


def _asking(request: RestoreRequest, deadline: Deadline) -> RestoreRequest:
    """The request, by which people are asked for shares where somebody is there."""
    ask = ceremony_prompt.at_terminal(deadline)
    return replace(request, unseal=replace(request.unseal, ask=ask))
