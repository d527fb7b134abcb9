"""Whether an export can be escrowed: every reason why not, with its exit code."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from pipeline.core.errors import (
    INSPECT_PRECEDENCE,
    Code,
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
from pipeline.core.secret import Secret
from pipeline.core.text import counted
from pipeline.openpgp.format.material import UNSUPPORTED_HINT
from pipeline.openpgp.format.protection import ProtectionState
from pipeline.openpgp.key.model import TransferableKey, without_unbound
from pipeline.openpgp.key.organization_certificates import OrganizationCertificate, find_certificates
from pipeline.openpgp.key.parsing import KeyFile, read_all
from pipeline.openpgp.key.unlocking import name_of, open_all
from pipeline.openpgp.key.usability import Problem, usability
from pipeline.openpgp.key.validity import KeyValidity, judge

ACCEPTABLE = frozenset({"unprotected", "expired", "certificates"})
"""What an operator can accept: codes 11, 15 (never a revocation) and 17."""


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
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def protected(self) -> bool:
        """Whether a secret part takes a passphrase."""
        return self.key is not None and any(
            part.protection is not None and part.protection.state is ProtectionState.PROTECTED
            for part in self.key.components
        )

    def refused(self, accept: Collection[str] = ()) -> Problem | None:
        """The first problem that is not accepted."""
        return next((problem for problem in self.problems if problem.accept not in accept), None)

    def mistyped(self, passphrase: Secret) -> bool:
        """Whether a passphrase is simply a wrong one, which is worth another try."""
        wrong = open_all(self.key, passphrase)[1] if self.key else []
        return any(error.code is Code.WRONG_PASSPHRASE for error in wrong)


def normalise_pin(pin: str) -> str:
    """Bring a fingerprint that a person wrote into its one form: 40 upper-case hexadecimal digits.

    Raises:
        UsageProblem: It is not a version 4 fingerprint. A key id is not enough: those can be forged.
    """
    digits = re.sub(r"[\s:]", "", pin)
    digits = digits[2:] if digits[:2] in ("0x", "0X") else digits
    if not re.fullmatch(r"[0-9A-Fa-f]{40}", digits):
        raise UsageProblem(
            "the pinned fingerprint does not have 40 hexadecimal digits",
            hint="give the whole fingerprint, as `orgkey inspect` shows it; a key id is not enough",
        )
    return digits.upper()


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
    problems = [Problem(error) for error in reading.problems]
    key, choice = _choose(reading.keys, wanted)
    problems += [Problem(error) for error in choice]
    if key is None:
        return Examination(reading, None, None, (), (), _ordered(problems), reading.notes)
    judgement = judge(key, now)
    notes = [*reading.notes, *judgement.notes]
    others = len(reading.keys) - 1
    if others:
        notes.append(f"{counted(others, 'other key')} in the file {'was' if others == 1 else 'were'} ignored")
    kept = without_unbound(key, (one.bound or one.later or one.revoked for one in judgement.subkeys))
    if kept is not key and len(kept.subkeys) != len(key.subkeys):
        notes.append("subkeys that the key never signed were left out")
        key = kept
        judgement = judge(key, now)
    certificates = find_certificates(key)
    warnings = tuple(warning for one in certificates for warning in one.warnings(now))
    problems += [Problem(error) for error in key.problems]
    secrets: tuple[Secret | None, ...] = ()
    if not key.has_secret:
        problems.append(Problem(_public_only()))
    else:
        problems += _secret_parts(key)
        opened, wrong = open_all(key, passphrase)
        secrets = tuple(opened)
        problems += [Problem(error) for error in wrong]
    problems += usability(key, judgement, now)
    problems += _certificates(certificates)
    return Examination(
        reading, key, judgement, certificates, secrets, _ordered(problems), tuple(notes), warnings
    )


def _ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    order = {code: place for place, code in enumerate(INSPECT_PRECEDENCE)}
    return tuple(sorted(problems, key=lambda one: order.get(one.error.code, -1)))


def _choose(
    keys: tuple[TransferableKey, ...], wanted: str | None
) -> tuple[TransferableKey | None, list[OrgkeyError]]:
    """Choose the key that is meant: the pinned one, or the only one that has a secret, or the only one."""
    found: list[OrgkeyError] = []
    if wanted is not None:
        for key in keys:
            if key.fingerprint == wanted:
                return key, []
    candidates = [key for key in keys if key.has_secret] or list(keys)
    names = ", ".join(key.fingerprint for key in candidates)
    if len(candidates) > 1:
        found.append(
            SeveralKeys(
                f"the file holds {len(candidates)} keys, and none was chosen: {names}",
                hint="choose one with --fingerprint, or export only that one",
            )
        )
    if wanted is not None and candidates:
        found.append(
            NotPinned(
                f"the key {names} is not the pinned {wanted}",
                hint="give the pinned key's export; if the Organization Key was regenerated, pin the new "
                "fingerprint and list the old one as former",
            )
        )
    return (candidates[0] if len(candidates) == 1 else None), found


def _public_only() -> PublicOnly:
    return PublicOnly(
        "the file holds the public key only",
        hint="export the keypair, with a passphrase; no restore without it",
    )


def _secret_parts(key: TransferableKey) -> Iterable[Problem]:
    bare = []
    for index, component in enumerate(key.components):
        name = name_of(key, index)
        how = component.protection
        if how is None:
            yield Problem(
                Incomplete(
                    f"the secret part of {name} is missing",
                    hint="export the whole keypair, with the secret parts of all subkeys",
                )
            )
        elif how.state is ProtectionState.DUMMY:
            yield Problem(
                Incomplete(
                    f"the secret part of {name} is a gnu-dummy: only a mark that it is kept elsewhere",
                    hint="export the keypair from the server itself, not from a gpg key ring that lacks it",
                )
            )
        elif how.state is ProtectionState.CARD:
            yield Problem(
                Incomplete(
                    f"the secret part of {name} is on a smart card, the file has only a stub of it",
                    hint="export the keypair from where its secret can be exported",
                )
            )
        elif how.state is ProtectionState.UNSUPPORTED:
            yield Problem(Unsupported(f"{name} is {how.problem}", hint=UNSUPPORTED_HINT))
        elif how.state is ProtectionState.UNPROTECTED:
            bare.append(name)
    if bare:
        yield Problem(
            Unprotected(
                f"{' and '.join(bare)} {'have' if len(bare) > 1 else 'has'} no passphrase",
                hint="export the keypair with a passphrase, and treat this file as the key itself; "
                "or --accept unprotected",
            ),
            "unprotected",
        )


def _certificates(found: tuple[OrganizationCertificate, ...]) -> Iterable[Problem]:
    if len(found) > 1:
        names = "; ".join(f"{one.subject} (serial {one.serial})" for one in found)
        yield Problem(
            TooManyCertificates(
                f"{len(found)} Organization Certificates are attached to the key: {names}",
                hint="a server backup taken like this cannot be restored: remove all but one on the server, "
                "and export again; or --accept certificates",
            ),
            "certificates",
        )
