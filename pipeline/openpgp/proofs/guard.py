"""The boundary around foreign implementations: however one of them ends, the others go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from pipeline.core.clock import Deadline
from pipeline.core.errors import LocalFilesProblem, OrgkeyError
from pipeline.core.files import memory_root
from pipeline.core.host_limits import exhaustion, require_descriptors, require_room
from pipeline.core.isolation import NOT_OURS
from pipeline.openpgp.proofs.interface import TakesNoPart

T = TypeVar("T")
WHAT: Final = "prove the key"
"""What a host that lacks what proofs need cannot do."""
_ROOM: Final = 4 << 20
"""Bytes for two homes of GnuPG, with their agents and key rings."""
_DESCRIPTORS: Final = 48
"""Open files at the same time: pipes of four programs, their logs, and what they are watched with."""


def require_host() -> None:
    """Make sure, before anything is stored or started, that the host has what proofs need.

    Raises:
        LocalFilesProblem: It has not: no verdict on the key.
    """
    require_room(memory_root(), _ROOM, WHAT)
    require_descriptors(_DESCRIPTORS, WHAT)


@dataclass
class ImplementationGuard:
    """Calls implementations.

    Attributes:
        deadline: Of the run.
        trouble: What this host lacked when one of them was called, to be raised where the others are not
            enough.
    """

    deadline: Deadline
    trouble: LocalFilesProblem | None = None

    def __call__(self, act: Callable[[], T]) -> T | TakesNoPart:
        """Call one, and turn whatever it raises into the reason why it takes no part.

        Raises:
            DeadlinePassed: The time of the whole run is over, not only that of one call.
            BaseException: A signal, or the end of the process.
        """
        try:
            return act()
        except NOT_OURS:
            raise
        except TakesNoPart as error:
            return error
        except BaseException as error:  # pyo3 lets a panic of Rust's out as a BaseException
            known = error if isinstance(error, OrgkeyError) else exhaustion(error, WHAT)
            if isinstance(error, OrgkeyError):
                self.deadline.check()
            if isinstance(known, LocalFilesProblem):
                self.trouble = self.trouble or known
            if known is not None:
                return TakesNoPart(known.message)
            return TakesNoPart(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:300])
