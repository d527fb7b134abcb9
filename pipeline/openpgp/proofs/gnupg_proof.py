"""Proofs by GnuPG, each use in a home of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pipeline.core.errors import ProgramMissing
from pipeline.core.process import find
from pipeline.core.secret import Secret
from pipeline.openpgp.format.material import PublicPart
from pipeline.openpgp.gnupg.driver import GnuPG, GnuPGRefused
from pipeline.openpgp.proofs import known_answer
from pipeline.openpgp.proofs.interface import (
    CheckedExhibits,
    Done,
    Exhibit,
    ExhibitVerdict,
    Job,
    Made,
    NoPart,
    Outcome,
    Product,
    Refutation,
    TakesNoPart,
    Task,
    first_opened,
)

NAME: Final = "gnupg"
AGENT_LOST_IT: Final = (
    "GnuPG's agent loses a byte of how this keypair is protected, and then calls the passphrase wrong: "
    "`orgkey custody rotate` writes it anew"
)
"""A refusal that says nothing about the key: see :attr:`Protection.text_like`."""


class GnuPGProver:
    """gpg and its agent."""

    name = NAME

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

    def make(self, job: Job) -> Made:
        """Import, sign, certify, encrypt; a wrong passphrase meanwhile, in another home."""
        begun = time.monotonic()
        with ThreadPoolExecutor(1, "negative") as pool:
            negative = pool.submit(_refuses, job)
            outcomes, message = self._make(job)
            outcomes[Task.NEGATIVE] = negative.result()
        return Made(outcomes, message, time.monotonic() - begun)

    def _make(self, job: Job) -> tuple[dict[Task, Outcome], Product | NoPart]:
        gpg = GnuPG(job.deadline, moment=job.views.moment, cancellation=job.cancellation)
        self._gpg = gpg.__enter__()
        name = job.views.fingerprint
        # One import for all: the known answer, the public part, the same with the stored secrets, the user.
        gpg.import_keys(
            known_answer.SECRET + job.views.public + job.views.secret + job.user.public,
            {name: True, job.user.fingerprint: False, known_answer.FINGERPRINT: True},
        )
        if gpg.decrypt(known_answer.MESSAGE, Secret(known_answer.PASSPHRASE)) != known_answer.ANSWER:
            raise TakesNoPart("it does not work here: it does not find the known answer")
        user = job.user.fingerprint
        outcomes: dict[Task, Outcome] = {
            Task.FINGERPRINT: Product(name.encode()),
            Task.SIGN: _with(
                job, job.views.signing, lambda part: sign(gpg, job.nonce, part, job.passphrase), "sign"
            ),
            Task.CERTIFY: _attempt(
                job,
                lambda: gpg.certify(user, job.user_id, name, job.passphrase, digest=job.views.primary.digest),
            ),
        }
        if NoPart(AGENT_LOST_IT) in outcomes.values():
            raise TakesNoPart(AGENT_LOST_IT)
        others = [one for one in outcomes.values() if isinstance(one, Refutation | NoPart)]
        # What was not opened for one of these is opened for the decryption, which fails by itself.
        outcomes[Task.UNLOCK] = next((one for one in others if isinstance(one, Refutation)), None) or (
            others[0] if len(others) == 2 else Done()
        )
        message = _with(
            job,
            job.views.encrypting,
            lambda part: gpg.encrypt(job.plaintext, f"{part.fingerprint}!"),
            "encrypt",
        )
        return outcomes, message if isinstance(message, Product) else NoPart(message.reason)

    def check(self, job: Job, exhibits: list[Exhibit]) -> CheckedExhibits:
        """Verify signatures and certifications, and decrypt a message."""
        begun = time.monotonic()
        gpg = self._gpg
        if gpg is None:
            return CheckedExhibits()
        signatures = {one.maker: _verify(gpg, job, one) for one in exhibits if one.signature}
        plaintexts = first_opened(
            exhibits, lambda message: _attempt(job, lambda: gpg.decrypt(message, job.passphrase))
        )
        return CheckedExhibits(
            signatures, _certifications(gpg, job, exhibits), plaintexts, time.monotonic() - begun
        )

    def close(self) -> None:
        """End the agent and remove the home."""
        gpg, self._gpg = self._gpg, None
        if gpg is not None:
            gpg.__exit__(None, None, None)


def sign(gpg: GnuPG, data: bytes, part: PublicPart, passphrase: Secret) -> bytes:
    """Make a detached signature with the very part that is meant, not with the one that gpg would choose.

    Raises:
        GnuPGRefused: gpg did not make one.
    """
    return gpg.sign(data, f"{part.fingerprint}!", passphrase, digest=part.digest)


def _attempt(job: Job, act: Callable[[], bytes]) -> Product | Refutation | NoPart:
    try:
        return Product(act())
    except GnuPGRefused as error:
        if error.bad_passphrase and job.views.text_like:
            return NoPart(AGENT_LOST_IT)
        return Refutation(error.message) if error.bad_passphrase else NoPart(error.message)


def _with(
    job: Job, parts: Sequence[PublicPart], act: Callable[[PublicPart], bytes], use: str
) -> Product | Refutation | NoPart:
    """Do something with the part that lasts longest."""
    if not parts:
        return NoPart(f"no part of the key can {use}")
    return _attempt(job, lambda: act(parts[0]))


def _refuses(job: Job) -> Done | Refutation | NoPart:
    """Try the wrong passphrase in a fresh home: an agent that has seen the right one proves nothing."""
    name = job.views.fingerprint
    refused = []
    with GnuPG(job.deadline, moment=job.views.moment, cancellation=job.cancellation) as gpg:
        acts: list[Callable[[], bytes]] = []
        try:
            gpg.import_keys(job.views.secret, {name: True})
            if job.views.signing:
                acts.append(lambda: sign(gpg, job.nonce, job.views.signing[0], job.wrong))
            if job.views.encrypting:
                message = gpg.encrypt(b"negative", f"{job.views.encrypting[0].fingerprint}!")
                acts.append(lambda: gpg.decrypt(message, job.wrong))
        except GnuPGRefused as error:
            if not acts:
                return NoPart(error.message)
        for act in acts:
            try:
                act()
            except GnuPGRefused as error:
                refused.append(error)
            else:
                return Refutation("a wrong passphrase opens the key")
    if any(error.bad_passphrase for error in refused):
        return Done()
    why = refused[0].message if refused else "there is nothing to try it with"
    return NoPart(f"refused for another reason than the wrong passphrase: {why}")


def _verify(gpg: GnuPG, job: Job, exhibit: Exhibit) -> ExhibitVerdict:
    try:
        found = gpg.verify(exhibit.nonce, exhibit.signature or b"")
    except GnuPGRefused as error:
        return ExhibitVerdict(None, error.message)
    if found is None:
        return ExhibitVerdict(False, "gpg says that the signature is bad")
    if found.primary != job.views.fingerprint:
        return ExhibitVerdict(False, f"made by {found.primary}")
    # It says "key expired" of every expired key; that is known, and proves nothing about the secret.
    return ExhibitVerdict(
        found.state == "good" or (job.views.expired and found.state == "key expired"), found.state
    )


def _certifications(gpg: GnuPG, job: Job, exhibits: list[Exhibit]) -> dict[str, ExhibitVerdict]:
    certified = [one for one in exhibits if one.certified]
    if not certified:
        return {}
    try:
        gpg.import_keys(b"".join(one.certified or b"" for one in certified), {job.user.fingerprint: False})
        found = gpg.certifications(job.user.fingerprint)
    except GnuPGRefused as error:
        return {one.maker: ExhibitVerdict(None, error.message) for one in certified}
    signer = job.views.fingerprint[-16:]
    verdicts = {}
    for one in certified:
        ours = [item for item in found if item.user_id == one.user_id and item.signer == signer]
        if ours and all(item.good for item in ours):
            verdicts[one.maker] = ExhibitVerdict(True)
        elif any(item.bad for item in ours):
            verdicts[one.maker] = ExhibitVerdict(False, "gpg says that the certification is bad")
        else:
            verdicts[one.maker] = ExhibitVerdict(None, "gpg cannot check the certification")
    return verdicts
