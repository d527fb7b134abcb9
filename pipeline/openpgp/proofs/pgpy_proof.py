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
from typing import Any, Final, Self

from pipeline.core import host_limits, process
from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed
from pipeline.core.secret import Secret
from pipeline.openpgp.format.material import PublicPart
from pipeline.openpgp.proofs import pgpy_child
from pipeline.openpgp.proofs.guard import require_host
from pipeline.openpgp.proofs.interface import (
    EXCHANGED,
    Job,
    Made,
    Outcome,
    TakesNoPart,
    Task,
    Verdicts,
    no_part,
)
from pipeline.openpgp.proofs.views import Views

_CURVES: Final = frozenset({"NIST P-256", "NIST P-384", "NIST P-521", "secp256k1", "Ed25519", "X25519"})
_CHUNK, _LARGEST = 1 << 16, 1 << 24
_SECONDS: Final = 60.0
"""The longest that one answer may take."""
_GRACE_SECONDS: Final = 0.5
"""How long a child that has closed its pipes may take to end."""


def supports(part: PublicPart) -> bool:
    """Whether PGPy can calculate with a key; its brainpool curves are broken, ElGamal it never had."""
    return part.computable(_CURVES)


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

    def __exit__(self, *_: object) -> None:
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
                answer = self._exchange(request, deadline.limit(_SECONDS))
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
            return host_limits.no_room("run PGPy", "its process was killed")
        if status == pgpy_child.EXHAUSTED:
            return host_limits.no_room("run PGPy", "no memory, room or descriptors are left")
        told = f"its process ended without an answer (status {status})" if by_itself else "it gives no answer"
        return TakesNoPart(f"{told}; try: python -c 'import pgpy'")

    def _exchange(self, request: Mapping[str, object], seconds: float) -> dict[str, Any]:
        stdin, stdout = self._child.stdin, self._child.stdout
        if stdin is None or stdout is None:
            raise ValueError("the child has two pipes")
        ends = time.monotonic() + seconds
        os.set_blocking(stdin.fileno(), False)
        unsent = memoryview(json.dumps(request).encode() + b"\n")
        while unsent:
            _await(stdin.fileno(), select.POLLOUT, ends)
            unsent = unsent[os.write(stdin.fileno(), unsent) :]
        answer = bytearray()
        while not answer.endswith(b"\n"):
            _await(stdout.fileno(), select.POLLIN, ends)
            chunk = os.read(stdout.fileno(), _CHUNK)
            if not chunk or len(answer) > _LARGEST:
                raise EOFError
            answer += chunk
        return dict(json.loads(answer))

    def close(self) -> None:
        """End the child; safe to repeat."""
        self._closed = True
        process.end(self._child, grace=0)


class PgpyProver:
    """PGPy in its child process.

    Args:
        child: A process started earlier; one of its own when not given.
    """

    name = "pgpy"

    def __init__(self, child: Prestarted | None = None) -> None:
        self._child = child

    def absent(self, job: Job) -> str | None:
        """Why it takes no part: not installed."""
        return None if find_spec("pgpy") else "not installed"

    def make(self, job: Job) -> dict[Task, Outcome]:
        """Open, sign, certify, encrypt, and try a wrong passphrase."""
        answer = self._ask(
            job,
            op="make",
            nonce=_text(job.nonce),
            plaintext=_text(job.plaintext),
            user=_text(job.user.public),
            user_id=job.user_id,
            signing=_supported(job.views.signing),
            encrypting=_supported(job.views.encrypting),
        )
        outcomes = {Task(name): _outcome(one) for name, one in answer.items()}
        for task, parts in _needed(job.views).items():
            if parts and not any(supports(part) for part in parts):
                outcomes[task] = _lacking(parts)
        return outcomes

    def check(self, job: Job, others: Sequence[Made]) -> Verdicts:
        """Verify signatures and certifications, and decrypt a message."""
        exhibits = [
            {"maker": one.job.name, "nonce": _text(one.job.nonce), "user_id": one.job.user_id}
            | {task.value: _text(one.product(task)) for task in EXCHANGED}
            for one in others
        ]
        found = {}
        for name, maker, answer in self._ask(job, op="check", exhibits=exhibits)["found"]:
            task, outcome = Task(name), _outcome(answer)
            parts = _needed(job.views)[task]
            known = outcome.ok or all(supports(part) for part in parts)
            found[task, maker] = outcome if known else _lacking(parts)
        return found

    def _ask(self, job: Job, **request: object) -> dict[str, Any]:
        if self._child is None:
            self._child = Prestarted()
        secrets = {
            "tsk": _text(job.views.stored),
            "secret": _text(job.views.secret),
            "public": _text(job.views.public),
            "passphrase": _text(job.passphrase.reveal()),
            "wrong": _text(job.wrong.reveal()),
        }
        try:
            return self._child.ask({**secrets, **request}, job.deadline, job.cancellation)
        except BaseException:
            self.close()  # the next question is asked of a new one
            raise

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            child.close()


def _await(number: int, event: int, ends: float) -> None:
    poller = select.poll()
    poller.register(number, event)
    if not poller.poll(max(0.0, ends - time.monotonic()) * 1000):
        raise DeadlinePassed("PGPy did not finish in time", hint="run again when the host is less busy")


def sign(views: Views, passphrase: Secret, data: bytes, deadline: Deadline) -> Outcome:
    """Make a detached signature, at a time inside the key's validity."""
    signing = _supported(views.signing)
    if signing is None:
        return no_part("it does not support the key")
    request = {
        "op": "sign",
        "secret": _text(views.secret),
        "passphrase": _text(passphrase.reveal()),
        "signing": signing,
        "nonce": _text(data),
        "moment": None if views.moment is None else int(views.moment.timestamp()),
    }
    with Prestarted() as child:
        return _outcome(child.ask(request, deadline)["sign"])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _needed(views: Views) -> dict[Task, Sequence[PublicPart]]:
    return {Task.SIGN: views.signing, Task.CERTIFY: (views.primary,), Task.DECRYPT: views.encrypting}


def _supported(parts: Sequence[PublicPart]) -> str | None:
    return next((part.fingerprint for part in parts if supports(part)), None)


def _lacking(parts: Sequence[PublicPart]) -> Outcome:
    return no_part("does not support " + ", ".join(part.name for part in parts if not supports(part)))


def _outcome(answer: Sequence[Any]) -> Outcome:
    ok, reason, product = answer
    return Outcome(ok, reason, None if product is None else base64.b64decode(product))
