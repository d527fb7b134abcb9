"""Records as attackers would make them: with their own keys, with the victim's parts, with its stolen key."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from pipeline.core.clock import parse_stamp, stamp
from pipeline.core.digest import sha256
from pipeline.core.secret import Secret
from pipeline.record import create, tar
from pipeline.record import manifest as manifests
from pipeline.record.verify import Record
from tests.support import commandline, leftovers
from tests.support import openpgp_writer as writer
from tests.support.commandline import KEYS, Desk
from tests.support.reporter import Lines

if TYPE_CHECKING:
    from pipeline.openpgp.key.rewrap import UnlockedKey


def later(data: bytes, signer: str, *, years: int = 1, public: bytes | None = None) -> tuple[str, bytes]:
    """Move a record into the future, and sign it anew with another key.

    Args:
        data: A whole record.
        signer: Whose unprotected key signs.
        years: How much later it claims to be.
        public: What takes the place of its public key; by default that stays.

    Returns:
        The epoch's new name, and the bytes.
    """
    members = tar.unpack(data)
    if public is not None:
        members[tar.PUBLIC] = public
    document = json.loads(members[tar.MANIFEST])
    created = parse_stamp(document["created"])
    created = created.replace(year=created.year + years, day=min(created.day, 28))
    document["created"] = stamp(created)
    document["members"] = {name: sha256(members[name]).hex for name in document["members"]}
    members[tar.MANIFEST] = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    members[tar.MANIFEST_SIGNATURE] = signed(signer, members[tar.MANIFEST])
    return manifests.epoch_name(created, document["record_id"]), tar.pack(members)


def signed(signer: str, data: bytes) -> bytes:
    """A detached signature by a committed throwaway key, made with gpg."""
    home = leftovers.directory("sig-")
    try:
        commandline.gpg(home, "--import", str(KEYS / f"{signer}-unprotected.asc"))
        return commandline.gpg(home, "--armor", "--detach-sign", stdin=data).stdout
    finally:
        commandline.end_gpg(home)
        shutil.rmtree(home, ignore_errors=True)


def other_secret(desk: Desk, monkeypatch: pytest.MonkeyPatch, *, whole: bool, other: str = "other") -> Record:
    """Mint a record, rightly signed by the Org Key, whose key pair holds another key's secret.

    Args:
        desk: Of the Org Key; its holders seal the shares.
        monkeypatch: Swaps the key pair under the mint's hands.
        whole: Whether the whole key pair is the other key's; else the right public part surrounds the
            other key's secret numbers.
        other: The other key, of the same algorithm where it is not whole.
    """
    from pipeline import config as settings
    from pipeline.custody.shares import paths
    from pipeline.openpgp.format import armor
    from pipeline.openpgp.key import rewrap
    from pipeline.wiring import factory as wiring

    config = settings.load(desk.config)
    context = wiring.context(config, fingerprint=desk.fingerprint, state_dir=desk.state, reporter=Lines())
    now = context.clock.now()
    key = rewrap.load(desk.export.read_bytes(), Secret(writer.PASSPHRASE), pin=desk.fingerprint, now=now)
    real = create._wrap

    def swapped(key: UnlockedKey, raw: Secret, passphrase: Secret | None) -> tuple[bytes, dict[str, bytes]]:
        keypair, members = real(key, raw, passphrase)
        false = _mixed(desk.key, other, raw.reveal().hex().encode(), whole=whole)
        return keypair, members | {tar.KEYPAIR: armor.armor(false, "PRIVATE KEY BLOCK")}

    holders = context.backends("writer").holders()
    plan = create.CustodyPlan(
        paths.from_config(config, holders),
        holders,
        context.backends("driller").holders(),
        paths.describe(holders, holders),
    )
    with monkeypatch.context() as patch:
        patch.setattr(create, "_wrap", swapped)
        return create.create_record(key, plan, now=now, deadline=context.deadline)


def _mixed(right: str, other: str, passphrase: bytes, *, whole: bool) -> bytes:
    source = commandline.packets_of(other)
    if whole:
        return writer.join(writer.protect_all(source, passphrase))
    packets = commandline.packets_of(right)
    secrets = [body for tag, body in source if tag in (writer.SECRET_KEY, writer.SECRET_SUBKEY)]
    mixed = []
    for tag, body in packets:
        if tag in (writer.SECRET_KEY, writer.SECRET_SUBKEY):
            foreign = secrets.pop(0)
            body = writer.protect(body, passphrase, secret=foreign[writer.public_size(foreign) + 1 : -2])
        mixed.append((tag, body))
    return writer.join(mixed)
