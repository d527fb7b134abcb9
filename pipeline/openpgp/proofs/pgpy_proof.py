"""Proofs by PGPy, in a child process: its import takes 0.3 s, and it would hold this one's interpreter."""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Final, Self

from pipeline.core import files, process
from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, ProofFailed
from pipeline.core.secret import Secret
from pipeline.openpgp.format.material import CURVES, DSA, ECDH, ECDSA, EDDSA, RSA, PublicPart
from pipeline.openpgp.proofs import pgpy_child
from pipeline.openpgp.proofs.host import require_host
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
)
from pipeline.openpgp.proofs.views import Views

NAME: Final = "pgpy"
_CURVES: Final = {"NIST P-256", "NIST P-384", "NIST P-521", "secp256k1", "Ed25519", "X25519"}
_MAX_FRAME: Final = 16 * 1024 * 1024
_SECONDS: Final = 60.0
"""The longest that one answer may take."""
_GRACE_SECONDS: Final = 0.5
"""How long a child that has closed its pipes may take to end."""


def supports(part: PublicPart) -> bool:
    """Whether PGPy can calculate with a key; its brainpool curves are broken, ElGamal it never had."""
    if part.algorithm in (ECDH, ECDSA, EDDSA):
        return CURVES[part.curve][0] in _CURVES
    return part.algorithm in RSA or part.algorithm == DSA


