"""Detached signatures by the Org Key: made while it is open, checked against the pin by every reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from pipeline.clock import Deadline, stamp
from pipeline.errors import (
    IntegrityProblem,
    NotPinned,
    OrgkeyError,
    ProgramMissing,
    ProofFailed,
    WrongPassphrase,
)
from pipeline.keys import armor, reading, validity
from pipeline.keys import signatures as sig
from pipeline.keys.gnupg import GnuPG, GnuPGRefused
from pipeline.keys.model import Key
from pipeline.keys.packets import Tag, parse
from pipeline.keys.proofs.pgpy_proof import sign_with_pgpy
from pipeline.keys.proofs.sequoia_proof import supports
from pipeline.keys.proofs.views import Views, view
from pipeline.keys.signatures import Signature
from pipeline.secret import Secret

_DOCUMENT: Final = 0x00
_DIGESTS: Final = frozenset({8, 9, 10})  # SHA-256, SHA-384, SHA-512 (RFC 4880 section 9.4)
_CLOCK_SKEW: Final = timedelta(days=1)
_BEGIN: Final = b"-----BEGIN PGP SIGNATURE-----"
_END: Final = b"-----END PGP SIGNATURE-----"

Engine: TypeAlias = Callable[[Views, Secret, bytes, Deadline], bytes | None]
"""Makes a binary signature; ``None`` when it does not support the key."""


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
        ProofFailed: No implementation can sign with this key, or what it made does not verify.
    """
    views = view(tsk, public, now)
    if views.stored_fingerprint != views.fingerprint:
        raise NotPinned(
            f"the keypair is {views.stored_fingerprint}, its public part {views.fingerprint}",
            hint="give the two parts of the same key",
        )
    made = _first(views, passphrase, data, deadline)
    armored = armor.armor(made, "SIGNATURE")
    try:
        verify_detached(public, views.fingerprint, data, armored, deadline=deadline, now=now)
    except IntegrityProblem as error:
        raise ProofFailed(
            f"the signature just made does not verify: {error.message}",
            hint="the keypair is damaged, or the program that signed is; run `orgkey inspect` on the export",
        ) from error
    return armored


def _first(views: Views, passphrase: Secret, data: bytes, deadline: Deadline) -> bytes:
    reasons = []
    engines: tuple[Engine, ...] = (_by_sequoia, _by_gnupg, _by_pgpy)
    for engine in engines:
        try:
            made = engine(views, passphrase, data, deadline)
        except (ProgramMissing, ProofFailed) as error:
            reasons.append(error.message)
            continue
        if made is not None:
            return made
    raise ProofFailed(
        f"no implementation can sign with this key: {'; '.join(reasons) or 'none supports it'}",
        hint="install gpg, which supports the most algorithms",
    )


def _by_sequoia(views: Views, passphrase: Secret, data: bytes, deadline: Deadline) -> bytes | None:
    if views.moment is not None or not all(supports(part) for part in (views.primary, *views.signing)):
        return None
    import pysequoia

    deadline.check()
    try:
        signer = pysequoia.Tsk.from_bytes(views.secret).signer(passphrase.text())
        return bytes(pysequoia.sign(signer, data, mode=pysequoia.SignatureMode.DETACHED, armor=False))
    except (RuntimeError, OrgkeyError):
        # Its policy, a wrong passphrase or one that is no text, all told alike: gpg says which.
        return None


def _by_gnupg(views: Views, passphrase: Secret, data: bytes, deadline: Deadline) -> bytes | None:
    with GnuPG(deadline, moment=views.moment) as gpg:
        try:
            gpg.import_keys(views.secret, {views.fingerprint: True})
            return gpg.sign(data, views.fingerprint, passphrase)
        except GnuPGRefused as error:
            if error.bad_passphrase:
                raise WrongPassphrase(
                    "the passphrase does not open the key", hint="give the passphrase of this keypair"
                ) from None
            raise


def _by_pgpy(views: Views, passphrase: Secret, data: bytes, deadline: Deadline) -> bytes | None:
    return sign_with_pgpy(views, passphrase, data, deadline)


