"""Proofs by GnuPG, each use in a home of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pipeline.core.clock import Deadline
from pipeline.core.errors import ProgramMissing
from pipeline.core.process import find
from pipeline.core.secret import Secret
from pipeline.openpgp.format.material import PublicPart
from pipeline.openpgp.gnupg.driver import GnuPG, GnuPGRefused
from pipeline.openpgp.proofs import known_answer
from pipeline.openpgp.proofs.interface import (
    DONE,
    Job,
    Made,
    Outcome,
    TakesNoPart,
    Task,
    Verdicts,
    first_opened,
    no_part,
    produced,
    refuted,
)
from pipeline.openpgp.proofs.views import Views

AGENT_LOST_IT: Final = (
    "GnuPG's agent loses a byte of how this keypair is protected, and then calls the passphrase wrong: "
    "`orgkey custody rotate` writes it anew"
)
"""A refusal that says nothing about the key: see :attr:`Protection.text_like`."""
AGENT_SPOILT_IT: Final = "GnuPG's agent cannot read what it has stored itself"
"""It protects anew what it opens, and may lose a byte of that salt; in another home it takes another."""


class GnuPGProver:
    """gpg and its agent."""

    name = "gnupg"

    def __init__(self) -> None:
        self._gpg: GnuPG | None = None

    def absent(self, job: Job) -> str | None:
        """Why it takes no part: not installed."""
        try:
            find("gpg")
            find("gpg-agent")
        except ProgramMissing as error:
            return f"not installed: {error.message}"
        return None

    def make(self, job: Job) -> dict[Task, Outcome]:
        """Import, sign, certify, encrypt; a wrong passphrase meanwhile, in another home."""
        with ThreadPoolExecutor(1, "negative") as pool:
            negative = pool.submit(_refuses, job)
            made = self._make(job)
            if no_part(AGENT_SPOILT_IT) in made.values():
                self.close()
                made = self._make(job)
            return {**made, Task.NEGATIVE: negative.result()}

    def _make(self, job: Job) -> dict[Task, Outcome]:
        views, user = job.views, job.user.fingerprint
        gpg = GnuPG(job.deadline, moment=views.moment, cancellation=job.cancellation)
        self._gpg = gpg.__enter__()
        # One import for all: the known answer, the public part, the same with the stored secrets, the user.
        gpg.import_keys(
            known_answer.SECRET + views.public + views.secret + job.user.public,
            {views.fingerprint: True, user: False, known_answer.FINGERPRINT: True},
        )
        if gpg.decrypt(known_answer.MESSAGE, Secret(known_answer.PASSPHRASE)) != known_answer.ANSWER:
            raise TakesNoPart("it does not work here: it does not find the known answer")

        def certify(part: PublicPart) -> bytes:
            return gpg.certify(user, job.user_id, part.fingerprint, job.passphrase, digest=part.digest)

        signed = _with(views, "sign", lambda part: _sign(gpg, job.nonce, part, job.passphrase))
        certified = _with(views, "certify", certify)
        if no_part(AGENT_LOST_IT) in (signed, certified):
            raise TakesNoPart(AGENT_LOST_IT)
        # What was not opened for one of these is opened for the decryption, which fails by itself.
        failed = [one for one in (signed, certified) if not one.ok]
        contrary = [one for one in failed if one.ok is False]
        return {
            Task.FINGERPRINT: produced(views.fingerprint.encode()),
            Task.SIGN: signed,
            Task.CERTIFY: certified,
            Task.UNLOCK: contrary[0] if contrary else failed[0] if len(failed) == 2 else DONE,
            Task.DECRYPT: _with(views, "encrypt", lambda part: _encrypt(gpg, job.plaintext, part)),
        }

    def check(self, job: Job, others: Sequence[Made]) -> Verdicts:
        """Verify signatures and certifications, and decrypt a message."""
        gpg = self._gpg
        if gpg is None:
            return {}
        signed = [one for one in others if one.product(Task.SIGN)]
        found = {(Task.SIGN, one.job.name): _verify(gpg, job, one) for one in signed}
        found |= _certifications(gpg, job, [one for one in others if one.product(Task.CERTIFY)])
        return found | first_opened(
            others, lambda message: _attempt(job.views, lambda: gpg.decrypt(message, job.passphrase))
        )

    def close(self) -> None:
        """End the agent and remove the home."""
        gpg, self._gpg = self._gpg, None
        if gpg is not None:
            gpg.close()


def sign(views: Views, passphrase: Secret, data: bytes, deadline: Deadline) -> Outcome:
    """Make a detached signature, at a time inside the key's validity."""
    with GnuPG(deadline, moment=views.moment) as gpg:
        gpg.import_keys(views.secret, {views.fingerprint: True})
        return _with(views, "sign", lambda part: _sign(gpg, data, part, passphrase))


