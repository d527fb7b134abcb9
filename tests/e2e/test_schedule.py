"""The unattended jobs by their units: the very commands, with the credentials that each unit loads."""

from __future__ import annotations

import re
import shutil
import signal
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.core.errors import Code
from tests.e2e.scheduled import PINGED, SCHEDULE, Host
from tests.support import exposition
from tests.support.listener import listening
from tests.unit.project import test_schedule_cron, test_schedule_kubernetes
from tools.schedule.jobs import JOBS, TIMED

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.commandline import Run

# What the units' filter of system calls consists of, systemd says.
pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")


# The stack was set up for records/, and a test's place is a prefix below it: that differs.
PLANNED = int(Code.PENDING)


@pytest.fixture
def host(place: Place, tmp_path: Path) -> Iterator[Host]:
    with listening() as listener:
        yield Host(place, tmp_path, listener)


def escrowed(host: Host) -> None:
    """Let `watch` escrow an export, and stop it as `systemctl stop` does."""
    export = host.deliver()
    with host.unit("watch").launch() as child:
        try:
            assert child.stdout is not None
            lines = []
            for line in child.stdout:
                lines.append(line)
                if "gate: " in line:
                    break
            assert "gate: ok" in lines[-1], (lines, host.listener.paths)
            while host.listener.paths[-1] != "/watch":
                time.sleep(0.02)
            child.send_signal(signal.SIGTERM)
            code = child.wait(60)
        finally:
            child.kill()
    assert code in (0, int(Code.INTERRUPTED))
    assert str(int(Code.INTERRUPTED)) in host.unit("watch").settings["SuccessExitStatus"]
    assert not export.exists()


def test_what_arrives_is_escrowed_verified_drilled_reported_and_judged(host: Host) -> None:
    escrowed(host)
    for job in ("verify", "drill", "report", "status", "backups", "backups-part"):
        run = host.unit(job).start()
        assert run.code == 0, run
        assert "warning" not in run.err
    heard = host.listener.paths
    assert heard.count("/backups/start") == heard.count("/backups") == 2, heard
    for job in ("watch", "verify", "drill", "report", "status"):
        assert heard.count(f"/{job}/start") == heard.count(f"/{job}") == 1, heard
    run = host.unit("infra").start()
    assert (run.code, host.listener.paths[-1]) == (PLANNED, f"/infra/{PLANNED}"), run
    assert exposition.parse((host.metrics / "orgkey.prom").read_text())["orgkey_gate_ok", ()] == 1
    reports = list(host.state.glob("report-*.zip"))
    assert len(reports) == 1


def test_a_signal_while_the_ping_is_out_still_stops_the_service(host: Host) -> None:
    with host.unit("watch").launch() as child:
        try:
            assert child.stdout is not None
            while "/watch/start" not in host.listener.paths:
                time.sleep(0.02)
            host.listener.mood = "slow"
            while not host.listener.paths[-1].startswith("/watch/4"):
                time.sleep(0.02)
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 0
        finally:
            child.kill()


def test_the_crontab_does_the_same(host: Host) -> None:
    host.deliver()
    _, lines = test_schedule_cron.parsed()
    for _, command in lines:
        run = host.crontab(command)
        expected = PLANNED if "infra plan" in command else 0
        assert (run.code, run.out, run.err) == (expected, "", ""), (command, run)
    assert host.listener.paths == [
        path
        for job in (job.ping or job.name for job in JOBS)
        for path in (f"/{job}/start", f"/{job}/{PLANNED}" if job == "infra" else f"/{job}")
    ]
    assert len(list(host.state.glob("report-*.zip"))) == 1


def test_pods_do_the_same_with_the_secrets_that_they_mount(host: Host, kustomize: Path) -> None:
    escrowed(host)
    host.state.chmod(0o2777)  # as a volume with an fsGroup may be
    base = test_schedule_kubernetes.build(kustomize, test_schedule_kubernetes.ROOT / "base")
    ran = []
    for item, pod in test_schedule_kubernetes.pods(base):
        if item["kind"] == "CronJob":
            run = host.pod(pod)
            name = item["metadata"]["name"]
            assert run.code == (PLANNED if name == "orgkey-infra" else 0), run
            assert '"level":"warning"' not in run.err.replace(" ", "")
            ran.append(name)
    assert sorted(ran) == sorted(f"orgkey-{job.name}" for job in TIMED)
    assert len(list(host.state.glob("report-pod-*.zip"))) == 1


