"""What is said of a proxy, by what its failure says."""

from __future__ import annotations

import pytest

from pipeline.clients import _proxy
from pipeline.config import VaultTarget
from pipeline.errors import Denied, OrgkeyError, Unreachable

ADDRESS = "https://vault.example:40700"
PROXY = "http://127.0.0.1:40712"


def explained(text: str) -> OrgkeyError:
    place = VaultTarget(
        kind="vault", address=ADDRESS, mount="orgkey", prefix="records", controlled_by=("team",), proxy=PROXY
    )
    return _proxy.explain(text, "target vault, read", f"vault at {ADDRESS}", place, ADDRESS)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("Tunnel connection failed: 407 Proxy Authentication Required", Denied, "wants a login (407)"),
        ("Tunnel connection failed: 403 Forbidden", Denied, "does not connect"),
        ("Tunnel connection failed: 503 Service Unavailable", Unreachable, "cannot connect"),
        # A port is no answer of the proxy's.
        (f"Failed to establish a new connection to {PROXY}: refused", Unreachable, "does not serve"),
    ],
)
def test_the_answer_decides_and_no_digits_elsewhere(text: str, kind: type[OrgkeyError], said: str) -> None:
    error = explained(text)
    assert type(error) is kind
    assert said in error.message
