"""Plain HTTP POST requests bounded in time: to time-stamp authorities and notification services."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from pipeline.core.errors import Unreachable


@dataclass(frozen=True)
class HttpResponse:
    """What came back.

    Attributes:
        status: The status.
        body: The body, as far as it was wanted.
    """

    status: int
    body: bytes


def send(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    seconds: float,
    limit: int = 0,
    ca_file: str | None = None,
) -> HttpResponse:
    """Send a POST request, and read the response, bounded whatever the other side does.

    No redirect is followed: what was configured is what is asked.

    Args:
        url: ``http://`` or ``https://``, whose certificate is verified.
        body: What is sent.
        headers: Of the request.
        seconds: For everything together, from the look-up of the name on.
        limit: The largest body that is taken, in bytes; with 0 none is read.
        ca_file: Whom TLS trusts instead of the usual authorities.

    Raises:
        Unreachable: There was no answer in time, or a longer one. Its message does not quote the address,
            which may be a secret.
    """
    response: Future[HttpResponse] = Future()

    def work() -> None:
        try:
            response.set_result(_exchange(url, body, headers, seconds, limit, ca_file))
        except BaseException as error:
            response.set_exception(error)

    # A library's time-outs start anew with every byte, so the whole is bounded from outside.
    threading.Thread(target=work, name="post", daemon=True).start()
    try:
        return response.result(seconds)
    except TimeoutError:
        raise _unreachable(f"it did not answer within {seconds:g} s", again=True) from None


def _exchange(
    url: str, body: bytes, headers: Mapping[str, str], seconds: float, limit: int, ca_file: str | None
) -> HttpResponse:
    import requests
    import urllib3

    try:
        with requests.post(
            url,
            data=body,
            headers={"Accept-Encoding": "identity", **headers},
            timeout=seconds,
            stream=True,
            allow_redirects=False,
            verify=ca_file or True,
        ) as response:
            data: bytes = response.raw.read(limit + 1) if limit else b""
    except requests.exceptions.SSLError as error:
        raise _unreachable("its TLS certificate cannot be verified") from error
    except requests.exceptions.Timeout as error:
        raise _unreachable(f"it did not answer within {seconds:g} s", again=True) from error
    except requests.exceptions.ConnectionError as error:
        raise _unreachable("it cannot be reached", again=True) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        # Its text would quote the address.
        raise _unreachable(f"the request failed ({type(error).__name__})") from error
    if len(data) > limit:
        raise _unreachable(f"its response is longer than {limit} bytes")
    return HttpResponse(response.status_code, data)


def _unreachable(why: str, *, again: bool = False) -> Unreachable:
    return Unreachable(why, hint="check the address, the network and the proxy", again=again)
