"""A value that does not show itself."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import NoReturn

from pipeline.core.errors import UsageProblem


class Secret:
    """Bytes that never appear in a representation, a log line, a format string or a pickle.

    Python cannot promise that memory is wiped; the program keeps secrets short-lived, out of every
    module-level name, and the process undumpable (see :mod:`pipeline.core.hardening`).

    Args:
        value: The secret; text is taken as UTF-8.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes | str) -> None:
        self._value = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes. Callers keep the result in a local name for as short as possible."""
        return self._value

    def text(self) -> str:
        """Return the secret as text.

        Raises:
            UsageProblem: It is not UTF-8.
        """
        try:
            return self._value.decode()
        except UnicodeDecodeError:
            raise UsageProblem(
                "this secret is not text in UTF-8", hint="give it in UTF-8, or as ASCII"
            ) from None

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a secret is not a dictionary key

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is never pickled")


SecretSource = Callable[[], Secret]
"""Where a secret comes from; asked once, at the moment the secret is needed."""
