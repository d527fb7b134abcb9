"""Custodians' certificates: which are pinned, and whether a share may be encrypted to them today.

Files only supply certificates. Which are used is the configuration's word alone, by the fingerprint of
the primary key and, where one is pinned, of the encryption subkey; a file that lies there for anybody
else is never used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.clock import stamp
from pipeline.errors import OrgkeyError, UsageProblem

if TYPE_CHECKING:
    from pipeline.config import Custodian, OpenpgpHolder
    from pipeline.keys.material import PublicPart
    from pipeline.keys.model import Key
    from pipeline.keys.validity import Judgement

ENDINGS: Final = (".asc", ".gpg", ".pgp", ".key")
MAX_FILES: Final = 1000
LEAST_BITS: Final = 2048
"""Of RSA and ElGamal; NIST SP 800-131A allows no less since 2014."""

_HINT = "ask the custodian for a current certificate, put it into `certificates`, and check its fingerprint"


@dataclass(frozen=True)
class Recipient:
    """A custodian to whom a share can be encrypted now.

    Attributes:
        fingerprint: Of the primary key, 40 upper-case hexadecimal digits.
        subkey: Of the key that encrypts.
        name: What the configuration calls the custodian, else the certificate's first user id.
        expires: When the primary key or that subkey expires, if ever.
        certificate: The transferable public key, binary.
        notes: What is odd about it, for people.
    """

    fingerprint: str
    subkey: str
    name: str
    expires: datetime | None
    certificate: bytes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shelf:
    """What the configured place holds.

    Attributes:
        certificates: The certificates of members, by the primary key's fingerprint.
        strangers: Fingerprints of certificates that lie there for nobody, which are not used.
        problems: Files that could not be read, in words.
    """

    certificates: Mapping[str, Key]
    strangers: tuple[str, ...]
    problems: tuple[str, ...]


def collect(item: OpenpgpHolder) -> Shelf:
    """Read the certificates of a group.

    Args:
        item: The holder's configuration.

    Raises:
        UsageProblem: The place cannot be read.
    """
    from pipeline.keys import reading
    from pipeline.keys.model import merge

    members = {member.fingerprint for member in item.members}
    found: dict[str, Key] = {}
    strangers: set[str] = set()
    problems: list[str] = []
    for path in _files(Path(item.certificates)):
        try:
            data = path.read_bytes()
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror or error}")
            continue
        read = reading.read(data)
        problems += [f"{path}: {problem.message}" for problem in read.problems]
        for key in read.keys:
            if key.fingerprint not in members:
                strangers.add(key.fingerprint)
            elif key.fingerprint in found:
                found[key.fingerprint] = merge(found[key.fingerprint], key)
            else:
                found[key.fingerprint] = key
    return Shelf(found, tuple(sorted(strangers)), tuple(problems))


def _files(place: Path) -> list[Path]:
    try:
        if not place.is_dir():
            return [place] if place.stat() else []
        files = sorted(path for path in place.iterdir() if path.suffix in ENDINGS and path.is_file())
    except OSError as error:
        raise UsageProblem(
            f"the custodians' certificates in {place} cannot be read: {error.strerror or error}",
            hint="`certificates` names a file, or a folder of .asc or .gpg files",
        ) from None
    if len(files) > MAX_FILES:
        raise UsageProblem(f"{place} holds more than {MAX_FILES} files", hint="name a folder of its own")
    return files


def recipient(name: str, member: Custodian, key: Key | None, now: datetime) -> Recipient:
    """Judge one custodian's certificate.

    Args:
        name: The holder's name, for messages.
        member: The custodian, as configured.
        key: The certificate, if one was found.
        now: The present time.

    Raises:
        UsageProblem: Nothing may be encrypted to it; said why.
    """
    from pipeline.keys.validity import judge, user_ids

    who = f"holder {name}: custodian {member.name or member.fingerprint}"
    if key is None:
        raise UsageProblem(
            f"{who}: no certificate with the fingerprint {member.fingerprint} is there", hint=_HINT
        )
    judged = judge(key, now)
    _require_valid(who, key, judged, now)
    subkey, expires = _encryption_key(who, member, key, judged, now)
    called = member.name or next(iter(user_ids(key)), "") or member.fingerprint
    ends = [moment for moment in (judged.primary.expires, expires) if moment is not None]
    return Recipient(
        key.fingerprint,
        subkey.fingerprint,
        called,
        min(ends, default=None),
        key.public(),
        tuple(judged.notes),
    )


def _require_valid(who: str, key: Key, judged: Judgement, now: datetime) -> None:
    primary = judged.primary
    problem: OrgkeyError | None = next(iter(key.problems), None)
    if problem is not None:
        reason = problem.message
    elif primary.revoked:
        reason = "the certificate has been revoked"
    elif key.primary.public.created > now or primary.later:
        reason = "the certificate is not valid yet, by this host's clock"
    elif not primary.bound:
        reason = "the certificate has no genuine self-signature"
    elif primary.expires is not None and primary.expires <= now:
        reason = f"the certificate expired at {stamp(primary.expires)}"
    elif _too_short(key.primary.public):
        reason = f"its primary key is {key.primary.public.name}, shorter than {LEAST_BITS} bits"
    else:
        return
    raise UsageProblem(f"{who}: {reason}", hint=_HINT)


def _encryption_key(
    who: str, member: Custodian, key: Key, judged: Judgement, now: datetime
) -> tuple[PublicPart, datetime | None]:
    """The pinned encryption key, else the newest that may be used."""
    from pipeline.keys.signatures import ENCRYPT

    usable = []
    refused = []
    for component, standing in zip(key.components, judged.standings, strict=True):
        public = component.public
        if member.subkey is not None and public.fingerprint != member.subkey:
            continue
        if standing.revoked:
            refused.append(f"{public.key_id} is revoked")
        elif not standing.usable(ENCRYPT):
            continue
        elif standing.expires is not None and standing.expires <= now:
            refused.append(f"{public.key_id} expired at {stamp(standing.expires)}")
        elif public.created > now:
            refused.append(f"{public.key_id} is not valid yet")
        elif _too_short(public):
            refused.append(f"{public.key_id} is {public.name}, shorter than {LEAST_BITS} bits")
        else:
            usable.append((public.created, public.fingerprint, public, standing.expires))
    if not usable:
        wanted = f"the pinned encryption key {member.subkey}" if member.subkey else "an encryption key"
        told = f" ({'; '.join(refused)})" if refused else ""
        raise UsageProblem(f"{who}: the certificate has not {wanted} that can be used{told}", hint=_HINT)
    *_, public, expires = max(usable, key=lambda item: item[:2])
    return public, expires


def _too_short(public: PublicPart) -> bool:
    return not public.curve and public.numbers[0].bit_length() < LEAST_BITS


def recipients(name: str, item: OpenpgpHolder, now: datetime) -> tuple[Recipient, ...]:
    """Everybody in a group, in the configured order.

    Args:
        name: The holder's name.
        item: Its configuration.
        now: The present time.

    Raises:
        UsageProblem: A certificate is missing, or nothing may be encrypted to it.
    """
    shelf = collect(item)
    return tuple(
        recipient(name, member, shelf.certificates.get(member.fingerprint), now) for member in item.members
    )
