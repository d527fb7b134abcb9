"""Mint a record: re-wrap the key, split and seal the escrow passphrase, describe, sign, pack.

Everything is sealed, opened again and proven here, in memory, before any target sees a byte.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pipeline import __version__
from pipeline.core.clock import Deadline
from pipeline.core.digest import sha256
from pipeline.core.errors import IntegrityProblem, OrgkeyError, UsageProblem
from pipeline.core.secret import Secret
from pipeline.custody import plan_change
from pipeline.custody.holders.interface import Binding, Holder
from pipeline.custody.shares import passphrase, seal
from pipeline.custody.shares.paths import WAY, HolderDescription, Path, plan_digest
from pipeline.openpgp.format import armor
from pipeline.record import tar, verify
from pipeline.record.manifest import Manifest, Reference
from pipeline.record.recovery_guide import recovery_text
from pipeline.record.verify import Record

if TYPE_CHECKING:
    from pipeline.openpgp.key.rewrap import UnlockedKey

_PROGRAM: Final = f"orgkey-escrow {__version__}"


@dataclass(frozen=True)
class CustodyPlan:
    """Who is to open the new record.

    Attributes:
        paths: The custody paths.
        holders: Seal shares, under the writer's identity.
        openers: Open them again, under the driller's.
        descriptions: What the holders say of themselves today.
    """

    paths: tuple[Path, ...]
    holders: Mapping[str, Holder]
    openers: Mapping[str, Holder]
    descriptions: Mapping[str, HolderDescription]

    @property
    def digest(self) -> str:
        """What a manifest has of it."""
        return plan_digest(self.paths, self.descriptions)

    @property
    def digests(self) -> frozenset[str]:
        """What this plan may be remembered by: version 0.1 did not digest the way to a holder."""
        without = {name: item.without(WAY) for name, item in self.descriptions.items()}
        return frozenset({self.digest, plan_digest(self.paths, without)})

    def is_of(self, record: Record) -> bool:
        """Whether it is the plan that a record follows, by all that its manifest says."""
        return not plan_change.compare_plans(record.manifest.custody, self.paths, self.descriptions).lines


def create_record(
    key: UnlockedKey,
    plan: CustodyPlan,
    *,
    now: datetime,
    deadline: Deadline,
    previous: Reference | None = None,
    supersedes: Record | None = None,
    export_passphrase: Secret | None = None,
) -> Record:
    """Make a new record of an unlocked key.

    Args:
        key: The Org Key, open.
        plan: The custody plan.
        now: The record's time.
        deadline: Bounds every call.
        previous: The newest authentic epoch of the same key, where one is known.
        supersedes: The record that this one replaces by intent; what it says of the export is kept.
        export_passphrase: The passphrase that opened the key until now; proven not to open the new form.

    Returns:
        The record, already accepted by the same reader that every later run uses.

    Raises:
        OrgkeyError: A holder does not seal, a sealed share does not open, the re-wrap is not proven, or the
            record would be larger than any that is read.
    """
    now = now.replace(microsecond=0)
    binding = Binding(fingerprint=key.fingerprint, record_id=secrets.token_hex(16))
    raw = passphrase.draw()
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="mint") as pool:
        sealing = pool.submit(seal.seal, raw, plan.paths, plan.holders, plan.openers, binding)
        keypair, members = _wrap(key, passphrase.written(raw), export_passphrase)
        sealed = sealing.result()
    manifest = Manifest(
        record_id=binding.record_id,
        created=now,
        fingerprint=key.fingerprint,
        key_state=key.key_state,
        key=supersedes.manifest.key if supersedes else key.summary(),
        members={},
        custody=sealed.section,
        plan=plan.digest,
        previous=previous,
        supersedes=supersedes.reference if supersedes else None,
        program=_PROGRAM,
        original=sha256(key.original).hex,
    )
    return _finish(manifest, {**members, **sealed.members}, key, keypair, raw, deadline)


def reopen_key(old: Record, written: Secret) -> UnlockedKey:
    """Open the key of a record, as it was when it was escrowed: with the export that it came from.

    Args:
        old: An authentic record.
        written: Its escrow passphrase, as it is written.

    Raises:
        IntegrityProblem: The record was made from a wrong key, or its parts do not belong together.
    """
    from pipeline.openpgp.key.rewrap import unlock

    hint = "drill it, and take another epoch with --epoch"
    try:
        key = replace(unlock(old.keypair, written), original=original_export(old, written))
        if old.manifest.original not in (None, sha256(key.original).hex):
            raise IntegrityProblem("its export is not the one that was escrowed", hint=hint)
        if key.key_state != old.manifest.key_state:  # a refreshed record's public part is newer
            key = key.merge_public(old.public)
        if (key.fingerprint, key.key_state) != (old.fingerprint, old.manifest.key_state):
            raise IntegrityProblem("it holds another key than its manifest says", hint=hint)
    except OrgkeyError as error:
        raise IntegrityProblem(
            f"epoch {old.epoch} does not open as the key that was escrowed: {error.message}", hint=hint
        ) from error
    return key


def refresh_record(
    old: Record, key: UnlockedKey, raw: Secret, *, now: datetime, deadline: Deadline
) -> Record:
    """Make a record with the same secret and a newer public part.

    Keypair, original, custody and record id are carried over byte for byte: shares, kits and paper stay good.
    Only a keypair whose secret numbers are not in canonical form is written anew, under the same passphrase.

    Args:
        old: The record that it replaces.
        key: Its key, open, with the newer self-signatures.
        raw: Its escrow passphrase, 32 bytes.
        now: The new record's time.
        deadline: Bounds the signing.

    Returns:
        The record, already accepted by the same reader that every later run uses.

    Raises:
        OrgkeyError: The recovered key does not sign.
    """
    made = (tar.MANIFEST, tar.MANIFEST_SIGNATURE, tar.PUBLIC, tar.RECOVERY)
    members = {name: content for name, content in old.members.items() if name not in made}
    keypair = old.keypair
    if not key.canonical:
        keypair = _rewrap(key, passphrase.written(raw), None)
        members[tar.KEYPAIR] = armor.armor(keypair, "PRIVATE KEY BLOCK")
    manifest = replace(
        old.manifest,
        created=now.replace(microsecond=0),
        key_state=key.key_state,
        key=_renewed(old.manifest.key, key.summary()),
        previous=old.reference,
        supersedes=old.reference,
        program=_PROGRAM,
        original=sha256(key.original).hex,
    )
    return _finish(manifest, members, key, keypair, raw, deadline)


def _renewed(told: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    """The newer key in words, with what was said of the export's form, which has not changed."""
    before = {part["fingerprint"]: part["protection"] for part in told.get("subkeys", [])}
    subkeys = [
        {**part, "protection": before.get(part["fingerprint"], part["protection"])}
        for part in summary["subkeys"]
    ]
    kept = {name: told[name] for name in ("layout", "protection") if name in told}
    return {**summary, **kept, "subkeys": subkeys}