class Prestarted:
    """The child process, started ahead of its work so that its imports overlap with something else.

    It is told nothing before :meth:`ask`, and ends when its standard input closes, hence with its
    parent, however that ends.

    Raises:
        LocalFilesProblem: This host lacks what proofs need, or the system cannot start it.
    """

    def __init__(self) -> None:
        # Whoever starts it means to have proofs: better told now than when copies are stored.
        require_host()
        self._child = process.start(process.isolated(pgpy_child.__name__), stderr=subprocess.DEVNULL)
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(
        self,
        request: Mapping[str, object],
        deadline: Deadline,
        cancellation: process.Cancellation | None = None,
    ) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Args:
            request: A document of :mod:`pipeline.openpgp.proofs.pgpy_child`.
            deadline: When to stop waiting.
            cancellation: Lets another thread end the child.

        Raises:
            Interrupted: The child was ended through ``cancellation``.
            DeadlinePassed: It did not come in time.
            LocalFilesProblem: The host ran out of something: the child says so, or was killed.
            TakesNoPart: PGPy does not work here.
        """
        cancel = cancellation or process.Cancellation()
        cancel.check()
        try:
            with cancel.watching(self._child):
                answer = self._exchange(json.dumps(request).encode(), deadline.limit(_SECONDS))
        except DeadlinePassed:
            self.close()  # whatever it still says would be taken for the answer to another question
            raise
        except (OSError, EOFError, ValueError):
            cancel.check()
            raise self._gone() from None
        if "unfit" in answer:
            raise TakesNoPart(answer["unfit"])
        return answer

    def _gone(self) -> Exception:
        """Why there is no answer: a child that was killed, or says so, speaks of the host, not of the key."""
        by_itself = not self._closed and process.wait_unreaped(self._child, _GRACE_SECONDS)
        self.close()
        status = self._child.returncode if by_itself else None
        if status == -signal.SIGKILL:
            return files.no_room("run PGPy", "its process was killed")
        if status == pgpy_child.EXHAUSTED:
            return files.no_room("run PGPy", "no memory, room or descriptors are left")
        told = f"its process ended without an answer (status {status})" if by_itself else "it gives no answer"
        return TakesNoPart(f"{told}; try: python -c 'import pgpy'")

    def _exchange(self, frame: bytes, seconds: float) -> dict[str, Any]:
        stdin, stdout = self._child.stdin, self._child.stdout
        if stdin is None or stdout is None:
            raise ValueError("the child has two pipes")
        ends = time.monotonic() + seconds
        os.set_blocking(stdin.fileno(), False)
        view = memoryview(len(frame).to_bytes(4, "big") + frame)
        while view:
            _await(stdin.fileno(), select.POLLOUT, ends)
            view = view[os.write(stdin.fileno(), view) :]
        size = int.from_bytes(_read(stdout.fileno(), 4, ends), "big")
        return dict(json.loads(_read(stdout.fileno(), min(size, _MAX_FRAME), ends)))

    def close(self) -> None:
        """End the child; safe to repeat."""
        self._closed = True
        process.end(self._child, grace=0)


class PgpyProver:
    """PGPy in its child process.

    Args:
        child: A process started earlier; one of its own when not given.
    """

    name = NAME

    def __init__(self, child: Prestarted | None = None) -> None:
        self._child = child

    def absent(self, job: Job) -> str | None:
        """Why it takes no part: not installed."""
        return None if find_spec("pgpy") else "not installed"

    def make(self, job: Job) -> Made:
        """Open, sign, certify, encrypt, and try a wrong passphrase."""
        begun = time.monotonic()
        views = job.views
        signing, encrypting = _supported(views.signing), _supported(views.encrypting)
        answer = self._ask(
            job,
            op="make",
            nonce=_text(job.nonce),
            plaintext=_text(job.plaintext),
            user=_text(job.user.public),
            user_id=job.user_id,
            signing=signing,
            encrypting=encrypting,
        )
        outcomes = {task: _outcome(answer[task]) for task in Task if task in answer}
        sealed = _outcome(answer["message"])
        message = sealed if isinstance(sealed, Product | NoPart) else NoPart("no message")
        if signing is None and views.signing:
            outcomes[Task.SIGN] = _lacking(views.signing)
        if not supports(views.primary):
            outcomes[Task.CERTIFY] = _lacking([views.primary])
        if encrypting is None and views.encrypting:
            message = _lacking(views.encrypting)
        return Made(outcomes, message, time.monotonic() - begun)

    def check(self, job: Job, exhibits: list[Exhibit]) -> CheckedExhibits:
        """Verify signatures and certifications, and decrypt a message."""
        begun = time.monotonic()
        answer = self._ask(
            job,
            op="check",
            exhibits=[
                {
                    "maker": one.maker,
                    "nonce": _text(one.nonce),
                    "signature": _text(one.signature or b""),
                    "user_id": one.user_id,
                    "certified": _text(one.certified or b""),
                    "message": _text(one.message or b""),
                }
                for one in exhibits
            ],
        )
        views = job.views
        signatures = {maker: _verdict(one) for maker, one in answer["signatures"].items()}
        certifications = {maker: _verdict(one) for maker, one in answer["certifications"].items()}
        plaintexts = {maker: _data(one) for maker, one in answer["plaintexts"].items()}
        if not all(supports(part) for part in views.signing):
            lacking = ExhibitVerdict(None, _lacking(views.signing).reason)
            signatures = {maker: one if one.ok else lacking for maker, one in signatures.items()}
        if not supports(views.primary):
            lacking = ExhibitVerdict(None, _lacking([views.primary]).reason)
            certifications = dict.fromkeys(certifications, lacking)
        if not all(supports(part) for part in views.encrypting):
            plaintexts = {
                maker: one if isinstance(one, Product) else _lacking(views.encrypting)
                for maker, one in plaintexts.items()
            }
        return CheckedExhibits(signatures, certifications, plaintexts, time.monotonic() - begun)

    def _ask(self, job: Job, **request: object) -> dict[str, Any]:
        if self._child is None:
            self._child = Prestarted()
        secrets = {
            "tsk": _text(job.tsk),
            "secret": _text(job.views.secret),
            "public": _text(job.views.public),
            "passphrase": _text(job.passphrase.reveal()),
            "wrong": _text(job.wrong.reveal()),
        }
        return self._child.ask({**secrets, **request}, job.deadline, job.cancellation)

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            child.close()


def _read(number: int, size: int, ends: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        _await(number, select.POLLIN, ends)
        chunk = os.read(number, size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


def _await(number: int, event: int, ends: float) -> None:
    poller = select.poll()
    poller.register(number, event)
    if not poller.poll(max(0.0, ends - time.monotonic()) * 1000):
        raise DeadlinePassed("PGPy did not finish in time", hint="run again when the host is less busy")


def sign_with_pgpy(views: Views, passphrase: Secret, data: bytes, deadline: Deadline) -> bytes | None:
    """Make a detached signature, at a time inside the key's validity.

    Returns:
        The signature, binary; ``None`` when PGPy does not support the key.

    Raises:
        ProofFailed: PGPy cannot.
        LocalFilesProblem: The host ran out of something.
    """
    signing = _supported(views.signing)
    if signing is None:
        return None
    request = {
        "op": "sign",
        "secret": _text(views.secret),
        "passphrase": _text(passphrase.reveal()),
        "signing": signing,
        "nonce": _text(data),
        "moment": None if views.moment is None else int(views.moment.timestamp()),
    }
    try:
        with Prestarted() as child:
            outcome = _data(child.ask(request, deadline)["sign"])
    except TakesNoPart as error:
        outcome = NoPart(str(error))
    if not isinstance(outcome, Product):
        raise ProofFailed(f"PGPy cannot sign: {outcome.reason}", hint="check the passphrase and the key")
    return outcome.data


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _supported(parts: Sequence[PublicPart]) -> str | None:
    return next((part.fingerprint for part in parts if supports(part)), None)


def _lacking(parts: Sequence[PublicPart]) -> NoPart:
    return NoPart("does not support " + ", ".join(part.name for part in parts if not supports(part)))


def _data(answer: Sequence[str]) -> Product | Refutation | NoPart:
    kind, data = answer
    if kind == "product":
        return Product(base64.b64decode(data))
    return Refutation(data) if kind == "failure" else NoPart(data)


def _outcome(answer: Sequence[str]) -> Outcome:
    return Done() if answer[0] == "done" else _data(answer)


def _verdict(answer: Sequence[str]) -> ExhibitVerdict:
    kind, reason = answer
    return ExhibitVerdict(True if kind == "done" else False if kind == "failure" else None, reason)
