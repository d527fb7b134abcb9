"""`orgkey fleet`: many configurations, each in a process of its own, and nothing of one in another."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.cli import fleet_run
from tests.support import forkserver
from tests.support.commandline import ORGKEY, Desk, Run, environment, orgkey

if TYPE_CHECKING:
    from tests.conftest import Place


LOGIN = re.compile(r"(\[identity\.driller\.aws\]\n)credentials_file = .*")


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    desk = Desk(place, tmp_path)
    desk.escrow()
    return desk


class Fleet:
    """A folder of configurations made from one."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.folder = desk.folder / "fleet"
        self.folder.mkdir()

    def add(self, name: str, *edits: tuple[str, str]) -> Path:
        """Add a configuration."""
        text = self.desk.config.read_text()
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        path = self.folder / f"{name}.toml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def run(
        self,
        command: str,
        *words: str,
        expect: int,
        env: dict[str, str] | None = None,
        executed: bool = False,
    ) -> Run:
        """Run a command for all; executed where a test is about what members inherit."""
        line = ["fleet", command, "--configs", f"{self.folder}/*.toml", "--state-dir", str(self.desk.state)]
        variables = environment(self.desk.folder) | (env or {})
        return orgkey(self.desk.folder, *line, *words, expect=expect, env=variables, executed=executed)

    def ask(self, command: str, *words: str, expect: int = 0, **how: Any) -> Any:
        """The same, as a document."""
        return self.run(command, *words, "--json", expect=expect, **how).document


@pytest.fixture
def fleet(desk: Desk) -> Fleet:
    return Fleet(desk)


def test_a_screen_a_document_a_page_and_metrics_over_all(fleet: Fleet) -> None:
    fleet.add("berlin", ("[key]\n", '[key]\nname = "berlin"\n'))
    fleet.add(
        "paris", ("[key]\n", '[key]\nname = "paris"\n'), ("[policy]\n", "[policy]\nmax_age_days = 1e-9\n")
    )
    (fleet.folder / "rome.toml").write_text("this is not a configuration")
    page, metrics = fleet.desk.folder / "page.html", fleet.desk.folder / "orgkey.prom"
    found = fleet.ask("status", "--page", str(page), "--metrics", str(metrics), expect=2)
    assert found["verdicts"] == {"good": 1, "stale": 1, "failed": 1}
    members = {item["name"]: item for item in found["members"]}
    assert {name: item["exit_code"] for name, item in members.items()} == {
        "berlin": 0,
        "paris": 40,
        "rome": 2,
    }
    assert members["berlin"]["document"]["fingerprint"] == fleet.desk.fingerprint
    assert "rome.toml" in members["rome"]["problem"]
    said = fleet.run("status", "--quiet", expect=2).out
    assert said.splitlines()[-1].startswith("3 keys: 1 good, 1 failed, 1 stale; exit code 2")
    assert "berlin" not in said
    assert "the escrow is " in said
    samples = [
        (sample.name, sample.labels["name"], sample.value)
        for family in text_string_to_metric_families(metrics.read_text())
        for sample in family.samples
    ]
    assert ("orgkey_gate_ok", "berlin", 1) in samples
    assert ("orgkey_gate_ok", "paris", 0) in samples
    assert ("orgkey_status_ok", "rome", 0) in samples, "a configuration that cannot be read is not left out"
    text = page.read_text()
    assert text.index("rome") < text.index("paris") < text.index("berlin")
    assert "<script" not in text
    assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")


def test_reports_drills_backups_and_the_posture_of_all(fleet: Fleet) -> None:
    folder = fleet.desk.folder / "backups"
    folder.mkdir()
    for name in ("one", "two"):
        path = fleet.add(name)
        path.write_text(f"{path.read_text()}\n[backups.nightly]\nlocation = {json.dumps(str(folder))}\n")
    assert fleet.ask("drill", "--jobs", "1")["verdicts"] == {"good": 2}
    assert fleet.ask("doctor", expect=0)["verdicts"] == {"good": 2}
    assert fleet.ask("backups", "--newest", "1", expect=40)["command"] == "backups verify"
    posture = fleet.ask("posture")
    assert posture["reconstruct"][0]["keys"] == ["one", "two"]
    assert not any("holder" in party for item in posture["fatal_losses"] for party in item["parties"])
    assert " and " in fleet.run("posture", "--quiet", expect=0).out
    out = fleet.desk.folder / "reports"
    fleet.ask("report", "--out", str(out), expect=40)
    assert {path.name for path in out.iterdir()} == {"one.html", "two.html", "index.html"}
    assert 'href="one.html"' in (out / "index.html").read_text()
    assert fleet.run("report", "--out", str(out), expect=3).error[0].endswith("exists already")


