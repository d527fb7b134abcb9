"""Certificates that are too short, made by gpg."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import openpgp_writer as writer
from tests.support.certificate_folder import Folder
from tools.make_keys import Home


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "certificates")


# -- what is good ------------------------------------------------------------------------------


# -- what is refused ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def short_keys() -> dict[str, bytes]:
    """Keys with a short primary key, as gpg itself makes them."""
    made = {}
    for primary, subkey in (("rsa1024", "rsa2048"), ("dsa1024", "elg1024")):
        home = Home()
        try:
            home.make(f"{primary} <short@example.com>", primary, subkey)
            made[primary] = writer.join(home.public())
        finally:
            home.close()
    return made


@pytest.mark.parametrize(("primary", "name"), [("rsa1024", "RSA-1024"), ("dsa1024", "DSA-1024")])
def test_a_short_primary_key_is_refused(
    folder: Folder, short_keys: dict[str, bytes], primary: str, name: str
) -> None:
    data = short_keys[primary]
    folder.put("a.gpg", data)
    message = folder.refusal(writer.fingerprint(writer.split(data)[0][1])).message
    assert f"its primary key is {name}, shorter than 2048 bits" in message


# -- SHA-1 -------------------------------------------------------------------------------------


# -- the pinned subkey -------------------------------------------------------------------------


# -- somebody writes into the folder ----------------------------------------------------------------


# -- one certificate in several files ------------------------------------------------------------


# -- files -------------------------------------------------------------------------------------


# -- doctor ------------------------------------------------------------------------------------
