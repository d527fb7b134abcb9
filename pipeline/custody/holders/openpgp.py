"""A group of custodians: people, each with a share encrypted to their OpenPGP certificate.

Shares are encrypted here and opened by their custodians, wherever their secret keys are: this host never
needs one. A custodian may have several tokens, any of which opens the one share. GnuPG encrypts, since
custodians decrypt with it, whatever the algorithm of their keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from pipeline.core.clock import Clock, Deadline
from pipeline.core.errors import IntegrityProblem, NotAKey, NotEnoughShares, UsageProblem
from pipeline.core.finding import Finding
from pipeline.core.secret import Secret
from pipeline.custody.custodians import certificate_check, certificates
from pipeline.custody.holders.interface import Binding, Coordinates, SealedShare

if TYPE_CHECKING:
    from pipeline.config.holders import OpenpgpHolderConfig
    from pipeline.custody.custodians.certificates import Recipient
    from pipeline.openpgp.gnupg.driver import GnuPG

SUFFIX = "asc"
_SESSION_KEY: Final = 1
_PROTECTED: Final = (18, 20)


class CustodianGroup:
    """Custodians with OpenPGP certificates.

    Args:
        name: The holder's name.
        item: Its configuration.
        deadline: Bounds gpg's work.
        clock: Judges the certificates' validity.
        warning_days: How long before a certificate's expiry `doctor` warns.
    """

    kind = "openpgp"
    unattended = False

    def __init__(
        self,
        name: str,
        item: OpenpgpHolderConfig,
        *,
        deadline: Deadline,
        clock: Clock,
        warning_days: float = 60.0,
    ) -> None:
        self.name = name
        self.size = item.size
        self._item = item
        self._deadline = deadline
        self._clock = clock
        self._warning = timedelta(days=warning_days)
        self._described: tuple[tuple[str, ...], ...] = ()

    def describe(self) -> Coordinates:
        """Who they are, and which of their keys shares are encrypted to.

        Raises:
            UsageProblem: Nothing may be encrypted to one of the certificates.
        """
        people = certificates.recipients(self.name, self._item, self._clock.now())
        self._described = tuple(_keys(person) for person in people)
        members = self._item.members
        described: dict[str, str | int | bool | list[str] | None] = {
            "members": [person.fingerprint for person in people],
            "encrypted_to": [" ".join(keys) for keys in self._described],
            "names": [person.name for person in people],
        }
        fixed = {
            "pinned_subkeys": [f"{item.fingerprint}/{item.subkey}" for item in members if item.subkey],
            "also_opened_by": [
                "/".join(filter(None, (item.fingerprint, token.fingerprint, token.subkey)))
                for item in members
                for token in item.also
            ],
        }
        return described | {name: listed for name, listed in fixed.items() if listed}

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:  # noqa: ARG002, RUF100
        """Encrypt one share to each custodian; the commitment in the manifest binds it to its record.

        Raises:
            UsageProblem: Nothing may be encrypted to one of the certificates, gpg does not take it, or
                it is not the one that was described.
            IntegrityProblem: gpg encrypted to other keys than it was told.
            ProgramMissing, DeadlinePassed: gpg is missing, or not done in time.
        """
        from pipeline.openpgp.gnupg.driver import GnuPG

        if len(shares) != self.size:
            raise UsageProblem(
                f"holder {self.name} has {self.size} custodians, and was given {len(shares)} shares",
                hint="give one share to each",
            )
        now = self._clock.now()
        people = certificates.recipients(self.name, self._item, now)
        self._require_described(people)
        # gpg judges too: by the same time.
        with GnuPG(self._deadline, moment=now) as gpg:
            return [
                SealedShare(index, SUFFIX, self._encrypt(gpg, person, words), person.fingerprint)
                for index, (person, words) in enumerate(zip(people, shares, strict=True), 1)
            ]

    def _require_described(self, people: Sequence[Recipient]) -> None:
        """The manifest names the keys that shares are encrypted to: files may change in between."""
        for person, keys in zip(people, self._described, strict=False):
            if _keys(person) != keys:
                raise UsageProblem(
                    f"holder {self.name}: the certificate of {person.name} ({person.fingerprint}) has "
                    "changed at this moment",
                    hint="find out who replaced it, then run this again",
                )

    def _encrypt(self, gpg: GnuPG, person: Recipient, words: Secret) -> bytes:
        from pipeline.openpgp.gnupg.driver import GnuPGRefused

        try:
            for token in person.tokens:
                gpg.import_keys(token.certificate, {token.fingerprint: False})
            data = gpg.encrypt(words.reveal() + b"\n", *(f"{key}!" for key in _keys(person)), armor=True)
        except GnuPGRefused as error:
            raise UsageProblem(
                f"holder {self.name}: custodian {person.name} ({person.fingerprint}): {error.message}",
                hint="see what gpg says about it: gpg --show-keys --with-subkey-fingerprint FILE",
            ) from error
        if not encrypted_to_alone(data, _keys(person)):
            raise IntegrityProblem(
                f"holder {self.name}: gpg did not encrypt the share of {person.name} to "
                f"{' and '.join(_keys(person))} alone",
                hint="nothing was written; look for encrypt-to in gpg's configuration for all users",
            )
        return data

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:  # noqa: ARG002, RUF100
        """Never here: a custodian's secret key is the custodian's.

        Raises:
            NotEnoughShares: Always.
        """
        raise NotEnoughShares(
            f"the share of custodian {sealed.label} opens only with that custodian's key",
            hint="have it decrypted by its custodian, and bring the words",
        )

    def check(self) -> list[Finding]:
        """Judge every certificate, and warn ahead of an expiry."""
        return certificate_check.findings(self.name, self._item, self._clock.now(), self._warning)


def _keys(person: Recipient) -> tuple[str, ...]:
    """The fingerprints of the keys that a custodian's share is encrypted to."""
    return tuple(token.subkey for token in person.tokens)


def encrypted_to_alone(message: bytes, keys: Iterable[str]) -> bool:
    """Whether a message is encrypted to these keys and no other, and protected against changes.

    Args:
        message: An OpenPGP message, armored or binary.
        keys: The keys' fingerprints, 40 hexadecimal digits each.
    """
    from pipeline.openpgp.format import armor
    from pipeline.openpgp.format.packets import parse

    try:
        *sessions, data = parse(armor.dearmor(message))
    except (NotAKey, ValueError):
        return False
    # For each key a session key of version 3 (RFC 4880 section 5.1), then the data, with MDC or AEAD.
    found = [packet.body[:9] for packet in sessions if packet.tag == _SESSION_KEY]
    wanted = [b"\x03" + bytes.fromhex(key[-16:]) for key in keys]
    return len(found) == len(sessions) and sorted(found) == sorted(wanted) and data.tag in _PROTECTED
