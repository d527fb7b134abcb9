"""What the doctor says of [readers]: the crew's key, its folder, the certificates, the scheduler."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import Code
from pipeline.core.finding import Finding, Level
from pipeline.monitoring import doctor
from pipeline.providers.tls import expiry
from pipeline.sources.backups.crew.crew_key import CrewKey
from tests.support.dask_crew import DaskCrew
from tests.support.inmemory import World
from tests.support.ports import distinct_ports
from tests.support.secure_stack import Certificates

NOTHING_OPENS_IT = "A" * 43 + "="  # a point of order 1


def section(**values: str) -> str:
    return "\n".join(["[readers]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())])


def said(world: World, **values: str) -> list[tuple[Level, Code, str]]:
    world.backups = section(**values) + "\n"
    found = [item for item in doctor.examine(world.context) if item.subject == "readers"]
    return [(item.level, item.code, item.message) for item in found]


def test_without_a_crew_nothing_is_said(world: World) -> None:
    assert said(world, engine="local") == []


def test_a_folder_and_a_key_that_can_be_used(world: World, tmp_path: Path) -> None:
    key = CrewKey.generate().public
    (tmp_path / "tickets").mkdir()
    found = said(world, engine="folder", folder=str(tmp_path), crew_key=key)
    assert [level for level, _, _ in found] == [Level.OK, Level.OK]
    assert key in found[0][2]
    assert str(tmp_path) in found[1][2]


@pytest.mark.parametrize("part", ["", "tickets", "answers"])
def test_a_folder_that_cannot_be_written_to(
    part: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, allowed = tmp_path / part, os.access
    refused.mkdir(exist_ok=True)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != refused and allowed(path, mode))
    found = said(world, engine="folder", folder=str(tmp_path), crew_key=CrewKey.generate().public)
    assert found[1] == (Level.FAIL, Code.LOCAL_FILES, f"this user cannot write to {refused}")


def test_a_folder_that_is_not_there_and_a_key_that_is_not_one(world: World, tmp_path: Path) -> None:
    key, folder = said(world, engine="folder", folder=str(tmp_path / "none"), crew_key=NOTHING_OPENS_IT)
    assert (key[:2], folder[:2]) == ((Level.FAIL, Code.USAGE), (Level.FAIL, Code.LOCAL_FILES))
    assert "nothing can be sealed to" in key[2]
    assert "none: No such file" in folder[2]


def dask(certificates: Certificates, pair: tuple[Path, Path], scheduler: str) -> dict[str, str]:
    files = {"ca_file": certificates.ca, "cert_file": pair[0], "key_file": pair[1]}
    key = CrewKey.generate().public
    return {name: str(path) for name, path in files.items()} | {
        "engine": "dask",
        "scheduler": scheduler,
        "crew_key": key,
    }


def test_an_engine_that_is_not_installed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "distributed" else known(name)
    )
    made = Certificates(tmp_path)
    values = dask(made, made.issue("member"), "tls://127.0.0.1:1")
    ((level, code, message),) = said(world, **values)
    assert (level, code) == (Level.FAIL, Code.PROGRAM_MISSING)
    assert "Dask" in message


def findings(world: World, days: float = 60.0, **values: str) -> list[Finding]:
    world.backups = section(**values) + "\n"
    whole: Config = world.config.model_copy(update={"target": {}, "holder": {}, "path": {}})
    policy = whole.policy.model_copy(update={"certificate_warning_days": days})
    return expiry.findings(whole.model_copy(update={"policy": policy}), SystemClock(), Deadline(30))


def test_certificates_of_a_scheduler_and_of_this_machine(world: World, tmp_path: Path) -> None:
    with DaskCrew(tmp_path) as crew:
        values = dask(crew.certificates, crew.pair, crew.address)
        (fine,) = findings(world, 10.0, **values)
        assert (fine.level, fine.subject) == (Level.OK, "certificates")
        assert fine.message.startswith("2 seen")
        soon = findings(world, 45.0, **values)
        assert [item.level for item in soon] == [Level.WARN, Level.WARN]
        assert soon[0].message.startswith(f"the certificate of {crew.address} expires ")
        assert soon[1].message.startswith(f"the client certificate in {crew.pair[0]} expires ")
        ended = crew.certificates.issue("ended", days=-1)
        (over,) = findings(world, 10.0, **dask(crew.certificates, ended, crew.address))
        assert (over.level, over.code) == (Level.FAIL, Code.DENIED)
        assert f"{ended[0]} expired" in over.message


def test_files_that_cannot_be_used(world: World, tmp_path: Path) -> None:
    made = Certificates(tmp_path)
    pair, other = made.issue("member"), made.issue("another")
    mixed = dask(made, (pair[0], other[1]), "tls://127.0.0.1:1") | {"ca_file": str(tmp_path / "no.pem")}
    authority, files = findings(world, 10.0, **mixed)
    assert {(item.level, item.code) for item in (authority, files)} == {(Level.FAIL, Code.USAGE)}
    assert "no.pem does not exist" in authority.message
    assert "is not that of the certificate" in files.message
    assert "cert_file and key_file of [readers]" in files.hint


def test_a_scheduler_that_does_not_run(world: World, tmp_path: Path) -> None:
    made, (port,) = Certificates(tmp_path), distinct_ports(1)
    address = f"tls://127.0.0.1:{port}"
    (silent,) = findings(world, 10.0, **dask(made, made.issue("member"), address))
    assert (silent.level, silent.code) == (Level.FAIL, Code.UNREACHABLE)
    assert f"{address} is not shown" in silent.message
