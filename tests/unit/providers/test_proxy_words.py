"""What is said of a proxy, by what its failure says."""

from __future__ import annotations

import os

import pytest
from urllib3.exceptions import ProxyError

from pipeline.config.places import AwsPlace, VaultPlace, VaultTargetConfig
from pipeline.core.errors import Denied, OrgkeyError, Unreachable, UsageProblem
from pipeline.providers import proxy as _proxy
from pipeline.providers import unanswered
from pipeline.providers.wire import NoAnswer

ADDRESS = "https://vault.example:40700"
PROXY = "http://127.0.0.1:40712"


def explained(text: str, reason: Exception | None = None, proxy: str = PROXY) -> OrgkeyError:
    place = VaultTargetConfig(
        kind="vault", address=ADDRESS, mount="orgkey", prefix="records", controlled_by=("team",), proxy=proxy
    )
    broken = NoAnswer(ADDRESS, reason or ProxyError("no tunnel", OSError(text)))
    return unanswered.explain(
        broken,
        "target vault, read",
        unanswered.Route(ADDRESS, place),
        where=f"vault at {ADDRESS}",
        setting="address",
    )


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("Tunnel connection failed: 407 Proxy Authentication Required", Denied, "wants a login (407)"),
        ("Tunnel connection failed: 403 Forbidden", Denied, "does not connect"),
        ("Tunnel connection failed: 503 Service Unavailable", Unreachable, "cannot connect"),
        # A port is not an answer of the proxy's.
        (f"Failed to establish a new connection to {PROXY}: refused", Unreachable, "does not serve"),
    ],
)
def test_the_answer_decides_and_no_digits_elsewhere(text: str, kind: type[OrgkeyError], said: str) -> None:
    error = explained(text)
    assert type(error) is kind
    assert said in error.message


@pytest.mark.parametrize("reason", [TimeoutError(), ConnectionResetError(104, "Connection reset by peer")])
def test_a_proxy_on_the_way_is_named_where_nobody_answers(reason: Exception) -> None:
    told = f"vault at {ADDRESS} (by the proxy {PROXY}, from proxy in the configuration)"
    assert told in explained("", reason).message
    assert "proxy" not in explained("", reason, "none").message


@pytest.mark.parametrize(
    ("variables", "address", "proxy"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "https://vault.example", "http://p:1"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "https://vault.example", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://vault.example", None),
        ({"HTTP_PROXY": "127.0.0.1:9"}, "http://10.0.0.1:8200", "http://127.0.0.1:9"),
        ({"ALL_PROXY": "socks5h://127.0.0.1:9"}, "https://vault.example", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "https://10.1.2.3:8200", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "https://11.1.2.3:8200", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "fd00::/8"}, "https://[fd00::1]:8200", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a, .example"}, "https://vault.example", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example"}, "https://vault.example", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "ample"}, "https://vault.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "vault.example:8200"}, "https://vault.example:8200", None),
        (
            {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "vault.example:1"},
            "https://vault.example:8200",
            "http://p:1",
        ),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "*"}, "https://vault.example", None),
    ],
)
def test_one_rule_for_every_service(
    variables: dict[str, str], address: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for place in (VaultPlace(address="https://vault.example"), AwsPlace()):
        assert _proxy.effective(place, address) == proxy
        assert _proxy.effective(place.model_copy(update={"proxy": "none"}), address) is None


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
@pytest.mark.parametrize("value", ["socks5://127.0.0.1:9", "http://127.0.0.1:99999"])
def test_an_error_names_the_variable(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageProblem, match=variable):
        _proxy.effective(AwsPlace(), "https://s3.example")
