"""Whether a key can do an Org Key's work now: valid, bound, and able to certify, sign and encrypt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pipeline.core.clock import stamp
from pipeline.core.errors import Expired, Incomplete, OrgkeyError
from pipeline.openpgp.format import signatures as sig
from pipeline.openpgp.key.model import TransferableKey
from pipeline.openpgp.key.unlocking import name_of
from pipeline.openpgp.key.validity import ComponentValidity, KeyValidity


@dataclass(frozen=True)
class Problem:
    """One reason against an export.

    Attributes:
        error: The error, with its code, message and hint.
        accept: The word with which an operator accepts it, empty where nothing does.
    """

    error: OrgkeyError
    accept: str = ""


PUBLIC_TOO = (
    "the private block alone has none: export the public key too and append it to the file, "
    "or take it from the live server"
)


def usability(key: TransferableKey, judgement: KeyValidity, now: datetime) -> Iterator[Problem]:
    """Find what speaks against using a key now: expiry, revocation, missing signatures and capabilities.

    Args:
        key: The merged key.
        judgement: What its self-signatures say now.
        now: The present time, with a zone.
    """
    primary = judgement.primary
    if key.primary.public.created > now or primary.later:
        when = stamp(key.primary.public.created)
        yield Problem(
            Expired(
                f"the key is not yet valid: it, or all its self-signatures, are later than now (made {when})",
                hint="check this host's clock and the server's; or --accept expired",
            ),
            "expired",
        )
    if primary.revoked:
        yield Problem(
            Expired(
                "the key has been revoked", hint="escrow the key that replaced it; this is never accepted"
            )
        )
    elif primary.expires is not None and primary.expires <= now:
        yield Problem(
            Expired(
                f"the key expired at {stamp(primary.expires)}",
                hint="export it again after the server has renewed it; or --accept expired",
            ),
            "expired",
        )
    if not key.identities:
        yield Problem(Incomplete("the key has no user id", hint=PUBLIC_TOO))
    if not primary.bound and not primary.later:
        yield Problem(_unsigned("the key", judgement))
        return
    if key.identities and primary.bound and not any(judgement.identities):
        # GnuPG takes no such key, and what recovers it without this program is GnuPG.
        yield Problem(_unsigned("every user id", judgement))
    for index, standing in enumerate(judgement.subkeys, start=1):
        if not standing.bound and not standing.later and not standing.revoked:
            yield Problem(_unsigned(name_of(key, index), judgement))
    yield from _capabilities(judgement, now)


def _unsigned(name: str, judgement: KeyValidity) -> Incomplete:
    if not judgement.discounted:
        return Incomplete(f"{name} has no genuine self-signature", hint=PUBLIC_TOO)
    return Incomplete(
        f"{name} has no self-signature that counts: they {'; they '.join(judgement.discounted)}",
        hint="sign the key's user ids and subkeys anew, without that, in the program that made it; "
        "then export it again",
    )


def _capabilities(judgement: KeyValidity, now: datetime) -> Iterator[Problem]:
    """The Org Key signs user keys and encrypts backups: the key must be able to, and now."""
    whole = judgement.primary
    for need, verb, holders in (
        (sig.CERTIFY, "certify user keys", (whole,)),
        (sig.SIGN, "sign", judgement.standings),
        (sig.ENCRYPT, "encrypt", judgement.standings),
    ):
        if whole.revoked or whole.later:
            continue  # said already, and it explains this
        able = [one for one in holders if one.usable(need)]
        if any(one.expires is None or one.expires > now for one in able):
            continue
        if able and whole.expires is not None and whole.expires <= now:
            continue
        yield _missing(verb, able, [one for one in holders if one.revoked and one.flags & need], holders)


def _missing(
    verb: str,
    able: list[ComponentValidity],
    revoked: list[ComponentValidity],
    holders: tuple[ComponentValidity, ...],
) -> Problem:
    if able or any(one.later for one in holders):
        return Problem(
            Expired(
                f"every part of the key that can {verb} has expired, or is not yet valid",
                hint="export the key again after its renewal; or --accept expired",
            ),
            "expired",
        )
    if revoked:
        return Problem(
            Expired(
                f"every part of the key that could {verb} has been revoked",
                hint="escrow the key that replaced it; this is never accepted",
            )
        )
    return Problem(
        Incomplete(
            f"the key cannot {verb}: no part of it has that capability",
            hint="an Organization Key signs, certifies and encrypts; check that this is the right export",
        )
    )