def _doctor(*folders: str) -> str:
    """The README's command, with the credentials of some folders alone where they are named."""
    readme = (SCHEDULE / "README.md").read_text()
    (call,) = re.findall(r"^\$ (systemd-run .+ doctor .+)$", readme, re.MULTILINE)
    left_out = re.compile(rf" -p LoadCredential=(?!{'|'.join(folders)})\S+" if folders else "(?!)")
    return left_out.sub("", call)


def _failures(run: Run) -> set[str]:
    """What the doctor says of as failed."""
    found = re.findall(r"^FAIL +([^:,\n]+)", run.out, re.MULTILINE)
    return set(found)


def test_the_doctor_has_all_the_credentials_that_the_readme_hands_it(host: Host) -> None:
    run = host.by_hand(_doctor())
    told = [line.split(maxsplit=1) for line in run.out.splitlines() if line[:1].strip()]
    # The example's one path, and the prefix of a test's place: what is wrong there is no login.
    assert _failures(run) == {"custody", "vault's side"}, run.out
    good = {what.partition(": reachable")[0] for verdict, what in told if verdict == "ok"}
    logins = ("writer", "driller", "auditor")
    assert {f"target {name}: {login}" for name in ("vault", "s3") for login in logins} <= good
    assert len([what for verdict, what in told if verdict == "ok" and what.startswith("ping.")]) == len(
        PINGED
    )


def test_a_host_without_the_writers_login_drills(place: Place, tmp_path: Path) -> None:
    with listening() as listener:
        (tmp_path / "first").mkdir()
        escrowed(Host(place, tmp_path / "first", listener))
        (tmp_path / "second").mkdir()
        second = Host(place, tmp_path / "second", listener, "drill-host.toml.example")
        shutil.rmtree(tmp_path / "second/etc/orgkey/credentials/pgp1/writer")
        shutil.rmtree(tmp_path / "second/etc/orgkey/credentials/pgp1/export")
        for job in ("verify", "drill", "report", "status"):
            run = second.unit(job).start()
            assert run.code == 0, run
            assert "warning" not in run.err
        with pytest.raises(FileNotFoundError):
            second.unit("watch").start()
        assert _failures(second.by_hand(_doctor("driller", "auditor", "alarms"))) == {"custody"}


def test_each_job_gets_the_logins_that_it_needs_and_no_others(host: Host) -> None:
    loaded = {
        job: {path.name.partition("_")[0] for path in host.unit(job).credentials.iterdir()} for job in PINGED
    }
    assert {job for job, names in loaded.items() if "planner" in names} == {"infra"}
    assert {job for job, names in loaded.items() if "writer" in names} == {"watch"}
    assert {job for job, names in loaded.items() if "export" in names} == {"watch"}
    assert all("alarms" in names for names in loaded.values())
    escrowed(host)
    drill = host.unit("drill")
    (drill.credentials / "driller_aws").unlink()
    run = drill.start()
    assert run.code in drill.final, run


def test_a_dead_server_is_tried_again_and_a_refusal_is_not(host: Host) -> None:
    escrowed(host)
    document = tomllib.loads(host.config.read_text())
    real = document["target"]["s3"]["endpoint_url"]
    document["target"]["s3"]["endpoint_url"] = "http://127.0.0.1:9"
    host.write_config(document)
    for job in ("verify", "drill", "status"):
        unit = host.unit(job)
        run = unit.start()
        assert run.code not in (0, *unit.final), run
        assert Code(run.code).retry
        assert host.listener.paths[-1] == f"/{job}/{run.code}"
    document["target"]["s3"]["endpoint_url"] = real
    document["key"]["fingerprint"] = "0" * 40
    host.write_config(document)
    unit = host.unit("drill")
    assert unit.start().code in unit.final
