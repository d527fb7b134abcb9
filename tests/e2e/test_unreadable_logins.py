"""An operator who may not read the login files asks every query: what is stored is then not known."""

from __future__ import annotations

import errno
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import Code
from pipeline.workflows.drill import DrillRequest, drill
from tests.support.inmemory import World, named
from tests.support.started import Started
from tests.support.worlds import _quick as _quick

PLACES = """
[key]
fingerprint = "{fingerprint}"
[target.vault]
kind = "vault"
address = "http://127.0.0.1:9"
controlled_by = ["vault-admins"]
[target.s3]
kind = "s3"
bucket = "records"
region = "eu-central-1"
endpoint_url = "http://127.0.0.1:9"
controlled_by = ["aws-admins"]
[holder.vault]
kind = "vault-transit"
address = "http://127.0.0.1:9"
controlled_by = ["vault-admins"]
[path.unattended]
needs = ["vault"]
[policy]
copies = 2
max_drill_age_days = 8
accept_single_party = true
accept_single_loss = true
"""
LOGINS = """
[identity.{name}.vault]
role_id_file = "{folder}/role-id"
secret_id_file = "{folder}/secret-id"
[identity.{name}.aws]
credentials_file = "{folder}/aws"
"""
ASKED = [
    ("list",),
    ("verify",),
    ("status",),
    ("custody", "posture"),
    ("report",),
    *[("report", "--format", form, "--out", f"report.{form}") for form in ("html", "csv", "oscal", "json")],
]
FALSE = ("nothing is stored", "nothing authentic", "nowhere", "nobody", "never proven", "proven     never")


def refuse_reading(below: Path) -> None:
    """Have the system refuse to open a file below a folder."""
    top = os.fspath(below)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | Path) and str(arguments[0]).startswith(top):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(arguments[0]))

    sys.addaudithook(hook)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host whose escrow was proven a moment ago."""
    world = World(tmp_path / "state", named("vault", "s3"))
    made = world.store(world.mint())
    copies = {name: {"location": name, "version": "1"} for name in world.targets}
    world.enter("escrow", {"epoch": made.epoch, "copies": copies})
    assert drill(world.context, DrillRequest()).code is Code.OK
    logins = tmp_path / "credentials"
    logins.mkdir()
    for name in ("role-id", "secret-id", "aws"):
        (logins / name).write_text("x")
    text = PLACES.format(fingerprint=world.fingerprint)
    for name in ("writer", "driller"):
        text += LOGINS.format(name=name, folder=logins)
    (tmp_path / "orgkey.toml").write_text(text)
    (tmp_path / "orgkey.toml").chmod(0o600)
    (tmp_path / "epoch").write_text(made.epoch)
    return tmp_path


def test_what_could_not_be_asked_is_not_known(host: Path) -> None:
    epoch = (host / "epoch").read_text()
    for words in ASKED:
        orgkey = Started(host)
        given = [*words, "--config", "orgkey.toml", "--state-dir", "state"]
        code = orgkey.run(*given, before=partial(refuse_reading, host / "credentials"))
        assert code in (Code.USAGE, Code.DEGRADED), (words, orgkey.err)
        out = orgkey.out.decode()
        if "--out" in words:
            out = (host / words[-1]).read_text()
            assert "unknown" in out.lower(), words
        told = " ".join((out + orgkey.err.decode()).replace("\u200b", "").split())
        for false in FALSE:
            assert false not in told, (words, false)
        assert "Permission denied" in told, words
        assert words == ("custody", "posture") or epoch in told, words
        known = ("could not be asked", "not known", "cannot be asked", "unknown")
        assert any(text in told for text in known), words
