"""Custodians' certificates: which are pinned, and whether a share may be encrypted to them today.

Files only supply certificates. Which are used is the configuration's word alone, by the fingerprint of
the primary key and, where one is pinned, of the encryption subkey; a file that lies there for anybody
else is never used. Of a pinned certificate only what its own primary key has signed counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from pipeline.core.clock import stamp
from pipeline.core.errors import UsageProblem
from pipeline.custody.custodians.certificate_store import ENDINGS, read_store
from pipeline.openpgp.format.material import PublicPart
from pipeline.openpgp.format.packets import Tag
from pipeline.openpgp.format.protection import AES256
from pipeline.openpgp.format.signatures import ENCRYPT
from pipeline.openpgp.key.model import TransferableKey
from pipeline.openpgp.key.parsing import Flooded
from pipeline.openpgp.key.validity import ComponentValidity, KeyValidity, judge, own_part, printable

if TYPE_CHECKING:
    from pipeline.config.holders import Custodian, OpenpgpHolderConfig, TokenConfig

LEAST_BITS: Final = 2048
"""Of RSA, DSA and ElGamal; NIST SP 800-131A allows no less since 2014."""
LONGEST_NAME: Final = 80
"""Of a user id, in characters; a configured name has no more."""
_BROKEN: Final = 20
"""ElGamal that also signs, which RFC 9580 section 9.1 has retired and gpg does not take."""

_SEND = "put what `gpg --armor --export` prints into `certificates`"
_NEWER = f"ask the custodian for a current certificate, {_SEND}, and check its fingerprint"
RENEW = (
    "ask the custodian to extend it (`gpg --quick-set-expire {0} 2y`, and again with '*' behind it for the "
    f"subkeys) and to send it again, then {_SEND}; the fingerprint stays the same"
)
REPLACE = (
    "talk to the custodian: a new key has a new fingerprint, put that into `members`, then "
    "`orgkey custody rotate --remove OLD --add NEW`"
)
_CLOCK = "check this host's clock, then ask the custodian when the key was made"
_ADD = (
    "ask the custodian to add one (`gpg --quick-add-key {0} cv25519 encr 2y`) and to send it again, then "
    f"{_SEND}"
)
_PIN = (
    "ask the custodian which key to use; correct `subkey` in `members` only after checking its fingerprint "
    "with the custodian"
)


@dataclass(frozen=True)
class Recipient:
    """A custodian to whom a share can be encrypted now, by one of their certificates.

    Attributes:
        fingerprint: Of the primary key, 40 upper-case hexadecimal digits.
        subkey: Of the key that encrypts.
        name: What the configuration calls the custodian, else the certificate's first genuine user id.
        expires: When the primary key or that subkey expires, if ever.
        certificate: A transferable public key, binary, with that encryption key and nothing that the
            primary key has not signed.
        notes: What is odd about it, for people.
        material: The numbers of the key that encrypts, as they are written; two custodians have no
            such key in common.
        also: The custodian's further tokens, judged likewise: any one opens the share.
    """

    fingerprint: str
    subkey: str
    name: str
    expires: datetime | None
    certificate: bytes = field(repr=False)
    notes: tuple[str, ...] = ()
    material: bytes = field(default=b"", repr=False)
    also: tuple[Recipient, ...] = ()

    @property
    def tokens(self) -> tuple[Recipient, ...]:
        """Everything of this custodian that the share is encrypted to."""
        return (self, *self.also)


def recipient(name: str, member: Custodian, known: Mapping[str, TransferableKey], now: datetime) -> Recipient:
    """Judge what one custodian's share is encrypted to: each token, of which any one opens it.

    Args:
        name: The holder's name, for messages.
        member: The custodian, as configured.
        known: The certificates that were found, by fingerprint.
        now: The present time.

    Raises:
        UsageProblem: Nothing may be encrypted to one of the tokens; said why.
    """
    who = f"holder {name}: custodian {called(member, known.get(member.fingerprint))}"
    first, *others = [
        _judged(who, member, token, known.get(token.fingerprint), now) for token in member.tokens
    ]
    return replace(first, also=tuple(replace(one, name=first.name) for one in others))


def _judged(
    who: str, member: Custodian, token: TokenConfig, key: TransferableKey | None, now: datetime
) -> Recipient:
    if token.fingerprint != member.fingerprint:
        who += f", certificate {token.fingerprint}"
    if key is None:
        raise UsageProblem(
            f"{who}: no certificate with the fingerprint {token.fingerprint} is there",
            hint=f"{_NEWER}; files there end in {', '.join(ENDINGS)}",
        )
    for problem in key.problems:
        if isinstance(problem, Flooded):  # a revocation behind the flood would not be looked at
            raise UsageProblem(f"{who}: {problem.message}", hint=_NEWER)
    judged = judge(key, now)
    _require_valid(who, key, judged, now)
    chosen = _encryption_key(who, token, key, judged, now)
    public = chosen.public
    ends = [moment for moment in (judged.primary.expires, chosen.expires) if moment is not None]
    return Recipient(
        key.fingerprint,
        public.fingerprint,
        member.name or _user_id(key, judged) or member.fingerprint,
        min(ends, default=None),
        _reduced(key, public),
        tuple(_notes(member, token, key, judged, public, now)),
        public.raw[5:],  # without version and time
    )


def called(member: Custodian, key: TransferableKey | None) -> str:
    """The person, for messages: by name as far as one is known, and by fingerprint.

    Args:
        member: The custodian, as configured.
        key: The certificate, if one was found.
    """
    known = member.name or (_user_id(key, judge(key, None)) if key else "")
    return f"{known} ({member.fingerprint})" if known else member.fingerprint


def _user_id(key: TransferableKey, judged: KeyValidity) -> str:
    """The first user id that the key itself has certified: anybody can write others into a file."""
    for identity, certified in zip(key.identities, judged.identities, strict=True):
        if certified and identity.packet.tag == Tag.USER_ID:
            return printable(identity.packet.body)[:LONGEST_NAME]
    return ""


def _require_valid(who: str, key: TransferableKey, judged: KeyValidity, now: datetime) -> None:
    primary = judged.primary
    public = key.primary.public
    if primary.revoked:
        reason, hint = "the certificate has been revoked", REPLACE
    elif public.created > now or primary.later:
        made = stamp(public.created)
        reason = f"the certificate is not valid yet, by this host's clock: made {made}, now {stamp(now)}"
        hint = _CLOCK
    elif not primary.bound:
        reason, hint = "the certificate has no genuine self-signature that counts now", _NEWER
    elif primary.expires is not None and primary.expires <= now:
        reason, hint = f"the certificate expired at {stamp(primary.expires)}", RENEW.format(key.fingerprint)
    elif weakness := _weakness(public):
        reason, hint = f"its primary key is {weakness}", REPLACE
    else:
        return
    raise UsageProblem(f"{who}: {reason}", hint=hint)


def _encryption_key(
    who: str, token: TokenConfig, key: TransferableKey, judged: KeyValidity, now: datetime
) -> ComponentValidity:
    """The pinned encryption key, else the newest that may be used."""
    usable = []
    refused = []
    for one in judged.standings:
        public = one.public
        if token.subkey not in (None, public.fingerprint):
            continue
        reason = _unfit(one, now)
        if reason is None:
            usable.append(one)
        elif token.subkey or (public.can_encrypt and reason != _OTHER_USE):
            refused.append(f"{public.key_id} {reason}")
    if usable:
        return max(usable, key=lambda one: (one.public.created, one.public.fingerprint))
    refused += [problem.message for problem in key.problems]
    told = f": {'; '.join(refused)}" if refused else ""
    if token.subkey:
        told = told or ": it is not in the certificate"
        raise UsageProblem(f"{who}: the pinned encryption key {token.subkey} cannot be used{told}", hint=_PIN)
    expired = refused and all(" expired at " in reason for reason in refused)
    raise UsageProblem(
        f"{who}: the certificate has no encryption key that can be used{told}",
        hint=(RENEW if expired else _ADD).format(key.fingerprint),
    )


_OTHER_USE: Final = "is not meant for encryption"


def _unfit(standing: ComponentValidity, now: datetime) -> str | None:
    """Why nothing may be encrypted to a key or subkey now."""
    public = standing.public
    if standing.revoked:
        return "is revoked"
    if standing.later or public.created > now:
        return "is not valid yet"
    if not standing.bound:
        return "has no genuine binding signature"
    if not standing.usable(ENCRYPT):
        return _OTHER_USE
    if standing.expires is not None and standing.expires <= now:
        return f"expired at {stamp(standing.expires)}"
    return f"is {weakness}" if (weakness := _weakness(public)) else None


def _weakness(public: PublicPart) -> str:
    if public.algorithm == _BROKEN:
        return f"{public.name} of a broken kind"
    if not public.curve and public.numbers[0].bit_length() < LEAST_BITS:
        return f"{public.name}, shorter than {LEAST_BITS} bits"
    return ""


def _reduced(key: TransferableKey, chosen: PublicPart) -> bytes:
    """The certificate with one key that encrypts, and only with what the primary key has signed."""
    own = own_part(key)
    encrypting = tuple(one for one in own.subkeys if one.public.fingerprint == chosen.fingerprint)
    return replace(own, subkeys=encrypting).public()


def _notes(
    member: Custodian,
    token: TokenConfig,
    key: TransferableKey,
    judged: KeyValidity,
    chosen: PublicPart,
    now: datetime,
) -> Iterator[str]:
    used = {one.subkey for one in member.tokens}
    if judged.primary.ciphers and AES256 not in judged.primary.ciphers:
        yield "it does not name AES-256 among its ciphers; shares are encrypted with AES-256 nevertheless"
    for standing in judged.standings:
        public = standing.public
        if standing.weak and public.fingerprint in (key.fingerprint, chosen.fingerprint):
            weak = f"the self-signature of {public.key_id} uses SHA-1, which is weak; "
            yield weak + "the next one by a current GnuPG does not"
        if not (standing.bound or standing.later or standing.revoked):
            unsigned = f"the subkey {public.key_id} is not signed by the primary key and is never used; "
            yield unsigned + "somebody else may have added it"
        elif (
            token.subkey
            and public.fingerprint not in used
            and public.created > chosen.created
            and _unfit(standing, now) is None
        ):
            yield f"it has a newer encryption key, {public.fingerprint}; the pinned one is used"
    for problem in key.problems:
        yield f"a part of it is not used: {problem.message}"


def recipients(name: str, item: OpenpgpHolderConfig, now: datetime) -> tuple[Recipient, ...]:
    """Everybody in a group, in the configured order.

    Args:
        name: The holder's name.
        item: Its configuration.
        now: The present time.

    Raises:
        UsageProblem: A certificate is missing, nothing may be encrypted to it, or an encryption key is
            there twice.
    """
    shelf = read_store(item)
    found = []
    for member in item.members:
        try:
            found.append(recipient(name, member, shelf.certificates, now))
        except UsageProblem as error:
            # A file that could not be read is often the reason.
            beside = "".join(f"; {problem}" for problem in shelf.problems[:3])
            raise UsageProblem(f"{error.message}{beside}", hint=error.hint) from None
    for told, hint in same_keys(found):
        raise UsageProblem(f"holder {name}: {told}", hint=hint)
    return tuple(found)


def same_keys(people: Iterable[Recipient]) -> Iterator[tuple[str, str]]:
    """Say which encryption keys are there twice, and what to do.

    With another custodian's key, one person could open both shares. Two tokens of one custodian with the
    same key are lost together.

    Args:
        people: The custodians of one group.
    """
    first: dict[bytes, tuple[Recipient, Recipient]] = {}
    for person in people:
        for token in person.tokens:
            other, same = first.setdefault(token.material, (person, token))
            key, who = same.subkey[-16:], f"{person.name} ({person.fingerprint})"
            if other is not person:
                yield (
                    f"custodians {other.name} ({other.fingerprint}) and {who} have the same encryption key "
                    f"{key}: one person could open both shares",
                    REPLACE,
                )
            elif same is not token:
                yield (
                    f"two tokens of custodian {who} have the same encryption key {key}: they are one token",
                    "take one of them out of `also`",
                )
