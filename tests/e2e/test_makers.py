"""Keys of other programs, through the command line: what is restored has numbers that any program reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.secret import Secret
from pipeline.openpgp.key import parsing, rewrap
from tests.conftest import Place
from tests.support.commandline import KEYS, NEW_PASSPHRASE, Desk


@pytest.mark.parametrize(
    ("name", "code"), [("gnupg24-nistp521", 0), ("gnupg24-brainpoolp256", 24), ("openpgpjs6-rsa2048", 0)]
)
def test_a_key_of_another_program(place: Place, tmp_path: Path, name: str, code: int) -> None:
    data = (KEYS / "makers" / f"{name}.asc").read_bytes()
    desk = Desk(place, tmp_path, pin=False)
    desk.config = place.write_config(tmp_path / "pinned.toml", parsing.read_one(data, "the key").fingerprint)
    desk.write("export.asc", data)
    assert desk.escrow(expect=code)["proven"] is True
    desk.restore()
    back = (tmp_path / "restored.asc").read_bytes()
    assert rewrap.unlock(back, Secret(NEW_PASSPHRASE)).canonical
