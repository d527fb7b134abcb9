"""Two quick implementations for the proofs: real work with the key in this process, and no other program.

Both open, sign, certify and decrypt with Sequoia, and each checks what the other made; certifications,
which Sequoia's binding cannot check, are verified by the program's own arithmetic. A wrong key, passphrase
or public part therefore fails here as it does with the three real ones. GnuPG and PGPy, which cost a start
of three programs, are for tests that name the fixture ``real_provers``, and for the provers' own tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipeline.openpgp import proofs
from pipeline.openpgp.format import signatures as sig
from pipeline.openpgp.key import parsing
from pipeline.openpgp.proofs.interface import DONE, Job, Made, Outcome, Prover, Task, Verdicts, refuted
from pipeline.openpgp.proofs.sequoia_proof import SequoiaProver


class QuickProver(SequoiaProver):
    """Sequoia under another name, which checks certifications, too."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def check(self, job: Job, others: Sequence[Made]) -> Verdicts:
        """Judge what others made."""
        certified = [one for one in others if one.product(Task.CERTIFY)]
        found = {(Task.CERTIFY, one.job.name): _certified(job, one) for one in certified}
        return {**super().check(job, others), **found}


class NoProcess(proofs.Prestarted):
    """What stands where PGPy's process would be: nothing is started."""

    def __init__(self) -> None:
        pass

    def close(self) -> None:
        """There is nothing to end."""


def _certified(job: Job, other: Made) -> Outcome:
    user = parsing.read_one(other.product(Task.CERTIFY), "the certified key")
    data = sig.hashed_key(user.primary.public)
    for identity in user.identities:
        if identity.packet.body == other.job.user_id.encode():
            data += sig.hashed_identity(identity.packet.tag, identity.packet.body)
            made = [sig.read_signature(packet.body) for packet in identity.signatures]
            ok = any(one and one.issuer and sig.verify(one, job.views.primary, data) for one in made)
            return DONE if ok else refuted("no certification by this key")
    return refuted("not the user id that was to be certified")


def quick() -> Sequence[Prover]:
    """A fresh pair for one set of proofs."""
    return QuickProver("first"), QuickProver("second")


def use_quick(patch: pytest.MonkeyPatch) -> None:
    """Have drills prove with them, as long as ``patch`` lasts."""
    real = proofs.prove
    patch.setattr(proofs, "prove", lambda *args, **more: real(*args, **({"provers": quick()} | more)))
    patch.setattr(proofs, "Prestarted", NoProcess)
