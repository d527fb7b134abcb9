"""The events that the ledger has: one frozen class for each kind, and the one reader of what entries say.

An entry may come from another host, by way of a mirror, so it may say anything. :func:`event_of` gives the
typed event or raises :class:`MalformedEvent`; whoever reads skips such an entry and names it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, ValidationError

from pipeline.core.errors import Code, NotHeld, OrgkeyError
from pipeline.evidence.ledger.store import LedgerEntry

Json = dict[str, Any]
_CLASSES: Final[dict[str, type[Event]]] = {}
"""By the event's name in an entry."""
Stamp = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
"""A time as :func:`pipeline.core.clock.stamp` writes it: two of them compare as text."""


class MalformedEvent(ValueError):
    """An entry that says something else than its event does."""

    @classmethod
    def of(cls, entry: LedgerEntry) -> Self:
        """Name the entry."""
        whose = "" if entry.own else f" of host {entry.host}"
        return cls(
            f"ledger entry {entry.number}{whose} says something else than its event {entry.event} does: "
            "it is skipped"
        )


class Event(BaseModel):
    """What one entry says. Fields that are not given are not written."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, hide_input_in_errors=True)
    KINDS: ClassVar[tuple[str, ...]] = ()
    FAILS: ClassVar[bool | None] = None
    """Whether a report tells it as a failure; ``None`` where its exit code says so."""

    def __init_subclass__(cls, kinds: tuple[str, ...] = (), fails: bool | None = None, **more: Any) -> None:
        """Enter a class under the names that its events have in entries."""
        super().__init_subclass__(**more)
        cls.KINDS, cls.FAILS = kinds, fails
        _CLASSES.update(dict.fromkeys(kinds, cls))

    @property
    def kind(self) -> str:
        """The event's name in an entry."""
        return str(getattr(self, "event", None) or self.KINDS[0])

    @property
    def failed(self) -> bool:
        """Whether a report tells it as a failure."""
        return getattr(self, "code", 0) not in (0, int(Code.PENDING)) if self.FAILS is None else self.FAILS

    def to_details(self) -> Json:
        """What an entry keeps of it."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @classmethod
    def from_entry(cls, entry: LedgerEntry) -> Self:
        """Read it.

        Raises:
            MalformedEvent: The entry says something else.
        """
        named = {"event": entry.event} if "event" in cls.model_fields else {}
        try:
            return cls.model_validate({**entry.details, **named})
        except (ValidationError, RecursionError):
            raise MalformedEvent.of(entry) from None


# -- epochs ----------------------------------------------------------------------------------------


class EpochStored(Event):
    """An epoch was stored, or was found to be."""

    epoch: str = ""
    record_sha256: str = ""
    plan: str | None = None
    copies: dict[str, Json] = {}
    failures: dict[str, StrictInt] = {}
    resumed: StrictBool = False
    already: StrictBool = False
    proven: StrictBool = False
    code: StrictInt = 0


class EscrowEvent(EpochStored, kinds=("escrow",)):
    """An escrow."""

    accepted: tuple[str, ...] = ()
    accepted_custody_change: StrictBool = False
    custodians: tuple[str, ...] = ()


class RefreshEvent(EpochStored, kinds=("refresh",)):
    """A newer public part was stored."""

    supersedes: str = ""


class RotateEvent(EpochStored, kinds=("rotate",)):
    """New shares were made."""

    supersedes: str = ""
    reason: str | None = None
    custodians_before: tuple[str, ...] = ()
    custodians_after: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    accepted_custody_change: StrictBool = False


class WrittenCopy(BaseModel):
    """What a repair did at one target."""

    model_config = ConfigDict(frozen=True)
    epoch: str
    target: str
    action: str


class RepairEvent(Event, kinds=("repair",)):
    """Copies were written anew."""

    code: StrictInt = 0
    copies: tuple[WrittenCopy, ...]


class RetainEvent(Event, kinds=("retain",)):
    """Retention was extended."""

    code: StrictInt = 0
    until: str = ""
    mode: str | None = None
    epochs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    extended: StrictInt = 0
    kept: StrictInt = 0
    ledger: tuple[Json, ...] = ()
    failures: tuple[Json, ...] = ()


class VerifyEvent(Event, kinds=("verify",)):
    """Every copy was read."""

    code: StrictInt = 0
    epochs: dict[str, Json] = {}
    unreachable: tuple[str, ...] = ()


# -- drills and restores ---------------------------------------------------------------------------


class RecordedProof(BaseModel):
    """One proof of a drill."""

    model_config = ConfigDict(frozen=True)
    ok: StrictBool
    by: tuple[str, ...]
    problem: str | None = None


class RecordedResult(BaseModel):
    """What one copy proved on one path; the witness signs exactly what was given, further fields included."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)
    epoch: str
    target: str = Field(alias="copy")
    path: str
    record_sha256: str | None = None
    passed: StrictBool
    proofs: dict[str, RecordedProof]
    seconds: dict[str, StrictFloat]
    participants: tuple[str, ...] = ()


