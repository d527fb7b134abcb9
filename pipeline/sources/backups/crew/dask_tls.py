"""What each process of Dask loads: a TLS connection that breaks ends no other one.

OpenSSL keeps a thread's errors in a queue. Python 3.12.8, 3.13.1, and newer leave an error of the system in
it, where OpenSSL is 3.4 or newer, and take it for one of the next connection that has nothing to read:
https://github.com/python/cpython/issues/148594. Dask serves all of its connections in one thread.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_SPARE: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _leaving_no_error(call: Callable[P, T]) -> Callable[P, T]:
    @wraps(call)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except ssl.SSLError:
            raise  # Python has emptied the queue
        except OSError:
            with suppress(ssl.SSLError):
                _SPARE.set_ciphers("none")  # fails, and empties it
            raise

    return called


class _Socket(ssl.SSLSocket):
    do_handshake = _leaving_no_error(ssl.SSLSocket.do_handshake)
    read = _leaving_no_error(ssl.SSLSocket.read)
    send = _leaving_no_error(ssl.SSLSocket.send)


ssl.SSLContext.sslsocket_class = _Socket