def test_a_member_gets_its_own_variables_and_nobody_else_s(fleet: Fleet) -> None:
    """Each runs a program to log in at S3; what that finds in its environment is what it was given."""
    seen = fleet.desk.folder / "seen"
    seen.mkdir()
    for name in ("one", "two", "three"):
        fleet.add(name)
        program = fleet.desk.folder / f"login-{name}"
        program.write_text(
            f"#!/bin/sh\nenv > {seen}/{name}\nls -l /proc/$PPID/fd > {seen}/{name}.fds\nexit 1\n"
        )
        program.chmod(0o700)
        aws = fleet.desk.folder / f"aws-{name}"
        aws.write_text(f"[default]\ncredential_process = {program}\n")
        config = fleet.folder / f"{name}.toml"
        config.write_text(
            LOGIN.sub(rf'\1config_file = "$CREDENTIALS_DIRECTORY/aws-{name}"', config.read_text())
        )
        (fleet.folder / f"{name}.env").write_text(
            f'# its own\nCREDENTIALS_DIRECTORY={fleet.desk.folder}\nTOKEN_OF="{name}"\n'
        )
    ambient = {"AWS_ACCESS_KEY_ID": "AMBIENT", "VAULT_TOKEN": "AMBIENT", "CREDENTIALS_DIRECTORY": "/nowhere"}
    found = fleet.ask("doctor", "--jobs", "3", expect=21, env=ambient, executed=True)
    assert {item["name"] for item in found["members"]} == {"one", "two", "three"}
    for name in ("one", "two", "three"):
        own = (seen / name).read_text()
        assert f"TOKEN_OF={name}\n" in own
        assert own.count("TOKEN_OF=") == 1
        assert "AMBIENT" not in own
        assert "/nowhere" not in own
        others = {"one", "two", "three"} - {name}
        descriptors = (seen / f"{name}.fds").read_text()
        assert not any(f"{other}.toml" in descriptors or f"aws-{other}" in descriptors for other in others)
    (fleet.folder / "one.env").write_text("not a variable\n")
    found = fleet.ask("doctor", expect=2)
    assert {item["name"]: item["exit_code"] for item in found["members"]}["one"] == 2


@contextmanager
def counting() -> Iterator[tuple[int, list[socket.socket]]]:
    """A server that never answers, and everybody who has asked it."""
    asked: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    asked.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], asked
    for connection in asked:
        connection.close()


@pytest.mark.parametrize(("server", "command"), [("vault", "status"), ("s3", "status"), ("vault", "doctor")])
def test_a_silent_server_that_many_share_is_waited_for_once_by_each_worker(
    fleet: Fleet, server: str, command: str
) -> None:
    keys, workers, most = 10, 2, 8
    fleet.add("fine")
    with counting() as (port, asked):
        for number in range(keys):
            silent = (f'"{fleet.desk.stack.endpoint(server)}"', f'"http://127.0.0.1:{port}"')
            fleet.add(f"key{number}", silent, ("[policy]\n", "[policy]\ncall_seconds = 0.3\n"))
        found = fleet.ask(command, "--jobs", str(workers), expect=20)
        # A run makes three calls that are waited for to their end; others may be under way meanwhile.
        assert len(asked) <= workers * most
    assert found["verdicts"] == {"not known": keys, "good": 1}
    told = [item for item in found["members"] if "a run of this fleet has waited for it" in json.dumps(item)]
    assert len(told) >= keys - workers


def test_a_signal_ends_all_members(fleet: Fleet) -> None:
    text = fleet.desk.config.read_text()
    address = next(line.split('"')[1] for line in text.splitlines() if line.startswith("address = "))
    with counting() as (port, asked):
        for number in range(3):
            fleet.add(f"key{number}", (address, f"http://127.0.0.1:{port}"))
        line = [
            "fleet",
            "status",
            "--configs",
            f"{fleet.folder}/*.toml",
            "--state-dir",
            str(fleet.desk.state),
        ]
        with forkserver.Popen(
            [*ORGKEY, *line], cwd=fleet.desk.folder, env=environment(fleet.desk.folder),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        ) as child:  # fmt: skip
            until = time.monotonic() + 30
            while len(asked) < 3 and time.monotonic() < until:
                time.sleep(0.02)
            members = [
                int(word)
                for task in Path(f"/proc/{child.pid}/task").iterdir()
                for word in (task / "children").read_text().split()
            ]
            assert len(members) == 3
            os.kill(child.pid, signal.SIGTERM)
            assert child.wait(20) == 130
        assert not any(Path(f"/proc/{pid}").exists() for pid in members)


def test_a_member_that_was_just_waited_for_is_not_ended_again() -> None:
    """A signal may come between the two."""
    with subprocess.Popen(["true"]) as done, subprocess.Popen(["sleep", "60"]) as running:
        done.wait()
        fleet_run._end([done.pid, running.pid])
        assert fleet_run._gone(running.pid)


def test_what_is_no_fleet_is_said(fleet: Fleet) -> None:
    assert "no configuration is" in fleet.run("status", expect=2).error[0]
    fleet.add("one")
    variables = fleet.folder / "one.env"
    variables.write_text("PATH=/tmp\n")
    variables.chmod(0o666)
    (told,) = fleet.ask("status", expect=2)["members"]
    assert f"the variables {variables} can be written by others" in told["problem"]
    variables.unlink()
    os.mkfifo(variables)
    (told,) = fleet.ask("status", expect=2)["members"]
    assert told["problem"].startswith(f"{variables} is not a file")
    variables.unlink()
    fleet.add("index")
    out = ("--out", str(fleet.desk.folder / "reports"))
    assert "called index" in fleet.run("report", *out, expect=2).error[0]
    twice = fleet.folder / "sub"
    twice.mkdir()
    (twice / "one.toml").write_text("")
    assert "called one" in fleet.run("status", "--configs", f"{twice}/*.toml", expect=2).error[0]
    assert fleet.run("status", "--jobs", "-1", expect=2).error
