"""Records in Vault's key-value store, version 2."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.core.digest import sha256
from pipeline.core.errors import Denied, IntegrityProblem, Unreachable
from pipeline.core.finding import Finding
from pipeline.providers.vault.answers import take
from pipeline.storage.interface import Presence, Receipt, Slot, Stored, receipt, refused_size
from pipeline.storage.names import (
    MAX_RECORD,
    checked,
    checked_epoch,
    checked_fingerprint,
    is_epoch,
    nothing_there,
    too_large,
)
from pipeline.storage.vault.kv import Entries, path_of

if TYPE_CHECKING:
    from pipeline.config.places import VaultTargetConfig
    from pipeline.providers.vault.session import VaultSession

SCHEMA = "orgkey.vault-entry/1"

# Raft refuses entries above 1 MiB by default; the rest of the entry and its encryption need some room.
_MAX_ENTRY = 1024 * 1024
_OVERHEAD = 2048
LARGEST = (_MAX_ENTRY - _OVERHEAD) // 4 * 3
"""The most bytes of a record whose base64 fits into an entry."""


class VaultBackend:
    """One entry for each epoch, written with ``cas=0``, everything inside the entry.

    Custom metadata is not used: the right to write it includes the right to expire versions.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
        session: The login.
        pins: The trusted fingerprints, where they are known: a check asks about their entries.
    """

    kind = "vault"
    largest = LARGEST

    def __init__(
        self, name: str, settings: VaultTargetConfig, session: VaultSession, *, pins: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.pins = tuple(pins)
        self.domain = settings.domain or name
        self.settings = settings
        self.session = session
        self._entries = Entries(settings.mount, session)
        self._written: set[Slot] = set()

    def put(self, slot: Slot, data: bytes) -> Receipt:
        """See :meth:`pipeline.storage.interface.Target.put`."""
        what = f"target {self.name}, write"
        path = self.path(checked(slot))
        if len(data) > LARGEST:
            raise refused_size(self.name, len(data), LARGEST)
        record = base64.b64encode(data).decode()
        entry = {"schema": SCHEMA, "record": record, "sha256": sha256(data).hex, "size": str(len(data))}
        version = self._entries.create(path, entry, what)
        self._written.add(slot)
        return receipt(self, self.location(slot), str(version), data)

    def get(self, slot: Slot, version: str | None = None) -> bytes:
        """See :meth:`pipeline.storage.interface.Target.get`."""
        what = f"target {self.name}, read"
        place = f"{what}: {self.location(checked(slot))}" + (f" version {version}" if version else "")
        if version is not None and not (version.isdecimal() and int(version) > 0):
            raise nothing_there(place, "does not exist: versions in vault are numbers")
        presence, entry = self._entries.read(self.path(slot), version, what)
        if presence is None and slot in self._written:
            raise Unreachable(
                f"{place} is not there yet, although vault has confirmed it",
                hint="a standby that answers reads by itself may lag; configure the active node's address"
                ", or run the same command again",
            )
        if presence is None:
            raise nothing_there(place)
        if presence is not Presence.CURRENT:
            raise nothing_there(place, f"is {presence.value}")
        return _decode(entry, place)

    def find(self, fingerprint: str, epoch: str | None = None) -> list[Stored]:
        """See :meth:`pipeline.storage.interface.Target.find`.

        An identity without rights on the metadata sees the current version of a named epoch only.
        """
        what = f"target {self.name}, list"
        checked_fingerprint(fingerprint)
        if epoch is not None:
            slots = [Slot(fingerprint, checked_epoch(epoch))]
        else:
            slots = [Slot(fingerprint, name) for name in self._names(fingerprint, what)]
        found: list[Stored] = []
        for slot in sorted(slots, key=lambda slot: slot.epoch):
            found.extend(self._versions(slot, what))
        return found

    def slots(self, fingerprint: str) -> list[str]:
        """See :meth:`pipeline.storage.interface.Listing.slots`: one request, whatever is there."""
        return self._names(checked_fingerprint(fingerprint), f"target {self.name}, list")

    def check(self) -> list[Finding]:
        """See :meth:`pipeline.storage.interface.Target.check`."""
        from pipeline.storage.vault.check import VaultCheck

        return VaultCheck(self.name, self.settings, self.session, self.pins).look()

    def path(self, slot: Slot) -> str:
        """The entry's path below the mount."""
        return path_of(self.settings.prefix, slot.fingerprint, slot.epoch)

    def location(self, slot: Slot) -> str:
        """The entry, for people."""
        return self._entries.location(self.path(slot))

    # -- inside ----------------------------------------------------------------------------------

    def _names(self, fingerprint: str, what: str) -> list[str]:
        names = self._entries.names(path_of(self.settings.prefix, fingerprint), what)
        return [name for name in names if is_epoch(name)]

    def _versions(self, slot: Slot, what: str) -> list[Stored]:
        try:
            metadata = self._entries.metadata(self.path(slot), what)
        except Denied:
            presence, entry = self._entries.read(self.path(slot), None, what)
            if presence is None:
                return []
            version = take(entry, what, "metadata", "version")
            return [self._stored(slot, str(version), presence, take(entry, what, "metadata", kind=Mapping))]
        if metadata is None:
            return []
        versions = take(metadata, what, "versions", kind=Mapping)
        current = take(metadata, what, "current_version")
        now = self.session.deadline.clock.now()
        found = []
        for number in sorted((int(name) for name in versions if name.isdecimal()), reverse=True):
            facts = take(versions, what, str(number), kind=Mapping)
            presence = _presence(facts, now, number == current)
            found.append(self._stored(slot, str(number), presence, facts))
        return found

    def _stored(self, slot: Slot, version: str, presence: Presence, facts: Mapping[str, Any]) -> Stored:
        words = f"-mount={self.settings.mount.strip('/')}", f"-versions={version}", self.path(slot)
        undelete = self.settings.command("kv undelete", *words)
        undo = undelete if presence is Presence.DELETED else ""
        # To the nanosecond: no two entries have it but those of one storage, whichever node is asked.
        made = facts.get("created_time")
        identity = f"version {version} of {made}" if isinstance(made, str) and made else ""
        return Stored(slot, self.location(slot), version, presence, undo=undo, identity=identity)


def _presence(version: Mapping[str, Any], now: datetime, current: bool) -> Presence:
    if version.get("destroyed"):
        return Presence.DESTROYED
    deleted = str(version.get("deletion_time") or "")
    # With delete_version_after the time lies ahead, and the version can be read until then.
    if deleted and _moment(deleted) <= now:
        return Presence.DELETED
    return Presence.CURRENT if current else Presence.OLDER


def _moment(text: str) -> datetime:
    """Read Vault's time (RFC 3339, up to nanoseconds); a form of another kind counts as past."""
    try:
        return datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _decode(data: Mapping[str, Any], place: str) -> bytes:
    """Take the record out of an entry.

    Raises:
        IntegrityProblem: The entry is not one that was written here, or was changed.
    """
    entry = data.get("data")
    encoded = entry.get("record") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(encoded, str):
        raise nothing_there(place, "holds something that is not a record")
    if len(encoded) > 4 * -(-MAX_RECORD // 3):  # base64
        raise too_large(place)
    try:
        record = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        record = None
    if record is None or sha256(record).hex != entry.get("sha256"):
        raise IntegrityProblem(
            f"{place} is damaged: its digest does not fit",
            hint="`orgkey verify` looks at every copy, `orgkey repair` restores one from a good copy",
        )
    return record
