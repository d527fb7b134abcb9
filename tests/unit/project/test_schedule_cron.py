"""The crontab of `infra/schedule/cron`."""

from __future__ import annotations

import re

from tests.unit.project.test_docs import complaint
from tools import make_schedule
from tools.schedule import jobs

CRONTAB = make_schedule.SCHEDULE / "cron" / "orgkey.cron"
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_LINE = re.compile(r"((?:\S+ ){4}\S+) (\S.*)")


def parsed() -> tuple[dict[str, str], list[tuple[list[str], str]]]:
    """Read it as cron(5) describes: the variables, and of each line its fields and its command."""
    variables: dict[str, str] = {}
    lines = []
    for line in CRONTAB.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            variables[match[1]] = match[2]
            continue
        match = _LINE.fullmatch(line)
        assert match, line
        # An unescaped % ends the command, and the rest is its input.
        command, *given = re.split(r"(?<!\\)%", match[2])
        assert given == [], line
        lines.append((match[1].split(), command.replace(r"\%", "%")))
    return variables, lines


def test_every_field_is_within_its_range() -> None:
    _, lines = parsed()
    assert len(lines) == len(jobs.JOBS)
    for fields, _ in lines:
        for field, (least, most) in zip(fields, _RANGES, strict=True):
            match = re.fullmatch(r"\*(?:/(\d+))?|(\d+)", field)
            assert match, fields
            if match[2]:
                assert least <= int(match[2]) <= most, fields
            if match[1]:
                assert 1 <= int(match[1]) <= most, fields


def test_no_two_jobs_start_at_the_same_minute_of_the_day() -> None:
    _, lines = parsed()
    minutes = [fields[0] for fields, _ in lines]
    assert len(set(minutes)) == len(minutes)


def test_mail_goes_somewhere_and_programs_are_found() -> None:
    variables, _ = parsed()
    assert variables["MAILTO"].endswith("@example.com")
    assert variables["PATH"].split(":")[0] == "/opt/orgkey/bin"
    assert variables["SHELL"] == "/bin/sh"


def test_the_folders_that_it_names_are_made_for_its_user() -> None:
    variables, _ = parsed()
    for path, lead in ((CRONTAB, r"#   "), (make_schedule.SCHEDULE / "README.md", r"\$ ")):
        made = {
            folder
            for line in re.findall(
                rf"^{lead}install -d -m 700 -o orgkey -g orgkey (.+)$", path.read_text(), re.MULTILINE
            )
            for folder in line.split()
        }
        assert {variables["CREDENTIALS_DIRECTORY"], variables["STATE_DIRECTORY"]} <= made, path


def test_commands_exist() -> None:
    _, lines = parsed()
    for _, command in lines:
        match = re.fullmatch(r"umask 077; (orgkey .+) >/dev/null", command)
        assert match, command
        assert complaint(re.sub(r"\$\([^)]*\)", "NOW", match[1])) is None
