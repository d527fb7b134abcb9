"""Proofs by Sequoia, in this process."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from pipeline.core.errors import UsageProblem
from pipeline.openpgp.format.material import CURVES, DSA, ECDH, ECDSA, EDDSA, RSA, PublicPart
from pipeline.openpgp.key import parsing
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
from pipeline.openpgp.proofs.views import splice

if TYPE_CHECKING:
    import pysequoia

NAME: Final = "sequoia"
T = TypeVar("T")

_POLICY: Final = re.compile(r"No binding signature")
_CURVES: Final = {"NIST P-256", "NIST P-384", "NIST P-521", "Ed25519", "X25519"}


def supports(part: PublicPart) -> bool:
    """Whether Sequoia, as it is packaged for Python, can calculate with a key."""
    if part.algorithm in (ECDH, ECDSA, EDDSA):
        return CURVES[part.curve][0] in _CURVES
    return part.algorithm in RSA or part.algorithm == DSA


def first_line(error: BaseException) -> str:
    """An error's first line; Sequoia puts a backtrace after it."""
    return str(error).partition("\n")[0]


class SequoiaProver:
    """Sequoia through its Python binding."""

    name = NAME

    def __init__(self) -> None:
        self._decryptor: pysequoia.PyDecryptor | NoPart = NoPart("not opened")

    def absent(self, job: Job) -> str | None:
        """Why it takes no part: its policy accepts no self-signature, or all have expired."""
        try:
            import pysequoia
        except ImportError:
            return "not installed"
        if not supports(job.views.primary):
            return f"does not support {job.views.primary.name}"
        if job.views.expired and job.resigned is None:
            return "the public part has expired, and no copy of it could be signed again"
        try:
            _ = pysequoia.Cert.from_bytes(_public(job)).user_ids
        except RuntimeError as error:
            if _POLICY.search(str(error)):
                return "its policy accepts none of the key's self-signatures (SHA-1, or not valid now)"
            return first_line(error)
        return None

    def make(self, job: Job) -> Made:
        """Open, sign, certify, encrypt, and try a wrong passphrase."""
        import pysequoia

        begun = time.monotonic()
        _show_known_answer()
        try:
            passphrase = job.passphrase.text()
        except UsageProblem:
            raise TakesNoPart("takes passphrases in UTF-8 only") from None
        tsk = pysequoia.Tsk.from_bytes(_secret(job))
        stored = pysequoia.Tsk.from_bytes(job.tsk).extract_certificate().fingerprint
        user = pysequoia.Cert.from_bytes(job.user.public)
        public = pysequoia.Cert.from_bytes(_public(job))
        detached = pysequoia.SignatureMode.DETACHED
        signer = _attempt(lambda: tsk.signer(passphrase))
        certifier = _attempt(lambda: tsk.certifier(passphrase))
        self._decryptor = _attempt(lambda: tsk.decryptor(passphrase))
        opened: dict[Callable[[str], object], object] = {
            tsk.signer: signer,
            tsk.certifier: certifier,
            tsk.decryptor: self._decryptor,
        }
        outcomes: dict[Task, Outcome] = {
            Task.UNLOCK: _unlocked(opened.values()),
            Task.FINGERPRINT: Product(stored.upper().encode()),
            Task.SIGN: _use(signer, lambda key: pysequoia.sign(key, job.nonce, mode=detached)),
            Task.CERTIFY: _use(certifier, lambda key: bytes(user.add_user_id(job.user_id, key))),
            Task.NEGATIVE: _refuses(job.wrong.text(), opened),
        }
        message = _use(public, lambda key: pysequoia.encrypt(job.plaintext, [key]))
        return Made(outcomes, message, time.monotonic() - begun)

    def check(self, job: Job, exhibits: list[Exhibit]) -> CheckedExhibits:
        """Verify signatures and decrypt a message; Sequoia's binding cannot check a certification."""
        import pysequoia

        begun = time.monotonic()
        public = pysequoia.Cert.from_bytes(_public(job))
        signatures = {one.maker: _verify(job, public, one) for one in exhibits if one.signature}
        plaintexts = first_opened(
            exhibits,
            lambda message: _use(
                self._decryptor,
                lambda key: pysequoia.decrypt(bytes=message, decryptor=key).bytes or b"",
            ),
        )
        return CheckedExhibits(signatures, {}, plaintexts, time.monotonic() - begun)

    def close(self) -> None:
        """Forget the opened key."""
        self._decryptor = NoPart("closed")


