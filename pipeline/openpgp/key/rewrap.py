"""A key whose secret parts are open in memory, and its re-wrap under another passphrase."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from pipeline.core.errors import NotPinned, OrgkeyError, ProofFailed, UsageProblem, WrongPassphrase
from pipeline.core.secret import Secret
from pipeline.openpgp.format.material import read_secret, write_numbers
from pipeline.openpgp.format.packets import SECRETS, Packet, build, join
from pipeline.openpgp.format.protection import AES256, SHA256, close_secret, open_secret
from pipeline.openpgp.format.signatures import hashed_key
from pipeline.openpgp.key import parsing
from pipeline.openpgp.key.inspection import describe
from pipeline.openpgp.key.model import TransferableKey, merge, require_secret
from pipeline.openpgp.key.organization_certificates import find_certificates
from pipeline.openpgp.key.preflight import ACCEPTABLE, examine
from pipeline.openpgp.key.unlocking import open_all
from pipeline.openpgp.key.validity import KeyValidity, judge, own_part


@dataclass(frozen=True)
class UnlockedKey:
    """A complete key with all its secret parts open.

    Attributes:
        key: The merged key as it was read.
        secrets: The secret numbers of each component, in canonical form.
        original: The chosen key's packets as they came in; the whole file where it holds nothing else.
        notes: What was tolerated while reading.
        warnings: What has to be done about it one day.
        canonical: Whether the numbers were in canonical form when they were read: GnuPG 2.3 and newer
            protects elliptic ones with a bit count of whole octets, which strict programs refuse.
    """

    key: TransferableKey = field(repr=False)
    secrets: tuple[Secret, ...] = field(repr=False)
    original: bytes = field(repr=False)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    canonical: bool = True

    @property
    def fingerprint(self) -> str:
        """40 upper-case hexadecimal digits."""
        return self.key.fingerprint

    @property
    def key_id(self) -> str:
        """The last 16 digits of the fingerprint."""
        return self.key.primary.public.key_id

    @cached_property
    def public(self) -> bytes:
        """The transferable public key, binary, complete with self-signatures."""
        return self.key.public()

    @cached_property
    def _judgement(self) -> KeyValidity:
        # Without a time: what the newest self-signatures say, whether or not that is still true.
        return judge(self.key, None)

    def summary(self) -> dict[str, Any]:
        """What documents show of the key; nothing secret."""
        return describe(self.key, self._judgement) | {
            "organization_certificates": [one.to_json() for one in find_certificates(self.key)]
        }

    @cached_property
    def key_state(self) -> str:
        """Digest of the canonical secret and public packets, 64 hexadecimal digits.

        Independent of salts, string-to-key, header style and the order of signatures; different as
        soon as a number, a user id or a signature is. It reveals nothing: every secret number that
        goes in has far more than 128 bits of entropy.
        """
        parts = []
        for index, (component, clear) in enumerate(zip(self.key.components, self.secrets, strict=True)):
            numbers = read_secret(component.public, clear.reveal())
            own = [hashed_key(component.public), repr(numbers).encode(), *_sorted(component.signatures)]
            parts.append(_fold(b"subkey" if index else b"primary", own))
        parts += [
            _fold(b"identity", [identity.packet.body, *_sorted(identity.signatures)])
            for identity in self.key.identities
        ]
        return _fold(b"orgkey.key_state/1", sorted(parts)).hex()

    def protect(self, passphrase: Secret, *, s2k_count_octet: int) -> bytes:
        """Re-wrap the key: only the protected part of each secret packet changes.

        Args:
            passphrase: The new passphrase.
            s2k_count_octet: Coded count; ``ESCROW_COUNT_OCTET`` for 256 random bits,
                ``MAX_COUNT_OCTET`` for what a person chose.

        Returns:
            The transferable secret key, binary, in the form of RFC 4880.

        Raises:
            UsageProblem: The passphrase is empty, or the octet is none.
        """
        if not len(passphrase) or not 0 <= s2k_count_octet <= 255:
            raise UsageProblem(
                "a key is never written without a passphrase", hint="give one that is not empty"
            )
        return join(
            self.key.packets(
                build(
                    component.packet.tag,
                    component.public.raw + close_secret(clear, passphrase, s2k_count_octet=s2k_count_octet),
                    new_format=component.packet.new_format,
                )
                for component, clear in zip(self.key.components, self.secrets, strict=True)
            )
        )

    def merge_public(self, public: bytes) -> UnlockedKey:
        """Add what a newer public part of the same key says.

        Only what the key itself has signed is taken: whoever can write to a key server can add the
        rest. New subkeys are not taken, since their secret numbers are not here.

        Args:
            public: Armored or binary.

        Raises:
            NotAKey: It is damaged.
            NotPinned: It is another key's.
        """
        newer = parsing.read_one(public, "the public key")
        if newer.fingerprint != self.fingerprint:
            raise NotPinned(
                f"the public key {newer.fingerprint} is not {self.fingerprint}",
                hint="give the public part of the same key",
            )
        known = {component.public.fingerprint for component in self.key.components}
        own = own_part(newer)
        subkeys = tuple(subkey for subkey in own.subkeys if subkey.public.fingerprint in known)
        merged = merge(self.key, replace(own, subkeys=subkeys))
        return replace(self, key=replace(merged, parts=self.key.parts, raw=self.key.raw))


def _sorted(signatures: Iterable[Packet]) -> list[bytes]:
    return sorted(packet.body for packet in signatures)


def _fold(label: bytes, parts: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in (label, *parts):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def load(
    data: bytes,
    passphrase: Secret | None,
    *,
    pin: str | None,
    accept: frozenset[str] = frozenset(),
    now: datetime,
) -> UnlockedKey:
    """Read an export that is to be escrowed, and open it.

    Args:
        data: The file.
        passphrase: The export's; not used for parts that have none, and ``None`` where no part has one.
        pin: The fingerprint that the key must have.
        accept: Problems that the operator accepts: ``unprotected``, ``expired``, ``certificates``.
        now: The present time, with a zone.

    Raises:
        OrgkeyError: The first problem that is not accepted, by ``errors.INSPECT_PRECEDENCE``.
        UsageProblem: The pin is not a fingerprint, or ``accept`` has another word.
    """
    if unknown := accept - ACCEPTABLE.keys():
        raise UsageProblem(
            f"--accept {min(unknown)} is not known", hint=f"it takes {', '.join(sorted(ACCEPTABLE))}"
        )
    found = examine(data, pin=pin, passphrase=passphrase, now=now)
    if (problem := found.refused(accept)) is not None:
        raise problem
    assert found.key is not None
    if passphrase is None and found.protected:
        raise WrongPassphrase("the export has a passphrase, and none was given", hint="give its passphrase")
    alone = len(found.reading.keys) == 1
    key = _opened(found.key, found.secrets, data if alone else found.key.raw)
    return replace(key, notes=found.notes, warnings=found.warnings)


def unlock(tsk: bytes, passphrase: Secret) -> UnlockedKey:
    """Open a stored keypair. Dates, flags and certificates are not judged: nothing blocks a restore.

    Args:
        tsk: One complete transferable secret key, armored or binary.
        passphrase: Its passphrase.

    Raises:
        NotAKey: It is damaged, or its secret and public numbers do not fit.
        WrongPassphrase: The passphrase does not open every part.
        Incomplete: A secret part is missing.
        Unsupported: A form that cannot be handled.
    """
    key = parsing.read_one(tsk, "the keypair")
    require_secret(key)
    opened, problems = open_all(key, passphrase)
    if problems:
        raise problems[0]
    return _opened(key, opened, tsk)


def _opened(key: TransferableKey, opened: Iterable[Secret | None], original: bytes) -> UnlockedKey:
    found = []
    canonical = True
    for component, clear in zip(key.components, opened, strict=True):
        assert clear is not None, "a part that was not opened has no problem to its name"
        found.append(Secret(write_numbers(read_secret(component.public, clear.reveal()))))
        canonical &= found[-1] == clear
    return UnlockedKey(key, tuple(found), original, canonical=canonical)


def prove_rewrap(before: UnlockedKey, protected: bytes, new: Secret, old: Secret | None) -> None:
    """Prove that a re-wrapped key is the same key under another passphrase, from its bytes alone.

    Every byte outside the protected parts is unchanged, in the same order; the protection is what was
    meant; the new passphrase gives the identical secret numbers, in canonical form; the old one, where it
    is another, and a random one do not.

    Args:
        before: The key that was re-wrapped.
        protected: What :meth:`UnlockedKey.protect` returned, or what was stored of it.
        new: The new passphrase.
        old: The former one; none where there was none.

    Raises:
        ProofFailed: Any of this does not hold.
    """
    try:
        after = unlock(protected, new)
    except OrgkeyError as error:
        raise _failed(f"the re-wrapped key does not open: {error.message}") from error
    if _visible(after.key) != _visible(before.key) or join(_packets(after.key)) != protected:
        raise _failed("bytes outside the protected parts have changed")
    if after.secrets != before.secrets or after.key_state != before.key_state:
        raise _failed("the secret numbers have changed")
    if not after.canonical:
        raise _failed("the secret numbers are not in canonical form")
    strangers = [Secret(secrets.token_bytes(32))]
    if old is not None and old != new:
        strangers.append(old)
    for component in after.key.components:
        how = component.protection
        if how is None or (how.usage, how.cipher, how.s2k, how.digest) != (254, AES256, 3, SHA256):
            raise _failed("a part is not protected as it should be")
        if any(open_secret(how, stranger.reveal()).sound for stranger in strangers):
            raise _failed("another passphrase opens it too")


def _packets(key: TransferableKey) -> list[Packet]:
    return key.packets(component.packet for component in key.components)


def _visible(key: TransferableKey) -> list[tuple[int, bytes]]:
    """Every packet in its order, secret ones up to the end of their public part."""
    public = {component.packet.body: component.public.raw for component in key.components}
    return [
        (packet.tag, public[packet.body] if packet.tag in SECRETS else packet.raw) for packet in _packets(key)
    ]


def _failed(message: str) -> ProofFailed:
    return ProofFailed(message, hint="nothing was stored; this is a fault of the program: please report it")
