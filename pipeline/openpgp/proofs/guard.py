"""The boundary around foreign implementations: however one of them ends, the others go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipeline.core.clock import Deadline
from pipeline.core.errors import LocalFilesProblem, OrgkeyError
from pipeline.core.files import exhaustion
from pipeline.core.isolation import NOT_OURS
from pipeline.openpgp.proofs.host import WHAT
from pipeline.openpgp.proofs.interface import TakesNoPart

T = TypeVar("T")


@dataclass
class ImplementationGuard:
    """Calls implementations.

    Attributes:
        deadline: Of the run.
        passes: What counts as an answer, not as taking no part.
        trouble: What this host lacked when one of them was called, to be raised where the others are not
            enough.
    """

    deadline: Deadline
    passes: tuple[type[OrgkeyError], ...] = ()
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
        except self.passes:
            raise
        except TakesNoPart as error:
            return error
        except OrgkeyError as error:
            self.deadline.check()
            if isinstance(error, LocalFilesProblem):
                self.trouble = self.trouble or error
            return TakesNoPart(error.message)
        except BaseException as error:  # pyo3 lets a panic of Rust's out as a BaseException
            trouble = exhaustion(error, WHAT)
            if trouble is None:
                return TakesNoPart(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:300])
            self.trouble = self.trouble or trouble
            return TakesNoPart(trouble.message)