class WitnessSignature(BaseModel):
    """The witness's signature over the results of one record."""

    model_config = ConfigDict(frozen=True)
    record_id: str
    record_sha256: str
    at: str
    signature: str


class DrillEvent(Event, kinds=("drill", "drill-failed")):
    """A drill was held."""

    epoch: str = ""
    results: tuple[RecordedResult, ...]
    witnessed: tuple[WitnessSignature, ...] = ()
    certificates: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a result did not pass."""
        return not all(result.passed for result in self.results)

    @property
    def kind(self) -> str:
        """``drill-failed`` where something did."""
        return self.KINDS[self.failed]


class RestoreEvent(Event, kinds=("restore",)):
    """The keypair was restored."""

    epoch: str
    origin: str = Field(alias="from")
    via: str
    participants: tuple[str, ...] = ()
    original: StrictBool = False
    out: str


_FAILURES: Final = (
    "escrow-failed", "escrow-not-held", "rotate-failed", "rotate-not-held", "refresh-failed",
    "refresh-not-held", "repair-failed", "retain-failed", "verify-failed", "drill-refused",
    "drill-not-held", "restore-failed", "restore-not-held",
)  # fmt: skip


class Failure(Event, kinds=_FAILURES):
    """A command failed, refused, or was not held since too few people came."""

    event: str = Field(exclude=True)
    name: str = ""
    message: str | None = None
    code: StrictInt = 0
    epoch: str | None = None
    path: str | None = None

    @property
    def failed(self) -> bool:
        """A ceremony that too few people came to is not held, and is not a failure."""
        return not self.event.endswith("-not-held")

    @classmethod
    def because(cls, event: str, error: OrgkeyError) -> Self:
        """The event of an error; of too few people ``…-failed`` becomes ``…-not-held``.

        Args:
            event: For example ``escrow-failed``.
            error: What ended the command.
        """
        if isinstance(error, NotHeld):
            event = event.replace("-failed", "-not-held")
            return cls(event=event, name=error.code.label, message=error.message)
        return cls(event=event, name=error.code.label, message=error.message, code=int(error.code))


# -- custodians ------------------------------------------------------------------------------------


class ChallengeEvent(Event, kinds=("challenge",)):
    """Custodians were asked for check codes."""

    epoch: str
    custodians: tuple[str, ...]


class CheckInEvent(Event, kinds=("check-in",), fails=False):
    """A custodian has proven a share; it counts where the manifest has the hash of the code."""

    # its code is a check code, not an exit code
    epoch: str = ""
    record_id: str
    path: str
    holder: str
    index: StrictInt
    custodian: str
    number: StrictInt
    code: str


class CheckInRefusedEvent(Event, kinds=("check-in-refused",), fails=False):
    """A check code was refused: somebody's typing error, and not a failure."""

    code: StrictInt
    message: str


