"""What a plan says of the way to a holder's server."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.places import AwsPlace
from pipeline.custody.holders.machine import way


@pytest.mark.parametrize(
    ("handed", "file", "told"),
    [
        ("/run/credentials/a", "/run/credentials/a/ca.pem", "$CREDENTIALS_DIRECTORY/ca.pem"),
        ("/run/credentials/a", "/run/credentials/a/tls/ca.pem", "$CREDENTIALS_DIRECTORY/tls/ca.pem"),
        ("/run/credentials/a", "/etc/ca.pem", "/etc/ca.pem"),
        ("/run/credentials/a", "/run/credentials/ab/ca.pem", "/run/credentials/ab/ca.pem"),
        ("/run/credentials/a", None, None),
        (None, "/run/credentials/a/ca.pem", "/run/credentials/a/ca.pem"),
        ("", "ca.pem", "ca.pem"),
    ],
)
def test_an_authority_in_a_units_own_directory_is_named_as_in_the_configuration(
    monkeypatch: pytest.MonkeyPatch, handed: str | None, file: str | None, told: str | None
) -> None:
    if handed is not None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", handed)
    assert way(AwsPlace.model_construct(ca_file=file, proxy=None, proxy_file=None)) == {
        "ca_file": told,
        "proxy": None,
    }


@pytest.mark.parametrize("folder", ["/etc/orgkey", "/home/admin/orgkey"])
def test_an_authority_beside_the_configuration_is_named_as_it_is_written(folder: str) -> None:
    place = AwsPlace.model_validate({"ca_file": "tls/ca.pem"}, context=Path(folder))
    assert place.ca_file == f"{folder}/tls/ca.pem"
    assert way(place)["ca_file"] == "tls/ca.pem"


def test_a_proxy_is_named_without_its_login() -> None:
    place = AwsPlace.model_construct(
        ca_file=None, proxy="http://me:secret@proxy.example:3128", proxy_file=None
    )
    assert way(place)["proxy"] == "http://proxy.example:3128"
