"""Pings, notifications, metrics and JSON logs of real commands, with servers that live, die and misbehave."""

from __future__ import annotations

import base64
import json
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import exposition
from tests.support.commandline import Desk, Run, orgkey
from tests.support.listener import Listener, listening

if TYPE_CHECKING:
    from tests.conftest import Place

TOKEN = "5a1c9f4e-b0d2-ping-token"
KEEP = (
    "import pathlib, sys\n"
    "with pathlib.Path(sys.argv[1]).open('a') as kept:\n"
    "    kept.write(sys.stdin.read())\n"
)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as made:
        yield made


class Alarmed:
    """A desk whose jobs are told to a listener, to a command, and to a service of apprise."""

    def __init__(self, place: Place, folder: Path, listener: Listener) -> None:
        self.listener = listener
        self.kept = folder / "notifications"
        script = folder / "keep.py"
        script.write_text(KEEP)
        more = f"""
[notify]
urls_file = "{folder}/urls"
command = {json.dumps([sys.executable, str(script), str(self.kept)])}
timeout_seconds = 20
"""
        for job in ("escrow", "drill", "status", "verify", "watch"):
            (folder / f"ping-{job}").write_text(f"{listener.address}/{TOKEN}/{job}\n")
            (folder / f"ping-{job}").chmod(0o600)
            more += f'[ping.{job}]\nurl_file = "{folder}/ping-{job}"\n'
        self.desk = Desk(place, folder, more=more)
        self.desk.write("urls", f"json://{listener.address.removeprefix('http://')}/AppriseT0ken\n".encode())
        self.vault = self.desk.config.read_text().partition('address = "')[2].partition('"')[0]

    def dead(self) -> None:
        """Let the configuration point to where no Vault is."""
        self.desk.edit(f'address = "{self.vault}"', 'address = "http://127.0.0.1:9"')

    def alive(self) -> None:
        self.desk.edit('address = "http://127.0.0.1:9"', f'address = "{self.vault}"')

    @property
    def told(self) -> list[dict[str, Any]]:
        """The documents that the command got."""
        if not self.kept.exists():
            return []
        return [json.loads(line) for line in self.kept.read_text().splitlines()]

    def pings(self, job: str) -> list[str]:
        """What was pinged for a job."""
        start = f"/{TOKEN}/{job}"
        return [path.removeprefix(start) for path in self.listener.paths if path.startswith(start)]


@pytest.fixture
def alarmed(place: Place, tmp_path: Path, listener: Listener) -> Alarmed:
    return Alarmed(place, tmp_path, listener)


def events(run: Run) -> list[dict[str, Any]]:
    """Every line of stderr is one JSON object with what each must have."""
    found = [json.loads(line) for line in run.err.splitlines()]
    for line in found:
        assert {"time", "level", "run", "event", "message"} <= set(line), line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["level"] in ("debug", "info", "warning", "error", "critical")
    assert len({line["run"] for line in found}) <= 1
    return found


def test_failure_and_recovery_are_told_once_and_every_run_is_pinged(alarmed: Alarmed) -> None:
    desk = alarmed.desk
    alarmed.dead()
    assert desk.escrow(expect=20)["error"]["code"] == 20
    assert desk.escrow(expect=20)["error"]["code"] == 20
    assert alarmed.pings("escrow") == ["/start", "/20", "/start", "/20"]
    (told,) = alarmed.told
    assert told["schema"] == "orgkey.notification/1"
    assert (told["event"], told["command"], told["code"], told["name"]) == (
        "failure",
        "escrow",
        20,
        "unreachable",
    )
    assert told["fingerprint"] == desk.fingerprint
    assert "vault" in told["message"].lower()
    assert told["hint"]
    by_service = [item for item in alarmed.listener.heard if item.path == "/AppriseT0ken"]
    assert len(by_service) == 1
    assert "failed (20, unreachable)" in by_service[0].body
    alarmed.alive()
    made = desk.escrow()
    assert made["proven"] is True
    assert [item["event"] for item in alarmed.told] == ["failure", "recovery"]
    assert alarmed.pings("escrow")[4:] == ["/start", ""]
    desk.escrow()
    assert len(alarmed.told) == 2
    # One id: in the notification, the ledger, and the ping.
    entries = [
        json.loads(path.read_bytes()) for path in (desk.state / desk.fingerprint / "ledger").glob("*/*.json")
    ]
    assert alarmed.told[1]["run"] in {entry["run"] for entry in entries}
    rids = [item.query["rid"][0] for item in alarmed.listener.heard if item.query.get("rid")]
    assert any(rid.replace("-", "").startswith(alarmed.told[1]["run"][:12]) for rid in rids)
    state = desk.state / desk.fingerprint / "jobs" / "escrow.json"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600