class KitEvent(Event, kinds=("kit",)):
    """A recovery kit was made."""

    epoch: str
    custodians: tuple[str, ...] = ()
    wheels: StrictInt = 0


# -- backups ---------------------------------------------------------------------------------------


class BackupRead(BaseModel):
    """What was read of one backup; 0.1 has kept only what has no default here, and the key."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)
    source: str
    ok: StrictBool
    code: StrictInt | None = None
    size: StrictInt | None = Field(None, alias="bytes")
    fingerprint: str | None = None
    epoch: str | None = None
    problem: str | None = None
    place: str = ""
    location: str = ""
    state: str | None = None
    """What tells that other bytes lie there now: a file's inode, size and times, or an object's tag."""
    sha256: str | None = None
    service: dict[str, str] = {}
    """What the service says of the object: its version and checksums."""
    modified: Stamp | None = None
    was_newest: StrictBool = False
    """Whether it was the newest backup of its place then."""
    container: str | None = None
    entries: StrictInt | None = None
    content_bytes: StrictInt | None = None
    newest: Stamp | None = None
    """The latest time of an entry of the archive."""
    integrity: str | None = None
    engine: str | None = None
    signed_by: str | None = None
    worker: str | None = None
    """The machine of a crew whose word this is; none where the run's own machine has read it."""
    history: Literal["new", "same", "replaced", "shrunk", "older"] | None = None
    history_text: str = ""


class BackupsVerifyEvent(Event, kinds=("backups-verify",)):
    """Backups were read with the escrowed keys."""

    code: StrictInt = 0
    backups: tuple[BackupRead, ...]
    part: str | None = None
    """Which part of the backups, such as ``3/8``, where only one was read."""


class BackupsMapEvent(Event, kinds=("backups-map",)):
    """Which escrowed key opens which backup was looked at."""

    code: StrictInt = 0
    backups: StrictInt
    unopened: tuple[str, ...] = ()
    problems: dict[str, str | None] = {}


# -- reports, Vault's side, the ledger itself ------------------------------------------------------


class ReportEvent(Event, kinds=("report",)):
    """A report was written."""

    verdict: str = ""
    files: dict[str, str] = {}
    through: dict[str, StrictInt] | StrictInt = {}
    """Up to which entry of each host's chain it has seen; 0.1 had one chain, and one number."""
    bundle: StrictBool = False


class InfraChange(BaseModel):
    """One difference between Vault and what it should have."""

    model_config = ConfigDict(frozen=True)
    server: str
    what: str
    surplus: tuple[str, ...] = ()


class InfraEvent(Event, kinds=("infra",)):
    """Vault's side was compared with what it should be, or changed."""

    action: Literal["plan", "apply"]
    servers: tuple[str, ...]
    changes: tuple[InfraChange, ...]
    problems: tuple[InfraChange, ...]
    code: StrictInt = 0
    states: tuple[str, ...] = ()
    left: tuple[str, ...] | None = None


class MirrorFailedEvent(Event, kinds=("mirror-failed",)):
    """A mirror has lost or changed an entry that it had confirmed."""

    mirror: str
    message: str
    code: StrictInt = int(Code.LEDGER_BROKEN)


class HostRenamedEvent(Event, kinds=("host-renamed",), fails=True):
    """This host's chain got another host-id, since another state directory writes under the same."""

    # a reader has to find out why
    host: str
    before: str
    mirror: str
    message: str


class ForkEvent(Event, kinds=("fork",), fails=True):
    """Of 0.1: another host's entries had the numbers of this host's."""

    message: str = ""


class UnknownEvent(Event):
    """An event that this version does not know: told by its name."""

    model_config = ConfigDict(extra="allow")
    event: str = Field(exclude=True)
    message: str = ""
    code: StrictInt = 0


def event_of(entry: LedgerEntry) -> Event:
    """What an entry says.

    Raises:
        MalformedEvent: It says something else than its event does.
    """
    return _CLASSES.get(entry.event, UnknownEvent).from_entry(entry)
