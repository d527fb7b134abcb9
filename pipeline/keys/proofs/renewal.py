"""A copy of an expired key that is valid now: the recovered key signs its own parts again, in memory.

Sequoia and PGPy take the time from the system. A copy with fresh self-signatures has the same key
material and fingerprint, which is what the proofs are about; it is never stored and never shown.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.keys import reading, validity
from pipeline.keys.packets import Packet, Tag, build, parse
from pipeline.keys.proofs.interface import Job
from pipeline.keys.proofs.pgpy_proof import PgpyProver


def resigned(prover: PgpyProver, job: Job) -> bytes:
    """Make the copy.

    Args:
        prover: Who signs.
        job: The job, with the expired public part.

    Returns:
        The public part with one more self-signature on every user id and bound subkey, binary.

    Raises:
        TakesNoPart: PGPy cannot sign with this key.
    """
    key = reading.sole(job.views.public, "the public part")
    judged = validity.judge(key, None)
    bound = {
        subkey.public.fingerprint: standing.flags
        for subkey, standing in zip(key.subkeys, judged.subkeys, strict=True)
        if standing.bound
    }
    user_ids, subkeys = prover.resign(job, flags=judged.primary.flags, subkeys=bound)
    return replace(
        key,
        identities=tuple(
            replace(one, signatures=(*one.signatures, *_signature(user_ids.get(one.packet.body))))
            for one in key.identities
        ),
        subkeys=tuple(
            replace(one, signatures=(*one.signatures, *_signature(subkeys.get(one.public.fingerprint))))
            for one in key.subkeys
        ),
    ).public()


def _signature(data: bytes | None) -> tuple[Packet, ...]:
    if data is None:
        return ()
    body = parse(data)[0].body
    return (build(Tag.SIGNATURE, body),)
