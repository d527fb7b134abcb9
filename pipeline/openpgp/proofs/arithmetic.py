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
from pipeline.openpgp.proofs.interface import Made, Task

_DOCUMENT = 0x00


def refute(made: Made, parts: tuple[PublicPart, ...]) -> dict[Task, str]:
    """Find what an implementation made that does not hold.

    Args:
        made: What it made.
        parts: Public parts of the key, the primary key's first.

    Returns:
        Why, by task; what holds, and what was not made, is not there.
    """
    found = {}
    for task, holds in ((Task.SIGN, _signed), (Task.CERTIFY, _certified)):
        try:
            if made.product(task) and not holds(made, parts):
                found[task] = "it is not by this key"
        except OrgkeyError as error:
            found[task] = error.message
    return found


def _signed(made: Made, parts: tuple[PublicPart, ...]) -> bool:
    packets = parse(armor.dearmor(made.product(Task.SIGN)))
    found = sig.read_signature(packets[0].body) if [one.tag for one in packets] == [Tag.SIGNATURE] else None
    if found is None or found.kind != _DOCUMENT:
        return False
    return any(sig.verify(found, part, made.job.nonce) for part in parts if part.can_sign)


def _certified(made: Made, parts: tuple[PublicPart, ...]) -> bool:
    primary = parts[0]
    user = parsing.read_one(made.product(Task.CERTIFY), "the certified key")
    wanted = made.job.user_id.encode()
    identity = next((one for one in user.identities if one.packet.body == wanted), None)
    if identity is None:
        return False
    found = [sig.read_signature(packet.body) for packet in identity.signatures]
    ours = [one for one in found if one and one.issuer == primary.key_id and one.kind in sig.CERTIFICATIONS]
    head = sig.hashed_key(user.primary.public)
    tag, body = identity.packet.tag, identity.packet.body
    return bool(ours) and all(
        sig.verify(one, primary, head + sig.hashed_identity(tag, body, version=one.version)) for one in ours
    )