def _sign(gpg: GnuPG, data: bytes, part: PublicPart, passphrase: Secret) -> bytes:
    """Sign with the very part that is meant, not with the one that gpg would choose."""
    return gpg.sign(data, f"{part.fingerprint}!", passphrase, digest=part.digest)


def _encrypt(gpg: GnuPG, data: bytes, part: PublicPart) -> bytes:
    return gpg.encrypt(data, f"{part.fingerprint}!")


def _attempt(views: Views, act: Callable[[], bytes]) -> Outcome:
    try:
        return produced(act())
    except GnuPGRefused as error:
        if error.bad_passphrase and views.text_like:
            return no_part(AGENT_LOST_IT)
        if error.corrupted:
            return no_part(AGENT_SPOILT_IT)
        return refuted(error.message) if error.bad_passphrase else no_part(error.message)


def _with(views: Views, use: str, act: Callable[[PublicPart], bytes]) -> Outcome:
    """Do something with the primary key, or with the part for this use that lasts longest."""
    parts = {"certify": views.parts, "sign": views.signing, "encrypt": views.encrypting}[use]
    return _attempt(views, lambda: act(parts[0])) if parts else no_part(f"no part of the key can {use}")


def _refuses(job: Job) -> Outcome:
    """Try the wrong passphrase in a fresh home: an agent that has seen the right one proves nothing."""
    views = job.views
    refused = []
    with GnuPG(job.deadline, moment=views.moment, cancellation=job.cancellation) as gpg:
        acts: list[Callable[[], bytes]] = []
        try:
            gpg.import_keys(views.secret, {views.fingerprint: True})
            if views.signing:
                acts.append(lambda: _sign(gpg, job.nonce, views.signing[0], job.wrong))
            if views.encrypting:
                message = _encrypt(gpg, b"negative", views.encrypting[0])
                acts.append(lambda: gpg.decrypt(message, job.wrong))
        except GnuPGRefused as error:
            if not acts:
                return no_part(error.message)
        for act in acts:
            try:
                act()
            except GnuPGRefused as error:
                refused.append(error)
            else:
                return refuted("a wrong passphrase opens the key")
    if any(error.bad_passphrase for error in refused):
        return DONE
    why = refused[0].message if refused else "there is nothing to try it with"
    return no_part(f"refused for another reason than the wrong passphrase: {why}")


def _verify(gpg: GnuPG, job: Job, made: Made) -> Outcome:
    try:
        found = gpg.verify(made.job.nonce, made.product(Task.SIGN))
    except GnuPGRefused as error:
        return no_part(error.message)
    if found is None:
        return refuted("gpg says that the signature is bad")
    if found.primary != job.views.fingerprint:
        return refuted(f"made by {found.primary}")
    # It says "key expired" of every expired key; that is known, and proves nothing about the secret.
    return Outcome(found.state == "good" or (job.views.expired and found.state == "key expired"), found.state)


def _certifications(gpg: GnuPG, job: Job, certified: Sequence[Made]) -> Verdicts:
    if not certified:
        return {}
    try:
        users = b"".join(one.product(Task.CERTIFY) for one in certified)
        gpg.import_keys(users, {job.user.fingerprint: False})
        found = gpg.certifications(job.user.fingerprint)
    except GnuPGRefused as error:
        return {(Task.CERTIFY, one.job.name): no_part(error.message) for one in certified}
    verdicts = {}
    for one in certified:
        marks = found.get((one.job.user_id, job.views.primary.key_id), set())
        outcome = DONE if marks == {"!"} else no_part("gpg cannot check the certification")
        if "-" in marks:
            outcome = refuted("gpg says that the certification is bad")
        verdicts[Task.CERTIFY, one.job.name] = outcome
    return verdicts
