"""Detached signatures by the Org Key: made while it is open, checked against the pin by every reader.

Checked in this process alone: by own arithmetic with the rules of validity, and by Sequoia where it takes
part.
What a program says on its status lines decides nothing, and a heap of false records costs no process each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from pipeline.core.clock import AHEAD, Deadline, stamp
from pipeline.core.errors import (
    ClockProblem,
    IntegrityProblem,
    NotPinned,
    OrgkeyError,
    Unsupported,
    WrongPassphrase,
)
from pipeline.core.secret import Secret
from pipeline.openpgp.format import armor
from pipeline.openpgp.format import signatures as sig
from pipeline.openpgp.format.material import DSA, RSA, PublicPart
from pipeline.openpgp.format.packets import Tag, parse
from pipeline.openpgp.format.signatures import Signature
from pipeline.openpgp.key import parsing, validity
from pipeline.openpgp.key.model import TransferableKey
from pipeline.openpgp.key.validity import ComponentValidity
from pipeline.openpgp.proofs import gnupg_proof, pgpy_proof, sequoia_proof
from pipeline.openpgp.proofs.guard import ImplementationGuard
from pipeline.openpgp.proofs.interface import Outcome
from pipeline.openpgp.proofs.views import unrevoked, view

_BEGIN: Final = b"-----BEGIN PGP SIGNATURE-----"
_END: Final = b"-----END PGP SIGNATURE-----"


def sign_detached(
    tsk: bytes, passphrase: Secret, public: bytes, data: bytes, *, deadline: Deadline, now: datetime
) -> bytes:
    """Sign with the Org Key, by its signing subkey if it has one.

    Sequoia signs where it can, since it needs no other process; then GnuPG, then PGPy. A key that has
    expired signs at the last moment of its validity, which is what the signature says then.

    Args:
        tsk: The transferable secret key.
        passphrase: What opens it.
        public: Its public part, with self-signatures.
        data: What to sign.
        deadline: When to stop.
        now: The present time.

    Returns:
        The armored signature; it has been verified.

    Raises:
        WrongPassphrase: The passphrase does not open the key.
        NotPinned: ``tsk`` and ``public`` are two keys.
        Unsupported: No implementation on this host signs with this key so that readers can check it.
        LocalFilesProblem: This host has no room, memory or descriptors left.
    """
    views = view(tsk, public, now)
    if views.stored_fingerprint != views.fingerprint:
        raise NotPinned(
            f"the keypair is {views.stored_fingerprint}, its public part {views.fingerprint}",
            hint="give the two parts of the same key",
        )
    reasons = []
    guard = ImplementationGuard(deadline)
    engines: dict[str, Callable[..., Outcome]] = {
        "sequoia": sequoia_proof.sign,
        "gnupg": gnupg_proof.sign,
        "pgpy": pgpy_proof.sign,
    }
    for name, engine in engines.items():
        made = guard(partial(engine, views, passphrase, data, deadline))
        if not isinstance(made, Outcome):
            reasons.append(f"{name}: {made}")
        elif made.ok is False:
            raise WrongPassphrase(
                "the passphrase does not open the key", hint="give the passphrase of this keypair"
            )
        elif made.product is None:
            reasons.append(f"{name}: {made.reason}")
        else:
            signature = armor.armor(made.product, "SIGNATURE")
            try:
                verify_detached(public, views.fingerprint, data, signature, deadline=deadline, now=now)
            except IntegrityProblem as error:
                reasons.append(f"{name}: what it made is {error.message}")
            else:
                return signature
    if guard.trouble is not None:
        raise guard.trouble
    raise Unsupported(
        f"no implementation on this host signs with this key: {'; '.join(reasons)}",
        hint="nothing is wrong with the key because of that; install gpg if it is missing, otherwise look "
        "at the reasons: the key may use what these programs do not support",
    )


def verify_detached(
    public: bytes, fingerprint: str, data: bytes, signature: bytes, *, deadline: Deadline, now: datetime
) -> None:
    """Make sure that the pinned key made a signature.

    Exactly one signature over a document, with nothing before or after it, by the pinned primary key or
    by a subkey that this one has bound for signing, made while both were valid. Sequoia, which is given only
    what was parsed here, has to agree; it takes no part where it does not support the key, cannot read it, or
    finds its self-signatures too weak by today's policy: what was escrowed must stay readable for ever. Nor
    does it where this host's clock, which it goes by, is behind what it is given.

    A key that has expired since does not spoil what it signed inside its validity. Revocations of the
    primary key are left out: the public part comes along with what is being verified, so whoever could
    forge with a compromised secret would simply not put the revocation in, and the rightful owner must
    still read the records that old backups need. Whether a key is revoked is `status`'s to report.

    Args:
        public: The public part; armored or binary, one key.
        fingerprint: The pin, 40 hexadecimal digits.
        data: What was signed.
        signature: The detached signature, armored or binary.
        deadline: When to stop.
        now: The present time.

    Raises:
        IntegrityProblem: It was not made by this key over these bytes.
        ClockProblem: It was made in the future, by ``now``: no verdict on the signature.
        DeadlinePassed: The time is over.
    """
    deadline.check()
    try:
        key = parsing.read_one(public, "the public part")
    except OrgkeyError as error:
        raise _not_authentic(error.message) from error
    if key.fingerprint != fingerprint.upper():
        told = (
            f"the public part is of another key, {key.fingerprint}, and stands in the place of {fingerprint}"
        )
        raise _not_authentic(told)
    made, packet = _one_signature(signature)
    if made.created > now + AHEAD:
        raise ClockProblem(
            f"the signature is from the future, {stamp(made.created)}; "
            f"by this host's clock it is {stamp(now)}",
            hint="set this host's clock if it is wrong, or give the time to `orgkey restore --at`; "
            "if it is right, the host that made this record had a wrong one: then put its epoch into "
            "policy.known_false",
        )
    hashing = sig.hasher(made.digest)
    assert hashing is not None, "its algorithm was looked at"
    hashing.update(data)
    problem = objection(made, key, hashing)
    if problem is not None:
        raise _not_authentic(problem)
    key = replace(key, primary=unrevoked(key.primary))
    here = datetime.now(UTC)  # Sequoia looks at this host's clock, which may be slow
    if made.created > here or any(one.later for one in validity.judge(key, here).standings):
        return
    if ImplementationGuard(deadline)(partial(_verified_by_sequoia, key, data, packet)) is False:
        raise _not_authentic("the signature is not by this key over these bytes, says Sequoia")


def objection(made: Signature, key: TransferableKey, hashing: hashlib._Hash) -> str | None:
    """Why a signature does not count as one by this key over what was hashed; ``None`` where it does.

    Args:
        made: The signature.
        key: The key; revocations of its primary key are left out, see :func:`verify_detached`.
        hashing: Has taken what was signed, with the signature's own algorithm.
    """
    if made.unknown:
        return "the signature has critical parts that are not understood"
    key = replace(key, primary=unrevoked(key.primary))
    judged = validity.judge(key, None)
    makers = [
        one for one in judged.standings if one.public.can_sign and sig.holds_hash(made, one.public, hashing)
    ]
    if not makers:
        return "the signature is not by this key over these bytes"
    entitled = [one for one in makers if one.usable(sig.SIGN) and _valid_at(one, made)]
    if not entitled or not _valid_at(judged.primary, made):
        return "the signature is by a part of the key that may not sign, or could not then"
    return None


def issuer(signature: bytes) -> str:
    """The key id that a detached signature names as its maker, unverified; empty where it names none."""
    return _one_signature(signature)[0].issuer


def _not_authentic(reason: str) -> IntegrityProblem:
    return IntegrityProblem(
        f"not authentic: {reason}", hint="do not use this copy; another copy may be good: orgkey verify"
    )


def _one_signature(data: bytes) -> tuple[Signature, bytes]:
    try:
        if not data[:1] or not data[0] & 0x80:
            text = data.strip()
            whole = text.startswith(_BEGIN) and text.endswith(_END) and text.count(b"-----BEGIN") == 1
            if not whole:
                raise _not_authentic("the signature is not exactly one armor block")
            data = armor.dearmor(text)
        packets = parse(data)
    except IntegrityProblem:
        raise
    except OrgkeyError as error:
        raise _not_authentic(error.message) from error
    made = sig.read_signature(packets[0].body) if [one.tag for one in packets] == [Tag.SIGNATURE] else None
    if made is None:
        raise _not_authentic("there is not exactly one signature")
    if made.version != 4 or made.kind != sig.DOCUMENT or made.digest not in sig.STRONG_DIGESTS:
        raise _not_authentic("it is not a version 4 signature over a document with SHA-256 or stronger")
    return made, packets[0].raw


def _valid_at(standing: ComponentValidity, made: Signature) -> bool:
    return standing.bound and (standing.expires is None or made.created < standing.expires)


def _verified_by_sequoia(key: TransferableKey, data: bytes, packet: bytes) -> bool | None:
    """Ask Sequoia; it does not tell whether mathematics or policy made it refuse.

    Returns:
        What it says; ``None`` where its policy, its features or its reading of the standard can be the reason
        for a no.
    """
    if not all(sequoia_proof.supports(one.public) for one in key.components if one.public.can_sign):
        return None
    import pysequoia

    try:
        public = pysequoia.Cert.from_bytes(key.public())
        signature = pysequoia.Sig.from_bytes(packet)
    except RuntimeError:
        return None
    try:
        found = pysequoia.verify(bytes=data, store=lambda _: [public], signature=signature).valid_sigs
    except RuntimeError:
        return False if _beyond_policy(key) else None
    return [one.certificate.upper() for one in found] == [key.fingerprint]


def _beyond_policy(key: TransferableKey) -> bool:
    """Whether no program has a reason of its own to refuse a key: strong, and of one mind about itself."""
    if any(_may_be_too_weak(one.public) for one in key.components):
        return False
    made = [one for packet in validity.own_part(key).signatures if (one := sig.read_signature(packet.body))]
    spans = {one.span(sig.KEY_EXPIRES) for one in made}
    return len(spans) == 1 and all(
        one.version == 4
        and one.digest in sig.STRONG_DIGESTS
        and one.flags is not None
        and one.span(sig.EXPIRES) is None
        and one.kind in sig.CERTIFICATIONS | {sig.SUBKEY_BINDING}
        for one in made
    )


def _may_be_too_weak(part: PublicPart) -> bool:
    """Whether Sequoia's policy drops a key for its algorithm or length, today or in some years."""
    return part.algorithm == DSA or (part.algorithm in RSA and part.numbers[0].bit_length() < 3072)