def test_foreign_words_are_no_markup_for_a_service_that_shows_html(alarmed: Alarmed) -> None:
    """Who may leave backups chooses their names, which stand in the text."""
    backups = alarmed.desk.folder / "backups"
    backups.mkdir()
    (backups / "<img>.pgp").write_bytes(b"nothing")
    address = alarmed.listener.address.removeprefix("http://")
    alarmed.desk.write("urls", f"json://{address}/AppriseT0ken?format=html\n".encode())
    alarmed.desk.edit("[notify]", f"[backups.server]\nlocation = {json.dumps(str(backups))}\n[notify]")
    alarmed.desk.escrow()
    alarmed.desk.ask("status", expect=23)
    (heard,) = (item for item in alarmed.listener.heard if item.path == "/AppriseT0ken")
    assert "&lt;img&gt;.pgp" in heard.body
    assert "<img" not in heard.body


def test_a_wrong_passphrase_is_told(alarmed: Alarmed) -> None:
    alarmed.desk.passphrase_file.write_bytes(b"wrong\n")
    alarmed.desk.escrow(expect=12)
    (told,) = alarmed.told
    assert (told["event"], told["code"], told["name"]) == ("failure", 12, "wrong-passphrase")
    assert alarmed.pings("escrow") == ["/start", "/12"]


def test_what_is_no_job_and_a_dry_run_is_told_to_nobody(alarmed: Alarmed) -> None:
    desk = alarmed.desk
    desk.escrow("--dry-run")
    desk.ask("list")
    desk.run("escrow", "--no-such-option", expect=2)
    assert alarmed.listener.heard == []
    assert alarmed.told == []


def test_overdue_is_told_apart_from_failure_and_not_at_every_run(alarmed: Alarmed) -> None:
    desk = alarmed.desk
    desk.escrow()
    desk.ask("status")
    desk.edit("max_drill_age_days = 8", "max_drill_age_days = 0.000001")
    broken = desk.ask("status", expect=40)["gate"]["broken"]
    desk.ask("status", expect=40)
    (told,) = alarmed.told
    assert (told["event"], told["code"], told["broken"]) == ("overdue", 40, told["broken"])
    assert len(told["broken"]) == len(broken) == 1
    assert "policy.max_drill_age_days" in told["broken"][0]
    assert desk.ask("watch", "--once", expect=40)["exit_code"] == 40
    assert alarmed.told[1]["command"] == "watch"
    assert alarmed.pings("watch") == ["/start", "/40"]
    desk.edit("max_drill_age_days = 0.000001", "max_drill_age_days = 8")
    desk.ask("status")
    assert [item["event"] for item in alarmed.told] == ["overdue", "overdue", "recovery"]


@pytest.mark.parametrize("mood", ["silent", "dripping", "dead", "500"])
def test_an_alarm_that_fails_never_changes_the_result(
    alarmed: Alarmed, listener: Listener, mood: str, tmp_path: Path
) -> None:
    desk = alarmed.desk
    if mood == "dead":
        (tmp_path / "ping-verify").write_text(f"http://127.0.0.1:9/{TOKEN}\n")
    elif mood == "500":
        listener.status = 500
    else:
        listener.mood = mood
    (tmp_path / "keep.py").write_text(
        "import sys; sys.exit('no, x-vault-token: hvs.AAAAAAAAAAAAAAAAAAAAAAAA')"
    )
    run = desk.run("verify", "--json", expect=40)  # nothing is stored
    assert run.document["exit_code"] == 40
    warnings = [line for line in run.err.splitlines() if "ping.verify could not be sent" in line]
    assert len(warnings) == 1
    assert "the command" in run.err
    assert "ended with code 1" in run.err
    assert ("services of [notify] did not take the message" in run.err) is (mood != "dead")
    for secret in (TOKEN, "AppriseT0ken", "hvs.AAAA"):
        assert secret not in run.err
    state = json.loads((desk.state / desk.fingerprint / "jobs" / "verify.json").read_text())
    assert (state["told"] is None) is (mood != "dead"), "where nobody was told, the next run tries again"


