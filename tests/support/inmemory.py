"""One key's whole surroundings in memory: targets with versions, holders, estates, and forgers' tools."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline import config
from pipeline.archive.run import KeyScope, Role
from pipeline.config import Config
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.digest import sha256
from pipeline.core.errors import Conflict, Denied, IntegrityProblem, OrgkeyError, Unreachable, WrongShare
from pipeline.core.finding import Finding
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Coordinates, Holder, SealedShare
from pipeline.custody.shares import paths
from pipeline.custody.shares.manifest_section import CustodySection
from pipeline.openpgp import signing
from pipeline.openpgp.format import armor
from pipeline.openpgp.key import rewrap
from pipeline.openpgp.key.rewrap import UnlockedKey
from pipeline.provision.desired import Site
from pipeline.record import create, tar
from pipeline.record.manifest import Reference
from pipeline.record.verify import Record
from pipeline.sources.backups import sources
from pipeline.sources.backups.sources import BackupSource
from pipeline.storage.interface import Presence, Receipt, Retainer, Slot, Stored, Target
from pipeline.storage.ledger_mirror import Mirror
from tests.support.openpgp_writer import PASSPHRASE
from tests.support.reporter import Lines

ASSETS = Path(__file__).parents[1] / "assets" / "keys"
EXPORT_PASSPHRASE = Secret(PASSPHRASE)
ORG = "ed25519"
ATTACKER = "rsa2048"


def unreachable(what: str = "it") -> Unreachable:
    """A target or holder that does not answer, for good."""
    return Unreachable(f"{what} does not answer", hint="look at its network", again=False)


def denied(what: str = "it") -> Denied:
    """A target or holder that refuses."""
    return Denied(f"{what} refuses", hint="look at its policy")


# -- targets ---------------------------------------------------------------------------------------


@dataclass
class Version:
    """One stored version."""

    data: bytes
    presence: Presence = Presence.CURRENT
    retain_until: datetime | None = None
    unlocked: str | None = None


class MemoryTarget:
    """A place that keeps versions, and fails as it is told to."""

    kind = "memory"

    def __init__(self, name: str, domain: str = "") -> None:
        self.name = name
        self.domain = domain or name
        self.places: dict[Slot, list[Version]] = {}
        self.failures: dict[str, OrgkeyError] = {}
        self.lost_answers = 0
        self.garble = False
        self.largest = 1 << 30
        self.calls: list[str] = []
        self.storage = ""
        self.answered: Callable[[str], None] = lambda name: None

    def put(self, slot: Slot, data: bytes) -> Receipt:
        self._called("put")
        if any(version.presence is not Presence.DELETED for version in self.places.get(slot, [])):
            raise Conflict(f"{self._at(slot)} holds something", hint="look at it")
        self.places.setdefault(slot, []).append(Version(bytes(data)))
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unreachable("the answer to the write was lost", hint="try again")
        return Receipt(
            self.name, self.kind, self.domain, self._at(slot), str(len(self.places[slot])), sha256(data)
        )

    def get(self, slot: Slot, version: str | None = None) -> bytes:
        self._called("get")
        for number, item in reversed(list(enumerate(self.places.get(slot, []), 1))):
            wanted = item.presence is Presence.CURRENT if version is None else str(number) == version
            if wanted and item.presence not in (Presence.DELETED, Presence.DESTROYED):
                return item.data[:-1] + b"?" if self.garble else item.data
        raise IntegrityProblem(f"{self._at(slot)} holds nothing to read", hint="look at another copy")

    def find(self, fingerprint: str, epoch: str | None = None) -> list[Stored]:
        self._called("find")
        found = []
        for slot in sorted(self.places, key=lambda slot: slot.epoch):
            if slot.fingerprint == fingerprint and epoch in (None, slot.epoch):
                for number, item in reversed(list(enumerate(self.places[slot], 1))):
                    stored = Stored(slot, self._at(slot), str(number), item.presence, item.retain_until)
                    undo = f"undelete {number}" if item.presence is Presence.DELETED else ""
                    identity = f"{self.storage} {slot} {number}" if self.storage else ""
                    found.append(replace(stored, unlocked=item.unlocked, undo=undo, identity=identity))
        return found

    def check(self) -> list[Finding]:
        return []

    # -- what others do to it ------------------------------------------------------------------------

    def plant(self, slot: Slot, data: bytes, presence: Presence = Presence.CURRENT) -> None:
        """Write a newer version, as somebody with more rights than the program's can."""
        for version in self.places.get(slot, []):
            if presence is Presence.CURRENT and version.presence is Presence.CURRENT:
                version.presence = Presence.OLDER
        self.places.setdefault(slot, []).append(Version(data, presence))

    def mark(self, slot: Slot, presence: Presence) -> None:
        """Hide, delete or destroy every version of a slot."""
        for version in self.places[slot]:
            version.presence = presence

    def damage(self, slot: Slot) -> None:
        """Change one byte of what is there."""
        data = bytearray(self.places[slot][-1].data)
        data[len(data) // 3] ^= 1
        self.places[slot][-1].data = bytes(data)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.answered(self.name)
        if name in self.failures:
            raise self.failures[name]

    def _at(self, slot: Slot) -> str:
        return f"memory:{self.name}/{slot.fingerprint}/{slot.epoch}"


def named(*names: str) -> dict[str, MemoryTarget]:
    """Targets, each a failure domain of its own."""
    return {name: MemoryTarget(name) for name in names}


def as_targets(targets: Mapping[str, MemoryTarget]) -> dict[str, Target]:
    """The same, as the program's functions take them."""
    return dict(targets)


class MemoryMirror:
    """A place for the ledger: what was put under each host and number, oldest first; it fails as told to."""

    kind = "memory"

    def __init__(self, name: str) -> None:
        self.name = name
        self.chains: dict[str, dict[int, list[bytes]]] = {}
        self.failure: OrgkeyError | None = None
        self.lost_answers = 0
        self.locks = True
        self.calls: list[str] = []

    def hosts(self) -> tuple[str, ...]:
        self._called("hosts")
        return tuple(sorted(self.chains))

    def listing(self, host: str, after: int) -> dict[int, tuple[str, ...]]:
        self._called("listing")
        chain = self.chains.get(host, {})
        return {
            number: tuple(f"{host} {number} {place}" for place in range(len(chain[number])))
            for number in sorted(chain)
            if number > after and chain[number]
        }

    def get(self, handle: str) -> bytes:
        self._called("get")
        host, number, place = handle.split()
        try:
            return self.chains[host][int(number)][int(place)]
        except (KeyError, IndexError):
            raise IntegrityProblem(f"{self.name} has no {handle}", hint="look at it") from None

    def put(self, host: str, number: int, data: bytes, made: datetime) -> None:
        self._called("put")
        there = self.chains.setdefault(host, {}).setdefault(number, [])
        if there and data != there[0]:
            raise Conflict(f"{self.name} has an entry {number}", hint="look at it")
        if not there:
            there.append(data)
        if not self.locks:
            raise IntegrityProblem(f"{self.name} did not lock it", hint="look at its Object Lock")
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unreachable("the answer to the write was lost", hint="try again")

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.failure:
            raise self.failure


# -- holders ---------------------------------------------------------------------------------------


class MemoryHolder:
    """A machine that seals with AES-GCM, bound to the record like the real ones."""

    kind = "memory"
    unattended = True
    size = 1

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures: dict[str, OrgkeyError] = {}
        self.where = f"memory:{name}"
        self.calls: list[str] = []
        self._key = secrets.token_bytes(32)

    def describe(self) -> Coordinates:
        self._called("describe")
        return {"where": self.where, "key_version": 1}

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        self._called("seal")
        (share,) = shares
        nonce = secrets.token_bytes(12)
        data = nonce + AESGCM(self._key).encrypt(nonce, share.reveal(), binding.text().encode())
        return [SealedShare(1, "mem", data, self.name)]

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        self._called("open")
        try:
            return Secret(
                AESGCM(self._key).decrypt(sealed.data[:12], sealed.data[12:], binding.text().encode())
            )
        except InvalidTag:
            raise WrongShare("the ciphertext is damaged", hint="take another copy") from None

    def check(self) -> list[Finding]:
        return []

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failures:
            raise self.failures[name]


# -- keys ------------------------------------------------------------------------------------------


def export(name: str = ORG) -> bytes:
    """A committed throwaway key in the product's two-block layout."""
    return (ASSETS / f"{name}-two-block.asc").read_bytes()


@cache
def unlocked(name: str = ORG) -> UnlockedKey:
    """The same, open."""
    return rewrap.load(export(name), EXPORT_PASSPHRASE, pin=None, now=datetime.now(UTC))


def signed(name: str, data: bytes) -> bytes:
    """A detached signature by one of the throwaway keys."""
    key = unlocked(name)
    tsk = key.protect(EXPORT_PASSPHRASE, s2k_count_octet=0)
    return signing.sign_detached(
        tsk, EXPORT_PASSPHRASE, key.public, data, deadline=Deadline(60), now=datetime.now(UTC)
    )


# -- a run -----------------------------------------------------------------------------------------


class ShiftedClock(SystemClock):
    """The machine's time and a shift, for ages."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def now(self) -> datetime:
        return super().now() + self.shift


CONFIG = """
[key]
fingerprint = "{fingerprint}"
{key}
[holder.vault]
kind = "vault-transit"
address = "https://vault.example.com"
controlled_by = ["vault-admins"]
[holder.aws]
kind = "aws-kms"
key_id = "alias/none"
controlled_by = ["aws-admins"]
[path.unattended]
needs = ["vault", "aws"]
[policy]
copies = {copies}
{policy}
"""


@dataclass
class World:
    """Targets, holders and a state directory around one key."""

    root: Path
    targets: dict[str, MemoryTarget] = field(default_factory=lambda: named("a", "b", "c"))
    holders: dict[str, MemoryHolder] = field(
        default_factory=lambda: {name: MemoryHolder(name) for name in ("vault", "aws")}
    )
    copies: int = 2
    key: str = ""
    policy: str = ""
    backups: str = ""
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    lines: Lines = field(default_factory=Lines)
    roles: list[Role] = field(default_factory=list)
    seconds: float = 120.0
    seals: dict[str, str | OrgkeyError] = field(default_factory=dict)
    clusters: dict[str, str] = field(default_factory=dict)
    mirrors: dict[str, MemoryMirror] = field(default_factory=dict)
    dated: bool = False
    """Whether the targets' answers have a date, the right one, as those of servers have."""

    @property
    def fingerprint(self) -> str:
        return unlocked().fingerprint

    @property
    def config(self) -> Config:
        text = CONFIG.format(
            fingerprint=self.fingerprint, key=self.key, copies=self.copies, policy=self.policy
        )
        for target in self.targets.values():
            text += (
                f'[target.{target.name}]\nkind = "directory"\npath = "/nowhere/{target.name}"\n'
                f'domain = "{target.domain}"\ncontrolled_by = ["{target.name}-admins"]\n'
            )
        text += self.backups
        if self.mirrors:
            text += f"[ledger]\nmirrors = {json.dumps(list(self.mirrors))}\n"
        return config.parse(text.encode(), Path("test.toml"))

    @property
    def context(self) -> KeyScope:
        """A new run."""

        def estate(role: Role) -> MemoryEstate:
            self.roles.append(role)
            return MemoryEstate(self)

        deadline = Deadline(self.seconds, self.clock)
        if self.dated:
            for target in self.targets.values():
                target.answered = lambda name: deadline.note_date(name, format_datetime(datetime.now(UTC)))
        return KeyScope(
            config=self.config,
            fingerprint=self.fingerprint,
            clock=self.clock,
            deadline=deadline,
            run_id=secrets.token_hex(8),
            root=self.root / self.fingerprint,
            reporter=self.lines,
            backends=estate,
        )

    def plan(self) -> create.CustodyPlan:
        """The custody plan as an escrow makes it."""
        holders: dict[str, Holder] = dict(self.holders)
        return create.CustodyPlan(
            paths.from_config(self.config, holders), holders, holders, paths.describe(holders, holders)
        )

    def mint(self, *, later: float = 0.0, key: str = ORG, previous: Reference | None = None) -> Record:
        """A record of this world's holders; it is stored nowhere yet.

        Args:
            later: Its time, in seconds from now.
            key: Whose.
            previous: The epoch before it.
        """
        return create.create_record(
            unlocked(key),
            self.plan(),
            now=datetime.now(UTC) + timedelta(seconds=later),
            deadline=Deadline(60),
            previous=previous,
            export_passphrase=EXPORT_PASSPHRASE,
        )

    def store(self, made: Record, *names: str) -> Record:
        """Write a record to some targets, or all."""
        for name in names or tuple(self.targets):
            self.targets[name].plant(slot_of(made), made.data)
        return made

    def enter(self, event: str, details: Mapping[str, Any]) -> None:
        """Write an entry of any form, as a run writes its own."""
        context = self.context
        writer = context.replicator if self.mirrors else context.ledger
        writer.append(event, details, now=self.clock.now(), run=context.run_id)

    def events(self) -> list[str]:
        """What the ledger holds."""
        return [entry.event for entry in self.context.ledger.entries()]


@dataclass
class MemoryEstate:
    """What one role sees; here both see the same."""

    world: World

    def targets(self) -> dict[str, Target]:
        return dict(self.world.targets)

    def retainers(self) -> dict[str, Retainer[Stored]]:
        return {}

    def entry_retainers(self) -> dict[str, Retainer[str]]:
        return {}

    def holders(self) -> dict[str, Holder]:
        return dict(self.world.holders)

    def openers(self, section: CustodySection) -> dict[str, Holder]:
        known = self.world.holders
        return {name: known[name] for name in section.holders if name in known and known[name].unattended}

    def seals(self) -> dict[str, tuple[str, str] | OrgkeyError]:
        return {
            address: (told, self.world.clusters.get(address, "")) if isinstance(told, str) else told
            for address, told in self.world.seals.items()
        }

    def certificates(self) -> list[Finding]:
        return []

    def logins(self) -> list[Finding]:
        return []

    def backups(self, places: Sequence[str] = (), *, whole: bool = True) -> list[BackupSource]:
        names = places or tuple(place.location for place in self.world.config.backups.values())
        return [source for name in names for source in sources.local(Path(name), Deadline(60))]

    def mirrors(self, fingerprint: str) -> dict[str, Mirror]:
        return dict(self.world.mirrors)

    def patient_mirrors(self, fingerprint: str) -> dict[str, Mirror]:
        return self.mirrors(fingerprint)

    def heads(self, fingerprint: str) -> dict[str, Mirror]:
        return {}

    def sites(self) -> list[Site]:
        return []

    def request_ids(self) -> dict[str, Sequence[str]]:
        return {"memory": ["request-1"]}


def slot_of(made: Record) -> Slot:
    """Where a record belongs."""
    return Slot(made.fingerprint, made.epoch)


# -- forging ---------------------------------------------------------------------------------------


def repacked(members: Mapping[str, bytes], changes: Mapping[str, bytes | None]) -> bytes:
    """A well-formed tar with changed, added or (``None``) missing members."""
    changed = {name: content for name, content in {**members, **changes}.items() if content is not None}
    return tar.pack(changed)


def forged(
    genuine: Record,
    *,
    by: str,
    members: Mapping[str, bytes | None] | None = None,
    describe: Callable[[dict[str, Any]], None] = lambda document: None,
) -> bytes:
    """A record whose manifest fits its members and is really signed, by whoever.

    Args:
        genuine: What it starts from.
        by: The key that signs.
        members: Changed, added or (``None``) missing members.
        describe: Changes the manifest, after its digests were made to fit.
    """
    whole = {
        name: content
        for name, content in {**genuine.members, **(members or {})}.items()
        if content is not None and name not in (tar.MANIFEST, tar.MANIFEST_SIGNATURE)
    }
    document = json.loads(genuine.members[tar.MANIFEST])
    document["members"] = {name: sha256(content).hex for name, content in whole.items()}
    describe(document)
    body = rfc8785.dumps(document)
    return tar.pack(whole | {tar.MANIFEST: body, tar.MANIFEST_SIGNATURE: signed(by, body)})


def attackers(genuine: Record, *, created: str = "2099-01-01T00:00:00Z") -> bytes:
    """An attacker's own record: all of it theirs, well-formed, of a later time."""
    key = unlocked(ATTACKER)

    def mine(document: dict[str, Any]) -> None:
        document["fingerprint"] = key.fingerprint
        document["created"] = created

    return forged(
        genuine,
        by=ATTACKER,
        members={tar.PUBLIC: armor.armor(key.public, "PUBLIC KEY BLOCK")},
        describe=mine,
    )


def epoch_at(moment: str, made: Record) -> str:
    """The name that a record would have at another time, written like ``20990101T000000Z``."""
    return f"{moment}-{made.manifest.record_id[:8]}"


def with_domain(target: MemoryTarget, domain: str) -> MemoryTarget:
    """Put a target into another failure domain."""
    target.domain = domain
    return target
