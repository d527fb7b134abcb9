"""What one place says ends nothing but its own turn.

A copy, a target, a holder, a mirror, a key server, a backup is foreign: it may make a library raise anything.
Wherever several of them are asked, each is asked through :func:`isolated`, and what it raises, foreseen or
not, is a verdict about that one.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from pipeline.core import host_limits
from pipeline.core.errors import Interrupted, OrgkeyError, ProgramMissing, Unreachable
from pipeline.core.signals import Signalled

T = TypeVar("T")
_HERE: Final = Path(__file__).parents[1]
NOT_OURS: Final = (Interrupted, Signalled, KeyboardInterrupt, SystemExit, GeneratorExit)
"""What is about the run, not about one place: no boundary takes it for an answer."""


def isolated(call: Callable[[], T], what: str, kind: type[OrgkeyError] = Unreachable) -> T | OrgkeyError:
    """Ask one of several, and come back whatever it raises.

    Args:
        call: Asks it.
        what: What is asked, to begin a sentence with: ``target s3``.
        kind: What something unforeseen is called: ``Unreachable`` of a place, ``IntegrityProblem`` of bytes.

    Returns:
        What ``call`` returned, or the error: its own, or one of ``kind`` that names the defect.

    Raises:
        BaseException: A signal or the end of the process; those are about the run, not about one place.
    """
    try:
        return call()
    except NOT_OURS:
        raise
    except OrgkeyError as error:
        return error
    except BaseException as error:  # pyo3 lets a panic of Rust's out as a BaseException
        return defect(error, what, kind)


def defect(error: BaseException, what: str, kind: type[OrgkeyError]) -> OrgkeyError:
    """Name something unforeseen without its text, which may hold anything; or say what this host lacks.

    Args:
        error: What was raised.
        what: What was asked.
        kind: What it is called.
    """
    if (exhausted := host_limits.exhaustion(error, f"ask {what}")) is not None:
        return exhausted
    if isinstance(error, ImportError):
        return ProgramMissing(
            f"{what} cannot be read: a part of this program cannot be loaded ({error.name or 'not named'})",
            hint="install the program again; nothing is wrong with what is stored",
        )
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _own(frame.filename)]
    at = f", line {frames[-1].lineno} of {Path(frames[-1].filename).relative_to(_HERE)}" if frames else ""
    return kind(
        f"{what} cannot be read: this is a defect of the program ({type(error).__name__}{at})",
        hint="report it, with this message; what other places hold does not need this one",
    )


def _own(filename: str) -> bool:
    return Path(filename).is_relative_to(_HERE) and Path(filename) != Path(__file__)