def test_a_state_that_cannot_be_kept_is_a_warning(alarmed: Alarmed) -> None:
    desk = alarmed.desk
    desk.escrow()
    jobs = desk.state / desk.fingerprint / "jobs"
    jobs.write_text("in the way")
    run = desk.run("status", "--json", expect=0)
    assert "what was sent before is forgotten" in run.err
    alarmed.dead()
    failed = desk.run("verify", expect=20)
    assert "the same may be sent again" in failed.err
    assert alarmed.told[-1]["event"] == "failure"


def test_notify_test_shows_whether_each_way_works(alarmed: Alarmed, tmp_path: Path) -> None:
    desk = alarmed.desk
    found = desk.ask("notify", "test")
    assert found["schema"] == "orgkey.notify-test/1"
    ways = {item["way"]: item["ok"] for item in found["ways"]}
    assert ways == dict.fromkeys(
        [
            "notify.command",
            "notify.urls",
            *(f"ping.{job}" for job in ("escrow", "drill", "status", "verify", "watch")),
        ],
        True,
    )
    assert alarmed.told[0]["event"] == "test"
    assert alarmed.pings("drill") == ["/log"]
    (tmp_path / "keep.py").write_text("raise SystemExit(3)")
    failed = desk.ask("notify", "test", expect=20)
    (problem,) = [item["problem"] for item in failed["ways"] if not item["ok"]]
    assert "ended with code 3" in problem
    desk.write("urls", b"nonsense\n")
    assert desk.ask("notify", "test", expect=20)["exit_code"] == 20
    error = desk.ask("config", "validate", expect=2)["error"]
    assert "address 1 of notify.urls is not one that apprise knows" in error["message"]
    doctor = desk.ask("doctor", expect=None)
    levels = {item["subject"]: item["level"] for item in doctor["findings"]}
    assert (levels["notify.urls"], levels["ping.drill.url"]) == ("fail", "ok")


def test_without_apprise_the_job_runs_and_the_hint_names_the_extra(alarmed: Alarmed, tmp_path: Path) -> None:
    desk = alarmed.desk
    (tmp_path / "block" / "apprise").mkdir(parents=True)
    blocked = tmp_path / "block" / "sitecustomize.py"
    blocked.write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'apprise' else find(name, *more)\n"
    )
    from tests.support.commandline import ROOT, environment

    env = environment(tmp_path) | {"PYTHONPATH": f"{blocked.parent}:{ROOT}"}
    run = desk.run("verify", expect=40, env=env)
    assert "pip install 'orgkey-escrow[notify]'" in run.err
    assert desk.ask("config", "validate", expect=4, env=env)["error"]["name"] == "program-missing"
    found = {item["subject"]: item["code"] for item in desk.ask("doctor", expect=None, env=env)["findings"]}
    assert found["notify.urls"] == 4


# -- metrics ---------------------------------------------------------------------------------------------