def _public(job: Job) -> bytes:
    return job.resigned or job.views.public


def _secret(job: Job) -> bytes:
    if job.resigned is None:
        return job.views.secret
    frame = parsing.read_one(job.resigned, "the public part signed again")
    return splice(frame, parsing.read_one(job.tsk, "the stored keypair"))


def _show_known_answer() -> None:
    """Make sure that Sequoia works here at all.

    Raises:
        TakesNoPart: It does not.
    """
    import pysequoia

    try:
        key = pysequoia.Tsk.from_bytes(known_answer.SECRET).decryptor(known_answer.PASSPHRASE)
        public = pysequoia.Cert.from_bytes(known_answer.PUBLIC)
        signature = pysequoia.Sig.from_bytes(known_answer.SIGNATURE)
        content = pysequoia.decrypt(bytes=known_answer.MESSAGE, decryptor=key).bytes
        pysequoia.verify(bytes=known_answer.ANSWER, store=lambda _: [public], signature=signature)
    except RuntimeError as error:
        raise TakesNoPart(f"it does not work here: {first_line(error)}") from error
    if content != known_answer.ANSWER:
        raise TakesNoPart("it does not work here: it does not find the known answer")


def _attempt(act: Callable[[], T]) -> T | NoPart:
    """Do something; whatever Sequoia raises is a matter of its policy or features.

    It does not tell a wrong passphrase from a form that it cannot read: that is told elsewhere.
    """
    try:
        return act()
    except RuntimeError as error:  # all that the binding raises
        return NoPart(first_line(error).partition(" for ")[0])


def _use(key: T | NoPart, act: Callable[[T], bytes]) -> Product | NoPart:
    if isinstance(key, NoPart):
        return key
    made = _attempt(lambda: act(key))
    return Product(made) if isinstance(made, bytes) else made


def _unlocked(opened: Iterable[object]) -> Done | NoPart:
    found = list(opened)
    without = [one for one in found if isinstance(one, NoPart)]
    return without[0] if len(without) == len(found) else Done()


def _refuses(wrong: str, opened: Mapping[Callable[[str], object], object]) -> Outcome:
    """Whether whatever the right passphrase opens stays closed to a wrong one."""
    tried = [opener for opener, key in opened.items() if not isinstance(key, NoPart)]
    for opener in tried:
        try:
            opener(wrong)
        except RuntimeError:
            continue
        return Refutation("a wrong passphrase opens the key")
    return Done() if tried else NoPart("the right passphrase opens nothing")


def _verify(job: Job, public: pysequoia.Cert, exhibit: Exhibit) -> ExhibitVerdict:
    import pysequoia

    try:
        signature = pysequoia.Sig.from_bytes(exhibit.signature or b"")
        issuer = (signature.issuer_fingerprint or "").upper()
        signing = [part for part in job.views.signing if part.fingerprint == issuer]
        if signing and not supports(signing[0]):
            return ExhibitVerdict(None, f"does not support {signing[0].name}")
        result = pysequoia.verify(bytes=exhibit.nonce, store=lambda _: [public], signature=signature)
    except RuntimeError as error:
        # Its policy and its arithmetic speak with one voice; whether it holds is also computed elsewhere.
        return ExhibitVerdict(None, first_line(error))
    owners = [one.certificate.upper() for one in result.valid_sigs]
    return ExhibitVerdict(owners == [job.views.fingerprint], f"made by {', '.join(owners) or 'nobody'}")