def original_export(old: Record, written: Secret) -> bytes:
    """The export that a record was made from, byte for byte.

    Args:
        old: An authentic record.
        written: Its escrow passphrase, as it is written.

    Raises:
        IntegrityProblem: The passphrase does not open it.
    """
    from pipeline.openpgp.key import sealing

    try:
        return sealing.unseal(old.members[tar.ORIGINAL], written)
    except IntegrityProblem as error:
        # The member is authentic, so the passphrase does not belong to it.
        raise IntegrityProblem(
            "the stored export does not open with the recovered escrow passphrase",
            hint="restore without --original; then drill this epoch",
        ) from error


def _wrap(key: UnlockedKey, written: Secret, former: Secret | None) -> tuple[bytes, dict[str, bytes]]:
    """Re-wrap the key under the escrow passphrase and seal the export as it came."""
    from pipeline.openpgp.key import sealing

    keypair = _rewrap(key, written, former)
    original = sealing.seal(key.original, written)
    if sealing.unseal(original, written) != key.original:
        raise IntegrityProblem(
            "the export that was sealed is not the one that comes out again",
            hint="nothing was written; this is a defect, please report it",
        )
    return keypair, {tar.KEYPAIR: armor.armor(keypair, "PRIVATE KEY BLOCK"), tar.ORIGINAL: original}


def _rewrap(key: UnlockedKey, written: Secret, former: Secret | None) -> bytes:
    from pipeline.openpgp.format.protection import ESCROW_COUNT_OCTET
    from pipeline.openpgp.key.rewrap import prove_rewrap

    keypair = key.protect(written, s2k_count_octet=ESCROW_COUNT_OCTET)
    prove_rewrap(key, keypair, written, former)
    return keypair


def _finish(
    draft: Manifest,
    members: Mapping[str, bytes],
    key: UnlockedKey,
    keypair: bytes,
    raw: Secret,
    deadline: Deadline,
) -> Record:
    """Add what each record has anew, sign with the re-wrapped key, and accept it as a reader would."""
    from pipeline.openpgp import signing

    text = recovery_text(
        draft.custody,
        Binding(draft.fingerprint, draft.record_id),
        epoch=draft.epoch,
        user_ids=key.summary()["user_ids"],
    )
    whole = {**members, tar.PUBLIC: armor.armor(key.public, "PUBLIC KEY BLOCK"), tar.RECOVERY: text.encode()}
    manifest = replace(draft, members={name: sha256(content).hex for name, content in whole.items()})
    now = manifest.created
    body = whole[tar.MANIFEST] = manifest.to_bytes()
    whole[tar.MANIFEST_SIGNATURE] = signing.sign_detached(
        keypair, passphrase.written(raw), key.public, body, deadline=deadline, now=now
    )
    data = tar.pack(whole)
    if len(data) > tar.MAX_BYTES:
        raise UsageProblem(
            f"the record would have {len(data):,} bytes, more than the {tar.MAX_BYTES:,} that are ever read",
            hint="export the key without photos, and without user ids and signatures that it does not need",
        )
    return verify.verify_record(data, manifest.fingerprint, deadline=deadline, now=now, epoch=manifest.epoch)
