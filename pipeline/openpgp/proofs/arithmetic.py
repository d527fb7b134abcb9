"""This program's own judgement of what implementations make with the recovered key.

The implementations refuse a key for reasons of their own: policy, features, another reading of a standard.
Whether a signature holds is not such a reason. It is computed here, so that no refusal can hide a wrong one.
"""

from __future__ import annotations

from pipeline.core.errors import OrgkeyError
from pipeline.openpgp.format import armor
from pipeline.openpgp.format import signatures as sig
from pipeline.openpgp.format.material import PublicPart
from pipeline.openpgp.format.packets import Tag, parse
from pipeline.openpgp.key import parsing
from pipeline.openpgp.proofs.interface import Exhibit, Task

_DOCUMENT = 0x00
_NOT_OURS = "it is not by this key"


def refute(exhibit: Exhibit, parts: tuple[PublicPart, ...]) -> dict[Task, str]:
    """Find what an implementation made that does not hold.

    Args:
        exhibit: What it made.
        parts: Public parts of the key, the primary key's first.

    Returns:
        Why, by task; what holds, and what was not made, is not there.
    """
    found = {}
    try:
        if exhibit.signature is not None and not _signed(exhibit, parts):
            found[Task.SIGN] = _NOT_OURS
    except OrgkeyError as error:
        found[Task.SIGN] = error.message
    try:
        if exhibit.certified is not None and not _certified(exhibit, parts[0]):
            found[Task.CERTIFY] = _NOT_OURS
    except OrgkeyError as error:
        found[Task.CERTIFY] = error.message
    return found


def _signed(exhibit: Exhibit, parts: tuple[PublicPart, ...]) -> bool:
    packets = parse(armor.dearmor(exhibit.signature or b""))
    made = sig.read_signature(packets[0].body) if [one.tag for one in packets] == [Tag.SIGNATURE] else None
    if made is None or made.kind != _DOCUMENT:
        return False
    return any(sig.verify(made, part, exhibit.nonce) for part in parts if part.can_sign)


def _certified(exhibit: Exhibit, primary: PublicPart) -> bool:
    user = parsing.read_one(exhibit.certified or b"", "the certified key")
    identity = next((one for one in user.identities if one.packet.body == exhibit.user_id.encode()), None)
    if identity is None:
        return False
    made = [sig.read_signature(packet.body) for packet in identity.signatures]
    ours = [one for one in made if one and one.issuer == primary.key_id and one.kind in sig.CERTIFICATIONS]
    return bool(ours) and all(
        sig.verify(
            one,
            primary,
            sig.hashed_key(user.primary.public)
            + sig.hashed_identity(identity.packet.tag, identity.packet.body, version=one.version),
        )
        for one in ours
    )
