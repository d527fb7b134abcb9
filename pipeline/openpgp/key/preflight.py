"""Whether an export can be escrowed, and do an Org Key's work now: every reason why not, with its code."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pipeline.core.clock import stamp
from pipeline.core.errors import (
    Code,
    Expired,
    Incomplete,
    NotPinned,
    OrgkeyError,
    PublicOnly,
    SeveralKeys,
    TooManyCertificates,
    Unprotected,
    Unsupported,
    UsageProblem,
)
from pipeline.core.exit_codes import INSPECT_PRECEDENCE
from pipeline.core.secret import Secret
from pipeline.core.text import counted
from pipeline.core.typed_text import fingerprint
from pipeline.openpgp.format import signatures as sig
from pipeline.openpgp.format.material import UNSUPPORTED_HINT
from pipeline.openpgp.format.protection import ProtectionState
from pipeline.openpgp.key.model import TransferableKey
from pipeline.openpgp.key.organization_certificates import OrganizationCertificate, find_certificates
from pipeline.openpgp.key.parsing import KeyFile, read_all
from pipeline.openpgp.key.unlocking import name_of, open_all
from pipeline.openpgp.key.validity import KeyValidity, judge

ACCEPTABLE = {"unprotected": Code.UNPROTECTED, "expired": Code.EXPIRED, "certificates": Code.CERTIFICATES}
"""What an operator can accept, never a revocation, by the word for it."""

_PUBLIC_TOO: Final = (
    "the private block alone has none: export the public key too and append it to the file, "
    "or take it from the live server"
)
_REPLACED: Final = "escrow the key that replaced it; this is never accepted"
_CAPABLE: Final = "an Organization Key signs, certifies and encrypts; check that this is the right export"


class Revoked(Expired):
    """The key, or every part of it for a use, was revoked: nothing accepts that."""


@dataclass(frozen=True)
class Examination:
    """All that was found out about an export.

    Attributes:
        reading: What the file holds.
        key: The chosen key, if there is one.
        judgement: What its self-signatures say now.
        certificates: Organization Certificates that are attached to it.
        secrets: Secret numbers of each component, as far as they were opened.
        problems: In order of precedence.
        notes: For people.
        warnings: What people have to do something about one day.
    """

    reading: KeyFile
    key: TransferableKey | None
    judgement: KeyValidity | None
    certificates: tuple[OrganizationCertificate, ...]
    secrets: tuple[Secret | None, ...]
    problems: tuple[OrgkeyError, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def protected(self) -> bool:
        """Whether a secret part takes a passphrase."""
        parts = self.key.components if self.key else ()
        return any(part.state is ProtectionState.PROTECTED for part in parts)

    def refused(self, accept: Collection[str] = ()) -> OrgkeyError | None:
        """The first problem that is not accepted."""
        codes = {ACCEPTABLE[word] for word in accept}
        left = (one for one in self.problems if one.code not in codes or isinstance(one, Revoked))
        return next(left, None)

    def mistyped(self, passphrase: Secret) -> bool:
        """Whether a passphrase is simply a wrong one, which is worth another try."""
        wrong = open_all(self.key, passphrase)[1] if self.key else []
        return any(error.code is Code.WRONG_PASSPHRASE for error in wrong)


def normalise_pin(pin: str) -> str:
    """Bring a fingerprint that a person wrote into its one form: 40 upper-case hexadecimal digits.

    Raises:
        UsageProblem: It is not a version 4 fingerprint. A key id is not enough: those can be forged.
    """
    read = fingerprint(pin)
    if read is None:
        raise UsageProblem(
            "the pinned fingerprint does not have 40 hexadecimal digits",
            hint="give the whole fingerprint, as `orgkey inspect` shows it; a key id is not enough",
        )
    return read


def examine(data: bytes, *, pin: str | None, passphrase: Secret | None, now: datetime) -> Examination:
    """Read an export and find everything that speaks against it.

    Args:
        data: The file.
        pin: The fingerprint that the key must have; it also chooses among several.
        passphrase: The export's; without one, only what is visible without it is checked.
        now: The present time, with a zone.

    Raises:
        UsageProblem: The pin is not a fingerprint.
    """
    wanted = normalise_pin(pin) if pin is not None else None
    reading = read_all(data)
    key, choice = _choose(reading.keys, wanted)
    problems = [*reading.problems, *choice]
    if key is None:
        return Examination(reading, None, None, (), (), _ordered(problems), reading.notes)
    judgement = judge(key, now)
    notes = [*reading.notes, *judgement.notes]
    others = len(reading.keys) - 1
    if others:
        notes.append(f"{counted(others, 'other key')} in the file {'was' if others == 1 else 'were'} ignored")
    # Subkeys that are neither signed for by the primary key nor secret: anybody can add those.
    kept = tuple(
        one.component
        for one in judgement.subkeys
        if one.bound or one.later or one.revoked or one.component.protection is not None
    )
    if kept != key.subkeys:
        notes.append("subkeys that the key never signed were left out")
        key = replace(key, subkeys=kept)
        judgement = judge(key, now)
    certificates = find_certificates(key)
    warnings = tuple(warning for one in certificates for warning in one.warnings(now))
    problems += key.problems
    secrets: tuple[Secret | None, ...] = ()
    if key.has_secret:
        problems += _secret_parts(key)
        opened, wrong = open_all(key, passphrase)
        secrets = tuple(opened)
        problems += wrong
    else:
        hint = "export the keypair, with a passphrase; no restore without it"
        problems.append(PublicOnly("the file holds the public key only", hint=hint))
    problems += _usability(key, judgement, now)
    if len(certificates) > 1:
        names = "; ".join(f"{one.subject} (serial {one.serial})" for one in certificates)
        problems.append(
            TooManyCertificates(
                f"{len(certificates)} Organization Certificates are attached to the key: {names}",
                hint="a server backup taken like this cannot be restored: remove all but one on the server, "
                "and export again; or --accept certificates",
            )
        )
    return Examination(
        reading, key, judgement, certificates, secrets, _ordered(problems), tuple(notes), warnings
    )


def _ordered(problems: Iterable[OrgkeyError]) -> tuple[OrgkeyError, ...]:
    order = {code: place for place, code in enumerate(INSPECT_PRECEDENCE)}
    return tuple(sorted(problems, key=lambda one: order.get(one.code, -1)))


def _choose(
    keys: tuple[TransferableKey, ...], wanted: str | None
) -> tuple[TransferableKey | None, list[OrgkeyError]]:
    """Choose the key that is meant: the pinned one, or the only one that has a secret, or the only one."""
    pinned = next((key for key in keys if key.fingerprint == wanted), None)
    if pinned is not None:
        return pinned, []
    found: list[OrgkeyError] = []
    candidates = [key for key in keys if key.has_secret] or list(keys)
    names = ", ".join(key.fingerprint for key in candidates)
    if len(candidates) > 1:
        told = f"the file holds {len(candidates)} keys, and none was chosen: {names}"
        found.append(SeveralKeys(told, hint="choose one with --fingerprint, or export only that one"))
    if wanted is not None and candidates:
        found.append(
            NotPinned(
                f"the key {names} is not the pinned {wanted}",
                hint="give the pinned key's export; if the Organization Key was regenerated, pin the new "
                "fingerprint and list the old one as former",
            )
        )
    return (candidates[0] if len(candidates) == 1 else None), found


_ELSEWHERE: Final = {
    None: ("missing", "export the whole keypair, with the secret parts of all subkeys"),
    ProtectionState.DUMMY: (
        "a gnu-dummy: only a mark that it is kept elsewhere",
        "export the keypair from the server itself, not from a gpg key ring that lacks it",
    ),
    ProtectionState.CARD: (
        "on a smart card, the file has only a stub of it",
        "export the keypair from where its secret can be exported",
    ),
}
"""Where the secret part of a component is when it is not in the file, and what to do."""


def _secret_parts(key: TransferableKey) -> Iterable[OrgkeyError]:
    bare = []
    for index, component in enumerate(key.components):
        name, how, state = name_of(key, index), component.protection, component.state
        if state in _ELSEWHERE:
            where, hint = _ELSEWHERE[state]
            yield Incomplete(f"the secret part of {name} is {where}", hint=hint)
        elif how and state is ProtectionState.UNSUPPORTED:
            yield Unsupported(f"{name} is {how.problem}", hint=UNSUPPORTED_HINT)
        elif state is ProtectionState.UNPROTECTED:
            bare.append(name)
    if bare:
        yield Unprotected(
            f"{' and '.join(bare)} {'have' if len(bare) > 1 else 'has'} no passphrase",
            hint="export the keypair with a passphrase, and treat this file as the key itself; "
            "or --accept unprotected",
        )


def _usability(key: TransferableKey, judgement: KeyValidity, now: datetime) -> Iterator[OrgkeyError]:
    """Find what speaks against using a key now: expiry, revocation, missing signatures and capabilities.

    Args:
        key: The merged key.
        judgement: What its self-signatures say now.
        now: The present time, with a zone.
    """
    primary = judgement.primary
    if key.primary.public.created > now or primary.later:
        when = stamp(key.primary.public.created)
        yield Expired(
            f"the key is not yet valid: it, or all its self-signatures, are later than now (made {when})",
            hint="check this host's clock and the server's; or --accept expired",
        )
    if primary.revoked:
        yield Revoked("the key has been revoked", hint=_REPLACED)
    elif primary.expires is not None and primary.expired(now):
        hint = "export it again after the server has renewed it; or --accept expired"
        yield Expired(f"the key expired at {stamp(primary.expires)}", hint=hint)
    if not key.identities:
        yield Incomplete("the key has no user id", hint=_PUBLIC_TOO)
    if not primary.bound and not primary.later:
        yield _unsigned("the key", judgement)
        return
    if key.identities and primary.bound and not any(judgement.identities):
        # GnuPG takes no such key, and what recovers it without this program is GnuPG.
        yield _unsigned("every user id", judgement)
    for index, standing in enumerate(judgement.subkeys, start=1):
        if not standing.bound and not standing.later and not standing.revoked:
            yield _unsigned(name_of(key, index), judgement)
    if not (primary.revoked or primary.later):  # said already, and it explains what the key cannot do
        yield from _capabilities(judgement, now)


def _unsigned(name: str, judgement: KeyValidity) -> Incomplete:
    if not judgement.discounted:
        return Incomplete(f"{name} has no genuine self-signature", hint=_PUBLIC_TOO)
    return Incomplete(
        f"{name} has no self-signature that counts: they {'; they '.join(judgement.discounted)}",
        hint="sign the key's user ids and subkeys anew, without that, in the program that made it; "
        "then export it again",
    )


def _capabilities(judgement: KeyValidity, now: datetime) -> Iterator[OrgkeyError]:
    """The Org Key signs user keys and encrypts backups: the key must be able to, and now."""
    whole = judgement.primary
    for need, verb, holders in (
        (sig.CERTIFY, "certify user keys", (whole,)),
        (sig.SIGN, "sign", judgement.standings),
        (sig.ENCRYPT, "encrypt", judgement.standings),
    ):
        able = [one for one in holders if one.usable(need)]
        if any(not one.expired(now) for one in able) or (able and whole.expired(now)):
            continue
        if able or any(one.later for one in holders):
            told = f"every part of the key that can {verb} has expired, or is not yet valid"
            yield Expired(told, hint="export the key again after its renewal; or --accept expired")
        elif any(one.revoked and one.flags & need for one in holders):
            yield Revoked(f"every part of the key that could {verb} has been revoked", hint=_REPLACED)
        else:
            yield Incomplete(f"the key cannot {verb}: no part of it has that capability", hint=_CAPABLE)
