"""Keys of the stand-in server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipeline.core.secret import Secret
from pipeline.devstack.lab import keywork
from pipeline.openpgp.key import parsing


def test_gpg_can_use_each_key_that_the_stand_in_keeps() -> None:
    """None is protected in a way in which gpg's agent may lose a byte, as what gpg itself exports may be."""
    passphrase, now = Secret(b"of the disk"), datetime.now(UTC).replace(microsecond=0)
    made = keywork.make("Ada <ada@example.org>", "ed25519", 365, passphrase, now)
    key = parsing.read_one(made, "the key")
    again = keywork.renew(made, key.fingerprint, 365, passphrase, now + timedelta(days=1))
    renewed = parsing.read_one(again, "the key")
    protections = [each.protection for one in (key, renewed) for each in one.components]
    assert len(protections) == 4
    # Each is of one moment, whenever gpg was started: none is older than what it belongs to.
    assert {each.public.created for each in key.components} == {now - timedelta(seconds=1)}
    for protection in protections:
        assert protection is not None
        assert min(protection.salt[0], protection.iv[0]) >= 0x80
        assert not protection.text_like
