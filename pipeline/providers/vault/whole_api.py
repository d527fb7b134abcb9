"""Vault's whole API, as hvac has it, over the one wire: for setting a server up.

What every run needs is in :mod:`pipeline.providers.vault.client`; loading hvac takes as long as all of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

import hvac
import hvac.adapters
import requests

from pipeline.providers.vault.answers import VaultRefusal
from pipeline.providers.vault.client import VaultClient


class WireAdapter(hvac.adapters.Adapter):  # type: ignore[misc]  # it has no types
    """Sends what hvac asks for through a client, which has the token and knows the server.

    Args:
        client: The client.
        more: What hvac gives every adapter; of it nothing counts.
    """

    def __init__(self, client: VaultClient, **more: Any) -> None:
        del more
        super().__init__(session=requests.Session())
        self._client = client

    def get_login_token(self, response: Mapping[str, Any]) -> str:
        """The token in the answer to a login."""
        token: str = response["auth"]["client_token"]
        return token

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,
        **more: Any,
    ) -> Mapping[str, Any]:
        """Send a request.

        Raises:
            VaultRefusal: The answer is an error.
            NoAnswer: There is no answer, or none that a Vault gives.
        """
        del headers
        query = urlencode(more.get("params") or {})
        answer = self._client.ask(method.upper(), url.removeprefix("/v1/"), more.get("json"), query=query)
        if raise_exception and answer.status >= 400:
            raise VaultRefusal(answer)
        return answer.body


def api(client: VaultClient) -> hvac.Client:
    """All of Vault's API, with the client's token."""
    return hvac.Client(url="", token="", verify=False, adapter=partial(WireAdapter, client))
