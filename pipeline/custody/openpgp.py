"""A group of custodians: people, each with a share encrypted to their OpenPGP certificate.

Shares are encrypted here and opened by their custodians, wherever their secret keys are: this host never
needs one. GnuPG encrypts, since custodians decrypt with it, whatever the algorithm of their keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from pipeline.clock import Clock, Deadline, stamp
from pipeline.custody import certificates
from pipeline.custody.interface import Binding, Coordinates, SealedShare
from pipeline.errors import NotEnoughShares, OrgkeyError
from pipeline.finding import Finding, Level
from pipeline.secret import Secret

if TYPE_CHECKING:
    from pipeline.config import OpenpgpHolder

SUFFIX = "asc"


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
        self, name: str, item: OpenpgpHolder, *, deadline: Deadline, clock: Clock, warning_days: float = 60.0
    ) -> None:
        self.name = name
        self.size = item.size
        self._item = item
        self._deadline = deadline
        self._clock = clock
        self._warning = timedelta(days=warning_days)

    def describe(self) -> Coordinates:
        """Who they are, and which of their keys shares are encrypted to.

        Raises:
            UsageProblem: Nothing may be encrypted to one of the certificates.
        """
        people = certificates.recipients(self.name, self._item, self._clock.now())
        pinned = [f"{member.fingerprint}/{member.subkey}" for member in self._item.members if member.subkey]
        described: dict[str, str | int | bool | list[str] | None] = {
            "members": [person.fingerprint for person in people],
            "encrypted_to": [person.subkey for person in people],
            "names": [person.name for person in people],
        }
        return described | ({"pinned_subkeys": pinned} if pinned else {})

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:  # noqa: ARG002, RUF100
        """Encrypt one share to each custodian; the commitment in the manifest binds it to its record.

        Raises:
            UsageProblem: Nothing may be encrypted to one of the certificates.
            ProofFailed: gpg does not take one.
            ProgramMissing, DeadlinePassed: gpg is missing, or not done in time.
        """
        from pipeline.keys.gnupg import GnuPG

        people = certificates.recipients(self.name, self._item, self._clock.now())
        sealed = []
        with GnuPG(self._deadline) as gpg:
            for index, (person, words) in enumerate(zip(people, shares, strict=True), 1):
                gpg.import_keys(person.certificate, {person.fingerprint: False})
                data = gpg.encrypt(words.reveal() + b"\n", f"{person.subkey}!", armor=True)
                sealed.append(SealedShare(index, SUFFIX, data, person.fingerprint))
        return sealed

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
        subject = f"holder {self.name}"
        try:
            shelf = certificates.collect(self._item)
        except OrgkeyError as error:
            return [Finding(Level.FAIL, subject, error.message, error.hint, error.code)]
        findings = []
        now = self._clock.now()
        for member in self._item.members:
            key = shelf.certificates.get(member.fingerprint)
            try:
                person = certificates.recipient(self.name, member, key, now)
            except OrgkeyError as error:
                message = error.message.removeprefix(f"{subject}: ")
                findings.append(Finding(Level.FAIL, subject, message, error.hint, error.code))
                continue
            if person.expires and person.expires - now < self._warning:
                findings.append(
                    Finding(
                        Level.WARN,
                        subject,
                        f"the certificate of {person.name} expires at {stamp(person.expires)}",
                        "get a renewed one before then: no share can be encrypted to it afterwards",
                    )
                )
        findings += [
            Finding(Level.WARN, subject, problem, "remove or replace it") for problem in shelf.problems
        ]
        findings += [
            Finding(
                Level.WARN,
                subject,
                f"a certificate that is nobody's in the group lies there, and is not used: {stranger}",
                "find out who put it there",
            )
            for stranger in shelf.strangers
        ]
        if not findings:
            findings.append(Finding(Level.OK, subject, f"{self.size} custodians, certificates are good"))
        return findings
