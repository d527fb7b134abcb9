"""The one door through which stored bytes become a record.

Whoever can write to a target can write a false record there. So nothing of a record is used before
its manifest's signature was checked against the *one* key whose slot is read, and every member against the
manifest. A former Org Key's record in the present key's slot is as false as a stranger's, and the reverse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pipeline.core.clock import Deadline
from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import IntegrityProblem
from pipeline.custody.holders.interface import Binding
from pipeline.openpgp.format import armor
from pipeline.record import tar
from pipeline.record.manifest import Manifest, Reference, parse_manifest


@dataclass(frozen=True)
class Record:
    """An authentic record.

    Attributes:
        manifest: Its signed description.
        members: Content by member name.
        data: The whole tar.
        sha256: Digest of ``data``.
    """

    manifest: Manifest
    members: Mapping[str, bytes]
    data: bytes
    sha256: Digest

    @property
    def epoch(self) -> str:
        """The name of its epoch."""
        return self.manifest.epoch

    @property
    def fingerprint(self) -> str:
        """The Org Key's fingerprint, 40 upper-case hexadecimal digits."""
        return self.manifest.fingerprint

    @property
    def reference(self) -> Reference:
        """How other records name it."""
        return Reference(self.epoch, self.sha256.hex)

    @property
    def binding(self) -> Binding:
        """What its sealed shares are bound to."""
        return Binding(self.fingerprint, self.manifest.record_id)

    @property
    def public(self) -> bytes:
        """The binary public key that the record holds."""
        return armor.dearmor(self.members[tar.PUBLIC])

    @property
    def keypair(self) -> bytes:
        """The binary secret key, protected by the escrow passphrase."""
        return armor.dearmor(self.members[tar.KEYPAIR])


def verify_record(
    data: bytes, fingerprint: str, *, deadline: Deadline, now: datetime, epoch: str | None = None
) -> Record:
    """Accept stored bytes as a record, or refuse them.

    Args:
        data: What a target returned.
        fingerprint: The one key whose record is expected: that of the slot the bytes were read from.
        deadline: Bounds the signature check when it needs a program.
        now: The present time.
        epoch: The name of the epoch under which the bytes were stored, when there is one.

    Raises:
        IntegrityProblem: They are not whole, not signed by that key, or stand in another's place.
        UsageProblem: They are authentic, but of a schema newer than this program.
    """
    from pipeline.openpgp import signing

    members = tar.unpack(data)
    missing = {tar.MANIFEST, tar.MANIFEST_SIGNATURE, tar.PUBLIC} - set(members)
    if missing:
        raise _false(f"it has no {', '.join(sorted(missing))}")
    signing.verify_detached(
        members[tar.PUBLIC],
        fingerprint,
        members[tar.MANIFEST],
        members[tar.MANIFEST_SIGNATURE],
        deadline=deadline,
        now=now,
    )
    manifest = parse_manifest(members[tar.MANIFEST])
    _check_members(manifest, members)
    if manifest.fingerprint != fingerprint:
        raise _false("its manifest speaks of another key")
    if epoch is not None and epoch != manifest.epoch:
        raise _false(f"it belongs to epoch {manifest.epoch}, but stands in the place of {epoch}")
    return Record(manifest=manifest, members=members, data=data, sha256=sha256(data))


def _check_members(manifest: Manifest, members: Mapping[str, bytes]) -> None:
    described = set(manifest.members) | {tar.MANIFEST, tar.MANIFEST_SIGNATURE}
    if described != set(members):
        raise _false("its members are not those that the manifest names")
    for name, digest in manifest.members.items():
        if sha256(members[name]).hex != digest:
            raise _false(f"its member {name} was changed")
    if not {tar.KEYPAIR, tar.ORIGINAL, tar.RECOVERY} <= set(members):
        raise _false("it lacks a member that every record has")


def _false(why: str) -> IntegrityProblem:
    return IntegrityProblem(
        f"this record is not authentic: {why}",
        hint="use another copy; find out who could write to that target",
    )