def verify_detached(
    public: bytes, fingerprint: str, data: bytes, signature: bytes, *, deadline: Deadline, now: datetime
) -> None:
    """Make sure that the pinned key made a signature.

    Exactly one signature over a document, with nothing before or after it, by the pinned primary key or
    by a subkey that this one has bound for signing. Only what was parsed here is given to Sequoia, and
    to GnuPG where Sequoia does not support the key or rejects its old self-signatures by policy.

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
        ProgramMissing: Only gpg can tell, and it is not installed.
    """
    try:
        key = reading.sole(public, "the public part")
    except OrgkeyError as error:
        raise _not_authentic(error.message) from error
    if key.fingerprint != fingerprint.upper():
        raise _not_authentic(f"the public part is of another key, {key.fingerprint}")
    made, packet = _one_signature(signature)
    if made.created > now + _CLOCK_SKEW:
        raise IntegrityProblem(
            f"not authentic: the signature is from the future, {stamp(made.created)}; "
            f"by this host's clock it is {stamp(now)}",
            hint="set this host's clock if it is wrong; otherwise do not use this copy",
        )
    key = _without_primary_revocation(key)
    if not any(sig.verify(made, one.public, data) for one in key.components if one.public.can_sign):
        # Plain arithmetic comes first, so that a heap of false records costs no process each.
        raise _not_authentic("the signature is not by this key over these bytes")
    if _verified_by_sequoia(key, data, packet):
        return
    if not _verified_by_gnupg(key, data, made, packet, deadline):
        raise _not_authentic("the signature is not by this key over these bytes")


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
    except OrgkeyError as error:
        if isinstance(error, IntegrityProblem):
            raise
        raise _not_authentic(error.message) from error
    made = sig.read_signature(packets[0].body) if [one.tag for one in packets] == [Tag.SIGNATURE] else None
    if made is None:
        raise _not_authentic("there is not exactly one signature")
    if made.version != 4 or made.kind != _DOCUMENT or made.digest not in _DIGESTS:
        raise _not_authentic("it is not a version 4 signature over a document with SHA-256 or stronger")
    return made, packets[0].raw


def _without_primary_revocation(key: Key) -> Key:
    kept = []
    for packet in key.primary.signatures:
        made = sig.read_signature(packet.body)
        if made is None or made.kind != sig.KEY_REVOCATION:
            kept.append(packet)
    return replace(key, primary=replace(key.primary, signatures=tuple(kept)))


def _verified_by_sequoia(key: Key, data: bytes, packet: bytes) -> bool:
    if not all(supports(one.public) for one in key.components if one.public.can_sign):
        return False
    import pysequoia

    try:
        public = pysequoia.Cert.from_bytes(key.public())
        found = pysequoia.verify(
            bytes=data, store=lambda _: [public], signature=pysequoia.Sig.from_bytes(packet)
        ).valid_sigs
    except RuntimeError:
        # "No valid signature", whether by mathematics or by policy: gpg has the last word.
        return False
    return [one.certificate.upper() for one in found] == [key.fingerprint]


def _verified_by_gnupg(key: Key, data: bytes, made: Signature, packet: bytes, deadline: Deadline) -> bool:
    with GnuPG(deadline) as gpg:
        try:
            gpg.import_keys(key.public(), {key.fingerprint: False})
        except GnuPGRefused as error:
            raise _not_authentic(error.message) from error
        found = gpg.verify(data, packet)
    if found is None or found.primary != key.fingerprint:
        return False
    return found.state == "good" or (found.state == "key expired" and _valid_then(key, found.key, made))


def _valid_then(key: Key, maker: str, made: Signature) -> bool:
    """Whether the maker and the primary key were inside their validity when a signature was made."""
    judged = validity.judge(key, None)
    standings = [judged.primary]
    standings += [
        standing
        for component, standing in zip(key.components, judged.standings, strict=True)
        if component.public.fingerprint == maker
    ]
    return all(one.bound and (one.expires is None or made.created < one.expires) for one in standings)
