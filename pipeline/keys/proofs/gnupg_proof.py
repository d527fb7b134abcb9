"""Proofs by GnuPG, each use in a home of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pipeline.errors import ProgramMissing
from pipeline.keys.gnupg import GnuPG, GnuPGRefused
from pipeline.keys.proofs.interface import (
    Checked,
    Done,
    Exhibit,
    Failure,
    Job,
    Made,
    Outcome,
    Product,
    Task,
    Unsupported,
    Verdict,
)
from pipeline.process import find

NAME: Final = "gnupg"


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

    def _make(self, job: Job) -> tuple[dict[Task, Outcome], Product | Failure | Unsupported]:
        gpg = GnuPG(job.deadline, moment=job.views.moment, cancellation=job.cancellation)
        self._gpg = gpg.__enter__()
        name = job.views.fingerprint
        try:
            # One import for all: the public part, the same with the stored secrets, and the user's key.
            gpg.import_keys(
                job.views.public + job.views.secret + job.user.public,
                {name: True, job.user.fingerprint: False},
            )
        except GnuPGRefused as error:
            failure = Failure(error.message)
            return dict.fromkeys(Task, failure), failure
        user = job.user.fingerprint
        outcomes: dict[Task, Outcome] = {
            Task.FINGERPRINT: Product(name.encode()),
            Task.SIGN: _attempt(lambda: gpg.sign(job.nonce, name, job.passphrase)),
            Task.CERTIFY: _attempt(lambda: gpg.certify(user, job.user_id, name, job.passphrase)),
        }
        failures = [one for one in outcomes.values() if isinstance(one, Failure)]
        # What was not opened for one of these is opened for the decryption, which fails by itself.
        outcomes[Task.UNLOCK] = failures[0] if failures else Done()
        return outcomes, _attempt(lambda: gpg.encrypt(job.plaintext, name))

    def check(self, job: Job, exhibits: list[Exhibit]) -> Checked:
        """Verify signatures and certifications, and decrypt a message."""
        begun = time.monotonic()
        gpg = self._gpg
        if gpg is None:
            return Checked()
        signatures = {one.maker: _verify(gpg, job, one) for one in exhibits if one.signature}
        plaintexts: dict[str, Product | Failure | Unsupported] = {}
        sealed = next((one for one in exhibits if one.message), None)
        if sealed is not None:
            plaintexts[sealed.maker] = _attempt(lambda: gpg.decrypt(sealed.message or b"", job.passphrase))
        return Checked(signatures, _certifications(gpg, job, exhibits), plaintexts, time.monotonic() - begun)

    def close(self) -> None:
        """End the agent and remove the home."""
        gpg, self._gpg = self._gpg, None
        if gpg is not None:
            gpg.__exit__(None, None, None)


def _attempt(act: Callable[[], bytes]) -> Product | Failure:
    try:
        return Product(act())
    except GnuPGRefused as error:
        return Failure(error.message)


def _refuses(job: Job) -> Done | Failure:
    """Try the wrong passphrase in a fresh home: an agent that has seen the right one proves nothing."""
    name = job.views.fingerprint
    refused = []
    with GnuPG(job.deadline, moment=job.views.moment, cancellation=job.cancellation) as gpg:
        try:
            gpg.import_keys(job.views.secret, {name: True})
            message = gpg.encrypt(b"negative", name)
        except GnuPGRefused as error:
            return Failure(error.message)
        acts: list[Callable[[], bytes]] = [
            lambda: gpg.sign(job.nonce, name, job.wrong),
            lambda: gpg.decrypt(message, job.wrong),
        ]
        for act in acts:
            try:
                act()
            except GnuPGRefused as error:
                refused.append(error)
            else:
                return Failure("a wrong passphrase opens the key")
    if any(error.bad_passphrase for error in refused):
        return Done()
    return Failure(f"refused for another reason than the wrong passphrase: {refused[0].message}")


def _verify(gpg: GnuPG, job: Job, exhibit: Exhibit) -> Verdict:
    found = gpg.verify(exhibit.nonce, exhibit.signature or b"")
    if found is None:
        return Verdict(False, "gpg says that the signature is bad")
    if found.primary != job.views.fingerprint:
        return Verdict(False, f"made by {found.primary}")
    # It says "key expired" of every expired key; that is known, and proves nothing about the secret.
    return Verdict(found.state == "good" or (job.views.expired and found.state == "key expired"), found.state)


def _certifications(gpg: GnuPG, job: Job, exhibits: list[Exhibit]) -> dict[str, Verdict]:
    certified = [one for one in exhibits if one.certified]
    if not certified:
        return {}
    try:
        gpg.import_keys(b"".join(one.certified or b"" for one in certified), {job.user.fingerprint: False})
        found = gpg.certifications(job.user.fingerprint)
    except GnuPGRefused as error:
        return {one.maker: Verdict(False, error.message) for one in certified}
    signer = job.views.fingerprint[-16:]
    verdicts = {}
    for one in certified:
        ours = [item for item in found if item.user_id == one.user_id and item.signer == signer]
        good = bool(ours) and all(item.good for item in ours)
        verdicts[one.maker] = Verdict(good, "" if good else "gpg finds no good certification")
    return verdicts