def test_the_metrics_say_what_the_status_says(alarmed: Alarmed, tmp_path: Path) -> None:
    desk = alarmed.desk
    desk.escrow()
    file = tmp_path / "orgkey.prom"
    said = desk.ask("status", "--metrics", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    found = exposition.parse(file.read_text())
    assert found["orgkey_gate_ok", ()] == found["orgkey_status_ok", ()] == 1
    assert found["orgkey_exit_code", ()] == 0
    for copy in said["copies"]:
        assert found["orgkey_copy_ok", (("domain", copy["domain"]), ("target", copy["target"]))] == 1
    drills = {labels: value for (name, labels), value in found.items() if name == "orgkey_drill_rto_seconds"}
    assert set(drills) == {(("copy", name), ("path", "unattended")) for name in ("vault", "s3")}
    assert all(0 < value < 120 for value in drills.values())
    assert abs(found["orgkey_epoch_age_seconds", ()] - said["age_seconds"]) < 5
    rules = {dict(labels)["rule"]: value for (name, labels), value in found.items() if "gate_rule" in name}
    assert rules == {rule["name"]: 1 for rule in said["gate"]["rules"]}

    desk.edit("max_drill_age_days = 8", "max_drill_age_days = 0.000001")
    desk.ask("status", "--metrics", str(file), expect=40)
    found = exposition.parse(file.read_text())
    assert (found["orgkey_gate_ok", ()], found["orgkey_status_ok", ()]) == (0, 1)
    assert found["orgkey_gate_rule_ok", (("rule", "max_drill_age_days"),)] == 0
    assert found["orgkey_exit_code", ()] == 40


def test_metrics_are_fresh_where_status_could_not_be_judged(desk_of: Desk, tmp_path: Path) -> None:
    file = tmp_path / "orgkey.prom"
    file.write_text("orgkey_status_ok 1\norgkey_gate_ok 1\n")
    desk_of.config.write_text("nonsense")
    desk_of.run("status", "--metrics", str(file), expect=2)
    found = exposition.parse(file.read_text())
    assert set(found) == {
        ("orgkey_status_ok", ()),
        ("orgkey_exit_code", ()),
        ("orgkey_last_status_timestamp_seconds", ()),
    }
    assert (found["orgkey_status_ok", ()], found["orgkey_exit_code", ()]) == (0, 2)


@pytest.mark.parametrize("kind", ["pipe", "folder", "absent"])
def test_a_file_of_metrics_that_cannot_be_written_does_not_hide_the_gate(
    desk_of: Desk, tmp_path: Path, kind: str
) -> None:
    import os

    place = tmp_path / "metrics"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place = tmp_path / "nowhere" / "metrics"
    run = desk_of.run("status", "--json", "--metrics", str(place), expect=3)
    assert run.document["gate"]["broken"] == ["nothing authentic is stored for this key"]
    assert run.document["exit_code"] == 3
    assert "warning" in run.err
    if kind == "pipe":
        assert stat.S_ISFIFO(place.stat().st_mode)


@pytest.fixture
def desk_of(place: Place, tmp_path: Path) -> Desk:
    return Desk(place, tmp_path)


# -- logs ------------------------------------------------------------------------------------------------


def test_every_line_of_stderr_is_an_event_where_logs_are_json(alarmed: Alarmed, tmp_path: Path) -> None:
    desk = alarmed.desk
    env = {"ORGKEY_LOG_FORMAT": "json"}
    from tests.support.commandline import environment

    env = environment(tmp_path) | env
    words = ("escrow", str(desk.export), "--export-passphrase-file", str(desk.passphrase_file), "-v")
    made = events(desk.run(*words, env=env, expect=0))
    assert {"progress", "ledger"} <= {line["event"] for line in made}
    entries = {line["entry"]: line for line in made if line["event"] == "ledger"}
    entry = entries["escrow"]
    (path,) = (desk.state / desk.fingerprint / "ledger").glob(f"*/{entry['sequence']:09d}.json")
    kept = json.loads(path.read_bytes())
    assert (kept["event"], kept["run"]) == ("escrow", entry["run"])
    (certificate,) = (desk.state / desk.fingerprint / "certificates").glob("*.json")
    (facts,) = json.loads(certificate.read_bytes())["predicate"]["configuration"]
    assert json.loads(base64.b64decode(facts["content"]))["run"] == entry["run"]

    alarmed.dead()
    failed = events(desk.run("drill", env=env, expect=20))
    assert (failed[-1]["event"], failed[-1]["code"], failed[-1]["name"]) == ("end", 20, "unreachable")
    escrow = events(desk.run(*words, env=env, expect=20))
    assert (escrow[-2]["event"], escrow[-2]["level"], escrow[-2]["code"]) == ("error", "error", 20)
    assert escrow[-2]["hint"]
    assert alarmed.told[-1]["run"] == escrow[-1]["run"]
    assert alarmed.told[-2]["run"] == failed[-1]["run"]

    loud = events(desk.run("verify", "-vvv", env=env, expect=20))
    assert any(line["level"] == "debug" for line in loud)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--log-format", "json", "vanish"), 2),
        (("--log-format=json", "escrow", "--no-such-option"), 2),
        (("--log-format", "json", "--no-such-option"), 2),
        (("--log-format", "json", "custody"), 2),
        (("--log-format", "json", "status", "--config", "/nowhere/orgkey.toml"), 2),
    ],
)
def test_a_usage_error_is_an_event_too(tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    line, end = events(orgkey(tmp_path, *words, expect=code))
    assert (line["event"], line["level"], line["code"], line["name"]) == ("error", "error", 2, "usage")
    assert line["hint"]
    assert (end["event"], end["code"], end["run"]) == ("end", 2, line["run"])


def test_an_unknown_format_of_logs_is_refused(tmp_path: Path) -> None:
    for words, env in ((("--log-format", "xml", "list"), {}), (("list",), {"ORGKEY_LOG_FORMAT": "xml"})):
        from tests.support.commandline import environment

        run = orgkey(tmp_path, *words, env=environment(tmp_path) | env, expect=2)
        assert run.error == ("the log format 'xml' is not known", "--log-format takes text or json")


def test_json_logs_are_quiet_when_asked(desk_of: Desk, tmp_path: Path) -> None:
    from tests.support.commandline import environment

    run = desk_of.run(
        "verify", "--quiet", env=environment(tmp_path) | {"ORGKEY_LOG_FORMAT": "json"}, expect=40
    )
    assert [line["event"] for line in events(run)] == ["warning", "end"]


# -- the gate, on real servers ---------------------------------------------------------------------------


def test_locks_and_objectives_are_measured_on_real_copies(desk_of: Desk) -> None:
    desk = desk_of
    desk.escrow()
    desk.edit("copies = 2", "copies = 2\nmin_retention_days = 3000\nrto_seconds = 0.001")
    gate = desk.ask("status", expect=40)["gate"]
    rules = {(rule["name"], rule["subject"]): rule for rule in gate["rules"]}
    lock = rules["min_retention_days", "s3"]
    assert not lock["ok"]
    assert 0 < lock["value"] < 3000 == lock["limit"]
    assert ("min_retention_days", "vault") not in rules, "Vault has no locks"
    assert {name for name, subject in rules if subject == "s3 by unattended"} == {"rto_seconds"}
    said = desk.run("status", expect=40).out
    assert len(said.splitlines()) <= 24
    assert max(map(len, said.splitlines())) <= 100


# -- as a monitoring plugin ------------------------------------------------------------------------------

_PLUGIN_LINE = re.compile(
    r"ORGKEY (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+"
    r"( \|( [a-z_]+=[0-9]+s?;[0-9:]*;[0-9:]*;0)+)?\n"
)
"""Label, value, unit, thresholds and minimum, as the Monitoring Plugins guidelines write them."""


def test_a_monitoring_plugin_says_it_in_one_line_and_four_codes(alarmed: Alarmed) -> None:
    desk = alarmed.desk
    desk.escrow()
    fine = desk.run("status", "--nagios", expect=0)
    assert _PLUGIN_LINE.fullmatch(fine.out), fine.out
    assert fine.out.startswith("ORGKEY OK - all ")
    assert " | rules_broken=0;;0;0 copies_good=2;;2:;0 epoch_age=" in fine.out
    desk.edit("max_drill_age_days = 8", "max_drill_age_days = 0.000001")
    stale = desk.run("status", "--nagios", expect=2)
    assert _PLUGIN_LINE.fullmatch(stale.out), stale.out
    assert stale.out.startswith("ORGKEY CRITICAL - 1 of ")
    assert "rules_broken=1;;0;0" in stale.out


@pytest.mark.parametrize("words", [("--nonsense",), ("--json",), ()])
def test_a_monitoring_plugin_that_cannot_judge_says_that_it_does_not_know(
    desk_of: Desk, words: tuple[str, ...]
) -> None:
    if not words:
        desk_of.config.write_text("nonsense")
    run = desk_of.run("status", "--nagios", *words, expect=3)
    assert _PLUGIN_LINE.fullmatch(run.out), run.out
    assert run.out.startswith("ORGKEY UNKNOWN - ")
