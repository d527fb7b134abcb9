"""The units of `infra/schedule/systemd`: as described once, clean, confined, and fit for the exit codes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from pipeline.config.sections import Job as PingJob
from pipeline.core.errors import Code
from tests.support import confined
from tests.unit.project.test_docs import complaint
from tools import make_schedule
from tools.schedule import jobs, systemd, unitfile

UNITS = make_schedule.SCHEDULE / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
TIMERS = sorted(UNITS.glob("*.timer"))
EXAMPLES = sorted(
    [*make_schedule.SCHEDULE.glob("*.toml.example"), *make_schedule.SCHEDULE.glob("kubernetes/*/**/*.toml")]
)
DOCS = make_schedule.SCHEDULE.parents[1] / "docs"
MOST_EXPOSED = 2.0  # of 10; systemd calls up to 2 "OK"

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing"
)


@pytest.mark.parametrize("name", sorted(make_schedule.files()))
def test_committed_files_are_what_the_description_says(name: str) -> None:
    assert (make_schedule.SCHEDULE / name).read_text() == make_schedule.files()[name], (
        "run .venv/bin/python -m tools.make_schedule and commit what it writes"
    )


def test_no_file_is_left_over() -> None:
    made = set(make_schedule.files())
    there = {
        path.relative_to(make_schedule.SCHEDULE).as_posix()
        for folder in make_schedule.GENERATED
        for path in (make_schedule.SCHEDULE / folder).rglob("*")
        if path.is_file()
    }
    assert there <= made


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with systemd's own units, ours, and programs of the names that ours call."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    (root / "lib").symlink_to("usr/lib")
    units = root / "etc/systemd/system"
    units.mkdir(parents=True)
    for path in (*SERVICES, *TIMERS):
        shutil.copy(path, units)
    for program in ("opt/orgkey/bin/orgkey", "bin/sh"):
        (root / program).parent.mkdir(parents=True)
        (root / program).write_text("#!/bin/true\n")
        (root / program).chmod(0o755)
    return root


def _verify(image: Path, unit: str) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={image}", unit],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@needs_analyze
@pytest.mark.parametrize("path", [*SERVICES, *TIMERS], ids=lambda path: path.name)
def test_systemd_finds_nothing_to_say(image: Path, path: Path) -> None:
    assert _verify(image, path.name.replace("@", "@pgp1")) == (0, "")


@needs_analyze
def test_that_check_finds_what_is_wrong(image: Path) -> None:
    text = SERVICES[0].read_text()
    wrong = image / "etc/systemd/system/wrong@.service"
    for old, new in (("Restart=on-failure", "Restart=perhaps"), ("/opt/orgkey/bin/orgkey", "/opt/nothing")):
        assert old in text
        wrong.write_text(text.replace(old, new))
        code, told = _verify(image, "wrong@pgp1.service")
        assert told, (code, new)
    wrong.unlink()


@needs_analyze
@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_units_are_little_exposed(path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    match = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert match, done
    assert float(match[1]) <= MOST_EXPOSED, done.stdout


@needs_analyze
def test_the_user_is_made_as_described(tmp_path: Path) -> None:
    there = tmp_path / "usr/lib/sysusers.d"
    there.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    shutil.copy(UNITS / "orgkey.sysusers", there / "orgkey.conf")
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], timeout=60, check=True, capture_output=True)
    assert re.search(
        r"^orgkey:.*:/var/lib/orgkey:\S+nologin$", (tmp_path / "etc/passwd").read_text(), re.MULTILINE
    )


def test_the_guide_names_no_user_or_group_before_it_made_them() -> None:
    guide = (make_schedule.SCHEDULE / "README.md").read_text()
    sections = re.split(r"^## ", guide, flags=re.MULTILINE)
    owning = 0
    for section in sections:
        made = False
        for command in re.findall(r"^\$ (.*)$", section, re.MULTILINE):
            made = made or command.startswith(("systemd-sysusers", "useradd "))
            owns = re.search(r" -[og] orgkey\b|-u orgkey\b|--uid=orgkey\b", command)
            assert made or not owns, command
            owning += bool(owns)
    assert owning > 5


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_the_end_of_a_unit_removes_nothing_of_a_run_by_hand(path: Path) -> None:
    assert "RemoveIPC" not in unitfile.read(path)["Service"], "GnuPG's homes lie in /dev/shm"


@pytest.mark.parametrize("name", ["README.md", "escrow-host.toml.example"])
def test_the_doctor_is_asked_with_all_credentials_and_the_folders_are_made_first(name: str) -> None:
    text = (make_schedule.SCHEDULE / name).read_text().replace("\\\n#", "")
    (call,) = re.findall(r"(systemd-run .+/opt/orgkey/bin/orgkey doctor .+)$", text, re.MULTILINE)
    assert complaint(call[call.index("/opt/orgkey") :]) is None
    folders = dict(re.findall(r"LoadCredential=(\w+):(\S+)", call))
    assert set(folders) == {login for job in jobs.JOBS for login in job.logins}
    # As the units have it: systemd sets the mode anew at each start.
    assert "StateDirectoryMode=0700" in call
    readme = (make_schedule.SCHEDULE / "README.md").read_text()
    made = " ".join(re.findall(r"^\$ install -d -m 700 (/.+)$", readme, re.MULTILINE)).split()
    assert set(folders.values()) <= set(made)
    assert readme.index(made[0]) < readme.index("systemctl enable")


def test_the_runbooks_shell_has_what_the_doctor_has_and_files_that_it_can_read() -> None:
    def call(path: Path, end: str) -> str:
        (found,) = re.findall(rf"(systemd-run .+{end}.*)$", path.read_text(), re.MULTILINE)
        return str(found)

    shell = call(DOCS / "runbooks" / "README.md", " /bin/bash")
    doctor = call(make_schedule.SCHEDULE / "README.md", "/opt/orgkey/bin/orgkey doctor")
    for option in (
        "-p LoadCredential",
        "-p StateDirectory",
        "-p StateDirectoryMode",
        "-p LimitMEMLOCK",
        "--uid",
    ):
        wanted = re.findall(rf"{option}=\S+", doctor)
        assert wanted
        assert re.findall(rf"{option}=\S+", shell) == wanted
    page = (DOCS / "runbooks" / "README.md").read_text()
    assert "--pty" in shell
    assert "`ORGKEY_STATE_DIR=/var/lib/orgkey/pgp1`" in page, "where StateDirectory= makes it"
    assert "`ORGKEY_CONFIG=/etc/orgkey/pgp1.toml`" in page


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_only_codes_worth_a_retry_are_tried_again(path: Path) -> None:
    service = unitfile.read(path)["Service"]
    listed = [int(word) for word in service["RestartPreventExitStatus"][0].split()]
    assert set(listed) == {int(code) for code in Code if not code.retry} - {0}
    assert listed == sorted(listed)
    assert service["Restart"] == ["always" if path.name == "orgkey@.service" else "on-failure"]


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_all_tries_fit_into_the_interval_that_counts_them(path: Path) -> None:
    unit = unitfile.read(path)
    interval = int(unit["Unit"]["StartLimitIntervalSec"][0])
    if path.name == "orgkey@.service":
        assert interval == 0, "a service that stays never gives up"
        return
    service = unit["Service"]
    one = int(service["TimeoutStartSec"][0]) + int(service["RestartSec"][0])
    tries = int(unit["Unit"]["StartLimitBurst"][0])
    assert one * tries <= interval
    # All of them are over before the next turn, however the two are spread: else a turn would be lost.
    timer = unitfile.read(path.with_suffix(".timer"))["Timer"]
    turn = 3600 if timer["OnCalendar"] == ["hourly"] else 86400
    assert interval + int(timer["RandomizedDelaySec"][0]) <= turn


def test_the_readme_says_how_many_starts_systemd_takes() -> None:
    text = " ".join((make_schedule.SCHEDULE / "README.md").read_text().split())
    told = {job.name: (job.tries, job.all_tries_seconds // 60) for job in jobs.TIMED}
    status, (backups,) = told.pop("status"), {told.pop("backups"), told.pop("backups-part")}
    (rest,) = set(told.values())
    words = {2: "two", 4: "four"}
    assert f"After {words[rest[0]]} within {rest[1]} minutes" in text
    assert f"(`status`: {words[status[0]]} within {status[1]} minutes," in text
    assert f"`backups` and `backups-part`: {words[backups[0]]} within {backups[1]})" in text


def test_timers_and_services_are_the_jobs() -> None:
    assert {path.name for path in SERVICES} == {f"{systemd.unit_name(job)}.service" for job in jobs.JOBS}
    assert {path.stem for path in TIMERS} == {path.stem for path in SERVICES} - {"orgkey@"}


@needs_analyze
def test_the_filter_that_tests_run_under_stops_what_it_should(tmp_path: Path) -> None:
    """The integration test of the schedule proves that the jobs work under it; here, that it is one."""
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(confined.rules(unitfile.read(SERVICES[0])["Service"])))
    attempts = {
        "socket.socket(socket.AF_INET)": "",
        "socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)": "PermissionError",
        "os.chroot('/')": "PermissionError",
        "os.setpriority(os.PRIO_PROCESS, 0, 5)": "PermissionError",
        "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)": "",
        "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)": "Error",
    }
    for attempt, wanted in attempts.items():
        code = f"import mmap, os, socket\n{attempt}"
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.confined", str(rules), sys.executable, "-c", code],
            capture_output=True, text=True, timeout=60, check=False, cwd=make_schedule.SCHEDULE.parents[1],
        )  # fmt: skip
        assert (done.returncode == 0) == (not wanted), (attempt, done)
        assert wanted in done.stderr


# -- the examples of configuration ---------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_examples_are_valid(path: Path, tmp_path: Path) -> None:
    from tests.support.commandline import environment, orgkey

    config = tmp_path / "orgkey.toml"
    config.write_text(path.read_text())
    config.chmod(0o600)
    env = environment(tmp_path, CREDENTIALS_DIRECTORY=str(tmp_path))
    for job in jobs.JOBS:
        (tmp_path / f"alarms_ping-{job.name}").write_text("https://ping.example.com/0000\n")
        (tmp_path / f"alarms_ping-{job.name}").chmod(0o600)
    orgkey(tmp_path, "config", "validate", "--config", str(config), env=env, expect=0)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_examples_name_only_credentials_that_the_jobs_of_that_host_load(path: Path) -> None:
    named = {match[1] for match in re.finditer(r"\$CREDENTIALS_DIRECTORY/([a-z]+)_", path.read_text())}
    drill_host = "drill-host" in path.as_posix()
    here = [job for job in jobs.JOBS if not (drill_host and job in (jobs.WATCH, jobs.INFRA))]
    assert named <= {name for job in here for name in job.logins}
    assert ("writer" in named) != drill_host
    document = tomllib.loads(path.read_text())
    assert set(document["ping"]) == {job.ping or job.name for job in here}
    assert {job.ping or job.name for job in jobs.JOBS} <= set(get_args(PingJob))
