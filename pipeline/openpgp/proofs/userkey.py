"""A fresh key of a made-up user, for the Org Key to certify.

Written here and not by one of the implementations: its time of creation must be chosen freely (an expired
Org Key certifies at a time inside its validity), and none of those that are judged has a hand in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pipeline.openpgp.format import signatures as sig
from pipeline.openpgp.format.material import EDDSA, PublicPart, write_numbers
from pipeline.openpgp.format.packets import Tag, build, join

_ED25519: Final = bytes.fromhex("2b06010401da470f01")
_POSITIVE: Final = 0x13
_CERTIFY_AND_SIGN: Final = 3


@dataclass(frozen=True)
class UserKey:
    """A user's public key; its secret is thrown away at once.

    Attributes:
        fingerprint: 40 upper-case hexadecimal digits.
        public: The transferable public key, binary, with its own self-signatures.
        user_ids: One for each implementation, so that their certifications can be told apart.
    """

    fingerprint: str
    public: bytes
    user_ids: dict[str, str]


def fresh_user(names: Iterable[str], at: datetime) -> UserKey:
    """Make an Ed25519 key with one user id for each name (RFC 4880 section 11.1).

    Args:
        names: Names of implementations.
        at: When the key claims to have been made.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret = Ed25519PrivateKey.generate()
    numbers = (int.from_bytes(secret.private_bytes_raw(), "big"),)
    created = int(at.timestamp())
    point = b"\x40" + secret.public_key().public_bytes_raw()
    body = b"\x04" + created.to_bytes(4, "big") + bytes([EDDSA, len(_ED25519)]) + _ED25519
    body += write_numbers([int.from_bytes(point, "big")])
    public = PublicPart(body, datetime.fromtimestamp(created, UTC), EDDSA, curve=_ED25519, point=point)
    user_ids = {name: f"Drill of {name} <drill-{name}@orgkey.invalid>" for name in names}
    packets = [build(Tag.PUBLIC_KEY, body)]
    for user_id in user_ids.values():
        identity = user_id.encode()
        data = sig.hashed_key(public) + sig.hashed_identity(Tag.USER_ID, identity)
        flags = sig.subpacket(sig.FLAGS, bytes([_CERTIFY_AND_SIGN]))
        packets += [build(Tag.USER_ID, identity), sig.sign(public, numbers, _POSITIVE, data, at, (flags,))]
    return UserKey(public.fingerprint, join(packets), user_ids)
