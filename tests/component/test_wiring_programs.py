"""Logins of a run that come from programs."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.config import Config
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import UsageProblem
from pipeline.wiring import factory as wiring
from pipeline.wiring.backends import ConfiguredBackends
from pipeline.wiring.sessions import Sessions
from tests.support.configtext import PIN, changed, put
from tests.support.reporter import Lines


def settings(*changes: Any) -> Config:
    return config.parse(
        changed(lambda document: [change(document) for change in changes]), Path("orgkey.toml")
    )


def estate(read: Config | None = None, role: Any = "writer") -> ConfiguredBackends:
    return ConfiguredBackends(Sessions(read, Deadline(5), SystemClock()), role)


@pytest.fixture(autouse=True)
def _nothing_is_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"contacted {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


# -- targets, holders, logins ------------------------------------------------------------------------


def test_each_role_of_a_run_takes_its_credentials_for_aws_once(tmp_path: Path) -> None:
    program = tmp_path / "credentials"
    program.write_text(
        f"#!/bin/sh\necho >> {tmp_path}/$1\n"
        'echo \'{"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "secret"}\'\n'
    )
    program.chmod(0o700)
    changes = [put(f"{place}/region", "eu-central-1") for place in ("target/s3-eu", "holder/aws")]
    changes.append(put("target/s3-eu/endpoint_url", "https://s3.example.com"))
    for role in ("writer", "driller"):
        (tmp_path / f"{role}.ini").write_text(f"[profile job]\ncredential_process = {program} {role}\n")
        login = {"config_file": str(tmp_path / f"{role}.ini"), "profile": "job"}
        changes.append(put(f"identity/{role}", {"aws": login}))
    run = wiring.context(settings(*changes), fingerprint=PIN, state_dir=tmp_path, reporter=Lines())
    for _ in range(2):
        for role in ("writer", "driller"):
            made = run.backends(role)  # type: ignore[arg-type]  # one of the two
            made.targets()
            made.holders()
            for session in made.sessions._clouds.values():  # type: ignore[attr-defined]
                session.client("s3")
                session.client("kms")
    for role in ("writer", "driller"):
        assert (tmp_path / role).read_text() == "\n", role


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ({"vault-eu": {"profile": "x"}}, "not a login for Vault"),
        ({"s3-eu": {"token_file": "/run/token"}}, "not a login for AWS"),
    ],
)
def test_a_login_for_another_service_is_refused(at: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageProblem, match=told):
        estate(settings(put("identity/writer/at", at))).targets()


# -- holders from a record -------------------------------------------------------------------------


# -- a run -----------------------------------------------------------------------------------------


def run(read: Config, **more: Any) -> Any:
    given: dict[str, Any] = {"fingerprint": None, "state_dir": Path("/state"), "reporter": Lines()}
    return wiring.context(read, **given | more)


# -- a record by its place --------------------------------------------------------------------------


# -- sources ---------------------------------------------------------------------------------------
