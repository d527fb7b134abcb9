"""What botocore works out anew for each client, though it is the same for all: once for each process.

Each role has a client of its own, so that it takes up to a tenth of a command that asks AWS.
"""

from __future__ import annotations

import functools
from typing import Any, Final

_names: Final[dict[str, str]] = {}
_exceptions: Final[dict[str, Any]] = {}


@functools.cache
def use() -> None:
    """Share events' names, classes of exceptions and the user agent's words; with forked processes, too."""
    from botocore import errorfactory, hooks, useragent

    _share(hooks.EventAliaser, "_alias_name_cache", _names)
    _share(errorfactory.ClientExceptionsFactory, "_client_exceptions_cache", _exceptions)
    useragent.sanitize_user_agent_string_component = functools.cache(
        useragent.sanitize_user_agent_string_component
    )


def _share(made: type[Any], name: str, shared: dict[str, Any]) -> None:
    """Have all objects of a class use one dictionary."""
    begin = made.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        assert getattr(self, name) == {}
        setattr(self, name, shared)

    made.__init__ = init
