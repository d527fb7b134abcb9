"""Proofs by Sequoia, in this process."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from pipeline.core.clock import Deadline
from pipeline.core.errors import UsageProblem
from pipeline.core.secret import Secret
from pipeline.openpgp.format.material import PublicPart
from pipeline.openpgp.key import parsing
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
from pipeline.openpgp.proofs.views import Views, splice

if TYPE_CHECKING:
    import pysequoia

T = TypeVar("T")

_POLICY: Final = re.compile(r"No binding signature")
_CURVES: Final = frozenset({"NIST P-256", "NIST P-384", "NIST P-521", "Ed25519", "X25519"})


def supports(part: PublicPart) -> bool:
    """Whether Sequoia, as it is packaged for Python, can calculate with a key."""
    return part.computable(_CURVES)


def first_line(error: BaseException) -> str:
    """An error's first line; Sequoia puts a backtrace after it."""
    return str(error).partition("\n")[0]


class SequoiaProver:
    """Sequoia through its Python binding."""

    name = "sequoia"

    def __init__(self) -> None:
        self._decryptor: pysequoia.PyDecryptor | Outcome = no_part("not opened")

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

    def make(self, job: Job) -> dict[Task, Outcome]:
        """Open, sign, certify, encrypt, and try a wrong passphrase."""
        import pysequoia

        _show_known_answer()
        try:
            passphrase = job.passphrase.text()
        except UsageProblem:
            raise TakesNoPart("takes passphrases in UTF-8 only") from None
        tsk = pysequoia.Tsk.from_bytes(_secret(job))
        stored = pysequoia.Tsk.from_bytes(job.views.stored).extract_certificate().fingerprint
        user = pysequoia.Cert.from_bytes(job.user.public)
        public = pysequoia.Cert.from_bytes(_public(job))
        detached = pysequoia.SignatureMode.DETACHED
        signer = _attempt(lambda: tsk.signer(passphrase))
        certifier = _attempt(lambda: tsk.certifier(passphrase))
        self._decryptor = _attempt(lambda: tsk.decryptor(passphrase))
        opened = [(tsk.signer, signer), (tsk.certifier, certifier), (tsk.decryptor, self._decryptor)]
        closed = [key for _, key in opened if isinstance(key, Outcome)]
        return {
            Task.UNLOCK: closed[0] if len(closed) == len(opened) else DONE,
            Task.FINGERPRINT: produced(stored.upper().encode()),
            Task.SIGN: _use(signer, lambda key: pysequoia.sign(key, job.nonce, mode=detached)),
            Task.CERTIFY: _use(certifier, lambda key: bytes(user.add_user_id(job.user_id, key))),
            Task.DECRYPT: _use(public, lambda key: pysequoia.encrypt(job.plaintext, [key])),
            Task.NEGATIVE: _refuses(
                job.wrong.text(), [one for one, key in opened if not isinstance(key, Outcome)]
            ),
        }

    def check(self, job: Job, others: Sequence[Made]) -> Verdicts:
        """Verify signatures and decrypt a message; Sequoia's binding cannot check a certification."""
        import pysequoia

        public = pysequoia.Cert.from_bytes(_public(job))

        def decrypt(message: bytes) -> Outcome:
            return _use(
                self._decryptor, lambda key: pysequoia.decrypt(bytes=message, decryptor=key).bytes or b""
            )

        signed = [one for one in others if one.product(Task.SIGN)]
        found = {(Task.SIGN, one.job.name): _verify(job, public, one) for one in signed}
        return found | first_opened(others, decrypt)

    def close(self) -> None:
        """Forget the opened key."""
        self._decryptor = no_part("closed")


def sign(views: Views, passphrase: Secret, data: bytes, deadline: Deadline) -> Outcome:
    """Make a detached signature, at the present time."""
    import pysequoia

    if views.moment is not None:
        return no_part("it signs at the present time only, and the key is not valid now")
    if not all(supports(part) for part in (views.primary, *views.signing)):
        return no_part("it does not support the key")
    deadline.check()
    # Its policy, a form that it does not read, or a wrong passphrase, told alike: gpg says which.
    signer = _attempt(lambda: pysequoia.Tsk.from_bytes(views.secret).signer(passphrase.text()))
    detached = pysequoia.SignatureMode.DETACHED
    return _use(signer, lambda key: bytes(pysequoia.sign(key, data, mode=detached, armor=False)))


def _public(job: Job) -> bytes:
    return job.resigned or job.views.public


def _secret(job: Job) -> bytes:
    if job.resigned is None:
        return job.views.secret
    frame = parsing.read_one(job.resigned, "the public part signed again")
    return splice(frame, parsing.read_one(job.views.stored, "the stored keypair"))


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


def _attempt(act: Callable[[], T]) -> T | Outcome:
    """Do something; whatever Sequoia raises is a matter of its policy or features.

    It does not tell a wrong passphrase from a form that it cannot read: that is told elsewhere.
    """
    try:
        return act()
    except UsageProblem as error:  # a passphrase that is not UTF-8
        return no_part(error.message)
    except RuntimeError as error:  # all that the binding raises
        return no_part(first_line(error).partition(" for ")[0])


def _use(key: T | Outcome, act: Callable[[T], bytes]) -> Outcome:
    return key if isinstance(key, Outcome) else _attempt(lambda: produced(act(key)))


def _refuses(wrong: str, openers: Sequence[Callable[[str], object]]) -> Outcome:
    """Whether whatever the right passphrase opens stays closed to a wrong one."""
    for opener in openers:
        try:
            opener(wrong)
        except RuntimeError:
            continue
        return refuted("a wrong passphrase opens the key")
    return DONE if openers else no_part("the right passphrase opens nothing")


def _verify(job: Job, public: pysequoia.Cert, made: Made) -> Outcome:
    import pysequoia

    try:
        signature = pysequoia.Sig.from_bytes(made.product(Task.SIGN))
        issuer = (signature.issuer_fingerprint or "").upper()
        signing = [part for part in job.views.signing if part.fingerprint == issuer]
        if signing and not supports(signing[0]):
            return no_part(f"does not support {signing[0].name}")
        result = pysequoia.verify(bytes=made.job.nonce, store=lambda _: [public], signature=signature)
    except RuntimeError as error:
        # Its policy and its arithmetic speak with one voice; whether it holds is also computed elsewhere.
        return no_part(first_line(error))
    owners = [one.certificate.upper() for one in result.valid_sigs]
    return Outcome(owners == [job.views.fingerprint], f"made by {', '.join(owners) or 'nobody'}")
